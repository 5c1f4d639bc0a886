//! The host, seen from a container: where its files are, one of its processes, and what is missing to see it.
//!
//! `igx` in a privileged container, such as that of `kubectl debug node`, works on the host. The variable `HOST_ROOT`
//! says where the host's file system is mounted; processes are the host's if the container shares their namespace.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns};

use super::namespace;

/// The inode of the process namespace that a machine has before any other is made (`PROC_PID_INIT_INO` of
/// `linux/proc_ns.h`).
const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;

/// Where the host's file system is: `/`, or what `HOST_ROOT` says.
#[must_use]
pub fn root() -> PathBuf {
    let said = std::env::var_os("HOST_ROOT").filter(|path| !path.is_empty());
    said.map_or_else(|| "/".into(), PathBuf::from)
}

/// Whether the host's file system is somewhere else than ours.
fn is_elsewhere(root: &Path) -> bool {
    root != Path::new("/")
}

/// A process in the host's own namespaces: process 1 where it may be looked at, in a container else the one with the
/// lowest number that may be; `None` on a host that allows neither.
pub(super) fn process() -> Option<u32> {
    if namespace::netns(1).is_ok() {
        return Some(1);
    }
    if !is_elsewhere(&root()) {
        return None;
    }
    let names = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.file_name());
    let mut numbers: Vec<u32> = names.filter_map(|name| name.to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.into_iter().find(|pid| namespace::netns(*pid).is_ok())
}

/// Makes this thread, and those that it will start, see control groups by the paths that they have on the host: in a
/// container they are relative to the container's own. Outside of one, nothing happens.
pub(crate) fn see_control_groups(root: &Path) {
    if !is_elsewhere(root) {
        return;
    }
    let entered = File::open("/proc/1/ns/cgroup")
        .and_then(|namespace| Ok(setns(namespace, CloneFlags::CLONE_NEWCGROUP)?));
    if let Err(error) = entered {
        tracing::debug!("cannot enter the host's cgroup namespace: {error}");
    }
}

/// What keeps the host below `root` from being seen, in sentences for the user.
pub(super) fn complaints(root: &Path) -> Vec<String> {
    if !is_elsewhere(root) {
        return Vec::new();
    }
    let mut all = Vec::new();
    let missing = |name: &&str| !root.join(name).is_dir();
    let missing: Vec<&str> = ["etc", "proc", "run", "sys/fs/cgroup"].into_iter().filter(missing).collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        all.push(format!(
            "HOST_ROOT={}: it has no {missing}: mount the host's / there with all that is mounted below it, such \
             as by 'docker run -v /:{0}'",
            root.display()
        ));
    }
    let inode = |path: PathBuf| fs::metadata(path).map(|metadata| metadata.ino());
    let own = inode("/proc/self/ns/pid".into());
    if let Ok(own) = own
        && own != FIRST_PID_NAMESPACE
        && inode(root.join("proc/1/ns/pid")).is_ok_and(|host| host != own)
    {
        all.push(
            "this container has its own processes and does not see those of the host: run it with --pid=host \
             (hostPID: true)"
                .to_owned(),
        );
    }
    all
}

/// Opens the host's network namespace.
///
/// # Errors
/// If there is no process of the host that may be looked at, not even this one.
pub fn open_netns() -> Result<File, namespace::Error> {
    namespace::open_netns(process().unwrap_or_else(std::process::id))
}

/// Inode of the host's network namespace.
///
/// # Errors
/// As [`open_netns`].
pub fn netns() -> Result<u32, namespace::Error> {
    process().map_or_else(namespace::own_netns, namespace::netns)
}

/// Inode of the host's mount namespace.
///
/// # Errors
/// As [`open_netns`].
pub(super) fn mntns() -> Result<u64, namespace::Error> {
    process().map_or_else(namespace::own_mntns, namespace::mntns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_only_in_a_container() {
        assert!(complaints(Path::new("/")).is_empty());
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        let said = complaints(dir.path());
        assert!(said[0].contains("it has no proc, run, sys/fs/cgroup"), "{said:?}");
    }

    #[test]
    fn outside_of_a_container_the_hosts_namespaces_are_ours() {
        assert_eq!(netns().unwrap(), namespace::own_netns().unwrap());
        assert_eq!(mntns().unwrap(), namespace::own_mntns().unwrap());
        assert_eq!(namespace::netns_of(&open_netns().unwrap()).unwrap(), netns().unwrap());
    }
}
