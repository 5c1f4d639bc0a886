//! Hands on what eBPF programs print, for as long as a run lasts. A thread of its own does: what is printed for each event
//! must not keep events waiting.

use std::{
    io,
    os::fd::AsFd,
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    thread,
    time::Duration,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::{EfdFlags, EventFd},
};

use crate::ebpf::TracePipe;

/// Is told each line that programs print, with process and time before it, as `trace_pipe` has them. The text comes from
/// outside.
pub type Listener = Arc<dyn Fn(&str) + Send + Sync>;

/// Kernels were seen that forget to wake who waits for lines.
const PERIOD: u16 = 100;

/// How long the end of a run waits for a listener that does not come back.
const GRACE: Duration = Duration::from_millis(300);

/// The thread. It ends with this, after the last line.
pub(super) struct Printed {
    stop: Arc<EventFd>,
    ended: Receiver<()>,
}

impl Printed {
    /// Begins to listen: what was printed before is not told.
    ///
    /// # Errors
    /// If the kernel does not let itself be listened to.
    pub(super) fn follow(listener: Listener) -> io::Result<Self> {
        let mut pipe = TracePipe::open()?;
        let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let (end, ended) = sync_channel(1);
        let asked = Arc::clone(&stop);
        thread::Builder::new().name("printed".to_owned()).spawn(move || {
            if let Err(error) = listen(&mut pipe, &asked, &listener) {
                tracing::warn!("what programs print is not shown any more: {error}");
            }
            drop(pipe);
            let _ = end.send(());
        })?;
        Ok(Self { stop, ended })
    }
}

impl Drop for Printed {
    fn drop(&mut self) {
        if self.stop.write(1).is_ok() {
            let _ = self.ended.recv_timeout(GRACE);
        }
    }
}

fn listen(pipe: &mut TracePipe, stop: &EventFd, listener: &Listener) -> io::Result<()> {
    let tell = &mut |line: &[u8]| listener(&String::from_utf8_lossy(line));
    loop {
        // Before the last look: what was printed until then is told.
        let stopped = stop.read().is_ok();
        let more = pipe.take(tell)?;
        if stopped {
            return Ok(());
        }
        if more {
            continue;
        }
        let lines = pipe.descriptor().map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let mut polled: Vec<_> =
            lines.into_iter().chain([PollFd::new(stop.as_fd(), PollFlags::POLLIN)]).collect();
        match poll(&mut polled, PollTimeout::from(PERIOD)) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
