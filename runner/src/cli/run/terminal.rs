//! Writing to a terminal or a pipe whose reader may stop reading: a hung emulator, a window that nobody drains, a
//! program that is stuck.
//!
//! A plain write would wait for it, deaf to Ctrl-C. So what is written to is opened anew without blocking, which leaves
//! the descriptor that is shared with the shell as it is, and every wait is for the reader and for whoever asks to stop.
//! Once somebody has, a reader that takes nothing for [`GRACE`] is given up.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::{FileTypeExt, OpenOptionsExt},
    },
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

/// How long a reader may take nothing once it is time to end.
const GRACE: Duration = Duration::from_millis(300);

/// A terminal or a pipe, and what ends the wait for it.
pub(super) struct Patient<'a> {
    file: File,
    stop: BorrowedFd<'a>,
    deadline: Option<Instant>,
}

impl<'a> Patient<'a> {
    /// A writer to the terminal or pipe that `descriptor` is, which is patient until `stop` is readable or, if it is a
    /// terminal, `deadline` is there: who reads a pipe gets all that was seen in time. `None` if it is neither, or
    /// cannot be opened anew.
    pub(super) fn open(
        descriptor: &(impl AsFd + IsTerminal),
        stop: BorrowedFd<'a>,
        deadline: Option<Instant>,
    ) -> Option<Self> {
        let path = format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd());
        let terminal = descriptor.is_terminal();
        if !terminal && !std::fs::metadata(&path).is_ok_and(|found| found.file_type().is_fifo()) {
            return None;
        }
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = OpenOptions::new().write(true).custom_flags(flags.bits()).open(path).ok()?;
        Some(Self { file, stop, deadline: deadline.filter(|_| terminal) })
    }

    /// Waits until the reader takes something, or gives it up.
    fn wait(&self) -> io::Result<()> {
        let mut fds =
            [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT), PollFd::new(self.stop, PollFlags::POLLIN)];
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
            match self.file.write(bytes) {
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
    use std::{io::Read, os::fd::OwnedFd};

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
    fn a_pipe_that_nobody_reads_is_given_up_when_asked_to_stop() {
        let (reader, writer) = io::pipe().unwrap();
        let (reader, writer) = (File::from(OwnedFd::from(reader)), File::from(OwnedFd::from(writer)));
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC).unwrap();
        // Time that is up does not end the wait: whoever reads late gets all of it.
        let mut patient = Patient::open(&writer, stop.as_fd(), Some(Instant::now())).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(GRACE * 2);
                io::copy(&mut (&reader).take(1 << 20), &mut io::sink()).unwrap()
            });
            patient.write_all(&vec![b'x'; 1 << 20]).unwrap();
        });
        stop.write(1).unwrap();
        assert_eq!(patient.write_all(&vec![b'x'; 1 << 20]).unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(reader);
        assert_eq!(patient.write_all(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn what_is_neither_is_written_as_ever() {
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC).unwrap();
        assert!(Patient::open(&tempfile::tempfile().unwrap(), stop.as_fd(), None).is_none());
    }
}
