//! From a struct in a gadget's object to the fields of a data source, dressed with what gadget.yaml says.

use gadget::{
    metadata::{self, Metadata},
    object::{Enumeration, Iter, MapIter, StructField, Tracer},
};

use super::{Annotations, DataSource, Field, FieldId, Place, Scalar, SourceKind};

/// A field that holds a C enum, and what its numbers are called.
#[derive(Clone, Debug)]
pub struct EnumField {
    /// The field with the number.
    pub field: FieldId,
    /// The enum's type and values.
    pub enumeration: Enumeration,
    /// The field with the value's name, once it is there.
    pub text: Option<FieldId>,
}

impl DataSource {
    /// The data source that a tracer's struct makes, and its enum fields.
    pub fn from_tracer(tracer: &Tracer, metadata: &Metadata) -> (Self, Vec<EnumField>) {
        let mut source = Self::new(&tracer.name, SourceKind::Single);
        source.static_size = tracer.size as usize;
        source.annotate(metadata);
        let mut enums = Vec::new();
        source.add_struct(&tracer.structure, 0, metadata, &mut enums);
        let first = source.fields.len();
        source.add_rest();
        source.describe_added(first, metadata);
        (source, enums)
    }

    /// The data source that reading a map makes, and its enum fields. An event is the key followed by the value.
    pub fn from_map_iter(iter: &MapIter, metadata: &Metadata) -> (Self, Vec<EnumField>) {
        let mut source = Self::new(&iter.name, SourceKind::Array);
        source.static_size = (iter.key_size as usize).saturating_add(iter.value_size as usize);
        source.annotate(metadata);
        let mut enums = Vec::new();
        source.add_struct(&iter.key, 0, metadata, &mut enums);
        source.add_struct(&iter.value, iter.key_size, metadata, &mut enums);
        (source, enums)
    }

    /// The data source that running iterators makes, and its enum fields.
    pub fn from_iter(iter: &Iter, metadata: &Metadata) -> (Self, Vec<EnumField>) {
        let mut source = Self::new(&iter.name, SourceKind::Array);
        source.static_size = iter.size as usize;
        source.annotate(metadata);
        let mut enums = Vec::new();
        source.add_struct(&iter.structure, 0, metadata, &mut enums);
        (source, enums)
    }

    /// Takes over what gadget.yaml says of the data source as a whole.
    pub fn annotate(&mut self, metadata: &Metadata) {
        if let Some(described) = metadata.datasources.get(&self.name) {
            let annotations = described.annotations.iter();
            self.annotations.extend(annotations.map(|(k, v)| (k.to_owned(), v.clone())));
        }
    }

    /// Adds a struct's members, which lie `base` bytes from the start of the event.
    fn add_struct(
        &mut self,
        members: &[StructField],
        base: u32,
        metadata: &Metadata,
        enums: &mut Vec<EnumField>,
    ) {
        let described = metadata.datasources.get(&self.name);
        let first = self.fields.len();
        for (id, member) in members.iter().enumerate() {
            let id = first + id;
            let offset = base.saturating_add(member.offset);
            let mut field = Field {
                name: member.name.clone(),
                full_name: member.full_name.clone(),
                parent: member.parent.map(|parent| first + parent),
                kind: member.kind,
                place: Place::Static { offset, size: member.size },
                hidden: false,
                unreferenced: false,
                order: 0,
                tags: member.tags.clone(),
                annotations: annotations(member),
            };
            field.hidden = field.annotations.is_true("columns.hidden");
            if let Some(described) = described.and_then(|d| d.fields.get(&member.full_name)) {
                field.describe(described);
            }
            if let Some(enumeration) = &member.enumeration {
                enums.push(EnumField { field: id, enumeration: enumeration.clone(), text: None });
            }
            self.fields.push(field);
        }
    }

    /// Adds the fields for what follows an event's struct, if gadget.yaml asks for them.
    fn add_rest(&mut self) {
        let named = |key: &str| self.annotations.get(key).filter(|name| !name.is_empty()).cloned();
        let (rest, len) = (named("ebpf.rest.name"), named("ebpf.rest.len"));
        for (name, scalar) in [(rest, Scalar::Bytes), (len, Scalar::Uint32)] {
            if let Some(name) = name.filter(|name| self.field(name).is_none()) {
                let order = i32::try_from(self.fields.len()).unwrap_or(i32::MAX);
                self.add_slot_field(None, &name, scalar, order);
            }
        }
    }

    /// Adds what gadget.yaml says of the fields that operators added: those from `first` on.
    pub fn describe_added(&mut self, first: FieldId, metadata: &Metadata) {
        let Some(described) = metadata.datasources.get(&self.name) else { return };
        for field in &mut self.fields[first..] {
            if let Some(described) = described.fields.get(&field.full_name) {
                field.describe(described);
            }
        }
    }
}

impl Field {
    /// Adds what gadget.yaml says of the field.
    fn describe(&mut self, described: &metadata::Field) {
        self.tags.extend(described.tags.iter().cloned());
        if let Some(template) = described.annotations.get("template")
            && !self.annotations.expand(template)
        {
            tracing::warn!("gadget.yaml: field {}: unknown template {template:?}", self.full_name);
        }
        for (key, value) in described.annotations.iter() {
            // Upstream reads all keys in lower case; gadgets write `columns.maxWidth`.
            let lower = key.strip_prefix("columns.").map(|rest| format!("columns.{}", rest.to_lowercase()));
            self.annotations.set(lower.as_deref().unwrap_or(key), value);
        }
        match self.annotations.get("columns.hidden") {
            Some("true") => self.hidden = true,
            Some(_) if described.annotations.get("columns.hidden").is_some() => self.hidden = false,
            _ => {}
        }
    }
}

fn annotations(member: &StructField) -> Annotations {
    let mut annotations = Annotations::static_defaults();
    for template in &member.templates {
        annotations.expand(template);
    }
    if member.hidden_container {
        annotations.set("columns.hidden", "true");
    }
    if let Some(alias) = &member.alias {
        annotations.set("columns.alias", alias);
    }
    annotations
}
