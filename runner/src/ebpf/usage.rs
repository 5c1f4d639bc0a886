//! How much the programs in this machine's kernel are run, and what their maps take.

#![allow(unsafe_code, reason = "bpf_enable_stats has no safe wrapper")]

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
};

use libbpf_rs::{
    MapHandle,
    query::{ProgInfoIter, ProgInfoQueryOptions},
};

/// One program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramUsage {
    /// The kernel's number of it.
    pub id: u32,
    /// What the kernel calls it: at most 15 characters.
    pub name: String,
    /// Its type, such as `SocketFilter`.
    pub kind: String,
    /// Nanoseconds that it ran, since somebody counts.
    pub time: u64,
    /// How often it ran, since somebody counts.
    pub runs: u64,
    /// How many maps it uses.
    pub maps: usize,
    /// Bytes that they take.
    pub memory: u64,
}

/// Has the kernel count until this is dropped.
///
/// # Errors
/// When it cannot (before Linux 5.8), or may not.
pub fn count() -> io::Result<OwnedFd> {
    // SAFETY: takes a number and gives a descriptor.
    let fd = unsafe { libbpf_sys::bpf_enable_stats(libbpf_sys::BPF_STATS_RUN_TIME) };
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(-fd));
    }
    // SAFETY: the kernel has just made this descriptor and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// All programs.
pub fn programs() -> Vec<ProgramUsage> {
    let options = ProgInfoQueryOptions::default().include_map_ids(true);
    let usage = |info: libbpf_rs::query::ProgramInfo| ProgramUsage {
        id: info.id,
        name: info.name.to_string_lossy().into_owned(),
        kind: format!("{:?}", info.ty),
        time: info.run_time_ns,
        runs: info.run_cnt,
        maps: info.map_ids.len(),
        memory: info.map_ids.iter().map(|&id| memory_of(id)).fold(0, u64::saturating_add),
    };
    ProgInfoIter::with_query_opts(options).map(usage).collect()
}

/// Bytes that a map takes; 0 if it is gone.
fn memory_of(id: u32) -> u64 {
    let Ok(map) = MapHandle::from_map_id(id) else { return 0 };
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_fd().as_raw_fd()));
    let info = info.unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("memlock:"));
    line.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use libbpf_rs::ObjectBuilder;

    use super::*;

    #[test]
    fn a_program_that_is_loaded_is_there() {
        let dispatcher = super::super::packet_program::DISPATCHER;
        let _object = ObjectBuilder::default().open_memory(dispatcher).unwrap().load().unwrap();
        let found = programs().into_iter().find(|program| program.name == "ig_net_disp").unwrap();
        assert_eq!(found.kind, "SocketFilter");
        assert!(found.maps >= 1 && found.memory > 0);
        assert!(count().is_ok());
    }
}
