//! The OCI artifact that a gadget travels in: one index, one manifest an architecture, the metadata as
//! configuration, and at most one layer each for the eBPF object, the WebAssembly module and the kernel types.
//!
//! Owned here are the media types and annotations, the writing of an image (byte for byte reproducible, so that the
//! same sources give the same digest under every implementation) and the defensive reading of one that somebody
//! else wrote. Where blobs are kept is no concern of this module: it asks [`Blobs`].
//!
//! Format: OCI image specification 1.1, with the media types of Inspektor Gadget.

mod assemble;
mod json;
mod manifest;
mod read;
#[cfg(test)]
mod tests;
mod time;

pub use assemble::{Blob, Image, Parts};
pub(crate) use assemble::{digest, hex_digest};
pub use json::to_json;
pub use manifest::{Descriptor, Index, Manifest, Platform};
pub(crate) use read::MAX_JSON;
#[cfg(feature = "signature")]
pub(crate) use read::within;
pub use read::{Blobs, checked, children, manifest_children, read};
#[cfg(feature = "registry")]
pub(crate) use read::{limit, plausible};
#[cfg(feature = "registry")]
pub(crate) use time::seconds_of_http_date;
pub use time::{created, rfc3339, seconds_of_rfc3339};

use std::collections::BTreeMap;

/// `artifactType` of a gadget's manifest.
pub const ARTIFACT_TYPE: &str = "application/vnd.gadget.v1+binary";
/// Configuration: the metadata file as it is.
pub const CONFIG_TYPE: &str = "application/vnd.gadget.config.v1+yaml";
/// Configuration of an image without a metadata file.
pub const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// Layer: the eBPF object.
pub const OBJECT_TYPE: &str = "application/vnd.gadget.ebpf.program.v1+binary";
/// Layer: the WebAssembly module.
pub const WASM_TYPE: &str = "application/vnd.gadget.wasm.program.v1+binary";
/// Layer: a gzipped tar of kernel types for kernels that have none.
pub const BTFGEN_TYPE: &str = "application/vnd.gadget.btfgen.v1+binary";
/// An image index.
pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// An image manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Annotation: the version of the program that built the image.
pub const BUILDER_VERSION: &str = "io.inspektor-gadget.builder.version";
/// Annotation: when the image was built, RFC 3339.
pub const CREATED: &str = "org.opencontainers.image.created";
/// Annotation, in a store's index only: the full name of the image.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The architectures that images are built for, by their Go names.
pub const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

/// The Go name of the architecture this program was compiled for.
pub const fn host_architecture() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "amd64"
    } else if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        std::env::consts::ARCH
    }
}

/// Why an image can be run without looking at a signature, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The binary carries it.
    BuiltIn,
    /// Built on this machine by who owns the store.
    BuiltHere,
    /// From anywhere: only a signature can tell.
    Unverified,
}

/// What a runner needs of an image, for one architecture. Every part has been checked against its digest.
#[derive(Debug, Clone)]
pub struct GadgetImage {
    /// Full name, or `name@digest`.
    pub reference: String,
    /// Digest of the index: what signatures are about.
    pub digest: String,
    /// Bytes of gadget.yaml; empty if the image has none.
    pub metadata: Vec<u8>,
    /// The CO-RE object.
    pub object: Option<Vec<u8>>,
    /// The WebAssembly module.
    pub wasm: Option<Vec<u8>>,
    /// Kernel types for kernels without their own, as a gzipped tar.
    pub btfgen: Option<Vec<u8>>,
    /// The annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// The manifest as it was read.
    pub manifest: Vec<u8>,
    /// Digest of the configuration.
    pub config_digest: String,
    /// Whether a signature is needed.
    pub trust: Trust,
    /// What was strange but no obstacle, for the log.
    pub warnings: Vec<String>,
}

/// Why an image could not be written or read. What comes from the image is quoted in the messages, control characters
/// escaped: they are read on terminals.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A blob is not there.
    #[error("blob {digest:?} ({media_type:?}) is missing; remove the image and fetch or build it again")]
    Missing {
        /// Digest of the blob.
        digest: String,
        /// What the descriptor calls it.
        media_type: String,
    },
    /// A blob's bytes are not those that were meant.
    #[error("blob {digest:?} is damaged: {why}; remove the image and fetch or build it again")]
    Damaged {
        /// Digest of the blob.
        digest: String,
        /// How it differs.
        why: String,
    },
    /// A blob could not be read.
    #[error("reading blob {digest:?}: {source}")]
    Io {
        /// Digest of the blob.
        digest: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A blob says that it is larger than such a blob can sensibly be.
    #[error(
        "blob {digest:?} ({media_type:?}) says it has {size} bytes, more than the {limit} allowed; this is no gadget"
    )]
    TooLarge {
        /// Digest of the blob.
        digest: String,
        /// What the descriptor calls it.
        media_type: String,
        /// Size in the descriptor.
        size: u64,
        /// Largest size accepted.
        limit: u64,
    },
    /// JSON that is not what it should be.
    #[error("{what} {digest:?}: {why}; this is no gadget image")]
    Format {
        /// "image index" or "image manifest".
        what: &'static str,
        /// Digest of the blob.
        digest: String,
        /// What is wrong with it.
        why: String,
    },
    /// A name that does not lead to an index.
    #[error(
        "{digest:?} is no image index but {media_type:?}; gadgets are pulled and tagged as a whole index"
    )]
    NotAnIndex {
        /// Digest of the blob.
        digest: String,
        /// What the descriptor calls it.
        media_type: String,
    },
    /// The image is for other machines.
    #[error("no manifest for architecture {wanted:?}; the image has: {found}")]
    Architecture {
        /// The one asked for.
        wanted: String,
        /// Those in the index, each quoted.
        found: String,
    },
    /// The metadata to be put into an image is wrong.
    #[error(transparent)]
    Metadata(#[from] crate::metadata::Error),
    /// `SOURCE_DATE_EPOCH` is no date.
    #[error("SOURCE_DATE_EPOCH is {0:?}; it must be a number of seconds since 1970, below the year 10000")]
    Epoch(String),
}
