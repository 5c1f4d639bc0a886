//! tracefs, in which the kernel says its tracepoints' numbers: where nobody mounted it, it is mounted for one thread.

use std::{io, path::Path};

use super::private_mount::with_mount;

/// Where libbpf looks for tracefs.
pub(super) const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Runs `work` where tracefs can be read. Nobody else on the machine sees a mount.
pub(super) fn with_tracefs<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    if PLACES.iter().any(|place| Path::new(place).join("events").exists()) {
        return Ok(work());
    }
    with_mount("tracefs", PLACES[0], work)
}

/// Reads a file of tracefs; `path` is relative to where it is mounted.
pub(crate) fn read(path: &str) -> io::Result<String> {
    let found = || {
        let mut result = Err(io::ErrorKind::NotFound.into());
        for place in PLACES {
            result = result.or_else(|_| std::fs::read_to_string(Path::new(place).join(path)));
        }
        result
    };
    with_tracefs(found)?
}
