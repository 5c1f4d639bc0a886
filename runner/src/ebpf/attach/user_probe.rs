//! Probes in programs and libraries: `uprobe/`, `uretprobe/` and `usdt/`.
//!
//! The file is looked for in the file system of each container, which has libraries of its own. The kernel attaches to
//! the file, not to a process: one that several containers share is attached to once. A container whose file system
//! does not answer is given up.

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
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use libbpf_rs::{ProgramAttachType, ProgramMut};

use super::{cookie, specifications::Specifications, target::Target};
use crate::{
    ebpf::Error,
    symbol::{Elf, Patience, Probe},
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
    attacher: Arc<Attacher>,
    patience: Patience,
    /// One file is attached to after the other: it may be the same one.
    turn: Mutex<()>,
    files: Mutex<HashMap<(u64, u64), Attachment>>,
}

/// What it takes to attach a program to a file.
struct Attacher {
    section: String,
    program: OwnedFd,
    target: Target,
    /// How the kernel is asked for such a probe.
    kind: Kind,
    /// Where arguments are told, if the gadget asks for any.
    specifications: Option<Arc<Specifications>>,
    /// Whether the program was loaded to be attached to all places of a file at once, as libbpf does where it can.
    at_once: bool,
}

#[derive(Clone, Copy)]
struct Kind {
    number: u32,
    config: u64,
}

/// A file that is attached to, on account of these processes.
struct Attachment {
    users: HashSet<u32>,
    _events: Vec<OwnedFd>,
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
        patience: &Patience,
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
        let section = section.to_owned();
        let attacher = Arc::new(Attacher { section, program, target, kind, specifications, at_once });
        let (patience, turn, files) = (patience.clone(), Mutex::default(), Mutex::default());
        Ok(Self { name, attacher, patience, turn, files })
    }

    /// Attaches to the file as process `pid` sees it, or this process if there is none. `false` if there is no such
    /// file. Each call needs its [`UserProbe::detach`].
    ///
    /// # Errors
    /// When the file has no such place, or the kernel refuses.
    pub fn attach(&self, pid: Option<u32>) -> Result<bool, Error> {
        self.attach_below(pid).map_err(|error| Error::Attach {
            program: self.name.clone(),
            section: self.attacher.section.clone(),
            error: error.into(),
        })
    }

    /// What it is attached to, for people.
    pub fn target(&self) -> &str {
        &self.attacher.target.file
    }

    fn attach_below(&self, pid: Option<u32>) -> io::Result<bool> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let attacher = self.attacher.clone();
        let Some((file, key)) = self.patience.read(move || attacher.open(pid))? else { return Ok(false) };
        let user = pid.unwrap_or(0);
        if let Some(known) = self.files().get_mut(&key) {
            known.users.insert(user);
            return Ok(true);
        }
        let attacher = self.attacher.clone();
        let events = self.patience.read(move || attacher.attach(&file))?;
        self.files().insert(key, Attachment { users: HashSet::from([user]), _events: events });
        Ok(true)
    }

    fn files(&self) -> MutexGuard<'_, HashMap<(u64, u64), Attachment>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Undoes [`UserProbe::attach`]; a file that nobody else is attached to on account of is let go.
    pub fn detach(&self, pid: u32) {
        self.files().retain(|_, attachment| !attachment.users.remove(&pid) || !attachment.users.is_empty());
    }
}

impl Attacher {
    /// The file as process `pid` sees it, and what tells it from others; `None` if there is no such file.
    fn open(&self, pid: Option<u32>) -> io::Result<Option<(File, (u64, u64))>> {
        let root = match pid {
            Some(pid) => PathBuf::from(format!("/proc/{pid}/root")),
            None => PathBuf::from("/"),
        };
        let Some(file) = self.target.open(&File::open(root)?)? else { return Ok(None) };
        let metadata = file.metadata()?;
        Ok(Some((file, (metadata.dev(), metadata.ino()))))
    }

    /// Attaches the program to its places in a file, for as long as what is returned lives.
    fn attach(&self, file: &File) -> io::Result<Vec<OwnedFd>> {
        // The kernel follows this link to the file itself, whatever its path is and in whichever mount namespace.
        let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        let elf = Elf::open(file.try_clone()?)?;
        let places = self.target.places(&elf)?;
        let places: Vec<_> = places.iter().take(MAX_PLACES).map(|place| self.place(place)).collect();
        if self.at_once {
            return Ok(vec![cookie::to_places(&self.program, &path, &places)?]);
        }
        let mut events = Vec::new();
        for place in &places {
            events.extend(self.attach_to(&path, place)?);
        }
        Ok(events)
    }

    fn place(&self, probe: &Probe) -> cookie::Place {
        let number = |specifications: &Arc<Specifications>| specifications.number(&probe.arguments);
        let cookie = self.specifications.as_ref().map_or(0, number);
        cookie::Place { offset: probe.offset, counter: probe.counter, cookie }
    }

    fn attach_to(&self, path: &CStr, place: &cookie::Place) -> io::Result<Vec<OwnedFd>> {
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
