//! Reading a ring buffer map, without libbpf's reader.
//!
//! libbpf maps a ring's memory twice in a row, so that a record that wraps around looks whole; the kernel counts both
//! as resident. Here it is mapped once, and the one record a lap that wraps is copied: half the memory for the same
//! room. The layout is that of the kernel's kernel/bpf/ringbuf.c.

#![allow(unsafe_code, reason = "the ring is memory that is shared with the kernel")]

use std::{
    io,
    num::NonZeroUsize,
    os::fd::{AsFd, BorrowedFd},
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use libbpf_rs::{MapCore, MapHandle};
use nix::{
    sys::mman::{MapFlags, ProtFlags, mmap, munmap},
    unistd::{SysconfVar, sysconf},
};

/// Set in a record's length while the kernel still writes it (BPF_RINGBUF_BUSY_BIT).
const BUSY: u32 = 1 << 31;
/// Set in a record's length if it is to be passed over (BPF_RINGBUF_DISCARD_BIT).
const DISCARD: u32 = 1 << 30;
/// Bytes before each record's data (BPF_RINGBUF_HDR_SZ); records begin at multiples of it.
const HEADER: u64 = 8;

/// Room is given back to the kernel so many times a lap.
const GIVE_BACK_STEPS: u64 = 64;
#[cfg(target_arch = "x86_64")]
const CACHE_LINE: u64 = 64;
/// More of a record than this is rarely looked at.
#[cfg(target_arch = "x86_64")]
const PREFETCH_BYTES: u64 = 1024;

/// The reading end of one ring buffer map.
pub(super) struct Ring<'a> {
    map: &'a MapHandle,
    /// One page, ours to write: how far we have read.
    consumer: Mapping,
    /// One page, the kernel's: how far it has written; then the data.
    producer: Mapping,
    page: usize,
    size: u64,
    wrapped: Vec<u8>,
}

impl<'a> Ring<'a> {
    /// Maps the ring of `map`. A ring has one reader at a time.
    pub(super) fn new(map: &'a MapHandle) -> io::Result<Self> {
        let page = sysconf(SysconfVar::PAGE_SIZE)?.and_then(|p| usize::try_from(p).ok()).unwrap_or(4096);
        let size = map.max_entries() as usize;
        let rw = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let consumer = Mapping::new(map.as_fd(), page, rw, 0)?;
        let producer = Mapping::new(map.as_fd(), page + size, ProtFlags::PROT_READ, page)?;
        Ok(Self { map, consumer, producer, page, size: size as u64, wrapped: Vec::new() })
    }

    /// Readable when there are records.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }

    /// Hands over the records that are complete, and gives their room back to the kernel. Stops after one lap, so
    /// that the caller can look up even if records come faster than they are taken.
    pub(super) fn consume(&mut self, mut take: impl FnMut(&[u8])) {
        let mut at = self.consumer_position().load(Ordering::Relaxed);
        let lap = at + self.size;
        let mut given_back = at;
        let step = self.size / GIVE_BACK_STEPS;
        loop {
            let end = self.producer_position().load(Ordering::Acquire).min(lap);
            if at >= end {
                return;
            }
            while at < end {
                let length = self.length_at(at).load(Ordering::Acquire);
                if length & BUSY != 0 {
                    self.give_back(at);
                    return;
                }
                let len = u64::from(length & !DISCARD);
                let next = at + (HEADER + len).next_multiple_of(HEADER);
                if next < end {
                    self.prefetch(next, len);
                }
                if length & DISCARD == 0 {
                    take(self.record(at, len));
                }
                at = next;
                if at - given_back >= step {
                    self.give_back(at);
                    given_back = at;
                }
            }
            self.give_back(at);
            given_back = at;
        }
    }

    /// Lets the kernel write up to `at` again. It looks at this for each record that it makes, from another
    /// processor, so it is told now and then only.
    fn give_back(&self, at: u64) {
        self.consumer_position().store(at, Ordering::Release);
    }

    /// Fetches the record at `at`, of about `len` bytes, while the one before it is worked on: it was written by
    /// another processor, and waiting for its memory would be a good part of an event's cost.
    fn prefetch(&self, at: u64, len: u64) {
        #[cfg(target_arch = "x86_64")]
        for line in 0..len.min(PREFETCH_BYTES).div_ceil(CACHE_LINE) {
            let offset = (at + line * CACHE_LINE) % self.size;
            // SAFETY: the offset lies within the ring; and prefetching reads nothing.
            unsafe {
                use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
                _mm_prefetch::<_MM_HINT_T0>(
                    self.producer.start.as_ptr().add(self.page + offset as usize).cast(),
                );
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (at, len);
    }

    fn record(&mut self, at: u64, len: u64) -> &[u8] {
        let start = (at + HEADER) % self.size;
        let before_end = (self.size - start).min(len);
        if before_end == len {
            return self.data(start, len);
        }
        let mut wrapped = std::mem::take(&mut self.wrapped);
        wrapped.clear();
        wrapped.extend_from_slice(self.data(start, before_end));
        wrapped.extend_from_slice(self.data(0, len - before_end));
        self.wrapped = wrapped;
        &self.wrapped
    }

    /// `len` bytes from `start`, both bounded by the ring whatever they say.
    fn data(&self, start: u64, len: u64) -> &[u8] {
        let start = start.min(self.size);
        let len = len.min(self.size - start);
        // SAFETY: the mapping holds a page and `size` bytes; the kernel does not write a complete record again until
        // the consumer's position has passed it, which happens only after this borrow.
        unsafe {
            let data = self.producer.start.as_ptr().add(self.page);
            slice::from_raw_parts(data.add(start as usize), len as usize)
        }
    }

    fn length_at(&self, at: u64) -> &AtomicU32 {
        let offset = (at % self.size) as usize;
        // SAFETY: positions are multiples of eight and less than the ring's size, so that the header lies within it,
        // aligned; the kernel writes it atomically.
        unsafe { &*self.producer.start.as_ptr().add(self.page + offset).cast::<AtomicU32>() }
    }

    fn consumer_position(&self) -> &AtomicU64 {
        // SAFETY: the page begins with the position, an aligned unsigned long.
        unsafe { &*self.consumer.start.as_ptr().cast::<AtomicU64>() }
    }

    fn producer_position(&self) -> &AtomicU64 {
        // SAFETY: as above; the kernel writes it atomically.
        unsafe { &*self.producer.start.as_ptr().cast::<AtomicU64>() }
    }
}

/// A part of a map's or an event's memory.
pub(super) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    pub(super) fn new(
        fd: BorrowedFd<'_>,
        len: usize,
        protection: ProtFlags,
        offset: usize,
    ) -> io::Result<Self> {
        let size = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let offset = i64::try_from(offset).map_err(io::Error::other)?;
        // SAFETY: a new mapping at a place that the kernel chooses; it is unmapped on drop.
        let start = unsafe { mmap(None, size, protection, MapFlags::MAP_SHARED, fd, offset)? };
        Ok(Self { start: start.cast(), len })
    }

    /// Where it begins, and how many bytes it has.
    pub(super) fn bytes(&self) -> (NonNull<u8>, usize) {
        (self.start, self.len)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: made by new(), and no borrow of it outlives self.
        let unmapped = unsafe { munmap(self.start.cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}
