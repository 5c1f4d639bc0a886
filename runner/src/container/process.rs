//! A container's first process, held by a descriptor so that its number cannot be taken by another meanwhile.
#![allow(unsafe_code, reason = "pidfd_open and ioctl_ns have no safe wrapper among the dependencies")]

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;

use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};

use super::cgroup::Cgroup;
use super::namespace;

/// Clock ticks in `/proc/PID/stat` per second, fixed by the kernel's interface.
const USER_HZ: i64 = 100;
const NANOS: i64 = 1_000_000_000;
/// Descriptors that there is room for from the start: a thousand containers in two hundred networks need half of them.
const RESERVED: i32 = 4096;
/// Of ioctl_ns(2).
const NS_GET_OWNER_UID: u32 = 0xb704;

/// What is known of a process from the kernel.
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) mntns: u64,
    pub(super) netns: u32,
    pub(super) cgroup: Cgroup,
    /// Nanoseconds since the epoch, as exact as the kernel's ticks: ten milliseconds.
    pub(super) started_at: i64,
    /// The same in the kernel's ticks since the machine started.
    pub(super) start_ticks: i64,
    pub(super) end: End,
}

/// How the end of a process is seen.
pub(super) enum End {
    /// The descriptor becomes readable.
    Descriptor(OwnedFd),
    /// The kernel is older than 5.3: one looks, from time to time, whether the process is there.
    Look,
}

impl Process {
    /// Looks at process `pid`.
    pub(super) fn open(pid: u32) -> io::Result<Self> {
        let end = open_end(pid)?;
        let stat = Stat::of(pid)?;
        let process = Self {
            pid,
            mntns: namespace::mntns(pid).map_err(io::Error::other)?,
            netns: namespace::netns(pid).map_err(io::Error::other)?,
            cgroup: Cgroup::of(pid, stat.parent),
            started_at: started_at(stat.start_ticks)?,
            start_ticks: stat.start_ticks,
            end,
        };
        // Read by number; valid only if the number was this process' all the while.
        if process.end.is_reached(pid) { Err(io::ErrorKind::NotFound.into()) } else { Ok(process) }
    }
}

impl Process {
    /// The user who made the process' user namespace; `None` if it is that of the host, or cannot be told.
    pub(super) fn user_namespace_owner(&self) -> Option<u32> {
        let inode = |file: &File| file.metadata().map(|metadata| metadata.ino()).ok();
        let namespace = File::open(format!("/proc/{}/ns/user", self.pid)).ok()?;
        let own = File::open("/proc/self/ns/user").ok()?;
        if self.end.is_reached(self.pid) || inode(&namespace) == inode(&own) {
            return None;
        }
        let mut owner: libc::uid_t = 0;
        // SAFETY: the request writes one number of this type, through a pointer that is good for the call.
        let result = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_OWNER_UID as _, &raw mut owner) };
        (result == 0).then_some(owner)
    }
}

impl End {
    pub(super) fn is_reached(&self, pid: u32) -> bool {
        match self {
            Self::Descriptor(descriptor) => {
                let mut fds = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
                poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
            }
            Self::Look => namespace::mntns(pid).is_err(),
        }
    }
}

fn open_end(pid: u32) -> io::Result<End> {
    // SAFETY: the call takes two integers and touches no memory of this process.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if result < 0 {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::ENOSYS) { Ok(End::Look) } else { Err(error) };
    }
    let descriptor = RawFd::try_from(result).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor and nobody else knows of it. It is close-on-exec.
    Ok(End::Descriptor(unsafe { OwnedFd::from_raw_fd(descriptor) }))
}

/// Makes room for the descriptors of many containers. To be called before there are threads, as the kernel then need not
/// wait until no thread can be using the smaller table of descriptors: that takes ten milliseconds, each time it doubles.
///
/// # Errors
/// If the limit cannot be raised or no file opened; all works without, but slower at the start.
pub fn reserve_descriptors() -> io::Result<()> {
    let limit = raise_file_limit()?;
    let any = File::open("/")?;
    let last = RESERVED.min(i32::try_from(limit).unwrap_or(i32::MAX)) - 1;
    let copy = fcntl(&any, FcntlArg::F_DUPFD_CLOEXEC(last))?;
    // SAFETY: the kernel has just made this descriptor and nobody else knows of it.
    drop(unsafe { OwnedFd::from_raw_fd(copy) });
    Ok(())
}

/// Lets this process have as many open files as it may, and tells how many: each container costs some. Commands that it
/// starts have as many.
pub(super) fn raise_file_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes one structure of this type, through a pointer that is good for it.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the call reads one structure of this type, through a pointer that is good for it.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
        0 => Ok(limit.rlim_cur),
        _ => Err(io::Error::last_os_error()),
    }
}

fn started_at(ticks: i64) -> io::Result<i64> {
    let nanos = |clock| clock_gettime(clock).map(|time| time.tv_sec() * NANOS + time.tv_nsec());
    let booted_at = nanos(ClockId::CLOCK_REALTIME)? - nanos(ClockId::CLOCK_BOOTTIME)?;
    Ok(booted_at.saturating_add(ticks.saturating_mul(NANOS / USER_HZ)))
}

/// What is read of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    start_ticks: i64,
}

impl Stat {
    fn of(pid: u32) -> io::Result<Self> {
        Ok(Self::parse(&read(pid, "stat")?).ok_or(io::ErrorKind::InvalidData)?)
    }

    /// Fields 4 and 22; field 2, the name in parentheses, may hold spaces and parentheses itself.
    fn parse(stat: &str) -> Option<Self> {
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        Some(Self { parent: fields.nth(1)?.parse().ok()?, start_ticks: fields.nth(17)?.parse().ok()? })
    }
}

/// Reads the file `name` of `/proc/PID` with few calls: at the start there may be a thousand containers to look at.
pub(super) fn read(pid: u32, name: &str) -> io::Result<String> {
    let mut text = String::with_capacity(4096);
    // Of a whole file its length would be asked first, and procfs does not know any.
    File::open(format!("/proc/{pid}/{name}"))?.take(u64::MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_is_found_behind_a_hostile_name() {
        let mut stat = String::from("7 (a) S 1 2) R");
        (4..=21).for_each(|field| stat.push_str(&format!(" {field}")));
        stat.push_str(" 4242 23 24");
        assert_eq!(Stat::parse(&stat), Some(Stat { parent: 4, start_ticks: 4242 }));
        assert_eq!(Stat::parse("7 (cut"), None);
        assert_eq!(Stat::parse("7 (cut) R 1 2"), None);
    }

    #[test]
    fn own_process_began_before_now_and_has_not_ended() {
        let process = Process::open(std::process::id()).unwrap();
        let now = clock_gettime(ClockId::CLOCK_REALTIME).unwrap();
        let age = now.tv_sec() * NANOS + now.tv_nsec() - process.started_at;
        assert!((0..3600 * NANOS).contains(&age), "{age} ns");
        assert_eq!(process.mntns, namespace::own_mntns().unwrap());
        assert_eq!(Stat::of(std::process::id()).unwrap().parent, std::os::unix::process::parent_id());
        assert!(!process.end.is_reached(process.pid));
    }

    #[test]
    fn there_is_room_for_descriptors() {
        reserve_descriptors().unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
        let limit = raise_file_limit().unwrap();
        assert!(size.trim().parse::<u64>().unwrap() >= limit.min(4096), "{size} of {limit}");
    }

    #[test]
    fn end_of_a_child_is_seen() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::open(child.id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(process.end.is_reached(process.pid));
        assert!(Process::open(child.id()).is_err());
    }
}
