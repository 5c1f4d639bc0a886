//! What eBPF programs print (`bpf_printk`), line by line while they run.
//!
//! Printed lines are events of the tracepoint `bpf_trace_printk` (Linux 5.9 and later). Everybody sees them in the one
//! file `trace_pipe` of tracefs, where who reads a line takes it away from all others. So a tracing instance is made
//! for each run: a folder `instances/igx-PID` with buffers and a `trace_pipe` of its own, which begins empty. It is
//! removed at the end; one that a killed run left is removed by the next run.
//!
//! Source: the kernel's Documentation/trace/ftrace.rst, sections "trace_pipe" and "Instances".

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::OpenOptionsExt,
    },
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use nix::fcntl::OFlag;

use super::tracefs::{PLACES, with_tracefs};

/// Most bytes of a line; the kernel prints 1,024 at once.
const MAX_LINE: usize = 4096;
/// Most bytes that are taken before others have their turn.
const MAX_TURN: usize = 256 << 10;
/// Size of the buffer of each processor, in KiB. What finds no room there is counted by the kernel, in a line of its own.
const BUFFER_KIB: &str = "256";

/// What the names of instances begin with.
const PREFIX: &str = "igx-";

/// Instances that this process has made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// The lines that programs print from when it is opened.
#[derive(Debug)]
pub(crate) struct TracePipe {
    /// `None` only while it is dropped: as long as it is open, its folder cannot be removed.
    pipe: Option<File>,
    _instances: File,
    folder: PathBuf,
    line: Vec<u8>,
}

impl TracePipe {
    /// Makes an instance and opens it.
    ///
    /// # Errors
    /// If there is no tracefs, or it cannot be written to.
    pub(crate) fn open() -> io::Result<Self> {
        let instances = with_tracefs(|| {
            let mut result = Err(io::ErrorKind::NotFound.into());
            for place in PLACES {
                result = result.or_else(|_| File::open(Path::new(place).join("instances")));
            }
            result
        })??;
        // Reached through its descriptor from then on: the mount may be that of a thread that has ended.
        let all = PathBuf::from(format!("/proc/self/fd/{}", instances.as_raw_fd()));
        remove_left_ones(&all)?;
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let folder = all.join(format!("{PREFIX}{}-{number}", process::id()));
        fs::create_dir(&folder)?;
        let mut made = Self { pipe: None, _instances: instances, folder, line: Vec::new() };
        // First, so that nobody takes it for one that was left.
        let nonblocking = OFlag::O_NONBLOCK.bits();
        made.pipe = Some(
            OpenOptions::new().read(true).custom_flags(nonblocking).open(made.folder.join("trace_pipe"))?,
        );
        let set = |file: &str, value: &str| fs::write(made.folder.join(file), value);
        set("buffer_size_kb", BUFFER_KIB)?;
        // Who waits is told of the first line, not of a buffer that is half full. Older kernels always do so.
        let _ = set("buffer_percent", "0");
        set("events/bpf_trace/bpf_trace_printk/enable", "1")?;
        Ok(made)
    }

    /// Readable when there are lines.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Takes the lines that are there, or the first of very many; `false` if there was none.
    ///
    /// # Errors
    /// If the kernel does not give them.
    pub(crate) fn take(&mut self, tell: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        let Some(pipe) = &mut self.pipe else { return Ok(false) };
        let mut bytes = [0; MAX_LINE];
        let mut taken = 0;
        while taken < MAX_TURN {
            let count = match pipe.read(&mut bytes) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if count == 0 {
                break;
            }
            taken += count;
            split(&mut self.line, bytes.get(..count).unwrap_or_default(), tell);
        }
        Ok(taken > 0)
    }
}

impl Drop for TracePipe {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Removes the instances of runs that were killed. Those in use do not let themselves be removed.
fn remove_left_ones(instances: &Path) -> io::Result<()> {
    for entry in fs::read_dir(instances)?.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
    Ok(())
}

/// Hands on the lines that end in `bytes`; what begins one stays in `line`. What is too long of a line is left out.
fn split(line: &mut Vec<u8>, bytes: &[u8], tell: &mut dyn FnMut(&[u8])) {
    for part in bytes.split_inclusive(|&byte| byte == b'\n') {
        let (text, ended) = match part.strip_suffix(b"\n") {
            Some(text) => (text, true),
            None => (part, false),
        };
        let room = MAX_LINE.saturating_sub(line.len());
        line.extend_from_slice(text.get(..room).unwrap_or(text));
        if ended {
            // A line whose own end was printed is followed by an empty one.
            if !line.is_empty() {
                tell(line);
            }
            line.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn lines(parts: &[&[u8]]) -> Vec<String> {
        let (mut line, mut told) = (Vec::new(), Vec::new());
        for part in parts {
            split(&mut line, part, &mut |line| told.push(String::from_utf8_lossy(line).into_owned()));
        }
        told
    }

    #[test]
    fn lines_are_told_when_they_are_whole_and_no_longer_than_is_useful() {
        assert_eq!(lines(&[b"a b\nc", b"", b"d\n\n\ne"]), ["a b", "cd"]);
        assert_eq!(
            lines(&[&[b'x'; MAX_LINE - 1], b"yz", b"z\nnext\n"]),
            ["x".repeat(MAX_LINE - 1) + "y", "next".to_owned()]
        );
        assert_eq!(lines(&[b"\xff\n"]), ["\u{fffd}"]);
    }

    /// Waits for the first lines.
    fn awaited(pipe: &mut TracePipe) -> Vec<String> {
        let mut told = Vec::new();
        let began = Instant::now();
        while told.is_empty() && began.elapsed() < Duration::from_secs(5) {
            poll(
                &mut [PollFd::new(pipe.descriptor().unwrap(), PollFlags::POLLIN)],
                PollTimeout::from(100_u8),
            )
            .unwrap();
            pipe.take(&mut |line| told.push(String::from_utf8_lossy(line).into_owned())).unwrap();
        }
        told
    }

    /// Something is printed: what a process writes there goes the same way.
    fn print(pipe: &TracePipe, text: &str) {
        fs::write(pipe.folder.join("trace_marker"), text).unwrap();
    }

    #[test]
    fn each_reader_sees_all_lines_from_when_it_began_and_leaves_nothing() {
        let mut first = TracePipe::open().unwrap();
        assert!(!first.take(&mut |_| {}).unwrap());
        print(&first, "one");
        assert!(awaited(&mut first)[0].ends_with("tracing_mark_write: one"));
        let second = TracePipe::open().unwrap();
        // Which did not take the first one for a killed run's.
        print(&first, "two");
        assert!(awaited(&mut first)[0].ends_with(": two"));
        let folders = [first.folder.clone(), second.folder.clone()];
        assert!(folders.iter().all(|folder| folder.exists()));
        drop((first, second));
        let later = TracePipe::open().unwrap();
        for folder in folders {
            assert!(!later.folder.with_file_name(folder.file_name().unwrap()).exists());
        }
    }

    #[test]
    fn what_a_killed_run_left_is_removed() {
        let pipe = TracePipe::open().unwrap();
        let left = pipe.folder.with_file_name(format!("{PREFIX}left-by-test"));
        fs::create_dir(&left).unwrap();
        drop(TracePipe::open().unwrap());
        assert!(!left.exists() && pipe.folder.exists());
    }
}
