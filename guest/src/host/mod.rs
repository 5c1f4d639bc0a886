//! The calls to the host, with slices for pointers: one set for the machine that runs guests, one that answers from a
//! mock, of the same names and types. Everything else in this crate is written over these.
//!
//! Source of the interface: Inspektor Gadget's guest API, version 1 (module `ig`).

#[cfg(target_family = "wasm")]
mod wasm;
#[cfg(target_family = "wasm")]
pub(crate) use wasm::*;

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::mock::calls::*;

/// The version of the interface, which a guest has to say to be run.
pub const API_VERSION: u64 = 1;

/// `perfReaderRead`: nothing is left to read.
pub(crate) const PERF_DEADLINE: u32 = 2;

/// Size of the host's description of a system call: name, count, padding, six parameters of name and flags.
pub(crate) const DECLARATION: usize = 32 + 4 + 6 * (32 + 4);

/// A handle that the host forgets when this is dropped.
#[derive(Debug)]
pub(crate) struct Handle(u32);

impl Handle {
    /// `None` for 0, which is the host's word for failure.
    pub(crate) fn new(raw: u32) -> Option<Self> {
        // Not `then_some`, which would make and drop a handle 0.
        (raw != 0).then(|| Self(raw))
    }

    pub(crate) fn raw(&self) -> u32 {
        self.0
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        release(self.0);
    }
}
