//! Reading what a gadget's programs send: ring buffers and perf buffers, each event handed to a callback while it
//! still lies in the kernel's memory.

use std::{
    cell::Cell,
    os::fd::{AsRawFd, BorrowedFd},
    rc::Rc,
};

use libbpf_rs::{MapCore, MapHandle, MapType, PerfBuffer, PerfBufferBuilder};

use super::{Error, ring::Ring};

/// Pages of memory per processor in a perf buffer.
const PERF_PAGES: usize = 64;

/// Reads the buffers of one gadget.
pub struct Reader<'a> {
    rings: Vec<(Ring<'a>, Callback<'a>)>,
    perf: Vec<PerfBuffer<'a>>,
    perf_read: Rc<Cell<usize>>,
    lost: Rc<Cell<u64>>,
}

/// What is done with an event's bytes.
pub type Callback<'a> = Box<dyn FnMut(&[u8]) + 'a>;

impl<'a> Reader<'a> {
    /// A reader of these maps.
    pub fn new(sources: Vec<(&'a MapHandle, Callback<'a>)>) -> Result<Self, Error> {
        let mut reader = Self {
            rings: Vec::new(),
            perf: Vec::new(),
            perf_read: Rc::new(Cell::new(0)),
            lost: Rc::new(Cell::new(0)),
        };
        for (map, callback) in sources {
            if map.map_type() == MapType::RingBuf {
                let ring = Ring::new(map).map_err(|e| buffer_error(map, e.into()))?;
                reader.rings.push((ring, callback));
            } else {
                reader.add_perf_buffer(map, callback)?;
            }
        }
        Ok(reader)
    }

    fn add_perf_buffer(&mut self, map: &'a MapHandle, mut callback: Callback<'a>) -> Result<(), Error> {
        let (read, lost) = (Rc::clone(&self.perf_read), Rc::clone(&self.lost));
        let buffer = PerfBufferBuilder::new(map)
            .pages(PERF_PAGES)
            .sample_cb(move |_cpu, bytes: &[u8]| {
                read.set(read.get() + 1);
                callback(bytes);
            })
            .lost_cb(move |_cpu, count| lost.set(lost.get() + count))
            .build()
            .map_err(|source| buffer_error(map, source))?;
        self.perf.push(buffer);
        Ok(())
    }

    /// Descriptors that are readable when there are events.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let rings = self.rings.iter().map(|(ring, _)| ring.fd());
        rings.chain(self.perf.iter().map(perf_descriptor)).collect()
    }

    /// Hands over all events that are there; returns how many.
    pub fn consume(&mut self) -> Result<usize, Error> {
        let mut count = 0;
        for (ring, callback) in &mut self.rings {
            ring.consume(|bytes| {
                count += 1;
                callback(bytes);
            });
        }
        for buffer in &self.perf {
            buffer.consume().map_err(|source| Error::Map { what: "the gadget's events".into(), source })?;
        }
        Ok(count + self.perf_read.take())
    }

    /// Events that the kernel said it lost from perf buffers. Ring buffers are counted by the gadget's programs.
    pub fn lost(&self) -> u64 {
        self.lost.get()
    }
}

fn buffer_error(map: &MapHandle, source: libbpf_rs::Error) -> Error {
    Error::Map { what: format!("the buffer {}", map.name().to_string_lossy()), source }
}

#[allow(unsafe_code, reason = "libbpf hands out its descriptors as plain numbers")]
fn perf_descriptor<'b>(buffer: &'b PerfBuffer<'_>) -> BorrowedFd<'b> {
    // SAFETY: libbpf keeps the descriptor open as long as the buffer, whose lifetime bounds the borrow.
    unsafe { BorrowedFd::borrow_raw(buffer.epoll_fd().as_raw_fd()) }
}
