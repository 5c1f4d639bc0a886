//! What can go wrong while building.

use std::{io, path::PathBuf};

/// Why a gadget could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder of sources.
    #[error("gadget folder {path}: {source}; give the folder with the gadget's program.bpf.c or gadget.yaml")]
    Folder {
        /// As it was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing to build.
    #[error(
        "nothing to build in {folder}: there is no {ebpf}, no {metadata}, and build.yaml names no wasm module"
    )]
    Empty {
        /// The folder.
        folder: PathBuf,
        /// Name of the eBPF source looked for.
        ebpf: String,
        /// Name of the metadata file looked for.
        metadata: String,
    },
    /// A source cannot be read.
    #[error("reading {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// build.yaml is wrong.
    #[error("{path}: {why}")]
    Plan {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        why: String,
    },
    /// A file name that clang would take for an option.
    #[error("build.yaml: file name {0:?} must not begin with '-' or '@'; write ./ before it")]
    Option(String),
    /// The module is not there.
    #[error("wasm module {0} does not exist; build it first, or leave wasm out of build.yaml")]
    NoWasm(PathBuf),
    /// The module would have to be compiled.
    #[error(
        "build.yaml: wasm is {0:?}, a source that this version cannot compile yet; compile it yourself and name the .wasm file"
    )]
    WasmSource(String),
    /// A tool is missing.
    #[error("{0} not found; install clang and llvm, version 16 or so (Debian: apt install clang-16 llvm-16)")]
    NoTool(&'static str),
    /// A tool cannot be started, or its files cannot be made.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The compiler refused.
    #[error("compiling {source_file} for {architecture} with {tool} failed:\n{output}")]
    Compile {
        /// As build.yaml names it.
        source_file: String,
        /// Go's name.
        architecture: &'static str,
        /// Path of the tool.
        tool: String,
        /// What it said.
        output: String,
    },
    /// The metadata is wrong.
    #[error(transparent)]
    Metadata(#[from] crate::metadata::Error),
    /// The image could not be put together.
    #[error(transparent)]
    Image(#[from] crate::image::Error),
}
