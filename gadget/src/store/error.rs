//! What can go wrong with a store, and what to do about it.

use crate::image;
use std::{io, path::PathBuf};

/// Why a store could not be read or changed. It is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Where is home?
    #[error(
        "user {0} has no home folder in the user database; say where the store is with --store or XDG_DATA_HOME"
    )]
    NoHome(u32),
    /// A file where the folder should be.
    #[error("image store {0} is not a folder; give another path or move the file away")]
    NotAFolder(PathBuf),
    /// The list of images cannot be read.
    #[error("reading the image store's {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The list of images is no JSON of the right kind.
    #[error(
        "the image store's {path} is damaged ({why}); put it back from a copy, or remove the folder and fetch or build the images again"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        why: String,
    },
    /// A write failed.
    #[error("writing {path} in the image store: {source}{}; the store is unchanged", hint(.source))]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The image is stored, but as one from anywhere.
    #[error(
        "the image is stored, but {path}, which notes that it was built here, cannot be written: {source}{}; it will be asked for a signature until it is built again",
        hint(.source)
    )]
    Trust {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An image is wrong.
    #[error("image {name}: {source}")]
    Image {
        /// As the user wrote it, completed.
        name: String,
        /// What is wrong.
        source: image::Error,
    },
    /// There is no such image.
    #[error(
        "image {0} is not in the store; `image list` shows what is, `image build` or `image pull` adds it"
    )]
    NotFound(String),
    /// A blob that comes in is not what it was said to be.
    #[error("blob {digest:?} is not taken in: {why}; fetch it again from where it is whole")]
    Content {
        /// Digest that was told.
        digest: String,
        /// How the content differs.
        why: String,
    },
    /// An image that is to be stored lacks a part.
    #[error("{name} is not stored: it needs blob {digest:?}, which did not come with it; fetch it again")]
    Incomplete {
        /// Name or digest of the image.
        name: String,
        /// Digest of what is missing.
        digest: String,
    },
    /// Digests are made, not given.
    #[error("cannot tag as {0}: a new name can have a tag but no digest")]
    DigestAsName(String),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            " (free some space, or `image remove` what is not needed)"
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            " (give a path that you may write to, or run as root)"
        }
        _ => "",
    }
}
