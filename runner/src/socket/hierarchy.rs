//! Where the cgroup2 hierarchy is: mounted somewhere already, or mounted here for nobody else to see.
#![allow(unsafe_code, reason = "nix has no wrappers of the calls that mount a file system without a place")]

use std::{
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    sys::{
        stat::Mode,
        statfs::{CGROUP2_SUPER_MAGIC, fstatfs},
    },
};

/// An open directory of the cgroup2 hierarchy.
pub(super) struct Hierarchy {
    pub(super) root: OwnedFd,
    /// Whether it is the root of the hierarchy, not only that of a cgroup namespace.
    pub(super) is_whole: bool,
}

/// Opens the root of the hierarchy, or the highest part of it that can be reached.
pub(super) fn open() -> io::Result<Hierarchy> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let mut part = None;
    for path in mount_points(&mounts) {
        let Ok(root) = fs::File::open(path) else { continue };
        // Something else may be mounted over it.
        if !fstatfs(&root).is_ok_and(|fs| fs.filesystem_type() == CGROUP2_SUPER_MAGIC) {
            continue;
        }
        let hierarchy = describe(root.into());
        if hierarchy.is_whole {
            return Ok(hierarchy);
        }
        part.get_or_insert(hierarchy);
    }
    match (mount_privately().map(describe), part) {
        (Ok(own), _) if own.is_whole => Ok(own),
        (_, Some(part)) => Ok(part),
        (own, None) => own,
    }
}

/// Only the root of the hierarchy has no file `cgroup.events`: it cannot be empty or frozen.
fn describe(root: OwnedFd) -> Hierarchy {
    let is_whole = nix::unistd::faccessat(
        root.as_fd(),
        "cgroup.events",
        nix::unistd::AccessFlags::F_OK,
        nix::fcntl::AtFlags::empty(),
    ) == Err(Errno::ENOENT);
    Hierarchy { root, is_whole }
}

/// Where `mountinfo` (proc(5)) says that cgroup2 is mounted.
fn mount_points(mountinfo: &str) -> impl Iterator<Item = String> {
    mountinfo.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        (kind.split(' ').next()? == "cgroup2").then_some(())?;
        Some(unescape(mount.split(' ').nth(4)?))
    })
}

/// The kernel writes blanks and backslashes of a path in octal: `\040`.
fn unescape(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut rest = field;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        text.push_str(before);
        match escape.get(1..4).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if byte.is_ascii() => {
                text.push(char::from(byte));
                rest = &escape[4..];
            }
            _ => {
                text.push('\\');
                rest = &escape[1..];
            }
        }
    }
    text + rest
}

/// Mounts the hierarchy at no path; it goes when the descriptor is closed.
fn mount_privately() -> io::Result<OwnedFd> {
    const FSOPEN_CLOEXEC: libc::c_uint = 1;
    const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
    const FSMOUNT_CLOEXEC: libc::c_uint = 1;
    // SAFETY: the name is a string that ends in NUL.
    let context = fd(unsafe { libc::syscall(libc::SYS_fsopen, c"cgroup2".as_ptr(), FSOPEN_CLOEXEC) })?;
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: this command takes neither key nor value.
    let created =
        unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_CMD_CREATE, none, none, 0) };
    Errno::result(created)?;
    // SAFETY: takes no pointers.
    let mount = fd(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, 0) })?;
    // The mount's own descriptor is of the O_PATH kind; an open directory keeps the mount as well.
    Ok(openat(mount.as_fd(), ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?)
}

fn fd(returned: libc::c_long) -> io::Result<OwnedFd> {
    let fd = i32::try_from(Errno::result(returned)?).map_err(io::Error::other)?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use nix::{
        sys::stat::mkdirat,
        unistd::{UnlinkatFlags, unlinkat},
    };

    use super::*;

    #[test]
    fn mounts_are_told_by_their_kind() {
        let mounts = "\
            31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
            37 31 0:34 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw shared:4 - cgroup2 cgroup2 rw\n\
            42 31 0:38 / /a\\040b\\134c\\ rw - cgroup2 none rw\n\
            junk\n - cgroup2\n";
        let found: Vec<String> = mount_points(mounts).collect();
        assert_eq!(found, ["/sys/fs/cgroup/unified", "/a b\\c\\"]);
    }

    #[test]
    fn a_hierarchy_that_nobody_mounted_is_mounted_without_a_place() {
        let seen = || mount_points(&fs::read_to_string("/proc/self/mountinfo").unwrap()).count();
        let before = seen();
        let own = describe(mount_privately().unwrap());
        assert!(own.is_whole);
        assert_eq!(seen(), before);
    }

    #[test]
    fn a_part_of_the_hierarchy_is_not_the_whole() {
        let whole = open().unwrap();
        let name = format!("igx-test-{}", std::process::id());
        mkdirat(whole.root.as_fd(), name.as_str(), Mode::S_IRWXU).unwrap();
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let part = describe(openat(whole.root.as_fd(), name.as_str(), flags, Mode::empty()).unwrap());
        unlinkat(whole.root.as_fd(), name.as_str(), UnlinkatFlags::RemoveDir).unwrap();
        assert!(whole.is_whole && !part.is_whole);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in ".*", field in "[\\\\0-9é ]*") {
            mount_points(&text).for_each(drop);
            unescape(&field);
        }
    }
}
