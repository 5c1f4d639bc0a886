//! Watching sockets from the root of the cgroup2 hierarchy, which sees every container without entering any.

use std::os::fd::AsRawFd as _;

use libbpf_rs::{Link, MapHandle};

use super::{
    BtfProvider, Error, hierarchy,
    object::{self, Settings},
};

const NAME: &str = "socket_owner";
static ELF: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/socket_owner.bpf.o"));

/// Attached programs and the maps that they fill; the programs live as long as their links.
pub(super) struct Watch {
    pub(super) links: Vec<Link>,
    pub(super) map: MapHandle,
    pub(super) counters: MapHandle,
}

/// Loads the programs and attaches what can be attached; the rest goes to `notes`.
pub(super) fn start(
    settings: &Settings,
    btf: Option<BtfProvider<'_>>,
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
    let object = object::load(NAME, ELF, settings, btf, None)?;
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
    notes.extend(refused.into_iter().map(|what| format!("some sockets have no owner: cannot attach {what}")));
    Ok(Watch {
        links,
        map: object::map(NAME, &object, "gadget_sockets")?,
        counters: object::map(NAME, &object, ".bss")?,
    })
}
