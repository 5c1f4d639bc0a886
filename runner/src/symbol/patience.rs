//! Reads that may never end: files of a container can be on a file system that does not answer, such as one that a
//! program in the container makes (FUSE), and even its name or its size cannot be asked for then.
//!
//! Such reads are made by a thread of their own, which is not waited for after a while. How many may be stuck is bounded.

use std::{
    io::{Error, ErrorKind, Result},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel},
    },
    thread,
    time::Duration,
};

/// Threads that may be stuck at once.
const MOST_STUCK: usize = 16;

const READING: u8 = 0;
const DONE: u8 = 1;
const GIVEN_UP: u8 = 2;

/// Says that a thread has ended, however it did.
struct End {
    state: Arc<AtomicU8>,
    stuck: Arc<AtomicUsize>,
}

impl Drop for End {
    fn drop(&mut self) {
        if self.state.swap(DONE, Ordering::AcqRel) == GIVEN_UP {
            self.stuck.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// How long is waited, and how many are stuck.
#[derive(Clone)]
pub(crate) struct Patience {
    limit: Duration,
    stuck: Arc<AtomicUsize>,
}

/// What became of a read.
pub(crate) enum Outcome<T> {
    /// It ended in time, or could not be begun.
    Ended(Result<T>),
    /// It goes on.
    Late(Late<T>),
}

/// A read that took too long.
pub(crate) struct Late<T>(Receiver<Result<T>>);

impl<T> Late<T> {
    /// What it gave, once, as soon as it has ended.
    pub(crate) fn take(&self) -> Option<Result<T>> {
        match self.0.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(Error::other("its reader ended"))),
        }
    }
}

impl Patience {
    /// Waits for `limit` each time.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, stuck: Arc::default() }
    }

    /// What `read` gives. It goes on, for nobody, after an error that says that it took too long.
    pub(crate) fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match self.begin(read) {
            Outcome::Ended(result) => result,
            Outcome::Late(_) => Err(Error::new(
                ErrorKind::TimedOut,
                format!("its file system does not answer within {} s", self.limit.as_secs_f32()),
            )),
        }
    }

    /// What `read` gives, or has yet to give when it took too long.
    pub(crate) fn begin<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Outcome<T> {
        if self.stuck.load(Ordering::Acquire) >= MOST_STUCK {
            let message = "too many files are on file systems that do not answer";
            return Outcome::Ended(Err(Error::new(ErrorKind::TimedOut, message)));
        }
        let state = Arc::new(AtomicU8::new(READING));
        let (sender, receiver) = sync_channel(1);
        let end = End { state: state.clone(), stuck: self.stuck.clone() };
        let begun = thread::Builder::new().name("read-file".to_owned()).spawn(move || {
            let _end = end;
            // Nobody listens any more if it took too long.
            let _ = sender.send(read());
        });
        if let Err(error) = begun {
            return Outcome::Ended(Err(error));
        }
        match receiver.recv_timeout(self.limit) {
            Ok(result) => return Outcome::Ended(result),
            Err(RecvTimeoutError::Disconnected) => {
                return Outcome::Ended(Err(Error::other("its reader ended")));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        self.stuck.fetch_add(1, Ordering::AcqRel);
        if state.swap(GIVEN_UP, Ordering::AcqRel) == DONE {
            self.stuck.fetch_sub(1, Ordering::AcqRel);
        }
        Outcome::Late(Late(receiver))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File, OpenOptions},
        os::fd::AsRawFd,
        path::Path,
        time::Instant,
    };

    use nix::{
        mount::{MntFlags, MsFlags, mount, umount2},
        sys::stat::Mode,
        unistd::mkfifo,
    };

    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    fn ends(patience: &Patience) {
        let began = Instant::now();
        while patience.stuck.load(Ordering::Acquire) > 0 {
            assert!(began.elapsed() < Duration::from_secs(10));
            thread::yield_now();
        }
    }

    #[test]
    fn what_is_read_in_time_is_handed_on() {
        let patience = Patience::new(Duration::from_secs(10));
        assert_eq!(patience.read(|| Ok(7)).unwrap(), 7);
        let error = patience.read(|| File::open("/nonexistent")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn what_never_ends_is_given_up_and_there_is_an_end_to_how_many() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        let patience = Patience::new(SOON);
        let open = || {
            let fifo = fifo.clone();
            patience.read(move || File::open(fifo)).unwrap_err()
        };
        for _ in 0..MOST_STUCK {
            assert_eq!(open().to_string(), "its file system does not answer within 0.05 s");
        }
        let began = Instant::now();
        assert_eq!(open().to_string(), "too many files are on file systems that do not answer");
        assert!(began.elapsed() < SOON);
        // Now there is somebody at the other end.
        let _writer = OpenOptions::new().write(true).open(&fifo).unwrap();
        ends(&patience);
        patience.read(|| Ok(())).unwrap();
    }

    #[test]
    fn what_comes_late_is_there_later() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        let patience = Patience::new(SOON);
        let asked = fifo.clone();
        let Outcome::Late(late) = patience.begin(move || fs::read_to_string(asked)) else {
            panic!("nobody has written")
        };
        assert!(late.take().is_none());
        fs::write(&fifo, "at last").unwrap();
        ends(&patience);
        assert_eq!(late.take().unwrap().unwrap(), "at last");
    }

    /// A file system that is there, and says nothing, as long as the descriptor is open.
    fn dead_file_system(folder: &Path) -> Option<File> {
        let fuse = OpenOptions::new().read(true).write(true).open("/dev/fuse").ok()?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", fuse.as_raw_fd());
        let mounted = mount(Some("dead"), folder, Some("fuse"), MsFlags::empty(), Some(options.as_str()));
        mounted.is_ok().then_some(fuse)
    }

    #[test]
    fn a_file_system_that_does_not_answer_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let Some(fuse) = dead_file_system(folder.path()) else {
            eprintln!("left out: no FUSE here");
            return;
        };
        let patience = Patience::new(SOON);
        let file = folder.path().join("libc.so");
        let error = patience.read(|| File::open(file)).unwrap_err();
        umount2(folder.path(), MntFlags::MNT_DETACH).unwrap();
        drop(fuse);
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        ends(&patience);
    }
}
