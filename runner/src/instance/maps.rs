//! The eBPF maps that a guest may use: those of its gadget's programs, maps of its own, and readers of perf buffers.
//!
//! Only maps whose keys and values are data are lent: a guest must not hand over, or be told, descriptors of this
//! process. The exception is a map of maps, whose values stand for maps that the guest has open itself.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, AsRawFd},
};

use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType, num_possible_cpus};

use crate::{
    ebpf::perf_ring::PerfRings,
    wasm::{MapId, NewMap, PerfRead, ReaderId},
};

/// Largest flag of `bpf_map_update_elem` that a guest may use: any, only new, only existing, locked.
const MAX_UPDATE_FLAGS: u64 = 4;

/// Maps, or readers, that a guest may have open at once.
const MAX_OPEN: usize = 1024;

/// Kernel memory that a guest's own maps may take together, bytes; also what its perf buffers may take.
const MAX_BYTES: usize = 64 << 20;

/// What the kernel needs for an element of a hash map besides key and value, bytes.
const ELEMENT: usize = 64;

/// What a guest may use of maps.
#[derive(Default)]
pub(super) struct Maps {
    /// Those of the gadget's programs, by name.
    named: BTreeMap<String, MapHandle>,
    open: Vec<Option<Open>>,
    readers: Vec<Option<PerfRings>>,
}

/// A map that the guest has open.
struct Open {
    map: MapHandle,
    /// Memory that it takes, if it is the guest's own.
    bytes: usize,
}

impl Maps {
    /// Lets the guest open `map` by its name.
    pub(super) fn add(&mut self, name: &str, map: MapHandle) {
        self.named.insert(name.to_owned(), map);
    }

    pub(super) fn open(&mut self, name: &str) -> Option<MapId> {
        let map = self.named.get(name).filter(|map| is_lent(map.map_type()))?;
        let map = MapHandle::try_from(map).ok()?;
        keep(&mut self.open, Open { map, bytes: 0 })
    }

    pub(super) fn make(&mut self, map: &NewMap<'_>) -> Option<MapId> {
        let map_type = MapType::from(map.map_type);
        if !is_lent(map_type) || holds_maps(map_type) {
            return None;
        }
        let max = match map.max_entries {
            // As many as there are processors.
            0 if map_type == MapType::PerfEventArray => u32::try_from(num_possible_cpus().ok()?).ok()?,
            max => max,
        };
        let values = if is_per_cpu(map_type) { num_possible_cpus().ok()? } else { 1 };
        let value = (map.value_size as usize).next_multiple_of(8).checked_mul(values)?;
        let element = (map.key_size as usize).checked_add(value)?.checked_add(ELEMENT)?;
        let bytes = element.checked_mul(max as usize)?;
        let taken: usize = self.open.iter().flatten().map(|open| open.bytes).sum();
        if taken.checked_add(bytes)? > MAX_BYTES {
            return None;
        }
        let options = libbpf_sys::bpf_map_create_opts {
            sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
            map_flags: if map_type == MapType::LpmTrie { libbpf_sys::BPF_F_NO_PREALLOC } else { 0 },
            ..Default::default()
        };
        let name = map.name.get(..15).unwrap_or(map.name);
        let map = MapHandle::create(map_type, Some(name), map.key_size, map.value_size, max, &options);
        keep(&mut self.open, Open { map: map.ok()?, bytes })
    }

    fn map(&self, id: MapId) -> Option<&MapHandle> {
        self.open.get(id)?.as_ref().map(|open| &open.map)
    }

    /// The sizes of keys and of values as they are read and written here; `None` if they cannot be.
    pub(super) fn sizes(&self, id: MapId) -> Option<(usize, usize)> {
        let map = self.map(id)?;
        let value = map.value_size() as usize;
        let value = match map.map_type() {
            MapType::PerfEventArray => return None,
            of if is_per_cpu(of) => value.next_multiple_of(8).checked_mul(num_possible_cpus().ok()?)?,
            _ => value,
        };
        Some((map.key_size() as usize, value))
    }

    pub(super) fn holds_maps(&self, id: MapId) -> bool {
        self.map(id).is_some_and(|map| holds_maps(map.map_type()))
    }

    /// The value of a map with one for each processor is all of them, each in a multiple of eight bytes.
    pub(super) fn lookup(&self, id: MapId, key: &[u8], value: &mut Vec<u8>) -> bool {
        let Some(map) = self.map(id) else { return false };
        if !is_per_cpu(map.map_type()) {
            let found = map.lookup(key, MapFlags::ANY).ok().flatten();
            return found.map(|bytes| value.extend_from_slice(&bytes)).is_some();
        }
        let Ok(Some(values)) = map.lookup_percpu(key, MapFlags::ANY) else { return false };
        for one in values {
            value.extend_from_slice(&one);
            value.resize(value.len().next_multiple_of(8), 0);
        }
        true
    }

    pub(super) fn lookup_map(&mut self, id: MapId, key: &[u8]) -> Option<MapId> {
        let inner = self.map(id)?.lookup(key, MapFlags::ANY).ok()??;
        let inner = MapHandle::from_map_id(u32::from_ne_bytes(inner.try_into().ok()?)).ok()?;
        if !is_lent(inner.map_type()) {
            return None;
        }
        keep(&mut self.open, Open { map: inner, bytes: 0 })
    }

    pub(super) fn update(&self, id: MapId, key: &[u8], value: &[u8], flags: u64) -> bool {
        let (Some(map), Some(flags)) = (self.map(id), update_flags(flags)) else { return false };
        if !is_per_cpu(map.map_type()) {
            return map.update(key, value, flags).is_ok();
        }
        let size = map.value_size() as usize;
        let parts = value.chunks_exact(size.next_multiple_of(8).max(8));
        let values: Vec<Vec<u8>> = parts.map(|part| part[..size].to_vec()).collect();
        map.update_percpu(key, &values, flags).is_ok()
    }

    pub(super) fn update_map(&self, id: MapId, key: &[u8], inner: MapId, flags: u64) -> bool {
        let (Some(map), Some(inner), Some(flags)) = (self.map(id), self.map(inner), update_flags(flags))
        else {
            return false;
        };
        map.update(key, &inner.as_fd().as_raw_fd().to_ne_bytes(), flags).is_ok()
    }

    pub(super) fn delete(&self, id: MapId, key: &[u8]) -> bool {
        self.map(id).is_some_and(|map| map.delete(key).is_ok())
    }

    pub(super) fn close(&mut self, id: MapId) {
        if let Some(place) = self.open.get_mut(id) {
            *place = None;
        }
    }

    pub(super) fn new_reader(&mut self, id: MapId, size: u32, overwritable: bool) -> Option<ReaderId> {
        let map = self.map(id).filter(|map| map.map_type() == MapType::PerfEventArray)?;
        let map = MapHandle::try_from(map).ok()?;
        let taken: usize = self.readers.iter().flatten().map(PerfRings::bytes).sum();
        let wanted = (size as usize).checked_mul(num_possible_cpus().ok()?)?;
        if taken.checked_add(wanted)? > MAX_BYTES {
            return None;
        }
        let opened = PerfRings::new(map, size as usize, overwritable);
        let rings = opened.map_err(|error| tracing::debug!("the guest gets no perf buffer: {error}")).ok()?;
        keep(&mut self.readers, rings)
    }

    fn reader(&mut self, id: ReaderId) -> Option<&mut PerfRings> {
        self.readers.get_mut(id)?.as_mut()
    }

    pub(super) fn pause_reader(&mut self, id: ReaderId, paused: bool) -> bool {
        self.reader(id).is_some_and(|rings| rings.pause(paused).is_ok())
    }

    /// It does not wait: the events of the gadget would wait with it.
    pub(super) fn read(&mut self, id: ReaderId, record: &mut Vec<u8>) -> PerfRead {
        match self.reader(id).map(|rings| rings.read(record)) {
            Some(true) => PerfRead::Record,
            Some(false) => PerfRead::Nothing,
            None => PerfRead::Failed,
        }
    }

    pub(super) fn close_reader(&mut self, id: ReaderId) -> bool {
        let Some(rings) = self.readers.get_mut(id).and_then(Option::take) else { return false };
        // The kernel lets go of its ends as well.
        rings.pause(true).is_ok()
    }
}

/// Puts `what` into the first free place.
fn keep<T>(places: &mut Vec<Option<T>>, what: T) -> Option<usize> {
    if let Some(free) = places.iter().position(Option::is_none) {
        places[free] = Some(what);
        return Some(free);
    }
    if places.len() >= MAX_OPEN {
        return None;
    }
    places.push(Some(what));
    Some(places.len() - 1)
}

/// Whether guests may have maps of this type.
fn is_lent(map_type: MapType) -> bool {
    use MapType::*;
    let plain = matches!(map_type, Hash | Array | LruHash | Queue | Stack | LpmTrie | StackTrace);
    plain || is_per_cpu(map_type) || holds_maps(map_type) || map_type == PerfEventArray
}

fn is_per_cpu(map_type: MapType) -> bool {
    matches!(map_type, MapType::PercpuHash | MapType::PercpuArray | MapType::LruPercpuHash)
}

fn holds_maps(map_type: MapType) -> bool {
    matches!(map_type, MapType::HashOfMaps | MapType::ArrayOfMaps)
}

fn update_flags(flags: u64) -> Option<MapFlags> {
    if flags > MAX_UPDATE_FLAGS { None } else { MapFlags::from_bits(flags) }
}
