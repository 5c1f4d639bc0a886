//! File systems that the kernel offers and nobody mounted: mounted for one thread.

use std::{io, thread};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// Runs `work` in a thread that finds a file system of `kind` at `place`. Nobody else on the machine sees the mount;
/// what the thread attaches, loads and pins by descriptor stays when it ends.
pub(super) fn with_mount<T: Send>(kind: &str, place: &str, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let own = scope.spawn(|| {
            // Only this thread leaves the mount namespace.
            unshare(CloneFlags::CLONE_NEWNS)?;
            let none = None::<&str>;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
            mount(Some(kind), place, Some(kind), MsFlags::empty(), none)?;
            Ok(work())
        });
        own.join().unwrap_or_else(|_| Err(io::Error::other(format!("the thread that mounts {kind} ended"))))
    })
}
