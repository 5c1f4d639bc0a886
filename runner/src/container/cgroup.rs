//! The control groups of a process: their paths, and the number by which eBPF programs know the one that a container
//! has for itself.
//!
//! Runtimes put a container's processes into groups of their own: in the one hierarchy of version 2, in those of
//! version 1, or in both. Whatever namespaces a process makes or enters, its groups stay, and tell whose it is.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::process;

/// The hierarchies of version 1 in which a container's own group is looked for, as in `bpf/cgroup.h`.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];
/// Where [`Cgroup::key`] has the number of the hierarchy.
const HIERARCHY_SHIFT: u32 = 48;

/// Where a container is in the hierarchies of control groups; what a host does not have is empty or 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// The path in the one hierarchy of version 2.
    pub v2: Arc<str>,
    /// The path in the hierarchies of version 1: that which systemd names, else the first.
    pub v1: Arc<str>,
    /// The number of `v2`: the inode of its folder. 0 where version 2 is not mounted.
    pub id: u64,
    /// The group that nobody but this container has: the inode of its folder, with the number of its hierarchy (0 for
    /// version 2) in the highest 16 bits. 0 if there is none, or it cannot be told.
    pub key: u64,
    /// The path of that group in its hierarchy; empty if there is none.
    pub own: Arc<str>,
}

impl Cgroup {
    /// That of a container's first process `pid`, which `parent` started; empty where it cannot be read.
    pub(super) fn of(pid: u32, parent: u32) -> Self {
        let text = text_of(pid).unwrap_or_default();
        let paths = Paths::parse(&text);
        let v2_id = |path| mounts(None).find_map(|mount| inode(mount, path)).unwrap_or(0);
        let id = if paths.v2.is_empty() { 0 } else { v2_id(paths.v2) };
        let mut cgroup = Self { v2: paths.v2.into(), v1: paths.v1().into(), id, ..Self::default() };
        // A container that its runtime gave no group of its own is in that of who started it.
        let parent = text_of(parent).unwrap_or_default();
        let Some(own) = paths.own(&Paths::parse(&parent)) else { return cgroup };
        cgroup.key = match own.controller {
            None => id,
            Some(controller) => mounts(Some(controller))
                .find_map(|mount| inode(mount, own.path))
                .map_or(0, |inode| inode | u64::from(own.hierarchy) << HIERARCHY_SHIFT),
        };
        if cgroup.key != 0 {
            cgroup.own = own.path.into();
        }
        cgroup
    }

    /// The folder of version 2 in this host's file system; empty where it is not mounted.
    #[must_use]
    pub fn path(&self) -> String {
        match mounts(None).next() {
            Some(mount) if !self.v2.is_empty() => format!("{}{}", mount.display(), self.v2),
            _ => String::new(),
        }
    }
}

/// What `/proc/PID/cgroup` has.
pub(super) fn text_of(pid: u32) -> io::Result<String> {
    process::read(pid, "cgroup")
}

/// The paths in which a container's own group may be, in what [`text_of`] gave.
pub(super) fn paths_of(text: &str) -> impl Iterator<Item = &str> {
    let paths = Paths::parse(text);
    [Some(paths.v2), paths.controlled.map(|own| own.path)].into_iter().flatten()
}

fn inode(mount: &Path, path: &str) -> Option<u64> {
    Some(fs::metadata(mount.join(path.strip_prefix('/')?)).ok()?.ino())
}

/// A group that may be a container's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Own<'a> {
    /// The hierarchy's number, and a controller that it has; `None` for version 2.
    hierarchy: u16,
    controller: Option<&'static str>,
    path: &'a str,
}

/// What `/proc/PID/cgroup` says: lines of `NUMBER:CONTROLLERS:PATH`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Paths<'a> {
    v2: &'a str,
    /// That which systemd names, and the first of version 1.
    named: &'a str,
    first: &'a str,
    /// The first of [`CONTROLLERS`] that is in a hierarchy of version 1.
    controlled: Option<Own<'a>>,
}

impl<'a> Paths<'a> {
    fn parse(text: &'a str) -> Self {
        let mut paths = Self::default();
        for line in text.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(number), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            match (number, controllers) {
                ("0", "") => paths.v2 = path,
                (_, "name=systemd") => paths.named = path,
                _ => {
                    if paths.first.is_empty() {
                        paths.first = path;
                    }
                    let found = controllers.split(',').filter_map(rank).min();
                    let known = paths.controlled.and_then(|own| rank(own.controller?));
                    if let (Some(rank), Ok(hierarchy)) = (found, number.parse())
                        && known.is_none_or(|known| rank < known)
                    {
                        let controller = CONTROLLERS.get(rank).copied();
                        paths.controlled = Some(Own { hierarchy, controller, path });
                    }
                }
            }
        }
        paths
    }

    fn v1(&self) -> &'a str {
        if self.named.is_empty() { self.first } else { self.named }
    }

    /// The group that a container has for itself, whose first process was started by one with the paths `parent`.
    ///
    /// With hierarchies of both versions, older runtimes leave version 2 alone: a container is then in the group of
    /// whoever started it there, as are others. One that runtimes made is called alike in both.
    fn own(&self, parent: &Paths<'_>) -> Option<Own<'a>> {
        let name = |path: &'a str| path.rsplit('/').next().unwrap_or_default();
        let controlled = self.controlled.filter(|own| !name(own.path).is_empty());
        let v2 = Own { hierarchy: 0, controller: None, path: self.v2 };
        let is_alike = controlled.is_none_or(|own| name(own.path) == name(self.v2));
        if !name(self.v2).is_empty() && is_alike && parent.v2 != self.v2 {
            return Some(v2);
        }
        controlled.filter(|own| parent.controlled.is_none_or(|parent| parent.path != own.path))
    }
}

fn rank(controller: &str) -> Option<usize> {
    CONTROLLERS.iter().position(|known| *known == controller)
}

/// Where a hierarchy is mounted: that of version 2, or that of version 1 with this controller.
fn mounts(controller: Option<&'static str>) -> impl Iterator<Item = &'static Path> {
    static MOUNTS: OnceLock<Vec<Mount>> = OnceLock::new();
    let all = MOUNTS.get_or_init(|| mounts_in(&fs::read_to_string("/proc/self/mounts").unwrap_or_default()));
    all.iter().filter(move |mount| mount.controller == controller).map(|mount| mount.path.as_path())
}

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    controller: Option<&'static str>,
    path: PathBuf,
}

fn mounts_in(mounts: &str) -> Vec<Mount> {
    let mut found = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(path), Some(kind), options) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        match kind {
            "cgroup2" => found.push(Mount { controller: None, path: path.into() }),
            "cgroup" => {
                let named = options.unwrap_or_default().split(',').filter_map(rank).min();
                if let Some(controller) = named.and_then(|rank| CONTROLLERS.get(rank)) {
                    found.push(Mount { controller: Some(controller), path: path.into() });
                }
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hierarchy of the group that `text` has for itself, beside a parent's `parent`.
    fn own<'a>(text: &'a str, parent: &str) -> Option<(u16, &'a str)> {
        Paths::parse(text).own(&Paths::parse(parent)).map(|own| (own.hierarchy, own.path))
    }

    #[test]
    fn paths_of_both_versions_are_told_apart() {
        let paths = |text| (Paths::parse(text).v2, Paths::parse(text).v1());
        let hybrid = "12:cpu,cpuacct:/docker/a\n1:name=systemd:/docker/b\n0::/system.slice/docker:c.scope\n";
        assert_eq!(paths(hybrid), ("/system.slice/docker:c.scope", "/docker/b"));
        assert_eq!(paths("0::/x\n"), ("/x", ""));
        assert_eq!(paths("3:memory:/m\n"), ("", "/m"));
        assert_eq!(paths("garbage\n::\n"), ("", ""));
    }

    #[test]
    fn a_containers_own_group_is_found_in_either_version() {
        let service = "0::/system.slice/containerd.service\n4:memory:/system.slice/containerd.service\n";
        assert_eq!(own("0::/docker/a\n", "0::/system.slice/docker.service\n"), Some((0, "/docker/a")));
        assert_eq!(own("8:pids:/docker/a\n4:memory:/docker/a\n0::/\n", service), Some((4, "/docker/a")));
        assert_eq!(own("4:memory:/docker/a\n0::/docker/a\n", service), Some((0, "/docker/a")));
        // The group of version 2 is the daemon's, and all of its containers are in it.
        let older = "4:memory:/docker/a\n0::/system.slice/containerd.service\n";
        assert_eq!(own(older, service), Some((4, "/docker/a")));
        assert_eq!(own("7:cpu,pids:/docker/a\n", ""), Some((7, "/docker/a")));
    }

    #[test]
    fn a_group_shared_with_who_started_it_is_not_the_containers() {
        let session = "0::/user.slice/session-1.scope\n4:memory:/user.slice\n";
        assert_eq!(own(session, session), None);
        assert_eq!(own("0::/\n4:memory:/\n", ""), None);
        assert_eq!(own("", ""), None);
    }

    #[test]
    fn hierarchies_are_found_among_mounts() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs ro 0 0\n\
                      cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n\
                      cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let found: Vec<_> =
            mounts_in(mounts).into_iter().map(|mount| (mount.controller, mount.path)).collect();
        assert_eq!(
            found,
            [
                (Some("memory"), PathBuf::from("/sys/fs/cgroup/memory")),
                (None, PathBuf::from("/sys/fs/cgroup/unified"))
            ]
        );
        assert!(mounts_in("proc /proc proc rw 0 0\n").is_empty());
    }
}
