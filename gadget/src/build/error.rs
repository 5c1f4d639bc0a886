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
    #[error("wasm module {0} does not exist; correct wasm in build.yaml, or leave it out")]
    NoWasm(PathBuf),
    /// build.yaml names something that is no module and no source of one.
    #[error(
        "build.yaml: wasm is {0:?}, which is neither a .wasm file, nor a .go file, nor in a Rust crate; name one of them"
    )]
    WasmSource(String),
    /// A compiler for WebAssembly is missing.
    #[error(
        "{name} not found, which compiles the wasm module: {whence}; or name a ready .wasm file in build.yaml"
    )]
    NoCompiler {
        /// The tool.
        name: &'static str,
        /// Where it can be had.
        whence: &'static str,
    },
    /// A compiler for WebAssembly refused.
    #[error("compiling {source_file} with {tool} failed:\n{said}{}{hint}", if .hint.is_empty() { "" } else { "\n" })]
    Wasm {
        /// As build.yaml names it.
        source_file: String,
        /// Path of the tool.
        tool: String,
        /// What it said.
        said: String,
        /// What to do; may be empty.
        hint: &'static str,
    },
    /// A crate gives no module.
    #[error("{0} gave no .wasm file; set crate-type = [\"cdylib\"] under [lib]")]
    NoModule(PathBuf),
    /// Neither engine is there.
    #[error(
        "neither docker nor podman found, which run the builder image; install one, or build with --local"
    )]
    NoEngine,
    /// Not a name of an image.
    #[error("builder image {0:?} is no name of an image; give one such as registry.example.com/builder:v1")]
    BuilderImage(String),
    /// The engine does not have the image and may not fetch it.
    #[error("builder image {0} is not there; use --builder-image-pull missing")]
    NoBuilderImage(String),
    /// The engine cannot fetch the image.
    #[error(
        "fetching builder image {image} failed: {said}; use one that is here with --builder-image-pull missing, or build with --local"
    )]
    PullBuilder {
        /// The image.
        image: String,
        /// What the engine said.
        said: String,
    },
    /// A thread of ours ended without a result.
    #[error("compiling for {0} ended without a result; this is a fault of igx: please report it")]
    Thread(&'static str),
    /// Kernel types for old kernels cannot be made.
    #[error("{path}: {why}; give --btfhub-archive a checkout of the btfhub archive")]
    Btf {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
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
    /// Metadata cannot be completed.
    #[error("gadget.yaml: {0}")]
    NoPlace(#[from] crate::metadata::NoPlace),
    /// There is nothing to take kernel types for.
    #[error("kernel types were asked for, but there is no eBPF program; leave --btfgen out")]
    NothingForBtf,
    /// The program cannot be read, so the metadata cannot be compared with it.
    #[error(transparent)]
    Object(#[from] crate::object::Error),
    /// The image could not be put together.
    #[error(transparent)]
    Image(#[from] crate::image::Error),
}
