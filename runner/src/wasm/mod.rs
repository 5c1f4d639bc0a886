//! Guests: WebAssembly modules that gadget images carry to look at events, fill fields and make events of their own.
//!
//! A guest is not trusted. It runs in an interpreter, within fences ([`Limits`]): so many instructions a call, so much
//! memory, so many handles; every pointer, length and handle that it hands over is checked. One that breaks a rule of
//! WebAssembly, or runs too long, is stopped and named, and never called again.
//!
//! What it may reach is the data sources of its gadget, and what a [`Host`] offers: maps, parameters, names. This module
//! knows neither the kernel nor the command line.
//!
//! The interface is that of Inspektor Gadget's guests, version 1: host functions of module `ig`, texts as
//! `length << 32 | pointer`, handles for everything else. WASI is answered as far as language runtimes need it to
//! start: there are no files, no network and no arguments.

mod call;
mod error;
mod guest;
mod host;
#[cfg(test)]
mod hostile;
mod memory;
mod objects;
mod segments;
mod state;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod wasi;

pub use error::{Error, Stop};
pub use guest::{Guest, Limits, Stage};
pub use host::{Host, Level, MapId, NewMap, PerfRead, ReaderId, SyscallDeclaration, SyscallParam};
pub use objects::Payload;
pub use state::{Subscription, SubscriptionKind};

/// The version of the interface that guests must say they are written for.
pub const API_VERSION: u64 = 1;
