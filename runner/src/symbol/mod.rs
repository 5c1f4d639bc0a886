//! What addresses are called: functions of the kernel, and of the programs that processes run.
//!
//! Stacks are lists of addresses, and probes in programs are attached to names. Everything read here belongs to somebody
//! else, who may have written it to do harm: lengths are bounded, and what makes no sense has no name.

mod argument;
mod debug_info;
mod elf;
mod kernel;
mod library;
mod patience;
mod process;

pub(crate) use argument::{Argument, MAX as MAX_ARGUMENTS, Place, arguments};
pub use debug_info::Symbolizers;
pub(crate) use elf::{Elf, Probe};
pub(crate) use kernel::KernelSymbols;
pub(crate) use library::{open_below, paths_of};
pub(crate) use patience::Patience;
pub(crate) use process::Processes;
