//! Writing to a terminal that may stop reading: a hung emulator, a window that nobody drains.
//!
//! A plain write would wait for it, deaf to Ctrl-C. So the terminal is opened anew without blocking, which leaves the
//! descriptor that is shared with the shell as it is, and every wait is for the terminal and for whoever asks to stop.
//! Once somebody has, a terminal that takes nothing for [`GRACE`] is given up.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::OpenOptionsExt,
    },
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

/// How long a terminal may take nothing once it is time to end.
const GRACE: Duration = Duration::from_millis(300);

/// A terminal, and what ends the wait for it.
pub(super) struct Patient<'a> {
    terminal: File,
    stop: BorrowedFd<'a>,
    deadline: Option<Instant>,
}

impl<'a> Patient<'a> {
    /// A writer to the terminal that `descriptor` is, which is patient until `stop` is readable or `deadline` is there;
    /// `None` if it is no terminal, or cannot be opened anew.
    pub(super) fn open(
        descriptor: &(impl AsRawFd + IsTerminal),
        stop: BorrowedFd<'a>,
        deadline: Option<Instant>,
    ) -> Option<Self> {
        if !descriptor.is_terminal() {
            return None;
        }
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
        let terminal = OpenOptions::new().write(true).custom_flags(flags.bits()).open(path).ok()?;
        Some(Self { terminal, stop, deadline })
    }

    /// Waits until the terminal takes something, or gives it up.
    fn wait(&self) -> io::Result<()> {
        let mut fds = [
            PollFd::new(self.terminal.as_fd(), PollFlags::POLLOUT),
            PollFd::new(self.stop, PollFlags::POLLIN),
        ];
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.map_or(PollTimeout::NONE, whole);
        match poll(&mut fds, timeout) {
            Err(Errno::EINTR) => return Ok(()),
            result => result?,
        };
        if fds[0].any() == Some(true) {
            return Ok(());
        }
        match poll(&mut fds[..1], whole(GRACE)) {
            Ok(0) => Err(io::ErrorKind::TimedOut.into()),
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// In whole milliseconds, rounded up.
fn whole(time: Duration) -> PollTimeout {
    PollTimeout::try_from(time.as_millis().saturating_add(1)).unwrap_or(PollTimeout::MAX)
}

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.terminal.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait()?,
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use nix::{
        pty::openpty,
        sys::eventfd::{EfdFlags, EventFd},
    };

    use super::*;

    #[test]
    fn a_terminal_that_stops_reading_is_given_up_when_asked_to_stop() {
        let pty = openpty(None, None).unwrap();
        let slave = File::from(pty.slave);
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC).unwrap();
        let mut patient = Patient::open(&slave, stop.as_fd(), None).unwrap();
        patient.write_all(b"read").unwrap();
        let asker = std::thread::scope(|scope| {
            let writer = scope.spawn(|| patient.write_all(&vec![b'x'; 1 << 20]).unwrap_err().kind());
            stop.write(1).unwrap();
            writer.join().unwrap()
        });
        assert_eq!(asker, io::ErrorKind::TimedOut);
        let mut late = Patient::open(&slave, stop.as_fd(), Some(Instant::now())).unwrap();
        assert_eq!(late.write_all(&[b'x'; 1 << 16]).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn what_is_no_terminal_is_written_as_ever() {
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC).unwrap();
        assert!(Patient::open(&tempfile::tempfile().unwrap(), stop.as_fd(), None).is_none());
    }
}
