//! What *runs* a gadget: the library behind `igx`.
//!
//! A pipeline: an event enters as bytes from a kernel buffer and leaves as a line of text. It moves one way and is
//! copied once. A module knows only those behind it here: [`cli`], `stream`, `instance`, [`images`], [`operator`] and [`output`], `socket`,
//! `ebpf`, `symbol`, [`wasm`], [`container`], [`datasource`]; operators and output do not know each other.
//!
//! Another program that wants a gadget's events begins at `stream`.

pub mod cli;
pub mod container;
pub mod datasource;
#[cfg(feature = "ebpf")]
pub mod ebpf;
pub mod images;
#[cfg(feature = "ebpf")]
pub mod instance;
pub mod operator;
pub mod output;
#[cfg(feature = "ebpf")]
pub mod socket;
#[cfg(feature = "ebpf")]
pub mod stream;
#[cfg(feature = "ebpf")]
mod symbol;
pub mod wasm;

/// What builds images here, as their annotation `io.inspektor-gadget.builder.version` says it.
pub const BUILDER_VERSION: &str = concat!("igx-", env!("CARGO_PKG_VERSION"));
