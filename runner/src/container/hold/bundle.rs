//! Which container a runtime is called for: its bundle, as the OCI runtime specification calls the folder with
//! `config.json`.
//!
//! What is asked is a process that is about to execute the runtime, so its arguments are still those of its caller.
//! containerd's shim calls from the bundle folder; `runc create` executes itself once more, and conmon calls with the
//! bundle among its own arguments.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The most of a command line that is looked at.
const MAX_ARGUMENTS: u64 = 64 << 10;
/// The longest identifier, as it is a file's name.
const MAX_ID: usize = 255;

/// A container that is being created.
pub(super) struct Bundle {
    pub(super) id: String,
    /// The runtime's name when it cannot be asked.
    pub(super) runtime: &'static str,
    /// containerd's namespace for it.
    pub(super) namespace: Option<String>,
    /// The folder with the configuration.
    pub(super) place: PathBuf,
    /// The folder in which the file with the process' number will be.
    pub(super) folder: File,
    pub(super) path: PathBuf,
    pid_file: OsString,
}

impl Bundle {
    /// The bundle for which process `pid` executes a runtime; `None` if it is called for something else.
    pub(super) fn of_caller(pid: u32) -> Option<Self> {
        let arguments = read_arguments(pid)?;
        match Arguments::parse(&arguments) {
            Some(arguments) => {
                let bundle = open_folder(&in_view_of(pid, arguments.bundle))?;
                let pid_file = in_view_of(pid, arguments.pid_file);
                let folder = open_folder(pid_file.parent()?)?;
                let found = Self::new(&bundle, folder, pid_file.file_name()?)?;
                // A bundle may be called otherwise than its container.
                let id = arguments.id.filter(|id| is_container_id(id)).map_or(found.id, str::to_owned);
                let runtime = if found.runtime == "unknown" { arguments.program } else { found.runtime };
                Some(Self { id, runtime, ..found })
            }
            None => {
                let bundle = open_folder(&PathBuf::from(format!("/proc/{pid}/cwd")))?;
                let folder = bundle.try_clone().ok()?;
                Self::new(&bundle, folder, OsStr::new("init.pid"))
            }
        }
    }

    fn new(bundle: &File, folder: File, pid_file: &OsStr) -> Option<Self> {
        // Looked up, not read: reading could raise an event.
        let config = format!("/proc/self/fd/{}/config.json", bundle.as_raw_fd());
        if !fs::metadata(config).is_ok_and(|metadata| metadata.is_file()) {
            return None;
        }
        let bundle = path_of(bundle.as_fd())?;
        let id = id_of(&bundle)?.to_owned();
        let path = path_of(folder.as_fd())?;
        let runtime = runtime_of(&bundle);
        let namespace = namespace_of(&bundle).map(str::to_owned);
        Some(Self { id, runtime, namespace, place: bundle, folder, path, pid_file: pid_file.to_owned() })
    }

    /// Whether both are the same start: a restart makes the folder anew, under the same name.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let inode = |file: &File| file.metadata().map(|metadata| (metadata.dev(), metadata.ino())).ok();
        self.id == other.id && self.pid_file == other.pid_file && inode(&self.folder) == inode(&other.folder)
    }

    pub(super) fn is_pid_file(&self, path: &Path) -> bool {
        path.file_name() == Some(&self.pid_file) && path.parent() == Some(&self.path)
    }
}

/// Whether it may be the identifier of a container: what every runtime demands, and safe as a file's name.
pub(crate) fn is_container_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
    (1..=MAX_ID).contains(&id.len()) && id != "." && id != ".." && id.bytes().all(allowed)
}

/// The path of what is open there, as this process would call it.
pub(super) fn path_of(file: BorrowedFd<'_>) -> Option<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}

/// The arguments that name a container.
#[derive(Debug, PartialEq, Eq)]
struct Arguments<'a> {
    bundle: &'a Path,
    pid_file: &'a Path,
    /// The container's identifier: the last argument of `create`, and said by a flag to conmon.
    id: Option<&'a str>,
    /// Who runs the container, as far as the program tells.
    program: &'static str,
}

impl<'a> Arguments<'a> {
    /// Reads a command line, its arguments ended by zero bytes: `runc … create … --bundle B … --pid-file P`, or
    /// `conmon … -b B … -p P`.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut arguments = line.split(|byte| *byte == 0);
        let program = Path::new(OsStr::from_bytes(arguments.next()?)).file_name()?.as_bytes();
        let is_monitor = program == b"conmon";
        let program = match program {
            b"conmon" => "unknown",
            b"runc" => "runc",
            b"crun" => "crun",
            _ => return None,
        };
        let (mut last, mut id) = (None, None);
        let (mut bundle, mut pid_file, mut creates) = (None, None, is_monitor);
        while let Some(argument) = arguments.next() {
            last = Some(argument).filter(|argument| !argument.is_empty()).or(last);
            let mut value = |long: &[u8], short: &[u8], into: &mut Option<&'a [u8]>| {
                if argument == long || argument == short {
                    *into = arguments.next();
                } else if let Some(rest) =
                    argument.strip_prefix(long).and_then(|rest| rest.strip_prefix(b"="))
                {
                    *into = Some(rest);
                }
            };
            if is_monitor {
                value(b"--bundle", b"-b", &mut bundle);
                value(b"--container-pidfile", b"-p", &mut pid_file);
                value(b"--cid", b"-c", &mut id);
            } else {
                value(b"--bundle", b"-b", &mut bundle);
                value(b"--pid-file", b"--pid-file", &mut pid_file);
                creates |= argument == b"create";
            }
        }
        let path = |value: Option<&'a [u8]>| {
            value.filter(|bytes| !bytes.is_empty()).map(|bytes| Path::new(OsStr::from_bytes(bytes)))
        };
        let id = if is_monitor { id } else { last };
        let id = id.and_then(|id| std::str::from_utf8(id).ok());
        // Without a word of it, the bundle is where the caller is.
        let bundle = if is_monitor { path(bundle)? } else { path(bundle).unwrap_or(Path::new(".")) };
        creates.then_some(Self { bundle, pid_file: path(pid_file)?, id, program })
    }
}

fn read_arguments(pid: u32) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    File::open(format!("/proc/{pid}/cmdline")).ok()?.take(MAX_ARGUMENTS).read_to_end(&mut line).ok()?;
    Some(line)
}

/// What another process calls `path`, as a path of ours.
fn in_view_of(pid: u32, path: &Path) -> PathBuf {
    match path.strip_prefix("/") {
        Ok(path) => PathBuf::from(format!("/proc/{pid}/root")).join(path),
        Err(_) => PathBuf::from(format!("/proc/{pid}/cwd")).join(path),
    }
}

fn open_folder(path: &Path) -> Option<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path).ok()
}

/// podman and CRI-O put the bundle into a folder `userdata` of the container's.
fn id_of(bundle: &Path) -> Option<&str> {
    let folder = if bundle.file_name()? == "userdata" { bundle.parent()? } else { bundle };
    folder.file_name()?.to_str().filter(|id| is_container_id(id))
}

/// containerd keeps its bundles in a folder for each of its namespaces; docker's is `moby`.
fn runtime_of(bundle: &Path) -> &'static str {
    match (namespace_of(bundle), bundle.parent().and_then(Path::file_name)) {
        (_, Some(folder)) if folder == "moby" => "docker",
        (Some(_), _) => "containerd",
        _ => "unknown",
    }
}

/// containerd's namespace for the container of a bundle, if it is one of containerd's.
fn namespace_of(bundle: &Path) -> Option<&str> {
    let folder = bundle.parent()?;
    let plugin = folder.parent()?.file_name()?;
    plugin.as_bytes().starts_with(b"io.containerd.runtime").then_some(folder.file_name()?.to_str()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(arguments: &[&str]) -> Vec<u8> {
        arguments.iter().flat_map(|argument| [argument.as_bytes(), b"\0"].concat()).collect()
    }

    fn parsed(arguments: &[&str]) -> Option<(String, String)> {
        let line = line(arguments);
        let found = Arguments::parse(&line)?;
        assert_eq!(found.id, Some("c1"));
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        Some((text(found.bundle), text(found.pid_file)))
    }

    #[test]
    fn create_names_bundle_and_pid_file() {
        let expected = Some(("/b/c1".to_owned(), "/b/c1/init.pid".to_owned()));
        let log = ["--root", "/r", "--log", "/b/c1/log.json"];
        let create = ["create", "--bundle", "/b/c1", "--pid-file", "/b/c1/init.pid", "c1"];
        assert_eq!(parsed(&[&["/usr/sbin/runc"], &log[..], &create[..]].concat()), expected);
        let here = Some((".".to_owned(), "p".to_owned()));
        assert_eq!(parsed(&["runc", "create", "--pid-file", "p", "c1"]), here);
        assert_eq!(parsed(&["crun", "create", "-b", "/b/c1", "--pid-file=/b/c1/init.pid", "c1"]), expected);
        assert_eq!(
            parsed(&["conmon", "-n", "n", "-c", "c1", "-b", "/b/c1", "-p", "/b/c1/init.pid"]),
            expected
        );
    }

    #[test]
    fn other_calls_name_none() {
        assert_eq!(parsed(&["runc", "exec", "--bundle", "/b", "--pid-file", "/p", "c1"]), None);
        assert_eq!(parsed(&["runc", "create", "--bundle", "/b", "c1"]), None);
        assert_eq!(parsed(&["runc", "create", "--bundle", "/b"]), None);
        assert_eq!(parsed(&["sh", "create", "--bundle", "/b", "--pid-file", "/p"]), None);
        assert_eq!(Arguments::parse(b""), None);
    }

    #[test]
    fn id_is_the_bundles_folder() {
        let id = |path| id_of(Path::new(path));
        assert_eq!(id("/run/io.containerd.runtime.v2.task/moby/0a1b"), Some("0a1b"));
        assert_eq!(id("/var/lib/containers/storage/overlay-containers/77/userdata"), Some("77"));
        assert_eq!(id("/b/with space"), None);
        assert_eq!(id("/"), None);
    }

    #[test]
    fn runtime_is_told_by_the_bundles_place() {
        let runtime = |path| runtime_of(Path::new(path));
        assert_eq!(runtime("/run/io.containerd.runtime.v2.task/moby/1"), "docker");
        assert_eq!(runtime("/run/io.containerd.runtime.v2.task/k8s.io/1"), "containerd");
        assert_eq!(runtime("/home/me/bundle"), "unknown");
        let namespace = |path| namespace_of(Path::new(path));
        assert_eq!(namespace("/run/io.containerd.runtime.v2.task/k8s.io/1"), Some("k8s.io"));
        assert_eq!(namespace("/home/me/bundle"), None);
        assert_eq!(namespace("/"), None);
    }

    #[test]
    fn identifiers_are_safe_as_file_names() {
        for id in ["a", "web-1.2_3+4", &"f".repeat(64)] {
            assert!(is_container_id(id), "{id}");
        }
        for id in ["", ".", "..", "a/b", "a b", "a\n", "ä", &"f".repeat(256)] {
            assert!(!is_container_id(id), "{id}");
        }
    }

    #[test]
    fn caller_without_a_bundle_has_none() {
        assert!(Bundle::of_caller(std::process::id()).is_none());
        assert!(Bundle::of_caller(0).is_none());
    }

    proptest! {
        #[test]
        fn any_command_line_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Arguments::parse(&bytes);
            let _ = Arguments::parse(&[b"runc\0create\0".as_slice(), &bytes].concat());
        }
    }
}
