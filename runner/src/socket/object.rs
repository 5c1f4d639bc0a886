//! Loading one of the objects, configured and with its maps sized: what the watching programs and the passes share.

use std::{os::fd::AsFd as _, path::PathBuf, time::Duration};

use libbpf_rs::{Map, MapCore as _, MapFlags, MapHandle, MapType, Object, ObjectBuilder};

use super::{BtfProvider, Error};

const SOCKETS: &str = "gadget_sockets";
const CONNECTIONS: &str = "igx_sockets";
const LISTENERS: &str = "older_listeners";
const CONTAINERS: &str = "igx_containers";

/// The maps that the objects share with one another, made before them.
#[derive(Debug)]
pub(super) struct Maps {
    /// By local port; gadgets share it.
    pub(super) sockets: MapHandle,
    /// Recent connections, by both their ends; gadgets share it.
    pub(super) connections: MapHandle,
    /// All containers, by control group; gadgets share it.
    pub(super) containers: MapHandle,
    /// What listened before the run, by its address.
    listeners: MapHandle,
}

/// `struct socket_settings` of `bpf/socket_entry.h`.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) value_size: u32,
    pub(super) cwd: u32,
    pub(super) exepath: u32,
    pub(super) grace: Duration,
}

impl Settings {
    /// Whether values have more than what all have.
    pub(super) fn with_paths(&self) -> bool {
        self.value_size > super::FIXED_VALUE_SIZE
    }

    fn bytes(&self) -> Vec<u8> {
        let grace = u64::try_from(self.grace.as_nanos()).unwrap_or(u64::MAX);
        let numbers = [grace, self.cwd.into(), self.exepath.into()];
        numbers.into_iter().flat_map(u64::to_ne_bytes).collect()
    }
}

/// Makes the maps, as `bpf/socket_entry.h` declares them, for both objects.
pub(super) fn maps(value_size: u32) -> Result<Maps, Error> {
    let make = |kind, name, key_size, value_size, entries, flags| {
        let options = libbpf_sys::bpf_map_create_opts {
            sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
            map_flags: flags,
            ..Default::default()
        };
        MapHandle::create(kind, Some(name), key_size, value_size, entries, &options)
            .map_err(|source| Error::Load { object: name, source })
    };
    Ok(Maps {
        sockets: make(MapType::Hash, SOCKETS, 12, value_size, 16384, 0)?,
        connections: make(MapType::LruHash, CONNECTIONS, 44, value_size, 8192, 0)?,
        containers: make(MapType::Hash, CONTAINERS, 8, 4, 8192, 0)?,
        listeners: make(
            MapType::Hash,
            LISTENERS,
            28,
            super::FIXED_VALUE_SIZE,
            16384,
            libbpf_sys::BPF_F_NO_PREALLOC,
        )?,
    })
}

/// An object that is not loaded yet.
pub(super) struct Source {
    name: &'static str,
    elf: &'static [u8],
    /// The BTF to relocate against; the kernel's own if absent.
    btf: Option<PathBuf>,
}

impl Source {
    /// Asks `btf` for what the object relocates against.
    pub(super) fn new(
        name: &'static str,
        elf: &'static [u8],
        btf: Option<BtfProvider<'_>>,
    ) -> Result<Self, Error> {
        let btf = btf.map(|provide| provide(elf)).transpose();
        Ok(Self { name, elf, btf: btf.map_err(|source| Error::Btf { object: name, source })? })
    }

    /// Loads the object, which uses `maps`.
    pub(super) fn load(&self, settings: &Settings, maps: &Maps) -> Result<Object, Error> {
        let failed = |source| Error::Load { object: self.name, source };
        let mut builder = ObjectBuilder::default();
        builder.name(self.name).map_err(failed)?;
        if let Some(path) = &self.btf {
            builder.btf_custom_path(path).map_err(failed)?;
        }
        let mut open = builder.open_memory(self.elf).map_err(failed)?;
        for mut map in open.maps_mut() {
            let map_name = map.name().to_string_lossy().into_owned();
            match map_name.as_str() {
                SOCKETS => map.reuse_fd(maps.sockets.as_fd()),
                CONNECTIONS => map.reuse_fd(maps.connections.as_fd()),
                LISTENERS => map.reuse_fd(maps.listeners.as_fd()),
                CONTAINERS => map.reuse_fd(maps.containers.as_fd()),
                "blank_entry" => map.set_value_size(settings.value_size),
                rodata if rodata.ends_with(".rodata") => map.set_initial_value(&settings.bytes()),
                _ => Ok(()),
            }
            .map_err(failed)?;
        }
        open.load().map_err(failed)
    }
}

/// A handle, independent of the object, to its `.bss`.
pub(super) fn counters(name: &'static str, object: &Object) -> Result<MapHandle, Error> {
    let failed = |source| Error::Load { object: name, source };
    let found: Option<Map<'_>> = object.maps().find(|map| map.name().as_encoded_bytes().ends_with(b".bss"));
    let map = found.ok_or_else(|| failed(std::io::Error::other("it has no variables").into()))?;
    MapHandle::try_from(&map).map_err(failed)
}

/// Reads `lost_entries`, the only variable of an object's `.bss`.
pub(super) fn counter(map: &MapHandle) -> Option<u64> {
    let bytes = map.lookup(&0_u32.to_ne_bytes(), MapFlags::ANY).ok()??;
    Some(u64::from_ne_bytes(bytes.get(..8)?.try_into().ok()?))
}
