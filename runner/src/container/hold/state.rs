//! The folder in which runc keeps a container's state, and what it shows of a start.
//!
//! runc makes the folder and a fifo `exec.fifo` in it, then executes itself as the container's first process. When this
//! one has its namespaces and its file system and waits for leave to go on, runc writes the state down: it opens a new
//! file `state-*` in the folder. It does so for every caller, with or without a file for the process' number, so to hold
//! this opening is to hold any start (`libcontainer`, in versions 1.0 and later).
//!
//! Whoever executes itself so has the fifo among its open files, which says the folder and the identifier whatever the
//! command line was.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::sys::fanotify::{Fanotify, MarkFlags, MaskFlags};
use nix::sys::stat::Mode;

use super::bundle::is_container_id;
use crate::container::namespace;

/// The most open files of a process that are looked at, and the most of its children.
const MAX_FILES: usize = 256;
const FIFO: &str = "exec.fifo";
const EVENTS: MaskFlags = MaskFlags::FAN_OPEN_PERM.union(MaskFlags::FAN_EVENT_ON_CHILD);

/// The state folder of a container that is being made.
pub(super) struct State {
    pub(super) id: String,
    /// The runtime's name when it cannot be asked.
    pub(super) runtime: &'static str,
    /// containerd's namespace for it.
    pub(super) namespace: Option<String>,
    folder: File,
    fifo: File,
    path: PathBuf,
}

impl State {
    /// The folder of the container whose first process `pid` is about to become.
    pub(super) fn of_caller(pid: u32) -> Option<Self> {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        files.take(MAX_FILES).flatten().find_map(|entry| {
            let fifo_path = fs::read_link(entry.path()).ok()?;
            let (id, runtime, namespace) = named_by(&fifo_path)?;
            let named = format!("/proc/{pid}/root{}", fifo_path.parent()?.display());
            let folder = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(named).ok()?;
            let path = super::bundle::path_of(std::os::fd::AsFd::as_fd(&folder))?;
            let fifo = place_of(&entry.path())?;
            let opened = fifo.metadata().ok().filter(|metadata| metadata.file_type().is_fifo())?;
            // By its path the folder may be that of a later start with the same identifier. Its fifo would not be
            // exempt from the events, and to take one for a fifo opens it: the container would start too early.
            let present =
                fs::symlink_metadata(format!("/proc/self/fd/{}/{FIFO}", folder.as_raw_fd())).ok()?;
            if (present.dev(), present.ino()) != (opened.dev(), opened.ino()) {
                return None;
            }
            let namespace = namespace.map(str::to_owned);
            Some(Self { id: id.to_owned(), runtime, namespace, folder, fifo, path })
        })
    }

    /// Whether `path` is the state that is being written.
    pub(super) fn is_new_state(&self, path: &Path) -> bool {
        path.parent() == Some(&self.path)
            && path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"state"))
    }

    /// Whether both are the same start: a later one makes the folder anew, under the same name.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let inode = |file: &File| file.metadata().map(|metadata| (metadata.dev(), metadata.ino())).ok();
        self.path == other.path && inode(&self.folder) == inode(&other.folder)
    }

    /// Has whoever opens a file in the folder wait for an answer from `group`.
    pub(super) fn mark(&self, group: &Fanotify) -> nix::Result<()> {
        // Not the fifo: to take that event is to open it.
        let fifo = PathBuf::from(format!("/proc/self/fd/{}", self.fifo.as_raw_fd()));
        let ignore = MarkFlags::FAN_MARK_ADD
            | MarkFlags::FAN_MARK_IGNORED_MASK
            | MarkFlags::FAN_MARK_IGNORED_SURV_MODIFY;
        group.mark(ignore, MaskFlags::FAN_OPEN_PERM, AT_FDCWD, Some(&fifo))?;
        group.mark(MarkFlags::FAN_MARK_ADD, EVENTS, &self.folder, None::<&Path>)
    }

    /// Has nobody wait any more.
    pub(super) fn unmark(&self, group: &Fanotify) {
        // The mark is gone already if the folder is; that on the fifo keeps nobody waiting and goes with it.
        let _ = group.mark(MarkFlags::FAN_MARK_REMOVE, EVENTS, &self.folder, None::<&Path>);
    }
}

/// A file's place, which is not opened: to open a fifo is to be the partner that its other end waits for.
fn place_of(path: &Path) -> Option<File> {
    // Not by OpenOptions: with musl it takes this flag for a mode of access, leaves it out, and opens the fifo.
    open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).ok().map(File::from)
}

/// The first process of the container that process `pid` makes: its child in another mount namespace.
pub(super) fn first_process(pid: u32) -> Option<u32> {
    let own = namespace::mntns(pid).ok()?;
    let is_inside = |child: &u32| namespace::mntns(*child).is_ok_and(|mntns| mntns != own);
    children(pid).into_iter().find(is_inside)
}

/// The children of all threads of a process.
fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads.take(MAX_FILES).flatten();
    let lists = lists.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// The container, the runtime, and containerd's namespace that a fifo's path names.
fn named_by(path: &Path) -> Option<(&str, &'static str, Option<&str>)> {
    if path.file_name()? != FIFO {
        return None;
    }
    let mut folders = path.ancestors().skip(1).filter_map(Path::file_name);
    let id = folders.next()?.to_str().filter(|id| is_container_id(id))?;
    let (namespace, root) = (folders.next(), folders.next());
    let runtime = if namespace.is_some_and(|name| name == "moby") {
        "docker"
    } else if root.is_some_and(|root| root == "runc") && path.to_str()?.contains("/containerd/") {
        "containerd"
    } else if namespace.is_some_and(|name| name == "crun") {
        "crun"
    } else {
        "runc"
    };
    let namespace = namespace.filter(|_| matches!(runtime, "docker" | "containerd"));
    Some((id, runtime, namespace.and_then(OsStr::to_str)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_folder_names_container_and_runtime() {
        let of = |path| named_by(Path::new(path));
        assert_eq!(of("/run/runc/web/exec.fifo"), Some(("web", "runc", None)));
        assert_eq!(of("/run/crun/web/exec.fifo"), Some(("web", "crun", None)));
        assert_eq!(
            of("/run/docker/runtime-runc/moby/0a1b/exec.fifo"),
            Some(("0a1b", "docker", Some("moby")))
        );
        assert_eq!(
            of("/run/containerd/runc/k8s.io/0a1b/exec.fifo"),
            Some(("0a1b", "containerd", Some("k8s.io")))
        );
        assert_eq!(of("/run/runc/with space/exec.fifo"), None);
        assert_eq!(of("/run/runc/web/state.json"), None);
        assert_eq!(of("exec.fifo"), None);
        assert_eq!(of("/exec.fifo"), None);
    }

    #[test]
    fn a_fifo_is_found_among_open_files_and_a_file_of_its_name_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let own = std::process::id();
        let folder = dir.path().join("state/c1");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(FIFO);
        {
            let _file = File::create(&path).unwrap();
            assert!(State::of_caller(own).is_none());
        }
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let _open = place_of(&path).unwrap();
        let state = State::of_caller(own).unwrap();
        assert_eq!((state.id.as_str(), state.runtime), ("c1", "runc"));
        assert!(state.is_new_state(&folder.join("state-1234")));
        assert!(!state.is_new_state(&folder.join(FIFO)));
        assert!(!state.is_new_state(&dir.path().join("state/state-1")));
    }

    #[test]
    fn the_first_process_is_the_child_in_another_mount_namespace() {
        let mut child = std::process::Command::new("unshare").args(["-m", "sleep", "60"]).spawn().unwrap();
        let own = namespace::own_mntns().unwrap();
        while namespace::mntns(child.id()).unwrap() == own {
            std::thread::yield_now();
        }
        // Other tests may have such children as well.
        assert!(children(std::process::id()).contains(&child.id()));
        assert!(first_process(std::process::id()).is_some());
        assert_eq!(first_process(child.id()), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
