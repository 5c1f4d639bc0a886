//! What *runs* a gadget: the library behind `igx`.
//!
//! A pipeline: an event enters as bytes from a kernel buffer and leaves as a line of text. It moves one way and is
//! copied once. Modules, top down; each knows only those below it.

pub mod cli;
pub mod container;
pub mod datasource;
#[cfg(feature = "ebpf")]
pub mod ebpf;
#[cfg(feature = "ebpf")]
pub mod instance;
pub mod operator;
pub mod output;
#[cfg(feature = "ebpf")]
pub mod socket;
