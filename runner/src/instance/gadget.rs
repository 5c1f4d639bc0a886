//! A gadget read from its image, before it runs: what it sends, and what can be set.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use gadget::{
    image::GadgetImage,
    metadata::{self, Metadata},
    object::{self, Object, ParamType},
};

use super::{
    annotate::Annotation,
    custom,
    guest::Started,
    load::SocketPaths,
    statistics::{self, Statistics},
};
use crate::{
    datasource::{DataSource, EnumField},
    ebpf::{attach, param},
};

/// Why an image is no gadget that can be run.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what each is
pub enum Error {
    #[error("{image}: {source}")]
    Metadata { image: String, source: metadata::Error },
    #[error("{image}: {source}")]
    Object { image: String, source: object::Error },
    #[error("{0} has neither an eBPF program nor a guest: this version runs only gadgets that have one")]
    NoObject(String),
    #[error("{0} has nothing to show: its object defines no tracer, no snapshotter and no map iterator")]
    NoTracer(String),
}

/// The parameter that names a network interface.
pub(super) const INTERFACE: &str = "iface";

/// A gadget, ready to be run.
pub struct Gadget {
    /// Where it comes from.
    pub image: GadgetImage,
    /// Its gadget.yaml.
    pub metadata: Metadata,
    /// Its object's contract.
    pub object: Object,
    /// What it sends.
    pub sources: Vec<Source>,
    /// What can be set before it starts.
    pub params: Vec<Param>,
    /// The guest as [`super::data_sources`] left it, to be run.
    pub(super) started: RefCell<Option<Started>>,
    /// Whether the guest failed before and is not started again.
    pub(super) does_without_guest: Cell<bool>,
}

/// One stream of events.
#[derive(Clone)]
pub struct Source {
    /// Its fields, as the object and gadget.yaml say.
    pub data: DataSource,
    /// Its fields that hold C enums.
    pub enums: Vec<EnumField>,
    /// Where its events come from.
    pub origin: Origin,
}

/// Where a data source's events come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The buffer of this name.
    Buffer(String),
    /// The elements of the map of this name, all at once: key and value, of so many bytes.
    Map {
        /// The map.
        map: String,
        /// Bytes of a value: those of a key come before it.
        value_size: usize,
    },
    /// The lists that these iterator programs make, one behind the other.
    Iterators(Vec<String>),
    /// The gadget's guest.
    Guest,
    /// What the kernel tells of the machine, without a program.
    Statistics(Statistics),
}

/// A parameter of the gadget's programs, as a flag.
#[derive(Clone, Debug)]
pub struct Param {
    /// The flag's name.
    pub key: String,
    /// What it is for.
    pub description: String,
    /// All values that it can have; none means any.
    pub possible_values: Vec<String>,
    /// Its value when it is not given, as text.
    pub default: String,
    /// The variable that it sets; empty for a parameter of the guest.
    pub variable: String,
    /// The variable's type.
    pub kind: ParamType,
    /// The variable's size in bytes.
    pub size: usize,
    /// Whether it selects processes.
    pub selects_process: bool,
}

impl Gadget {
    /// Reads an image.
    pub fn open(image: GadgetImage) -> Result<Self, Error> {
        Self::open_annotated(image, &[])
    }

    /// Reads an image, of which some things are described otherwise than its author did.
    pub fn open_annotated(image: GadgetImage, annotations: &[Annotation]) -> Result<Self, Error> {
        let name = || image.reference.clone();
        let mut metadata =
            Metadata::parse(&image.metadata).map_err(|source| Error::Metadata { image: name(), source })?;
        annotations.iter().for_each(|annotation| annotation.set(&mut metadata));
        let statistics = statistics::sources(&metadata);
        let object = match image.object.as_deref() {
            Some(elf) => Object::parse(elf).map_err(|source| Error::Object { image: name(), source })?,
            // Its guest may have events of its own.
            None if image.wasm.is_some() || !statistics.is_empty() => Object::default(),
            None => return Err(Error::NoObject(name())),
        };
        // Whether it has something to show, only its guest knows.
        let shows = !object.tracers.is_empty()
            || !object.map_iters.is_empty()
            || !object.iters.is_empty()
            || !statistics.is_empty();
        if !shows && image.wasm.is_none() {
            return Err(Error::NoTracer(name()));
        }
        for iter in object.iters.iter().filter(|iter| iter.legacy) {
            tracing::debug!(
                "{}: {:?} is declared as a snapshotter, an older name for iterators",
                name(),
                iter.name
            );
        }
        let sources = object
            .tracers
            .iter()
            .map(|tracer| {
                let (data, enums) = DataSource::from_tracer(tracer, &metadata);
                Source { data, enums, origin: Origin::Buffer(tracer.map.clone()) }
            })
            .chain(object.map_iters.iter().map(|iter| {
                let (data, enums) = DataSource::from_map_iter(iter, &metadata);
                let (map, value_size) = (iter.map.clone(), iter.value_size as usize);
                Source { data, enums, origin: Origin::Map { map, value_size } }
            }))
            .chain(object.iters.iter().map(|iter| {
                let (data, enums) = DataSource::from_iter(iter, &metadata);
                Source { data, enums, origin: Origin::Iterators(iter.programs.clone()) }
            }))
            .chain(statistics)
            .collect();
        Ok(Self::new(image, metadata, object, sources))
    }

    /// What was read from an image, and what it sends.
    pub fn new(image: GadgetImage, metadata: Metadata, object: Object, sources: Vec<Source>) -> Self {
        let mut params: Vec<Param> = object.params.iter().map(|p| Param::new(p, &metadata)).collect();
        if attach::sees_interfaces(&object) {
            params.push(Param::interface());
        }
        params.extend(custom::params(&metadata).map(|(name, described)| Param::of_metadata(name, described)));
        params.extend(metadata.params.wasm.iter().map(|(name, described)| Param::of_guest(name, described)));
        Self {
            image,
            metadata,
            object,
            sources,
            params,
            started: RefCell::default(),
            does_without_guest: Cell::default(),
        }
    }

    /// Where programs are attached instead of what their sections say, by lower-case name. `settings` are those of
    /// the gadget's guest, which win over gadget.yaml's.
    pub fn attach_targets(&self, settings: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let programs = self.metadata.programs.iter().map(|(name, p)| (name.to_lowercase(), &p.attach_to));
        let set = settings.iter().filter_map(|(key, target)| {
            let key = key.to_lowercase();
            let name = key.strip_prefix("programs.")?.strip_suffix(".attach_to")?;
            Some((name.to_owned(), target))
        });
        programs.chain(set).filter(|(_, target)| !target.is_empty()).map(|(n, t)| (n, t.clone())).collect()
    }

    /// Whether its programs ask for paths of whoever owns a socket.
    pub fn asks_for_socket_paths(&self) -> bool {
        let elf = self.image.object.as_deref().unwrap_or_default();
        SocketPaths::default().read_by(elf) != SocketPaths { cwd: 0, exepath: 0 }
    }

    /// Whether the object declares the map `name`.
    pub fn has_map(&self, name: &str) -> bool {
        self.object.map(name).is_some()
    }
}

impl Param {
    fn new(param: &object::Param, metadata: &Metadata) -> Self {
        let known = param.well_known();
        let described = metadata.params.ebpf.get(&param.variable);
        let said = |text: fn(&metadata::Param) -> &str| described.map(text).filter(|t| !t.is_empty());
        let key = said(|d| &d.key).or(known.map(|k| k.key)).unwrap_or(&param.variable).to_owned();
        let description =
            said(|d| &d.description).or(known.map(|k| k.description)).unwrap_or_default().to_owned();
        let default = match param.default.as_deref().map(|bytes| param::decode(&param.param_type, bytes)) {
            Some(text) if !text.is_empty() => text,
            _ => described.and_then(|d| d.default_value.clone()).unwrap_or_default(),
        };
        Self {
            key,
            description,
            possible_values: described.map(|d| d.possible_values.clone()).unwrap_or_default(),
            default,
            variable: param.variable.clone(),
            kind: param.param_type,
            size: param.size as usize,
            selects_process: known.is_some_and(|k| k.process_filter),
        }
    }

    /// Where programs of traffic control are attached.
    fn interface() -> Self {
        Self {
            key: INTERFACE.to_owned(),
            description: "Watch this network interface of the host, and no container's".to_owned(),
            possible_values: Vec::new(),
            default: String::new(),
            variable: String::new(),
            kind: ParamType::Unknown,
            size: 0,
            selects_process: false,
        }
    }

    /// One that changes gadget.yaml.
    fn of_metadata(name: &str, described: &metadata::CustomParam) -> Self {
        Self {
            key: name.to_owned(),
            description: described.description.clone(),
            possible_values: described.values.iter().map(|(value, _)| value.to_owned()).collect(),
            default: described.default_value.clone().unwrap_or_default(),
            variable: String::new(),
            kind: ParamType::Unknown,
            size: 0,
            selects_process: false,
        }
    }

    fn of_guest(name: &str, described: &metadata::Param) -> Self {
        let key = if described.key.is_empty() { name } else { &described.key };
        Self {
            key: key.to_owned(),
            description: described.description.clone(),
            possible_values: described.possible_values.clone(),
            default: described.default_value.clone().unwrap_or_default(),
            variable: String::new(),
            kind: if described.type_hint == "bool" { ParamType::Bool } else { ParamType::Unknown },
            size: 0,
            selects_process: false,
        }
    }
}
