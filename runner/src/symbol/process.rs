//! Functions of processes: what is mapped where, and which function of that file an address is in.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read, Write as _},
    os::unix::fs::MetadataExt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    debug_info::Symbolizers,
    elf::{Elf, Functions},
    patience::{Late, Outcome, Patience},
};

/// Processes remembered.
const MAX_PROCESSES: usize = 1024;
/// Bytes of function names remembered.
const MAX_NAMES: usize = 128 << 20;
/// Bytes of a process' list of mappings that are read.
const MAX_MAPS: u64 = 8 << 20;
/// What is mapped is not looked at more often than the first of these, and the oftener it was, the less often, up to the
/// second: programs load libraries as they start, and what they make while they run has no names anyway.
const AGES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(1));

/// How long events wait for a file that is read.
const PATIENCE: Duration = Duration::from_millis(500);

/// The processes that stacks were seen of.
pub(crate) struct Processes {
    /// By identifier, and what tells one program of a process from the next.
    known: HashMap<(u32, u32), Process>,
    files: Arc<Mutex<Files>>,
    /// By file, as lists of mappings tell them apart: what did not let itself be read in time.
    late: HashMap<(u64, u64), Late<Option<Arc<Program>>>>,
    patience: Patience,
    symbolizers: Symbolizers,
}

impl Processes {
    /// Processes whose functions have the names that `symbolizers` know.
    pub(crate) fn new(symbolizers: Symbolizers) -> Self {
        Self {
            known: HashMap::new(),
            files: Arc::default(),
            late: HashMap::new(),
            patience: Patience::new(PATIENCE),
            symbolizers,
        }
    }
}

/// What was read, by device and number of the file; none of what cannot be.
#[derive(Default)]
struct Files {
    programs: HashMap<(u64, u64), Option<Arc<Program>>>,
    /// Bytes of function names in them.
    names: usize,
}

impl Files {
    /// The program in the file at `path`, read if it is not known.
    fn program(
        files: &Mutex<Self>,
        path: &str,
        symbolizers: &Symbolizers,
    ) -> io::Result<Option<Arc<Program>>> {
        let lock = || files.lock().unwrap_or_else(PoisonError::into_inner);
        // Not opened: it may be a device.
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let key = (metadata.dev(), metadata.ino());
        if let Some(program) = lock().programs.get(&key) {
            return Ok(program.clone());
        }
        let program = Program::read(path, symbolizers)
            .inspect_err(|error| tracing::debug!("{path}: its functions have no names: {error}"))
            .map(Arc::new)
            .ok();
        let mut files = lock();
        files.names += program.as_ref().map_or(0, |program| program.functions.size());
        files.programs.insert(key, program.clone());
        Ok(program)
    }
}

struct Process {
    mappings: Vec<Mapping>,
    /// What is mapped, by the first address.
    programs: HashMap<u64, Option<Arc<Program>>>,
    read: Instant,
    /// How long that is not looked at again.
    age: Duration,
}

/// A part of a file that is mapped to be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mapping {
    first: u64,
    end: u64,
    offset: u64,
    /// Device and number of the file; no number if it is of none.
    file: (u64, u64),
}

struct Program {
    elf: Elf,
    functions: Functions,
}

impl Program {
    fn read(path: &str, symbolizers: &Symbolizers) -> io::Result<Self> {
        let elf = Elf::open(File::open(path)?)?;
        let functions = symbolizers.functions(&elf)?;
        Ok(Self { elf, functions })
    }
}

impl Processes {
    /// Appends the names of the functions that `addresses` are in, each with `; ` after it, or the address where there
    /// is no name. Nothing if the process has ended, or names come from nowhere. `program` tells programs apart that a
    /// process ran one after the other.
    pub(crate) fn names(
        &mut self,
        pid: u32,
        program: u32,
        addresses: impl Iterator<Item = u64>,
        out: &mut Vec<u8>,
    ) {
        if self.symbolizers == Symbolizers::NONE {
            return;
        }
        if self.known.len() >= MAX_PROCESSES {
            self.known.clear();
        }
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if files.names > MAX_NAMES {
            *files = Files::default();
            // These keep programs, too.
            self.known.clear();
        }
        drop(files);
        for address in addresses {
            let Some(mapping) = self.mapping(pid, program, address) else {
                if self.known.get(&(pid, program)).is_none_or(|process| process.mappings.is_empty()) {
                    return;
                }
                write_address(address, out);
                continue;
            };
            let file = self.mapped(pid, program, &mapping);
            let name = file.as_ref().and_then(|program| {
                let offset = (address - mapping.first).checked_add(mapping.offset)?;
                program.functions.at(program.elf.address_of(offset)?)
            });
            match name {
                Some(name) if !name.is_empty() => {
                    out.extend_from_slice(name);
                    out.extend_from_slice(b"; ");
                }
                _ => write_address(address, out),
            }
        }
    }

    fn mapping(&mut self, pid: u32, program: u32, address: u64) -> Option<Mapping> {
        let find = |process: &Process| {
            process.mappings.iter().find(|m| (m.first..m.end).contains(&address)).copied()
        };
        let known = self.known.get(&(pid, program));
        if let Some(process) = known {
            let found = find(process);
            // What was loaded since is found by looking again.
            if found.is_some() || process.read.elapsed() < process.age {
                return found;
            }
        }
        let age = known.map_or(AGES.0, |process| AGES.1.min(process.age * 2));
        let mut text = Vec::new();
        // Of one that has ended there is nothing to read.
        let _ = File::open(format!("/proc/{pid}/maps"))
            .and_then(|file| file.take(MAX_MAPS).read_to_end(&mut text));
        let mappings = mappings(&String::from_utf8_lossy(&text));
        let process = Process { mappings, programs: HashMap::new(), read: Instant::now(), age };
        let found = find(&process);
        self.known.insert((pid, program), process);
        found
    }

    /// The program that is mapped there, remembered with the process.
    fn mapped(&mut self, pid: u32, program: u32, mapping: &Mapping) -> Option<Arc<Program>> {
        let known =
            |processes: &Self| processes.known.get(&(pid, program))?.programs.get(&mapping.first).cloned();
        if let Some(program) = known(self) {
            return program;
        }
        let found = self.program(pid, mapping)?;
        if let Some(process) = self.known.get_mut(&(pid, program)) {
            process.programs.insert(mapping.first, found.clone());
        }
        found
    }

    /// The program that is mapped there, if there is one; `None` as long as it is not known.
    fn program(&mut self, pid: u32, mapping: &Mapping) -> Option<Option<Arc<Program>>> {
        if mapping.file.1 == 0 {
            return Some(None);
        }
        let read = if let Some(late) = self.late.get(&mapping.file) {
            let read = late.take()?;
            self.late.remove(&mapping.file);
            read
        } else {
            // By the mapping, not by its path: the file may be in another mount namespace, or not there any more.
            let path = format!("/proc/{pid}/map_files/{:x}-{:x}", mapping.first, mapping.end);
            let (files, symbolizers) = (self.files.clone(), self.symbolizers.clone());
            match self.patience.begin(move || Files::program(&files, &path, &symbolizers)) {
                Outcome::Ended(read) => read,
                Outcome::Late(late) => {
                    self.late.insert(mapping.file, late);
                    return None;
                }
            }
        };
        match read {
            Ok(program) => Some(program),
            // There was no room for one more that may be stuck.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => None,
            Err(_) => Some(None),
        }
    }
}

fn write_address(address: u64, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = write!(out, "{address:#x}; ");
}

/// The parts of files that a process executes, out of `/proc/PID/maps`.
fn mappings(text: &str) -> Vec<Mapping> {
    let mapping = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (first, end) = words.next()?.split_once('-')?;
        let executable = words.next()?.as_bytes().get(2) == Some(&b'x');
        let offset = words.next()?;
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        let (major, minor) = words.next()?.split_once(':')?;
        let file = (number(major)? << 32 | number(minor)?, words.next()?.parse().ok()?);
        let mapping = Mapping { first: number(first)?, end: number(end)?, offset: number(offset)?, file };
        executable.then_some(mapping)
    };
    text.lines().filter_map(mapping).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executable_parts_are_taken() {
        let text = "55d0-55d4 r--p 00000000 fe:00 1 /bin/a\n55d4-55e0 r-xp 00001000 fe:00 1 /bin/a b\nnonsense\n\
                    7ffe-7fff r-xp 00000000 00:00 0 [vdso]\n";
        assert_eq!(
            mappings(text),
            [
                Mapping { first: 0x55d4, end: 0x55e0, offset: 0x1000, file: (0xfe << 32, 1) },
                Mapping { first: 0x7ffe, end: 0x7fff, offset: 0, file: (0, 0) }
            ]
        );
    }

    #[test]
    fn what_a_process_loads_is_found_but_it_is_not_looked_at_for_ever() {
        let mut processes = Processes::new(Symbolizers::default());
        let key = (std::process::id(), 1);
        let mut look = |later: Duration| {
            if let Some(process) = processes.known.get_mut(&key) {
                process.read = Instant::now().checked_sub(later).unwrap();
            }
            processes.mapping(key.0, key.1, 0x10);
            (processes.known[&key].read.elapsed() < later, processes.known[&key].age)
        };
        look(AGES.1);
        assert_eq!(look(2 * AGES.0), (true, 2 * AGES.0));
        let hour = Duration::from_secs(3600);
        assert_eq!(look(hour), (true, 4 * AGES.0));
        for _ in 0..20 {
            look(hour);
        }
        assert_eq!(look(hour), (true, AGES.1));
        assert!(!look(AGES.1 / 2).0);
    }

    #[test]
    fn names_from_nowhere_are_none() {
        let here = names_from_nowhere_are_none as fn() as usize as u64;
        let mut out = Vec::new();
        let addresses = [here].into_iter();
        Processes::new(Symbolizers::NONE).names(std::process::id(), 1, addresses, &mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn functions_of_this_process_have_names_once_its_program_is_read() {
        // Nothing is waited for.
        let processes = Processes::new(Symbolizers { files: true, debuginfod_cache: None });
        let mut processes = Processes { patience: Patience::new(Duration::ZERO), ..processes };
        let mut names = |pid, addresses: &[u64]| {
            let mut out = Vec::new();
            processes.names(pid, 1, addresses.iter().copied(), &mut out);
            String::from_utf8(out).unwrap()
        };
        let here = functions_of_this_process_have_names_once_its_program_is_read as fn() as usize as u64;
        let began = Instant::now();
        let mut said = names(std::process::id(), &[here + 1, 0x10]);
        assert_eq!(said, format!("{:#x}; 0x10; ", here + 1));
        while said.starts_with("0x") && began.elapsed() < Duration::from_secs(60) {
            std::thread::yield_now();
            said = names(std::process::id(), &[here + 1, 0x10]);
        }
        assert!(
            said.contains("_have_names_once_its_program_is_read") && said.ends_with("; 0x10; "),
            "{said}"
        );
        assert_eq!(names(u32::MAX, &[here]), "");
    }
}
