//! Reading what a gadget's programs send: ring buffers and perf buffers, each event handed to a callback while it
//! still lies in the kernel's memory.

use std::{
    cell::Cell,
    os::fd::{BorrowedFd, RawFd},
    rc::Rc,
};

use libbpf_rs::{MapCore, MapHandle, MapType, PerfBuffer, PerfBufferBuilder, RingBuffer, RingBufferBuilder};

use super::Error;

/// Pages of memory per processor in a perf buffer.
const PERF_PAGES: usize = 64;

/// Reads the buffers of one gadget.
pub struct Reader<'a> {
    rings: Option<RingBuffer<'a>>,
    perf: Vec<PerfBuffer<'a>>,
    read: Rc<Cell<usize>>,
    lost: Rc<Cell<u64>>,
}

/// What is done with an event's bytes.
pub type Callback<'a> = Box<dyn FnMut(&[u8]) + 'a>;

impl<'a> Reader<'a> {
    /// A reader of these maps, which must outlive it.
    pub fn new(sources: Vec<(&'a MapHandle, Callback<'a>)>) -> Result<Self, Error> {
        let read = Rc::new(Cell::new(0));
        let lost = Rc::new(Cell::new(0));
        let mut rings = None;
        let mut perf = Vec::new();
        for (map, mut callback) in sources {
            let what = format!("the buffer {}", map.name().to_string_lossy());
            let error = |source| Error::Map { what, source };
            let count = Rc::clone(&read);
            if map.map_type() == MapType::RingBuf {
                let sample = move |bytes: &[u8]| {
                    count.set(count.get() + 1);
                    callback(bytes);
                    0
                };
                rings.get_or_insert_with(RingBufferBuilder::new).add(map, sample).map_err(error)?;
            } else {
                let lost = Rc::clone(&lost);
                let buffer = PerfBufferBuilder::new(map)
                    .pages(PERF_PAGES)
                    .sample_cb(move |_cpu, bytes: &[u8]| {
                        count.set(count.get() + 1);
                        callback(bytes);
                    })
                    .lost_cb(move |_cpu, count| lost.set(lost.get() + count))
                    .build()
                    .map_err(error)?;
                perf.push(buffer);
            }
        }
        let rings = rings
            .map(RingBufferBuilder::build)
            .transpose()
            .map_err(|source| Error::Map { what: "the ring buffers".into(), source })?;
        Ok(Self { rings, perf, read, lost })
    }

    /// Descriptors that are readable when there are events.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> + '_ {
        let rings = self.rings.iter().map(RingBuffer::epoll_fd);
        rings.chain(self.perf.iter().map(PerfBuffer::epoll_fd))
    }

    /// Hands over all events that are there; returns how many.
    pub fn consume(&self) -> Result<usize, Error> {
        let before = self.read.get();
        let error = |source| Error::Map { what: "the gadget's events".into(), source };
        if let Some(rings) = &self.rings {
            rings.consume().map_err(error)?;
        }
        for buffer in &self.perf {
            buffer.consume().map_err(error)?;
        }
        Ok(self.read.get() - before)
    }

    /// Events that the kernel said it lost from perf buffers. Ring buffers are counted by the gadget's programs.
    pub fn lost(&self) -> u64 {
        self.lost.get()
    }
}

/// Borrows a descriptor that the reader keeps open, for polling.
#[allow(unsafe_code, reason = "libbpf hands out its epoll descriptors as plain numbers")]
pub fn borrow<'r>(_reader: &'r Reader<'_>, fd: RawFd) -> BorrowedFd<'r> {
    // SAFETY: libbpf keeps the descriptor open as long as the reader, whose lifetime bounds the borrow.
    unsafe { BorrowedFd::borrow_raw(fd) }
}
