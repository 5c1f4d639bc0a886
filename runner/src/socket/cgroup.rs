//! Watching sockets from the root of the cgroup2 hierarchy, which sees every container without entering any.

use std::os::fd::AsRawFd as _;

use libbpf_rs::{Link, MapHandle};

use super::{
    BtfProvider, Error, hierarchy,
    object::{self, Maps, Settings, Source},
};

const NAME: &str = "socket_owner";
static ELF: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/socket_owner.bpf.o"));
/// The same, which also tells paths of owners.
static WITH_PATHS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/socket_owner_paths.bpf.o"));

/// The object that [`start`] loads.
pub(super) fn source(btf: Option<BtfProvider<'_>>, with_paths: bool) -> Result<Source, Error> {
    Source::new(NAME, if with_paths { WITH_PATHS } else { ELF }, btf)
}

/// Attached programs, which live as long as their links.
pub(super) struct Watch {
    pub(super) links: Vec<Link>,
    pub(super) counters: MapHandle,
    /// Whether every connection of this machine is entered.
    pub(super) is_whole: bool,
}

/// Loads the programs and attaches what can be attached; the rest goes to `notes`.
pub(super) fn start(
    source: &Source,
    settings: &Settings,
    maps: &Maps,
    notes: &mut Vec<String>,
) -> Result<Watch, Error> {
    let hierarchy = hierarchy::open().map_err(Error::Hierarchy)?;
    if !hierarchy.is_whole {
        notes.push(
            "the cgroup2 root is not visible from this cgroup namespace: sockets outside it have no owner; \
             mount the host's /sys/fs/cgroup"
                .to_owned(),
        );
    }
    let object = source.load(settings, maps)?;
    let mut links = Vec::new();
    let mut refused = Vec::new();
    for program in object.progs_mut() {
        match program.attach_cgroup(hierarchy.root.as_raw_fd()) {
            Ok(link) => links.push(link),
            Err(error) => refused.push(format!("{}: {error}", program.section().to_string_lossy())),
        }
    }
    if links.is_empty() {
        return Err(Error::NothingAttached(refused.join("; ")));
    }
    let is_whole = hierarchy.is_whole && refused.is_empty();
    notes.extend(refused.into_iter().map(|what| format!("some sockets have no owner: cannot attach {what}")));
    Ok(Watch { links, counters: object::counters(NAME, &object)?, is_whole })
}
