//! Functions of processes: what is mapped where, and which function of that file an address is in.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{self, Read, Write as _},
    os::unix::fs::MetadataExt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    debug_info::Symbolizers,
    elf::{Elf, Functions},
    patience::Patience,
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
    files: HashMap<(u64, u64), Option<Arc<Program>>>,
    /// Files, as lists of mappings tell them apart, that did not let themselves be read in time.
    silent: HashSet<(u64, u64)>,
    patience: Patience,
    names: usize,
    symbolizers: Symbolizers,
}

impl Processes {
    /// Processes whose functions have the names that `symbolizers` know.
    pub(crate) fn new(symbolizers: Symbolizers) -> Self {
        Self {
            known: HashMap::new(),
            files: HashMap::new(),
            silent: HashSet::new(),
            patience: Patience::new(PATIENCE),
            names: 0,
            symbolizers,
        }
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

impl Processes {
    /// Appends the names of the functions that `addresses` are in, each with `; ` after it, or the address where there
    /// is no name. Nothing if the process has ended, or names come from nowhere. `program` tells programs apart that a process ran one after the other.
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
        if self.names > MAX_NAMES {
            self.files.clear();
            // These keep programs, too.
            self.known.clear();
            self.names = 0;
        }
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
        let found = self.program(pid, mapping);
        if let Some(process) = self.known.get_mut(&(pid, program)) {
            process.programs.insert(mapping.first, found.clone());
        }
        found
    }

    fn program(&mut self, pid: u32, mapping: &Mapping) -> Option<Arc<Program>> {
        if mapping.file.1 == 0 || self.silent.contains(&mapping.file) {
            return None;
        }
        // By the mapping, not by its path: the file may be in another mount namespace, or not there any more.
        let path = format!("/proc/{pid}/map_files/{:x}-{:x}", mapping.first, mapping.end);
        let asked = path.clone();
        let found = self.patience.read(move || {
            // Not opened: it may be a device.
            let metadata = fs::metadata(&asked)?;
            Ok(metadata.is_file().then_some((metadata.dev(), metadata.ino())))
        });
        let key = self.heard(mapping, found).flatten()?;
        if let Some(program) = self.files.get(&key) {
            return program.clone();
        }
        let asked = path.clone();
        let symbolizers = self.symbolizers.clone();
        let read = self.patience.read(move || {
            let elf = Elf::open(File::open(&asked)?)?;
            let functions = symbolizers.functions(&elf)?;
            Ok(Arc::new(Program { elf, functions }))
        });
        let read = read.inspect_err(|error| tracing::debug!("{path}: its functions have no names: {error}"));
        let program = self.heard(mapping, read);
        self.names += program.as_ref().map_or(0, |program| program.functions.size());
        self.files.insert(key, program.clone());
        program
    }

    /// What was read; a file that took too long is not asked again.
    fn heard<T>(&mut self, mapping: &Mapping, read: io::Result<T>) -> Option<T> {
        if read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
            && self.silent.len() < MAX_PROCESSES
        {
            self.silent.insert(mapping.file);
        }
        read.ok()
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
    fn functions_of_this_process_have_names() {
        let mut processes = Processes::new(Symbolizers::default());
        let mut names = |pid, addresses: &[u64]| {
            let mut out = Vec::new();
            processes.names(pid, 1, addresses.iter().copied(), &mut out);
            String::from_utf8(out).unwrap()
        };
        let here = functions_of_this_process_have_names as fn() as usize as u64;
        let said = names(std::process::id(), &[here + 1, 0x10]);
        assert!(
            said.contains("functions_of_this_process_have_names") && said.ends_with("; 0x10; "),
            "{said}"
        );
        assert_eq!(names(u32::MAX, &[here]), "");
    }
}
