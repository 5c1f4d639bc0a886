//! Perf buffers that are read record by record, when a guest wants to: also such as the kernel writes over, which
//! libbpf's reader does not know.
//!
//! Source of the layouts: the kernel's include/uapi/linux/perf_event.h. An overwritable ring is written backwards: the
//! newest record begins at the head, the older ones follow.

#![allow(unsafe_code, reason = "the rings are memory that is shared with the kernel")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    ptr, slice,
    sync::atomic::{AtomicU64, Ordering},
};

use libbpf_rs::{MapCore, MapFlags, MapHandle, num_possible_cpus};
use nix::{
    errno::Errno,
    sys::mman::ProtFlags,
    unistd::{SysconfVar, sysconf},
};

use super::ring::Mapping;

const TYPE_SOFTWARE: u32 = 1;
const SW_BPF_OUTPUT: u64 = 10;
const SAMPLE_RAW: u64 = 1 << 10;
const WRITE_BACKWARD: u64 = 1 << 27;
const FLAG_CLOEXEC: libc::c_ulong = 1 << 3;

/// A record that holds what a program sent: its header, the length of that, and that.
const RECORD_SAMPLE: u32 = 9;
/// Bytes of a record's header: type (32 bits), flags (16) and length (16).
const HEADER: u64 = 8;

/// Where the ring's first page says how far the kernel has written, and how far we have read.
const DATA_HEAD: usize = 1024;
const DATA_TAIL: usize = 1032;

/// Most bytes of one processor's ring.
const MAX_RING: usize = 16 << 20;

/// The kernel's `struct perf_event_attr`, in its first published size.
#[repr(C)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    config1: u64,
}

/// A perf buffer: a ring for each processor.
pub(crate) struct PerfRings {
    map: MapHandle,
    overwritable: bool,
    rings: Vec<Ring>,
    /// The ring that is read at present.
    current: usize,
}

struct Ring {
    processor: u32,
    event: OwnedFd,
    memory: Mapping,
    page: usize,
    size: u64,
    /// What is to be read: from the first to the second position.
    unread: (u64, u64),
    /// Where the newest record began when an overwritable ring was last looked at.
    seen: u64,
}

impl PerfRings {
    /// Opens the perf event array `map`, with at least `size` bytes for each processor, and lets the kernel write.
    pub(crate) fn new(map: MapHandle, size: usize, overwritable: bool) -> io::Result<Self> {
        if size == 0 || size > MAX_RING {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let processors = num_possible_cpus().map_err(io::Error::other)?.min(map.max_entries() as usize);
        let mut rings = Vec::new();
        for processor in 0..processors as u32 {
            match Ring::new(processor, size, overwritable) {
                Ok(ring) => rings.push(ring),
                // It is switched off.
                Err(error) if error.raw_os_error() == Some(Errno::ENODEV as i32) => {}
                Err(error) => return Err(error),
            }
        }
        let rings = Self { map, overwritable, rings, current: 0 };
        rings.pause(false)?;
        Ok(rings)
    }

    /// Bytes of memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.rings.iter().map(|ring| ring.memory.bytes().1).sum()
    }

    /// Keeps the kernel from writing, or lets it.
    pub(crate) fn pause(&self, paused: bool) -> io::Result<()> {
        for ring in &self.rings {
            let key = ring.processor.to_ne_bytes();
            let result = if paused {
                self.map.delete(&key)
            } else {
                self.map.update(&key, &ring.event.as_raw_fd().to_ne_bytes(), MapFlags::ANY)
            };
            match result {
                // It is paused already.
                Err(error) if paused && error.kind() == libbpf_rs::ErrorKind::NotFound => {}
                result => result.map_err(io::Error::other)?,
            }
        }
        Ok(())
    }

    /// Appends the next record to `record`; `false` if there is none. An overwritable buffer is read while it is
    /// paused, each processor's newest record first.
    pub(crate) fn read(&mut self, record: &mut Vec<u8>) -> bool {
        // Once from where the last record was found to the end, and once more from the start.
        for looked in 0..=self.rings.len() {
            let Some(ring) = self.rings.get_mut(self.current) else {
                self.current = 0;
                continue;
            };
            if ring.next(self.overwritable, record) {
                return true;
            }
            if looked < self.rings.len() {
                self.current = (self.current + 1) % self.rings.len();
            }
        }
        false
    }
}

impl Ring {
    fn new(processor: u32, size: usize, overwritable: bool) -> io::Result<Self> {
        let page = sysconf(SysconfVar::PAGE_SIZE)?.and_then(|p| usize::try_from(p).ok()).unwrap_or(4096);
        let size = size.div_ceil(page).next_power_of_two() * page;
        let attributes = Attributes {
            kind: TYPE_SOFTWARE,
            size: size_of::<Attributes>() as u32,
            config: SW_BPF_OUTPUT,
            sample_period: 1,
            sample_type: SAMPLE_RAW,
            read_format: 0,
            flags: if overwritable { WRITE_BACKWARD } else { 0 },
            wakeup_events: 1,
            bp_type: 0,
            config1: 0,
        };
        // SAFETY: the attributes are a struct of the size that they say; the call keeps no pointer to them.
        let event = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                ptr::from_ref(&attributes),
                -1 as libc::pid_t,
                processor as libc::c_int,
                -1 as libc::c_int,
                FLAG_CLOEXEC,
            )
        };
        let event = libc::c_int::try_from(Errno::result(event)?).map_err(io::Error::other)?;
        // SAFETY: the kernel has just opened it for us.
        let event = unsafe { OwnedFd::from_raw_fd(event) };
        let mut protection = ProtFlags::PROT_READ;
        if !overwritable {
            // Only where we can say how far we have read does the kernel wait for us.
            protection |= ProtFlags::PROT_WRITE;
        }
        let memory = Mapping::new(event.as_fd(), page + size, protection, 0)?;
        Ok(Self { processor, event, memory, page, size: size as u64, unread: (0, 0), seen: 0 })
    }

    fn next(&mut self, overwritable: bool, record: &mut Vec<u8>) -> bool {
        if self.unread.0 == self.unread.1 {
            self.unread = self.look(overwritable);
        }
        let mut found = false;
        while !found && self.unread.0 != self.unread.1 {
            let (at, end) = self.unread;
            let header = self.bytes(at, HEADER);
            let (kind, len) = match header[..] {
                [a, b, c, d, _, _, e, f] => {
                    (u32::from_le_bytes([a, b, c, d]), u64::from(u16::from_le_bytes([e, f])))
                }
                _ => (0, 0),
            };
            if len < HEADER || len > end.wrapping_sub(at) {
                // The rest of it is written over.
                self.unread.0 = end;
                break;
            }
            self.unread.0 = at.wrapping_add(len);
            if kind == RECORD_SAMPLE {
                let raw = self.bytes(at.wrapping_add(HEADER), len - HEADER);
                if let Some((size, data)) = raw.split_first_chunk() {
                    let size = (u32::from_le_bytes(*size) as usize).min(data.len());
                    record.extend_from_slice(&data[..size]);
                    found = true;
                }
            }
        }
        if !overwritable {
            self.position(DATA_TAIL).store(self.unread.0, Ordering::Release);
        }
        found
    }

    /// What there is to read now.
    fn look(&mut self, overwritable: bool) -> (u64, u64) {
        let head = self.position(DATA_HEAD).load(Ordering::Acquire);
        if !overwritable {
            return (self.position(DATA_TAIL).load(Ordering::Relaxed), head);
        }
        let written = self.seen.wrapping_sub(head).min(self.size);
        self.seen = head;
        (head, head.wrapping_add(written))
    }

    /// A copy of `len` bytes from `at`, at most a lap of the ring.
    fn bytes(&self, at: u64, len: u64) -> Vec<u8> {
        let (start, mapped) = self.memory.bytes();
        debug_assert_eq!(mapped, self.page + self.size as usize);
        let len = len.min(self.size) as usize;
        let offset = (at % self.size) as usize;
        let first = len.min(self.size as usize - offset);
        // SAFETY: both parts lie within the mapping, which is a page and `size` bytes. The kernel may write to them
        // only if the guest reads a ring that it writes over without pausing it: then they are some bytes or others.
        unsafe {
            let data = start.as_ptr().add(self.page);
            let mut copy = slice::from_raw_parts(data.add(offset), first).to_vec();
            copy.extend_from_slice(slice::from_raw_parts(data, len - first));
            copy
        }
    }

    fn position(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: the first page holds the position, an aligned 64-bit number that both sides use atomically.
        unsafe { &*self.memory.bytes().0.as_ptr().add(offset).cast::<AtomicU64>() }
    }
}
