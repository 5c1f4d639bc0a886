//! What the watchdog's child does: system calls, its stack and one shared page, nothing else.

use std::fs::{File, OpenOptions};
use std::os::fd::RawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{GROUPS, Page};

/// How often the child looks, while something waits.
pub(super) const TICK: Duration = Duration::from_millis(50);
/// Events of which no more than this many descriptors are open at the parent are answered by number.
const NUMBERS: i32 = 4096;

/// All that the child has.
pub(super) struct Guard<'a> {
    pub(super) page: &'a Page,
    pub(super) groups: [RawFd; GROUPS],
    pub(super) lifeline: RawFd,
    pub(super) relieved: RawFd,
    /// Where a process is written to that is to be moved out of the freezer's reach; -1: nowhere.
    pub(super) freezers: [RawFd; 2],
    /// How many ticks nothing may be answered.
    pub(super) ticks: u32,
}

/// The roots of the hierarchies that can freeze a process: a watchdog that is frozen with whom it guards is none.
pub(super) fn freezer_roots() -> Vec<File> {
    ["/sys/fs/cgroup/freezer", "/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .iter()
        .filter_map(|root| {
            let path = format!("{root}/cgroup.procs");
            OpenOptions::new().write(true).custom_flags(libc::O_CLOEXEC).open(path).ok()
        })
        .take(2)
        .collect()
}

impl Guard<'_> {
    /// Guards until the parent ends.
    pub(super) fn run(self) -> ! {
        self.settle();
        loop {
            // Without a limit: nothing waits.
            self.wait(-1);
            self.watch();
        }
    }

    /// Leaves what belongs to the parent only.
    fn settle(&self) {
        for &fd in self.freezers.iter().filter(|fd| **fd >= 0) {
            // SAFETY: the buffer has the length that is given. Without the permission we stay where we are.
            unsafe { libc::write(fd, c"0".as_ptr().cast(), 1) };
        }
        // SAFETY: none of these touches memory but what is given, which lives through the call.
        unsafe {
            libc::setsid();
            libc::prctl(libc::PR_SET_NAME, c"igx-watchdog".as_ptr());
            let mut all: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
        }
        let [first, second] = self.groups;
        let mut kept = [first, second, self.lifeline, self.relieved];
        kept.sort_unstable();
        let mut from = 0;
        for fd in kept {
            close_range(from, fd - 1);
            from = fd + 1;
        }
        close_range(from, RawFd::MAX);
    }

    /// Something waits or was taken: until that is over, sees to it that it is answered.
    fn watch(&self) {
        let mut life = self.life();
        let mut still = 0;
        while self.waits() {
            self.sleep();
            let now = self.life();
            still = if now == life { still + 1 } else { 0 };
            life = now;
            if still >= self.ticks {
                self.relieve(life);
                still = 0;
                life = self.life();
            }
        }
    }

    /// Answers in the place of the parent until it shows a sign of life after `life`.
    fn relieve(&self, life: u64) {
        self.allow_taken();
        self.page.busy.store(0, Ordering::SeqCst);
        loop {
            self.groups.iter().for_each(|group| self.allow_waiting(*group));
            let one = 1_u64.to_ne_bytes();
            // SAFETY: the buffer has the length that is given.
            unsafe { libc::write(self.relieved, one.as_ptr().cast(), one.len()) };
            self.wait(-1);
            if self.life() != life {
                return;
            }
        }
    }

    /// Answers what the parent has taken: the kernel knows an event by the number of the descriptor that came with it,
    /// and one that it does not know is an error without consequence.
    fn allow_taken(&self) {
        let most = self.page.highest.load(Ordering::Relaxed).saturating_add(NUMBERS);
        for group in self.groups {
            for fd in 0..most {
                if allow(group, fd) {
                    self.page.answered.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Answers what nobody has taken.
    fn allow_waiting(&self, group: RawFd) {
        const SIZE: usize = size_of::<libc::fanotify_event_metadata>();
        let mut buffer = [0_u64; 4096 / 8];
        loop {
            // SAFETY: the buffer has the length that is given.
            let length = unsafe { libc::read(group, buffer.as_mut_ptr().cast(), 4096) };
            let Ok(length @ 1..) = usize::try_from(length) else { return };
            let mut at = 0;
            while at + SIZE <= length.min(4096) {
                // SAFETY: the bytes are there, and any bytes are such a structure.
                let event = unsafe {
                    buffer.as_ptr().byte_add(at).cast::<libc::fanotify_event_metadata>().read_unaligned()
                };
                if event.fd >= 0 {
                    if allow(group, event.fd) {
                        self.page.answered.fetch_add(1, Ordering::Relaxed);
                    }
                    // SAFETY: the kernel made it for this event.
                    unsafe { libc::close(event.fd) };
                }
                at += (event.event_len as usize).max(SIZE);
            }
        }
    }

    fn life(&self) -> u64 {
        self.page.life.load(Ordering::SeqCst)
    }

    /// Whether anything is not answered.
    fn waits(&self) -> bool {
        if self.page.busy.load(Ordering::SeqCst) != 0 {
            return true;
        }
        let mut fds = self.groups.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
        // SAFETY: the array has the length that is given.
        unsafe { libc::poll(fds.as_mut_ptr(), GROUPS as libc::nfds_t, 0) > 0 }
    }

    /// Sleeps until an event waits, or the parent says that it took some; ends with the parent.
    fn wait(&self, timeout: libc::c_int) {
        let [first, second] = self.groups;
        let mut fds =
            [self.lifeline, first, second].map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
        // SAFETY: the array has the length that is given.
        unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) };
        self.read_lifeline(fds[0].revents);
    }

    /// Sleeps for a tick; ends with the parent.
    fn sleep(&self) {
        let mut fds = [libc::pollfd { fd: self.lifeline, events: 0, revents: 0 }];
        // SAFETY: the array has the length that is given. Without an event asked for, only the end wakes.
        unsafe { libc::poll(fds.as_mut_ptr(), 1, TICK.as_millis() as libc::c_int) };
        self.read_lifeline(fds[0].revents);
    }

    fn read_lifeline(&self, revents: libc::c_short) {
        if revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0 {
            // SAFETY: ends this process, and closes what keeps others waiting.
            unsafe { libc::_exit(0) };
        }
        if revents & libc::POLLIN != 0 {
            let mut bytes = [0_u8; 64];
            // SAFETY: the buffer has the length that is given.
            while unsafe { libc::read(self.lifeline, bytes.as_mut_ptr().cast(), bytes.len()) } > 0 {}
        }
    }
}

/// Allows the event that came with the descriptor `fd`; whether there was one.
fn allow(group: RawFd, fd: RawFd) -> bool {
    let response = libc::fanotify_response { fd, response: libc::FAN_ALLOW };
    let size = size_of::<libc::fanotify_response>();
    // SAFETY: the structure has the length that is given.
    unsafe { libc::write(group, (&raw const response).cast(), size) > 0 }
}

fn close_range(first: RawFd, last: RawFd) {
    if first > last {
        return;
    }
    // SAFETY: takes three integers; nobody in this process uses what is closed.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result != 0 {
        // Before Linux 5.9: one by one, as many as a process usually may have.
        for fd in first..last.min(65536) {
            // SAFETY: as above.
            unsafe { libc::close(fd) };
        }
    }
}
