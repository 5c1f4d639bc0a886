//! Loading a gadget's object: program types, parameters, maps that others provide, relocation, and the verifier.

use std::{collections::BTreeSet, os::fd::BorrowedFd};

use gadget::object::Object;
use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType, ObjectBuilder, OpenObject, ProgramType};

use super::{Error, bpffs, kernel_btf::ObjectBtf};

/// Ring buffers of tracers that have the customary size are given this many bytes (a power of two): room for what arrives while the
/// reader is not scheduled, at the price of as much memory.
const RING_BYTES: u32 = 1 << 21;

/// The size that gadgets have without much thought. Whoever asked for more has reckoned.
const CUSTOMARY_RING_BYTES: u32 = 1 << 18;

/// Maps of user stacks: 14 megabytes in a usual gadget, of which nothing is used unless stacks are asked for.
const USER_STACK_MAPS: [&str; 2] = ["ig_ustack", "ig_build_id"];

/// How a gadget's object is to be loaded.
#[derive(Default)]
pub struct Loader<'a> {
    /// Values for `const volatile` variables, by name.
    pub variables: Vec<(String, Vec<u8>)>,
    /// Maps that the object declares and somebody else fills, by name.
    pub maps: Vec<(&'a str, BorrowedFd<'a>)>,
    /// Programs that are not loaded, by lower-case name.
    pub disabled: BTreeSet<String>,
    /// Types to relocate against, instead of the kernel's own.
    pub btf: Option<&'a ObjectBtf>,
}

/// A gadget in the kernel, not attached yet. The default is that of a gadget without an object, which has nothing
/// there.
#[derive(Default)]
pub struct LoadedGadget {
    object: Option<libbpf_rs::Object>,
}

impl Loader<'_> {
    /// Loads `elf`, of which `object` is the reading.
    pub fn load(&self, elf: &[u8], object: &Object) -> Result<LoadedGadget, Error> {
        let mut builder = ObjectBuilder::default();
        if let Some(btf) = self.btf {
            builder.btf_custom_path(btf.path()).map_err(|error| Error::Open { error })?;
        }
        let mut open = builder.open_memory(elf).map_err(|error| Error::Open { error })?;
        self.set_program_types(&mut open);
        self.set_variables(&mut open, object)?;
        self.set_maps(&mut open, object)?;
        let object = if open.maps().any(|map| bpffs::is_shared(&map)) {
            bpffs::with_bpffs(|| open.load()).map_err(Error::Bpffs)?
        } else {
            open.load()
        };
        let object = object.map_err(|error| Error::Load { error })?;
        Ok(LoadedGadget { object: Some(object) })
    }

    fn set_program_types(&self, open: &mut OpenObject) {
        for mut program in open.progs_mut() {
            let section = program.section().to_string_lossy().into_owned();
            // libbpf knows neither numbered socket sections nor names behind perf_event and classifier.
            if section.starts_with("socket") {
                program.set_prog_type(ProgramType::SocketFilter);
            } else if section.starts_with("classifier/") {
                program.set_prog_type(ProgramType::SchedCls);
            } else if section.starts_with("perf_event/") {
                program.set_prog_type(ProgramType::PerfEvent);
            }
            if self.disabled.contains(&program.name().to_string_lossy().to_lowercase()) {
                program.set_autoload(false);
            }
        }
    }

    fn set_variables(&self, open: &mut OpenObject, object: &Object) -> Result<(), Error> {
        for (name, value) in &self.variables {
            let Some(variable) = object.variable(name) else { continue };
            let mut map = open
                .maps_mut()
                .find(|m| m.name().to_string_lossy().ends_with(&variable.section))
                .ok_or_else(|| Error::NoMap(variable.section.clone()))?;
            let start = variable.offset as usize;
            map.initial_value_mut()
                .and_then(|bytes| bytes.get_mut(start..start + value.len()))
                .ok_or_else(|| Error::NoMap(variable.section.clone()))?
                .copy_from_slice(value);
        }
        Ok(())
    }

    fn set_maps(&self, open: &mut OpenObject, object: &Object) -> Result<(), Error> {
        for mut map in open.maps_mut() {
            let name = map.name().to_string_lossy().into_owned();
            let error = |source| Error::Map { what: format!("the map {name}"), source };
            if let Some((_, fd)) = self.maps.iter().find(|(n, _)| *n == name) {
                map.reuse_fd(*fd).map_err(error)?;
            } else if USER_STACK_MAPS.contains(&name.as_str()) && !self.collects_user_stacks() {
                map.set_max_entries(1).map_err(error)?;
            } else if let Some(entries) = self.max_entries(&name, object) {
                map.set_max_entries(entries).map_err(error)?;
            } else if object.tracers.iter().any(|t| t.map == name)
                && map.map_type() == MapType::RingBuf
                && map.max_entries() <= CUSTOMARY_RING_BYTES
            {
                map.set_max_entries(RING_BYTES).map_err(error)?;
            }
        }
        Ok(())
    }

    fn collects_user_stacks(&self) -> bool {
        self.variables.iter().any(|(name, value)| name.starts_with("collect_") && value.contains(&1))
    }

    /// A map's size may be said by a variable named after it.
    fn max_entries(&self, map: &str, object: &Object) -> Option<u32> {
        let name = format!("{map}_max_entries");
        let set = self.variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_slice());
        let default = object.params.iter().find(|p| p.variable == name).and_then(|p| p.default.as_deref());
        let bytes = set.or(default)?;
        Some(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?))
    }
}

impl LoadedGadget {
    /// The programs, in the object's order.
    pub fn programs(&self) -> impl Iterator<Item = libbpf_rs::ProgramMut<'_>> {
        self.object.iter().flat_map(libbpf_rs::Object::progs_mut)
    }

    fn find_map(&self, name: &str) -> Option<libbpf_rs::Map<'_>> {
        self.object.as_ref()?.maps().find(|map| map.name() == name)
    }

    /// A handle of the map `name`, if the object has it.
    pub fn map(&self, name: &str) -> Result<Option<MapHandle>, Error> {
        match self.find_map(name) {
            Some(map) => MapHandle::try_from(&map)
                .map(Some)
                .map_err(|source| Error::Map { what: format!("the map {name}"), source }),
            None => Ok(None),
        }
    }

    /// Sets a variable that programs may read while they run, in `.data` or `.bss`; nothing if there is none of this
    /// name. Not for one that programs write: what they write meanwhile to others of its section is lost.
    pub fn set_variable(&self, object: &Object, name: &str, value: &[u8]) -> Result<(), Error> {
        let Some(variable) = object.variable(name) else { return Ok(()) };
        let no_map = || Error::NoMap(variable.section.clone());
        let maps = self.object.iter().flat_map(libbpf_rs::Object::maps);
        let map = maps
            .into_iter()
            .find(|map| map.name().to_string_lossy().ends_with(&variable.section))
            .ok_or_else(no_map)?;
        let error = |source| Error::Map { what: format!("the variable {name}"), source };
        let key = 0_u32.to_ne_bytes();
        let mut section = map.lookup(&key, MapFlags::ANY).map_err(error)?.ok_or_else(no_map)?;
        let start = variable.offset as usize;
        section.get_mut(start..start.saturating_add(value.len())).ok_or_else(no_map)?.copy_from_slice(value);
        map.update(&key, &section, MapFlags::ANY).map_err(error)
    }

    /// The sum over all processors of the one counter in the per-processor array `name`; 0 if there is no such map.
    pub fn counter(&self, name: &str) -> u64 {
        self.counter_at(name, 0)
    }

    /// The counter at `index` of the array `name`, summed up if each processor has its own; 0 if there is none.
    pub fn counter_at(&self, name: &str, index: u32) -> u64 {
        let Some(map) = self.find_map(name) else { return 0 };
        let key = index.to_ne_bytes();
        let value = |bytes: &Vec<u8>| bytes.get(..8)?.try_into().ok().map(u64::from_ne_bytes);
        let any = MapFlags::ANY;
        let values = match map.map_type() {
            MapType::PercpuArray => map.lookup_percpu(&key, any).ok().flatten().unwrap_or_default(),
            MapType::Array => map.lookup(&key, any).ok().flatten().into_iter().collect(),
            _ => Vec::new(),
        };
        values.iter().filter_map(value).fold(0, u64::saturating_add)
    }
}
