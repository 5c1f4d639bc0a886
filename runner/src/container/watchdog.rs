//! The watchdog: a process that answers in our place when we do not, so that a stopped `igx` never stops a host.
//!
//! Whoever waits for an answer of fanotify(7) waits for as long as some process has the group open. The kernel answers
//! by itself when the last one ends, but not for one that is stopped (Ctrl-Z, SIGSTOP, a debugger, the cgroup freezer)
//! or stuck. So a child process keeps the same groups open. It sleeps until something waits in them; when nothing has
//! been answered for [`DEADLINE`], it allows all that waits, and goes on to do so until its parent shows signs of life.
//!
//! The child is forked, not executed: it lives in a session of its own, which Ctrl-Z does not reach, at the root of the
//! freezer's hierarchy where it may, shares its memory with its parent until one of them writes, and ends with it: then
//! a pipe closes. After the fork it makes system calls and touches its stack and one shared page, nothing else, as it
//! is the copy of a process with several threads.
#![allow(unsafe_code, reason = "fork, and what may be called after it")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe2};

mod child;

/// How long nothing may be answered while something waits.
pub(super) const DEADLINE: Duration = Duration::from_secs(2);

/// Groups that one watchdog guards.
const GROUPS: usize = 2;

/// What both processes see.
#[repr(C)]
#[derive(Default)]
struct Page {
    /// Moves with every sign of life of the parent.
    life: AtomicU64,
    /// Not 0 while the parent has taken events that it may not have answered.
    busy: AtomicU32,
    /// The highest descriptor that came with an event: a number by which it is answered.
    highest: AtomicI32,
    /// Events that the child answered.
    answered: AtomicU64,
}

/// The parent's side. Dropping it ends the child.
pub(super) struct Watchdog {
    page: NonNull<Page>,
    /// The end that the child sees closed when we end; a byte in it says that events were taken.
    lifeline: Option<OwnedFd>,
    /// Readable once the child has answered in our place.
    relieved: EventFd,
    child: Pid,
}

// SAFETY: the page holds atomics only, and lives until the watchdog is dropped.
unsafe impl Send for Watchdog {}
// SAFETY: as above.
unsafe impl Sync for Watchdog {}

impl Watchdog {
    /// Starts to guard `groups`, which must not block.
    pub(super) fn start(groups: [BorrowedFd<'_>; GROUPS]) -> io::Result<Self> {
        Self::with_deadline(groups, DEADLINE)
    }

    fn with_deadline(groups: [BorrowedFd<'_>; GROUPS], deadline: Duration) -> io::Result<Self> {
        let size = std::num::NonZeroUsize::MIN.saturating_add(size_of::<Page>());
        // SAFETY: a new mapping, which no other memory overlaps.
        let page = unsafe {
            mmap_anonymous(None, size, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED)
        }?
        .cast::<Page>();
        // Zero bytes are a valid page: no life, not busy.
        let (alive, lifeline) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let relieved = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let freezers = child::freezer_roots();
        let guard = child::Guard {
            // SAFETY: it is mapped in both processes, in the child for good.
            page: unsafe { page.as_ref() },
            groups: groups.map(|group| group.as_raw_fd()),
            lifeline: alive.as_raw_fd(),
            relieved: relieved.as_fd().as_raw_fd(),
            freezers: [0, 1].map(|index: usize| freezers.get(index).map_or(-1, AsRawFd::as_raw_fd)),
            ticks: u32::try_from(deadline.as_millis() / child::TICK.as_millis()).unwrap_or(u32::MAX).max(1),
        };
        // SAFETY: the child calls what is safe after a fork only, and never returns.
        match unsafe { fork() }? {
            ForkResult::Child => guard.run(),
            ForkResult::Parent { child } => Ok(Self { page, lifeline: Some(lifeline), relieved, child }),
        }
    }

    fn page(&self) -> &Page {
        // SAFETY: mapped until it is dropped.
        unsafe { self.page.as_ref() }
    }

    /// Before events are taken.
    pub(super) fn taking(&self) {
        self.page().busy.store(1, Ordering::SeqCst);
        self.alive();
    }

    /// An event came with this descriptor.
    pub(super) fn took(&self, fd: RawFd) {
        self.page().highest.fetch_max(fd, Ordering::Relaxed);
    }

    /// Has the child look whether what was taken is answered.
    pub(super) fn look(&self) {
        if let Some(lifeline) = &self.lifeline {
            // Full, or without a reader: it is awake, or gone.
            let _ = nix::unistd::write(lifeline, &[0]);
        }
    }

    /// All that was taken is answered.
    pub(super) fn done(&self) {
        self.page().busy.store(0, Ordering::SeqCst);
        self.alive();
    }

    /// A sign of life: something was answered.
    pub(super) fn alive(&self) {
        self.page().life.fetch_add(1, Ordering::SeqCst);
    }

    /// Readable once the child has answered in our place; [`Watchdog::resume`] makes it unreadable.
    pub(super) fn relieved(&self) -> BorrowedFd<'_> {
        self.relieved.as_fd()
    }

    /// Answers by ourselves again; whether the child did so meanwhile.
    pub(super) fn resume(&self) -> bool {
        self.alive();
        self.relieved.read().is_ok()
    }

    /// How many events the child answered.
    pub(super) fn answered(&self) -> u64 {
        self.page().answered.load(Ordering::Relaxed)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.lifeline = None;
        // It ends at once, unless it is stopped itself.
        let ended = (0..100).any(|_| match waitpid(self.child, Some(WaitPidFlag::WNOHANG)) {
            Ok(nix::sys::wait::WaitStatus::StillAlive) => {
                std::thread::sleep(Duration::from_millis(1));
                false
            }
            Err(Errno::EINTR) => false,
            _ => true,
        });
        if !ended {
            let _ = nix::sys::signal::kill(self.child, nix::sys::signal::Signal::SIGKILL);
            let _ = waitpid(self.child, None);
        }
        // SAFETY: mapped by us with this size, and nobody has a reference any more.
        let _ = unsafe { munmap(self.page.cast(), size_of::<Page>() + 1) };
    }
}

#[cfg(test)]
mod tests;
