//! Data sources that come in batches: a map's elements, or the lists that iterator programs make.

use std::fs::File;

use gadget::object::Object;
use libbpf_rs::{MapCore, MapFlags, MapHandle};

use super::{
    gadget::{Origin, Source},
    schedule::Schedule,
    statistics::{self, Shown},
};
use crate::{
    container::{Collection, Selector, namespace},
    ebpf::{self, LoadedGadget, attach},
};

/// One data source that comes in batches.
pub(super) struct Batch {
    /// Which of the gadget's data sources it is.
    pub(super) at: usize,
    /// When it is read.
    pub(super) schedule: Schedule,
    reading: Reading,
}

enum Reading {
    Map { map: MapHandle, value_size: usize },
    Iterators { list: Vec<attach::Iterator>, size: usize },
    Statistics(statistics::Reading),
}

impl Batch {
    /// Gets `source` ready to be read; `None` if it does not come in batches.
    pub(super) fn open(
        at: usize,
        source: &Source,
        schedule: Schedule,
        gadget: &LoadedGadget,
        object: &Object,
    ) -> Result<Option<Self>, ebpf::Error> {
        let reading = match &source.origin {
            Origin::Map { map: name, value_size } => {
                let map = gadget.map(name)?.ok_or_else(|| ebpf::Error::NoMap(name.clone()))?;
                Reading::Map { map, value_size: *value_size }
            }
            Origin::Iterators(programs) => {
                let iterator = |name: &String| attach::Iterator::attach(gadget, object, name);
                let list = programs.iter().map(iterator).collect::<Result<_, _>>()?;
                Reading::Iterators { list, size: source.data.static_size }
            }
            Origin::Statistics(kind) => Reading::Statistics(kind.open()),
            Origin::Buffer(_) | Origin::Guest => return Ok(None),
        };
        Ok(Some(Self { at, schedule, reading }))
    }

    /// Reads what there is. What is read from a map is no longer in it.
    pub(super) fn fetch(&mut self, namespaces: &Namespaces<'_>) -> Result<Vec<Vec<u8>>, ebpf::Error> {
        match &mut self.reading {
            Reading::Map { map, value_size } => take_elements(map, *value_size),
            Reading::Iterators { list, size } => {
                let mut entries = Vec::new();
                let namespaces = namespaces.open();
                for iterator in list {
                    iterator.read(*size, &namespaces, &mut entries)?;
                }
                Ok(entries)
            }
            Reading::Statistics(reading) => {
                let Namespaces { collection, selector, host } = *namespaces;
                Ok(reading.read(&Shown { collection, selector, host }))
            }
        }
    }
}

/// Takes all elements out of a map: key and value, one behind the other.
fn take_elements(map: &MapHandle, value_size: usize) -> Result<Vec<Vec<u8>>, ebpf::Error> {
    let failed = |source| {
        let what = format!("the map {}", map.name().to_string_lossy());
        ebpf::Error::Map { what, source }
    };
    // A walk that meets keys which programs remove at the same time starts anew: it is bounded.
    let keys: Vec<Vec<u8>> = map.keys().take(map.max_entries() as usize).collect();
    let mut elements = Vec::with_capacity(keys.len());
    for mut key in keys {
        let taken = match map.lookup_and_delete(&key) {
            Ok(value) => value,
            // Before Linux 5.14 hash maps could not do both at once.
            Err(_) => {
                let value = map.lookup(&key, MapFlags::ANY).map_err(failed)?;
                let _ = map.delete(&key);
                value
            }
        };
        // One that went away since its key was read is left out.
        if let Some(value) = taken {
            key.extend_from_slice(value.get(..value_size).unwrap_or(&value));
            elements.push(key);
        }
    }
    Ok(elements)
}

/// The network namespaces that a run shows.
pub(super) struct Namespaces<'a> {
    pub(super) collection: &'a Collection,
    pub(super) selector: &'a Selector,
    /// Whether the host and all containers are shown.
    pub(super) host: bool,
}

impl Namespaces<'_> {
    /// Opens them, each once.
    fn open(&self) -> Vec<File> {
        let containers = self.collection.list();
        let shown = containers.iter().filter(|container| self.host || self.selector.matches(container));
        let host = self
            .host
            .then(|| namespace::open_netns(1).or_else(|_| namespace::open_netns(std::process::id())));
        let files = host.into_iter().chain(shown.map(|container| namespace::open_netns(container.pid)));
        let mut seen = Vec::new();
        let mut opened = Vec::new();
        for file in files {
            // A container may have ended since it was listed.
            let found = file.ok().and_then(|file| Some((namespace::netns_of(&file).ok()?, file)));
            if let Some((netns, file)) = found.filter(|(netns, _)| !seen.contains(netns)) {
                seen.push(netns);
                opened.push(file);
            }
        }
        opened
    }
}
