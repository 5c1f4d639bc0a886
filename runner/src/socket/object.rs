//! Loading one of the objects, configured and with its maps sized: what the watching programs and the passes share.

use std::{os::fd::AsFd as _, time::Duration};

use libbpf_rs::{Map, MapCore as _, MapFlags, MapHandle, Object, ObjectBuilder};

use super::{BtfProvider, Error};

/// `struct socket_settings` of `bpf/socket_entry.h`.
pub(super) struct Settings {
    pub(super) value_size: u32,
    pub(super) grace: Duration,
}

impl Settings {
    fn bytes(&self) -> [u8; 16] {
        let grace = u64::try_from(self.grace.as_nanos()).unwrap_or(u64::MAX);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&grace.to_ne_bytes());
        bytes[8..].copy_from_slice(&u64::from(self.value_size).to_ne_bytes());
        bytes
    }
}

/// Loads `elf`, with `sockets` in place of its own `gadget_sockets` if given.
pub(super) fn load(
    name: &'static str,
    elf: &[u8],
    settings: &Settings,
    btf: Option<BtfProvider<'_>>,
    sockets: Option<&MapHandle>,
) -> Result<Object, Error> {
    let failed = |source| Error::Load { object: name, source };
    let mut builder = ObjectBuilder::default();
    builder.name(name).map_err(failed)?;
    if let Some(provide) = btf {
        let path = provide(elf).map_err(|source| Error::Btf { object: name, source })?;
        builder.btf_custom_path(path).map_err(failed)?;
    }
    let mut open = builder.open_memory(elf).map_err(failed)?;
    for mut map in open.maps_mut() {
        let map_name = map.name().to_string_lossy().into_owned();
        match (map_name.as_str(), sockets) {
            ("gadget_sockets", Some(sockets)) => map.reuse_fd(sockets.as_fd()),
            ("gadget_sockets" | "blank_entry", _) => map.set_value_size(settings.value_size),
            (rodata, _) if rodata.ends_with(".rodata") => map.set_initial_value(&settings.bytes()),
            _ => Ok(()),
        }
        .map_err(failed)?;
    }
    open.load().map_err(failed)
}

/// A handle, independent of the object, to the map whose name ends in `suffix`.
pub(super) fn map(name: &'static str, object: &Object, suffix: &str) -> Result<MapHandle, Error> {
    let failed = |source| Error::Load { object: name, source };
    let found: Option<Map<'_>> =
        object.maps().find(|map| map.name().as_encoded_bytes().ends_with(suffix.as_bytes()));
    let map = found.ok_or_else(|| failed(std::io::Error::other(format!("it has no map {suffix}")).into()))?;
    MapHandle::try_from(&map).map_err(failed)
}

/// Reads `lost_entries`, the only variable of an object's `.bss`.
pub(super) fn counter(map: &MapHandle) -> Option<u64> {
    let bytes = map.lookup(&0_u32.to_ne_bytes(), MapFlags::ANY).ok()??;
    Some(u64::from_ne_bytes(bytes.get(..8)?.try_into().ok()?))
}
