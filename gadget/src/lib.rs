//! What a gadget image *is*: its name, its metadata, the contract between its ELF object and a runner, its
//! manifests and the local store that keeps it. Nothing here needs a kernel, privileges or a terminal, so a CI
//! job on a laptop can use all of it.
//!
//! A module knows only those before it here: [`reference`], [`metadata`], [`btf`], [`object`], [`image`], [`store`],
//! `registry`, `signature`, `policy`, `build`.

pub mod btf;
#[cfg(feature = "build")]
pub mod build;
pub mod image;
pub mod metadata;
pub mod object;
#[cfg(feature = "signature")]
pub mod policy;
pub mod reference;
#[cfg(feature = "registry")]
pub mod registry;
#[cfg(feature = "signature")]
pub mod signature;
pub mod store;
