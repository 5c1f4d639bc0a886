//! Perf buffers that the guest reads itself, such as one that is written over until somebody wants to see it.

use crate::{
    error::{Error, Result},
    host,
    map::Map,
    wire::Wire,
};

/// A reader of a perf event array. It is closed when dropped.
#[derive(Debug)]
pub struct PerfReader {
    raw: u32,
}

impl PerfReader {
    /// Reads `map`, with a buffer of `size` bytes for each processor. In an overwritable buffer new records replace
    /// old ones; it has to be paused while it is read.
    pub fn new<K: Wire, V>(map: &Map<K, V>, size: u32, overwritable: bool) -> Result<Self> {
        match host::new_perf_reader(map.raw(), size, overwritable) {
            0 => Err(Error::Perf("open")),
            raw => Ok(Self { raw }),
        }
    }

    /// Stops the kernel from writing.
    pub fn pause(&mut self) -> Result {
        if host::perf_pause(self.raw) { Ok(()) } else { Err(Error::Perf("pause")) }
    }

    /// Lets the kernel write again.
    pub fn resume(&mut self) -> Result {
        if host::perf_resume(self.raw) { Ok(()) } else { Err(Error::Perf("resume")) }
    }

    /// Reads the next record into `room`; `false` if there is none left. The host does not say how long the record is:
    /// what it did not write in `room` is zero.
    ///
    /// A buffer that is not overwritable is waited for, and with it every event of the gadget.
    pub fn read(&mut self, room: &mut [u8]) -> Result<bool> {
        room.fill(0);
        match host::perf_read(self.raw, room) {
            0 => Ok(true),
            host::PERF_DEADLINE => Ok(false),
            _ => Err(Error::Perf("read")),
        }
    }
}

impl Drop for PerfReader {
    fn drop(&mut self) {
        host::perf_close(self.raw);
    }
}
