//! The control groups of a process: their paths, and the number by which eBPF programs know the one of version 2.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Where a container is in the hierarchies of control groups; what a host does not have is empty or 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// The path in the one hierarchy of version 2.
    pub v2: Arc<str>,
    /// The path in the hierarchies of version 1: that which systemd names, else the first.
    pub v1: Arc<str>,
    /// The number of `v2`: the inode of its folder. 0 where version 2 is not mounted.
    pub id: u64,
}

impl Cgroup {
    /// That of process `pid`; empty where it cannot be read.
    pub(super) fn of(pid: u32) -> Self {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let (v2, v1) = paths(&text);
        let id = mount().filter(|_| !v2.is_empty()).and_then(|mount| inode(mount, v2)).unwrap_or(0);
        Self { v2: v2.into(), v1: v1.into(), id }
    }

    /// The folder of version 2 in this host's file system; empty where it is not mounted.
    #[must_use]
    pub fn path(&self) -> String {
        match mount() {
            Some(mount) if !self.v2.is_empty() => format!("{}{}", mount.display(), self.v2),
            _ => String::new(),
        }
    }
}

fn inode(mount: &Path, path: &str) -> Option<u64> {
    Some(fs::metadata(mount.join(path.strip_prefix('/')?)).ok()?.ino())
}

/// The paths for version 2 and version 1 in `/proc/PID/cgroup`: lines of `NUMBER:CONTROLLERS:PATH`.
fn paths(text: &str) -> (&str, &str) {
    let (mut v2, mut v1, mut named) = ("", "", "");
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("0"), Some(""), Some(path)) => v2 = path,
            (_, Some("name=systemd"), Some(path)) => named = path,
            (_, Some(_), Some(path)) if v1.is_empty() => v1 = path,
            _ => {}
        }
    }
    (v2, if named.is_empty() { v1 } else { named })
}

/// Where version 2 is mounted.
fn mount() -> Option<&'static Path> {
    static MOUNT: OnceLock<Option<PathBuf>> = OnceLock::new();
    MOUNT.get_or_init(|| mount_in(&fs::read_to_string("/proc/self/mounts").ok()?)).as_deref()
}

fn mount_in(mounts: &str) -> Option<PathBuf> {
    let mut lines = mounts.lines().map(|line| line.split(' ').skip(1));
    lines.find_map(|mut fields| fields.next().filter(|_| fields.next() == Some("cgroup2"))).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_both_versions_are_told_apart() {
        let hybrid = "12:cpu,cpuacct:/docker/a\n1:name=systemd:/docker/b\n0::/system.slice/docker:c.scope\n";
        assert_eq!(paths(hybrid), ("/system.slice/docker:c.scope", "/docker/b"));
        assert_eq!(paths("0::/x\n"), ("/x", ""));
        assert_eq!(paths("3:memory:/m\n"), ("", "/m"));
        assert_eq!(paths("garbage\n::\n"), ("", ""));
    }

    #[test]
    fn version_2_is_found_among_mounts() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs ro 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(mount_in(mounts).as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(mount_in("proc /proc proc rw 0 0\n"), None);
    }
}
