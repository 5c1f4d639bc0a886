//! The file system in which programs share maps by name (`LIBBPF_PIN_BY_NAME`): where nobody mounted it, it is mounted
//! for one thread. Then nothing is shared, because nobody else can have put anything there.

#![allow(unsafe_code, reason = "libbpf-rs does not tell where a map will be pinned before it is")]

use std::io;

use libbpf_rs::{AsRawLibbpf, OpenMap};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::private_mount::with_mount;

/// Where libbpf pins maps.
const PLACE: &str = "/sys/fs/bpf";

/// Whether a map is shared by its name.
pub(super) fn is_shared(map: &OpenMap<'_>) -> bool {
    // SAFETY: the map is one of libbpf's, and outlives the call.
    unsafe { !libbpf_sys::bpf_map__pin_path(map.as_libbpf_object().as_ptr()).is_null() }
}

/// Runs `work` where maps can be pinned. Nobody else on the machine sees a mount.
pub(super) fn with_bpffs<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    if statfs(PLACE).is_ok_and(|place| place.filesystem_type() == BPF_FS_MAGIC) {
        return Ok(work());
    }
    with_mount("bpf", PLACE, work)
}
