//! A gadget's data sources as a client of the gRPC API is told of them, with the fields that operators add. Names of
//! keys, numbers of kinds and flags are those of that API (messages `DataSource` and `Field`).

use anyhow::Result;
use gadget::{
    image::GadgetImage,
    metadata::Metadata,
    object::{Object, StructField, Tracer},
};
use serde::Serialize;
use std::collections::BTreeMap;

use crate::{
    datasource::{self, DataSource, Place, SourceKind},
    instance::{self, Gadget, Origin},
};

const EMPTY: u32 = 1;
const HIDDEN: u32 = 4;
const HAS_PARENT: u32 = 8;
const STATIC_MEMBER: u32 = 16;
const UNREFERENCED: u32 = 32;
/// Added to the kind of an array's elements.
const ARRAY: u32 = 0x1000_0000;

/// A data source.
#[derive(Debug, Serialize)]
pub(super) struct Source {
    name: String,
    #[serde(rename = "type")]
    kind: u32,
    fields: Vec<Field>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

/// A field. What is zero or empty is left out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Field {
    name: String,
    full_name: String,
    #[serde(skip_serializing_if = "is_zero")]
    index: usize,
    #[serde(skip_serializing_if = "is_zero")]
    payload_index: usize,
    #[serde(skip_serializing_if = "is_zero")]
    offs: u32,
    #[serde(skip_serializing_if = "is_zero")]
    size: u32,
    #[serde(skip_serializing_if = "is_zero")]
    flags: u32,
    #[serde(skip_serializing_if = "is_zero")]
    kind: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_zero")]
    parent: usize,
    #[serde(skip_serializing_if = "is_zero")]
    order: i32,
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What comes through one source, before it has fields.
struct Stream {
    tracer: Tracer,
    kind: SourceKind,
    /// How many of its fields are a map's key, which is sent apart from the value.
    key_fields: usize,
    /// Annotations that it has unless gadget.yaml says otherwise.
    defaults: &'static [(&'static str, &'static str)],
}

/// The data sources of an image, sorted by name.
pub(super) fn all(image: &GadgetImage) -> Result<Vec<Source>> {
    let metadata = Metadata::parse(&image.metadata)?;
    let object = image.object.as_deref().map(Object::parse).transpose()?.unwrap_or_default();
    let streams = streams(&object);
    let sources = streams.iter().map(|stream| {
        let (mut data, enums) = DataSource::from_tracer(&stream.tracer, &metadata);
        data.kind = stream.kind;
        for (key, value) in stream.defaults {
            data.annotations.entry((*key).to_owned()).or_insert_with(|| (*value).to_owned());
        }
        instance::Source { data, enums, origin: Origin::Buffer(stream.tracer.map.clone()) }
    });
    let sources = sources.chain(instance::statistics(&metadata)).collect();
    let gadget = Gadget::new(image.clone(), metadata, object, sources);
    let described = instance::data_sources(&gadget)?;
    let stream = |data: &DataSource| streams.iter().find(|stream| stream.tracer.name == data.name);
    let mut sources: Vec<_> = described
        .into_iter()
        .map(|data| {
            let stream = stream(&data);
            describe(data, stream)
        })
        .collect();
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(sources)
}

fn streams(object: &Object) -> Vec<Stream> {
    let mut streams: Vec<Stream> = Vec::new();
    for tracer in &object.tracers {
        streams.push(Stream {
            tracer: tracer.clone(),
            kind: SourceKind::Single,
            key_fields: 0,
            defaults: &[],
        });
    }
    for iter in &object.iters {
        let tracer = Tracer {
            name: iter.name.clone(),
            map: String::new(),
            struct_name: iter.struct_name.clone(),
            structure: iter.structure.clone(),
            size: iter.size,
        };
        let defaults = &[("fetch-count", "1"), ("fetch-interval", "0")];
        streams.push(Stream { tracer, kind: SourceKind::Array, key_fields: 0, defaults });
    }
    for map in &object.map_iters {
        let key_fields = map.key.len();
        let below = |field: &StructField| StructField {
            parent: field.parent.map(|p| p.saturating_add(key_fields)),
            ..field.clone()
        };
        let tracer = Tracer {
            name: map.name.clone(),
            map: map.map.clone(),
            struct_name: String::new(),
            structure: map.key.iter().cloned().chain(map.value.iter().map(below)).collect(),
            size: map.key_size.saturating_add(map.value_size),
        };
        let defaults = &[("fetch-count", "0"), ("fetch-interval", "1s")];
        streams.push(Stream { tracer, kind: SourceKind::Array, key_fields, defaults });
    }
    streams
}

/// `stream` is what the kernel sends through it; a guest's data source has none.
fn describe(data: DataSource, stream: Option<&Stream>) -> Source {
    let (structure, key_fields) = stream.map_or((&[][..], 0), |s| (&s.tracer.structure[..], s.key_fields));
    let from_kernel = structure.len();
    let mut payload = match stream {
        None => 0,
        Some(_) if key_fields == 0 => 1,
        Some(_) => 2,
    };
    let fields = data.fields.into_iter().enumerate().map(|(index, field)| {
        let flag = |set: bool, bit: u32| if set { bit } else { 0 };
        let grouping = field.place == Place::Nowhere;
        let of_struct = structure.get(index);
        let payload_index = match () {
            () if index < from_kernel => usize::from(key_fields > 0 && index >= key_fields),
            () if grouping => 0,
            () => {
                payload += 1;
                payload - 1
            }
        };
        Field {
            index,
            payload_index,
            offs: of_struct.map_or(0, |f| f.offset),
            size: of_struct.map_or(0, |f| f.size),
            flags: flag(grouping, EMPTY)
                | flag(field.hidden || field.unreferenced, HIDDEN)
                | flag(field.parent.is_some(), HAS_PARENT)
                | flag(of_struct.is_some(), STATIC_MEMBER)
                | flag(field.unreferenced, UNREFERENCED),
            kind: if grouping { 0 } else { number(field.kind) },
            order: match field.order {
                0 if field.parent.is_none() && of_struct.is_none() => {
                    i32::try_from(index).unwrap_or(i32::MAX)
                }
                order => order,
            },
            parent: field.parent.unwrap_or(0),
            annotations: field.annotations.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
            name: field.name,
            full_name: field.full_name,
            // Groups carry none there.
            tags: if grouping { Vec::new() } else { field.tags },
        }
    });
    Source {
        fields: fields.collect(),
        name: data.name,
        kind: match data.kind {
            SourceKind::Single => 1,
            SourceKind::Array => 2,
        },
        annotations: data.annotations,
    }
}

fn number(kind: datasource::Kind) -> u32 {
    kind.scalar as u32 | if kind.array { ARRAY } else { 0 }
}
