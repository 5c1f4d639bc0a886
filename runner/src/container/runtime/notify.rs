//! inotify(7) for tasks: waiting for changes of folders without a thread.
#![allow(unsafe_code, reason = "tokio asks for a promise about the descriptor that it waits for")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::io::unix::AsyncFd;

/// An instance of inotify.
pub(super) struct Notify(AsyncFd<Descriptor>);

/// Owns the descriptor, and never shows another one.
struct Descriptor(Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Notify {
    pub(super) fn new() -> io::Result<Self> {
        let descriptor = Descriptor(Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?);
        // SAFETY: the descriptor is open and stays the same until it is dropped, together with what waits for it.
        Ok(Self(unsafe { AsyncFd::register(descriptor) }.map_err(io::Error::from)?))
    }

    /// Watches a folder; one that is watched already is so from now on for `flags`.
    pub(super) fn add(&self, folder: &Path, flags: AddWatchFlags) -> io::Result<WatchDescriptor> {
        Ok(self.0.get_ref().0.add_watch(folder, flags | AddWatchFlags::IN_ONLYDIR)?)
    }

    /// Waits for events.
    pub(super) async fn events(&self) -> io::Result<Vec<InotifyEvent>> {
        loop {
            let mut ready = self.0.readable().await?;
            match self.0.get_ref().0.read_events() {
                Err(nix::Error::EAGAIN) => ready.clear_ready(),
                events => return Ok(events?),
            }
        }
    }
}
