//! The loop that takes events out of the groups of fanotify(7) and answers every one of them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use nix::sys::fanotify::{
    EventFFlags, Fanotify, FanotifyEvent, FanotifyResponse, InitFlags, MaskFlags, Response,
};

use super::super::watchdog::Watchdog;
use super::Starts;

/// The two groups: executions of runtimes, and what is opened and read in the folders of a start.
pub(super) struct Groups {
    pub(super) runtimes: Fanotify,
    pub(super) folders: Fanotify,
    pub(super) stop: Arc<EventFd>,
    pub(super) watchdog: Watchdog,
}

/// A new group, which can keep others waiting.
pub(super) fn group() -> io::Result<Fanotify> {
    let flags = InitFlags::FAN_CLASS_CONTENT
        | InitFlags::FAN_CLOEXEC
        | InitFlags::FAN_NONBLOCK
        | InitFlags::FAN_UNLIMITED_QUEUE
        | InitFlags::FAN_UNLIMITED_MARKS;
    // Non-blocking for the pipes in a bundle folder: the kernel opens what an event is about on our behalf.
    let files =
        EventFFlags::O_RDONLY | EventFFlags::O_LARGEFILE | EventFFlags::O_CLOEXEC | EventFFlags::O_NONBLOCK;
    Ok(Fanotify::init(flags, files)?)
}

/// A process that waits for our answer. It gets it when this is dropped, however that comes about.
pub(super) struct Held<'a> {
    watchdog: &'a Watchdog,
    group: &'a Fanotify,
    event: FanotifyEvent,
}

impl Held<'_> {
    pub(super) fn file(&self) -> Option<BorrowedFd<'_>> {
        self.event.fd()
    }

    pub(super) fn pid(&self) -> Option<u32> {
        u32::try_from(self.event.pid()).ok().filter(|pid| *pid != 0)
    }

    /// Whether a file is to be opened, not read.
    pub(super) fn opens(&self) -> bool {
        self.event.mask().contains(MaskFlags::FAN_OPEN_PERM)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let asked = MaskFlags::FAN_OPEN_EXEC_PERM | MaskFlags::FAN_ACCESS_PERM | MaskFlags::FAN_OPEN_PERM;
        if let Some(fd) = self.event.fd().filter(|_| self.event.mask().intersects(asked)) {
            match self.group.write_response(FanotifyResponse::new(fd, Response::FAN_ALLOW)) {
                // The watchdog was faster.
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(error) => tracing::warn!("cannot let a container's start go on: {error}"),
            }
        }
        self.watchdog.alive();
    }
}

impl Groups {
    /// Answers until it is told to stop, or cannot any more.
    pub(super) fn run(&self, mut starts: Starts) -> io::Result<()> {
        loop {
            let timeout = match starts.expire(self) {
                None => PollTimeout::NONE,
                Some(wait) => PollTimeout::try_from(wait.as_millis() + 1).unwrap_or(PollTimeout::MAX),
            };
            let mut fds =
                [self.stop.as_fd(), self.runtimes.as_fd(), self.folders.as_fd(), self.watchdog.relieved()]
                    .map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            match poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            self.watchdog.taking();
            let answered = self.answer(&mut starts);
            self.watchdog.done();
            answered?;
            if self.watchdog.resume() {
                starts.relieved(self.watchdog.answered());
            }
            if self.is_stopping() {
                return Ok(());
            }
        }
    }

    /// Takes what waits, and lets it go on.
    fn answer(&self, starts: &mut Starts) -> io::Result<()> {
        for held in self.take(&self.folders, starts)? {
            if self.is_stopping() {
                return Ok(());
            }
            if held.opens() {
                starts.opened(self, &held);
            } else {
                starts.read(self, &held);
            }
        }
        for held in self.take(&self.runtimes, starts)? {
            starts.executed(self, &held);
        }
        Ok(())
    }

    fn is_stopping(&self) -> bool {
        let mut fds = [PollFd::new(self.stop.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO) != Ok(0)
    }

    /// The events that wait in a group. Those of this very process are answered at once.
    fn take<'a>(&'a self, group: &'a Fanotify, starts: &mut Starts) -> io::Result<Vec<Held<'a>>> {
        let events = match group.read_events() {
            Ok(events) => events,
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(Vec::new()),
            // The kernel could not open the file for us, and has refused what was asked.
            Err(error @ (Errno::EMFILE | Errno::ENFILE | Errno::ENXIO | Errno::ETXTBSY | Errno::EPERM)) => {
                tracing::warn!("a process could not be held: {error}");
                starts.unheld.add(1);
                return Ok(Vec::new());
            }
            Err(error) => return Err(error.into()),
        };
        self.watchdog.look();
        let own_pid = nix::unistd::getpid().as_raw();
        let mut held = Vec::with_capacity(events.len());
        for event in events {
            if event.mask().contains(MaskFlags::FAN_Q_OVERFLOW) {
                tracing::warn!("the queue of container starts was full: some were not held");
                starts.unheld.add(1);
                continue;
            }
            self.watchdog.took(event.fd().map_or(-1, |fd| fd.as_raw_fd()));
            let one = Held { watchdog: &self.watchdog, group, event };
            if one.event.pid() != own_pid {
                held.push(one);
            }
        }
        Ok(held)
    }
}
