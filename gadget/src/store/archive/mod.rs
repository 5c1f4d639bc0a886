//! Images in one file, to be carried where no registry is reached: an OCI image layout in a tar, with the signatures
//! that the store has of them.
//!
//! What is written is byte for byte what Inspektor Gadget writes, so that a digest of the file means something: names
//! sorted, owner root, time 1970, and nothing after the two blocks of zeros. What is read may come from anybody: every
//! length is bounded, only regular files are taken, and every blob is hashed before the store hears of any.
//!
//! Formats: POSIX.1-1988 ustar; OCI image layout 1.0.0.

mod export;
mod import;
#[cfg(test)]
mod tests;

pub use export::export;
pub use import::import;

use super::{INDEX, LAYOUT};
use std::io;

/// Why an archive could not be written or taken in. The store is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Of the store.
    #[error(transparent)]
    Store(#[from] super::Error),
    /// A blob of the store is not as it should be.
    #[error("image {name}: {source}")]
    Image {
        /// Which image was to be written.
        name: String,
        /// What is wrong.
        source: crate::image::Error,
    },
    /// The archive cannot be written.
    #[error("writing the archive: {0}")]
    Write(#[source] io::Error),
    /// The archive ends early, is no archive, or cannot be read.
    #[error(
        "reading the archive: {}; it must be a tar, or a gzipped one, as `image export` writes it: copy it again",
        told(.0)
    )]
    Read(#[source] io::Error),
    /// Something is in the archive that has no place there.
    #[error("the archive's {path:?}: {why}; nothing is imported")]
    Entry {
        /// As the archive has it.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// It is a tar, but of something else.
    #[error("the archive has no {0}: it is no OCI image layout, or it is cut short; nothing is imported")]
    Lacks(&'static str),
    /// More than anybody would carry.
    #[error("the archive has more than {0}; nothing is imported")]
    TooMuch(&'static str),
}

/// The words of the tar reader quote the archive, which may hold anything.
fn told(error: &io::Error) -> String {
    match error.raw_os_error().is_some() || error.kind() == io::ErrorKind::UnexpectedEof {
        true => error.to_string(),
        false => {
            error.to_string().split([':', '\n']).next().unwrap_or_default().escape_debug().take(80).collect()
        }
    }
}
