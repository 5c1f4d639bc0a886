//! What a gadget image *is*: its name, its metadata, the contract between its ELF object and a runner, its
//! manifests and the local store that keeps it. Nothing here needs a kernel, privileges or a terminal, so a CI
//! job on a laptop can use all of it.
//!
//! Modules, bottom up; each knows only those above it in this list.

pub mod btf;
#[cfg(feature = "build")]
pub mod build;
pub mod image;
pub mod metadata;
pub mod object;
pub mod reference;
pub mod store;
