//! Removes the entries of closed sockets, some seconds after they were closed.

use std::{
    io,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::Duration,
};

use libbpf_rs::Link;

use super::older;

/// How often entries are looked at.
pub(super) const INTERVAL: Duration = Duration::from_secs(2);

/// A thread that sleeps between two passes over the map. Dropping it wakes and ends it.
#[derive(Debug)]
pub(super) struct Sweeper {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sweeper {
    /// Runs the iterator `closed` every `interval`.
    pub(super) fn start(closed: Link, interval: Duration) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = thread::Builder::new().name("socket-sweep".to_owned()).stack_size(128 * 1024).spawn(
            move || {
                while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                    if let Err(error) = older::run(&closed) {
                        tracing::warn!("socket owner: entries of closed sockets stay for now: {error}");
                    }
                }
            },
        )?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the thread itself.
            let _ = thread.join();
        }
    }
}
