//! Functions of processes: what is mapped where, and which function of that file an address is in.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{Read, Write as _},
    os::unix::fs::MetadataExt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::elf::{Elf, Functions};

/// Processes remembered.
const MAX_PROCESSES: usize = 1024;
/// Bytes of function names remembered.
const MAX_NAMES: usize = 128 << 20;
/// Bytes of a process' list of mappings that are read.
const MAX_MAPS: u64 = 8 << 20;
/// What is mapped is not looked at more often than this.
const AGE: Duration = Duration::from_secs(1);

/// The processes that stacks were seen of.
#[derive(Default)]
pub(crate) struct Processes {
    /// By identifier, and what tells one program of a process from the next.
    known: HashMap<(u32, u32), Process>,
    files: HashMap<(u64, u64), Option<Arc<Program>>>,
    names: usize,
}

struct Process {
    mappings: Vec<Mapping>,
    read: Instant,
}

/// A part of a file that is mapped to be executed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mapping {
    first: u64,
    end: u64,
    offset: u64,
}

struct Program {
    elf: Elf,
    functions: Functions,
}

impl Processes {
    /// Appends the names of the functions that `addresses` are in, each with `; ` after it, or the address where there
    /// is no name. Nothing if the process has ended. `program` tells programs apart that a process ran one after the other.
    pub(crate) fn names(
        &mut self,
        pid: u32,
        program: u32,
        addresses: impl Iterator<Item = u64>,
        out: &mut Vec<u8>,
    ) {
        if self.known.len() >= MAX_PROCESSES {
            self.known.clear();
        }
        if self.names > MAX_NAMES {
            self.files.clear();
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
            let file = self.program(pid, &mapping);
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
            process.mappings.iter().find(|m| (m.first..m.end).contains(&address)).cloned()
        };
        let known = self.known.get(&(pid, program));
        if let Some(process) = known {
            let found = find(process);
            // What was loaded since is found by looking again.
            if found.is_some() || process.read.elapsed() < AGE {
                return found;
            }
        }
        let mut text = Vec::new();
        // Of one that has ended there is nothing to read.
        let _ = File::open(format!("/proc/{pid}/maps"))
            .and_then(|file| file.take(MAX_MAPS).read_to_end(&mut text));
        let mappings = mappings(&String::from_utf8_lossy(&text));
        let process = Process { mappings, read: Instant::now() };
        let found = find(&process);
        self.known.insert((pid, program), process);
        found
    }

    fn program(&mut self, pid: u32, mapping: &Mapping) -> Option<Arc<Program>> {
        // By the mapping, not by its path: the file may be in another mount namespace, or not there any more.
        let path = format!("/proc/{pid}/map_files/{:x}-{:x}", mapping.first, mapping.end);
        let metadata = fs::metadata(&path).ok().filter(|metadata| metadata.is_file())?;
        let key = (metadata.dev(), metadata.ino());
        if let Some(program) = self.files.get(&key) {
            return program.clone();
        }
        let read = || {
            let elf = Elf::open(File::open(&path)?)?;
            let functions = elf.functions()?;
            std::io::Result::Ok(Arc::new(Program { elf, functions }))
        };
        let program =
            read().inspect_err(|error| tracing::debug!("{path}: its functions have no names: {error}")).ok();
        self.names += program.as_ref().map_or(0, |program| program.functions.size());
        self.files.insert(key, program.clone());
        program
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
        let mapping = Mapping { first: number(first)?, end: number(end)?, offset: number(offset)? };
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
                Mapping { first: 0x55d4, end: 0x55e0, offset: 0x1000 },
                Mapping { first: 0x7ffe, end: 0x7fff, offset: 0 }
            ]
        );
    }

    #[test]
    fn functions_of_this_process_have_names() {
        let mut processes = Processes::default();
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
