//! Probes in programs and libraries: `uprobe/`, `uretprobe/` and `usdt/`.
//!
//! A target is `LIBRARY:FUNCTION`, such as `libc:malloc`, or `/PATH:FUNCTION`; of `usdt/`, `:PROVIDER:PROBE` in place of
//! the function. It is looked for in the file system of each container, which has libraries of its own. The kernel
//! attaches to the file, not to a process: one that several containers share is attached to once.

#![allow(unsafe_code, reason = "perf_event_open has no safe wrapper")]

use std::{
    collections::{HashMap, HashSet},
    ffi::{CStr, CString},
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use libbpf_rs::{ProgramAttachType, ProgramMut};

use super::{cookie, specifications::Specifications};
use crate::{
    ebpf::Error,
    symbol::{Elf, Probe, open_below, paths_of},
};

/// What the kernel calls its probes in programs.
const UNIT: &str = "/sys/bus/event_source/devices/uprobe";

/// Where the offset of a probe's counter begins in an event's configuration (linux/trace_events.h).
const COUNTER_SHIFT: u32 = 32;

/// Most places of one probe.
const MAX_PLACES: usize = 1024;

nix::ioctl_write_int_bad!(set_program, 0x4004_2408);
nix::ioctl_none_bad!(enable, 0x2400);

/// One program of a gadget, and where it is attached.
pub struct UserProbe {
    name: String,
    section: String,
    program: OwnedFd,
    target: Target,
    /// How the kernel is asked for such a probe.
    kind: Kind,
    /// Where arguments are told, if the gadget asks for any.
    specifications: Option<Arc<Specifications>>,
    /// Whether the program was loaded to be attached to all places of a file at once, as libbpf does where it can.
    at_once: bool,
    files: Mutex<HashMap<(u64, u64), Attachment>>,
}

#[derive(Clone, Copy)]
struct Kind {
    number: u32,
    config: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct Target {
    file: String,
    place: Place,
}

#[derive(Debug, PartialEq, Eq)]
enum Place {
    Function(String),
    Probe { provider: String, name: String },
}

/// A file that is attached to, on account of these processes.
struct Attachment {
    users: HashSet<u32>,
    _events: Vec<OwnedFd>,
}

impl Target {
    /// Reads what follows a section's kind.
    fn parse(kind: &str, text: &str) -> Option<Self> {
        let (file, rest) = text.split_once(':')?;
        let place = if kind == "usdt" {
            let (provider, name) = rest.split_once(':')?;
            Place::Probe { provider: provider.to_owned(), name: name.to_owned() }
        } else {
            Place::Function(rest.to_owned())
        };
        let whole = !file.is_empty() && !rest.is_empty() && !rest.starts_with(':') && !rest.ends_with(':');
        whole.then(|| Self { file: file.to_owned(), place })
    }

    /// Opens the file below `root`; `None` if there is no such file.
    fn open(&self, root: &File) -> io::Result<Option<File>> {
        let paths = if self.file.starts_with('/') {
            vec![PathBuf::from(&self.file)]
        } else {
            paths_of(root, &self.file)
        };
        for path in paths {
            match open_below(root, &path) {
                Ok(file) => return Ok(Some(file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io::Error::other(format!("{}: {error}", path.display()))),
            }
        }
        Ok(None)
    }

    /// Where in the file the program is to be run.
    fn places(&self, elf: &Elf) -> io::Result<Vec<Probe>> {
        let (places, what) = match &self.place {
            Place::Function(name) => {
                let offset = elf.function(name)?;
                let places = offset
                    .map(|offset| Probe { offset, counter: 0, arguments: String::new() })
                    .into_iter()
                    .collect();
                (places, format!("function {name}"))
            }
            Place::Probe { provider, name } => {
                (elf.probes(provider, name)?, format!("probe {provider}:{name}"))
            }
        };
        if places.is_empty() {
            return Err(io::Error::other(format!("{} has no {what}", self.file)));
        }
        Ok(places)
    }
}

impl UserProbe {
    /// The probe that `section` describes, or rather `target` if it is given; attached nowhere yet.
    ///
    /// # Errors
    /// When it names no place, or the kernel has no such probes.
    pub(super) fn new(
        program: &ProgramMut<'_>,
        section: &str,
        target: Option<&str>,
        specifications: Option<Arc<Specifications>>,
    ) -> Result<Self, Error> {
        let name = program.name().to_string_lossy().into_owned();
        let failed = |why: io::Error| Error::Attach {
            program: name.clone(),
            section: section.to_owned(),
            error: why.into(),
        };
        let (kind, of_section) = section.split_once('/').unwrap_or((section, ""));
        let text = target.unwrap_or(of_section);
        let target = Target::parse(kind, text).ok_or_else(|| {
            let form = if kind == "usdt" { "LIBRARY:PROVIDER:PROBE" } else { "LIBRARY:FUNCTION" };
            failed(io::Error::other(format!("{text:?} names no place; write {form}")))
        })?;
        let at_once = matches!(program.attach_type(), ProgramAttachType::TraceUprobeMulti);
        let program = program.as_fd().try_clone_to_owned().map_err(failed)?;
        let kind = Kind::of(kind == "uretprobe").map_err(failed)?;
        let (section, files) = (section.to_owned(), Mutex::default());
        Ok(Self { name, section, program, target, kind, specifications, at_once, files })
    }

    /// Attaches to the file as process `pid` sees it, or this process if there is none. `false` if there is no such
    /// file. Each call needs its [`UserProbe::detach`].
    ///
    /// # Errors
    /// When the file has no such place, or the kernel refuses.
    pub fn attach(&self, pid: Option<u32>) -> Result<bool, Error> {
        self.attach_below(pid).map_err(|error| Error::Attach {
            program: self.name.clone(),
            section: self.section.clone(),
            error: error.into(),
        })
    }

    /// What it is attached to, for people.
    pub fn target(&self) -> &str {
        &self.target.file
    }

    fn attach_below(&self, pid: Option<u32>) -> io::Result<bool> {
        let root = match pid {
            Some(pid) => PathBuf::from(format!("/proc/{pid}/root")),
            None => PathBuf::from("/"),
        };
        let Some(file) = self.target.open(&File::open(root)?)? else { return Ok(false) };
        let metadata = file.metadata()?;
        let user = pid.unwrap_or(0);
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = files.get_mut(&(metadata.dev(), metadata.ino())) {
            known.users.insert(user);
            return Ok(true);
        }
        // The kernel follows this link to the file itself, whatever its path is and in whichever mount namespace.
        let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        let elf = Elf::open(file.try_clone()?)?;
        let places = self.target.places(&elf)?;
        let places: Vec<_> = places.iter().take(MAX_PLACES).map(|place| self.place(place)).collect();
        let mut events = Vec::new();
        if self.at_once {
            events.push(cookie::to_places(&self.program, &path, &places)?);
        } else {
            for place in &places {
                events.extend(self.open(&path, place)?);
            }
        }
        let attachment = Attachment { users: HashSet::from([user]), _events: events };
        files.insert((metadata.dev(), metadata.ino()), attachment);
        Ok(true)
    }

    /// Undoes [`UserProbe::attach`]; a file that nobody else is attached to on account of is let go.
    pub fn detach(&self, pid: u32) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|_, attachment| !attachment.users.remove(&pid) || !attachment.users.is_empty());
    }

    fn place(&self, probe: &Probe) -> cookie::Place {
        let number = |specifications: &Arc<Specifications>| specifications.number(&probe.arguments);
        let cookie = self.specifications.as_ref().map_or(0, number);
        cookie::Place { offset: probe.offset, counter: probe.counter, cookie }
    }

    fn open(&self, path: &CStr, place: &cookie::Place) -> io::Result<Vec<OwnedFd>> {
        let mut attributes = libbpf_sys::perf_event_attr {
            type_: self.kind.number,
            size: size_of::<libbpf_sys::perf_event_attr>() as u32,
            config: self.kind.config | place.counter << COUNTER_SHIFT,
            ..Default::default()
        };
        attributes.__bindgen_anon_3.uprobe_path = path.as_ptr() as u64;
        attributes.__bindgen_anon_4.probe_offset = place.offset;
        let (attributes, flags) = (&raw const attributes, libbpf_sys::PERF_FLAG_FD_CLOEXEC);
        // Of every process; the processor that is named has no meaning then, but must be one.
        // SAFETY: attributes and path live until the call returns, and the former say how large they are.
        let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, attributes, -1, 0, -1, flags) };
        let event = match i32::try_from(fd) {
            // SAFETY: the kernel has just made this descriptor for us.
            Ok(fd) if fd >= 0 => unsafe { OwnedFd::from_raw_fd(fd) },
            _ => return Err(io::Error::last_os_error()),
        };
        let mut attached = Vec::new();
        if self.specifications.is_some() {
            match cookie::to_event(&self.program, &event, place.cookie) {
                Ok(link) => attached.push(link),
                Err(error) => tracing::debug!("{}: arguments are not known: {error}", self.section),
            }
        }
        if attached.is_empty() {
            // SAFETY: both descriptors are open; the kernel keeps the program as long as the event is.
            unsafe { set_program(event.as_raw_fd(), self.program.as_raw_fd()) }?;
        }
        // SAFETY: the descriptor is open.
        unsafe { enable(event.as_raw_fd()) }?;
        attached.push(event);
        Ok(attached)
    }
}

impl Kind {
    fn of(returns: bool) -> io::Result<Self> {
        let read = |file: &str| {
            fs::read_to_string(Path::new(UNIT).join(file))
                .map_err(|error| io::Error::other(format!("{UNIT}/{file}: {error}")))
        };
        let wrong = |_| io::Error::other(format!("{UNIT} is not as expected"));
        let number = read("type")?.trim().parse().map_err(wrong)?;
        if !returns {
            return Ok(Self { number, config: 0 });
        }
        // Such as `config:0`.
        let format = read("format/retprobe")?;
        let bit: u32 = format.trim().trim_start_matches("config:").parse().map_err(wrong)?;
        let config = 1_u64.checked_shl(bit).unwrap_or(0);
        Ok(Self { number, config })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_file_and_a_place_in_it() {
        let function = |file: &str, name: &str| {
            Some(Target { file: file.to_owned(), place: Place::Function(name.to_owned()) })
        };
        assert_eq!(Target::parse("uprobe", "libc:malloc"), function("libc", "malloc"));
        assert_eq!(
            Target::parse("uretprobe", "/usr/bin/bash:readline"),
            function("/usr/bin/bash", "readline")
        );
        let probe = Target::parse("usdt", "libpython3.11:python:gc__start").unwrap();
        assert_eq!(probe.place, Place::Probe { provider: "python".to_owned(), name: "gc__start".to_owned() });
        for (kind, wrong) in [
            ("uprobe", ""),
            ("uprobe", "libc"),
            ("uprobe", ":malloc"),
            ("uprobe", "libc:"),
            ("usdt", "libc:setjmp"),
            ("usdt", "libc::setjmp"),
            ("usdt", "libc:libc:"),
        ] {
            assert_eq!(Target::parse(kind, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_function_is_found_in_a_library_and_a_wrong_one_is_told() {
        let root = File::open("/").unwrap();
        let places = |text: &str| {
            let target = Target::parse("uprobe", text).unwrap();
            let file = target.open(&root).unwrap()?;
            Some(target.places(&Elf::open(file).unwrap()).map_err(|error| error.to_string()))
        };
        assert!(places("libc:malloc").unwrap().unwrap()[0].offset > 0);
        assert_eq!(places("libc:nosuch").unwrap().unwrap_err(), "libc has no function nosuch");
        assert_eq!(places("libnosuch:f"), None);
        assert_eq!(places("/nosuch:f"), None);
    }
}
