//! eBPF maps: those of the gadget's programs, and the guest's own, also as inner maps of a map of maps.

use crate::{
    error::{Error, Result},
    host::{self, Handle},
    wire::Wire,
};
use std::marker::PhantomData;

/// Types of maps, with the kernel's numbers (`enum bpf_map_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
pub enum MapType {
    /// `BPF_MAP_TYPE_HASH`
    Hash = 1,
    /// `BPF_MAP_TYPE_ARRAY`
    Array = 2,
    /// `BPF_MAP_TYPE_PERF_EVENT_ARRAY`
    PerfEventArray = 4,
    /// `BPF_MAP_TYPE_LRU_HASH`
    LruHash = 9,
    /// `BPF_MAP_TYPE_LPM_TRIE`
    LpmTrie = 11,
    /// `BPF_MAP_TYPE_QUEUE`
    Queue = 22,
    /// `BPF_MAP_TYPE_STACK`
    Stack = 23,
}

/// When an update is made, with the kernel's flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Update {
    /// Always.
    Any = 0,
    /// If the key is not there yet.
    NoExist = 1,
    /// If the key is there.
    Exist = 2,
}

/// A map from `K` to `V`; their sizes have to be the map's. `V` is a [`Map`] itself in a map of maps.
///
/// The host forgets it when it is dropped; a map that the guest made is then closed.
#[derive(Debug)]
pub struct Map<K, V> {
    handle: Owner,
    name: Box<str>,
    entry: PhantomData<fn(K) -> V>,
}

#[derive(Debug)]
enum Owner {
    Host(Handle),
    Guest(u32),
}

impl Owner {
    fn raw(&self) -> u32 {
        match self {
            Self::Host(handle) => handle.raw(),
            Self::Guest(raw) => *raw,
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Self::Guest(raw) = self {
            host::map_release(*raw);
        }
    }
}

impl<K: Wire, V> Map<K, V> {
    /// The gadget's map of this name, from `start` on.
    pub fn get(name: &str) -> Result<Self> {
        let handle = Handle::new(host::get_map(name)).ok_or_else(|| Error::NoMap(name.to_owned()))?;
        Ok(Self::from(Owner::Host(handle), name))
    }

    fn from(handle: Owner, name: &str) -> Self {
        Self { handle, name: name.into(), entry: PhantomData }
    }

    pub(crate) fn raw(&self) -> u32 {
        self.handle.raw()
    }

    /// Deletes an entry. It is an error if there is none.
    pub fn delete(&self, key: &K) -> Result {
        self.done(host::map_delete(self.raw(), &key.to_bytes()), "delete")
    }

    fn done(&self, ok: bool, action: &'static str) -> Result {
        match ok {
            true => Ok(()),
            false => Err(Error::MapEntry { map: self.name.to_string(), action }),
        }
    }

    fn find(&self, key: &K, size: usize) -> Option<Vec<u8>> {
        // The real host says that it succeeded where a key is not there, and writes nothing: what was in the room
        // before tells, the second time without doubt.
        let key = key.to_bytes();
        [0xa5, 0x5a].into_iter().find_map(|mark| {
            let mut room = vec![mark; size];
            let found = host::map_lookup(self.raw(), &key, &mut room);
            (found && room.iter().any(|byte| *byte != mark)).then_some(room)
        })
    }
}

impl<K: Wire, V: Wire> Map<K, V> {
    /// Makes a map with room for `max` entries.
    pub fn new(name: &str, kind: MapType, max: u32) -> Result<Self> {
        let refused = || Error::NewMap(name.to_owned());
        let size = |bytes: usize| u32::try_from(bytes).map_err(|_| refused());
        match host::new_map(name, kind as u32, size(K::SIZE)?, size(V::SIZE)?, max) {
            0 => Err(refused()),
            raw => Ok(Self::from(Owner::Guest(raw), name)),
        }
    }

    /// The value of `key`. The host does not tell a key that is not there from a failure: both are `None`.
    pub fn lookup(&self, key: &K) -> Option<V> {
        V::from_bytes(&self.find(key, V::SIZE)?)
    }

    /// Sets the value of `key`.
    pub fn update(&self, key: &K, value: &V, when: Update) -> Result {
        let set = host::map_update(self.raw(), &key.to_bytes(), &value.to_bytes(), when as u64);
        self.done(set, "update")
    }
}

impl<K: Wire, K2: Wire, V2> Map<K, Map<K2, V2>> {
    /// The inner map of `key`.
    pub fn inner(&self, key: &K) -> Option<Map<K2, V2>> {
        let raw = u32::from_bytes(&self.find(key, u32::SIZE)?)?;
        Handle::new(raw).map(|handle| Map::from(Owner::Host(handle), &self.name))
    }

    /// Makes `map` the inner map of `key`.
    pub fn set_inner(&self, key: &K, map: &Map<K2, V2>, when: Update) -> Result {
        let set = host::map_update(self.raw(), &key.to_bytes(), &map.raw().to_bytes(), when as u64);
        self.done(set, "update")
    }
}
