//! The local store of images: an OCI image layout in a folder.
//!
//! It is owned here so that there is one place that knows how a store stays whole: blobs are put in place complete or
//! not at all, `index.json` is replaced last and in one step, and writers take turns by a lock on `index.json.lock`.
//! Readers need no lock. Any tool that understands OCI layouts can read the folder, and a layout unpacked into it is
//! a store.
//!
//! What was built here is known by a file *beside* the folder ([`trust`]), so that no archive unpacked into the
//! folder can claim it.
//!
//! Format: OCI image layout 1.0.0; the full name of an image is the annotation `org.opencontainers.image.ref.name`.

pub mod archive;
mod check;
mod error;
mod files;
mod garbage;
mod lean;
mod list;
mod stage;
mod summary;
#[cfg(test)]
mod tests;
mod trust;
mod walk;
mod write;

pub use check::{Damage, Orphan, Report};
pub use error::Error;
pub use list::Entry;
pub use stage::{BlobWriter, Stage};
pub use write::{Entered, Pruned, Removed};

use crate::{
    image::{self, Descriptor, GadgetImage, INDEX_TYPE, Index, REF_NAME},
    reference::Reference,
};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// Name of the file that lists the images.
const INDEX: &str = "index.json";
/// Name of the file that says what the folder is.
const LAYOUT: &str = "oci-layout";
const LAYOUT_JSON: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// Largest `index.json`, bytes: some ten thousand images.
const MAX_INDEX: u64 = 16 << 20;

/// Annotation, in a store's index only: not every architecture of the image is here, and that is as it was wanted.
const PARTIAL: &str = "dev.igx.partial";
/// Folder of the blobs, named by their SHA-256.
const BLOBS: &str = "blobs/sha256";
/// How long a blob may lie there before something must point at it.
const GRACE: Duration = Duration::from_secs(600);

/// A store as it was when it was opened.
///
/// Writing through it brings it up to date. Nothing is kept open.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    /// All of it after a write; before that, what [`lean`] reads.
    index: Index,
    built_here: BTreeSet<String>,
    /// [`GRACE`], but for tests.
    grace: Duration,
}

impl Store {
    /// Where the store of this user is: `/var/lib/igx/oci-store` for root, else `igx/oci-store` in `$XDG_DATA_HOME`
    /// or in `.local/share` of the home folder that the system's user database names.
    pub fn default_path() -> Result<PathBuf, Error> {
        let uid = nix::unistd::geteuid();
        if uid.is_root() {
            return Ok(PathBuf::from("/var/lib/igx/oci-store"));
        }
        let absolute = |path: &PathBuf| path.is_absolute();
        let data = match std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(absolute) {
            Some(data) => data,
            None => match nix::unistd::User::from_uid(uid) {
                Ok(Some(user)) => user.dir.join(".local/share"),
                _ => return Err(Error::NoHome(uid.as_raw())),
            },
        };
        Ok(data.join("igx/oci-store"))
    }

    /// Opens a store, reading its `index.json` once. A store that does not exist is empty; the first write makes it.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let root = files::canonical(&path).map_err(|source| Error::Read { path, source })?;
        let index = read_index_by(&root, lean::parse)?;
        let built_here = trust::read(&root);
        Ok(Self { root, index, built_here, grace: GRACE })
    }

    /// The folder, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Reads an image for one architecture (Go's name), or `None` if the store has none of that name. A reference
    /// with a digest is found by its digest, whatever name it has here.
    pub fn get(&self, reference: &Reference, architecture: &str) -> Result<Option<GadgetImage>, Error> {
        let Some(descriptor) = self.find(reference) else { return Ok(None) };
        let trust = match self.built_here.contains(&descriptor.digest) {
            true => image::Trust::BuiltHere,
            false => image::Trust::Unverified,
        };
        image::read(self, descriptor, &reference.to_string(), architecture, trust)
            .map(Some)
            .map_err(|source| Error::Image { name: reference.to_string(), source })
    }

    /// Digest of the image that a name stands for in this store.
    pub fn digest(&self, reference: &Reference) -> Option<&str> {
        self.find(reference).map(|d| d.digest.as_str())
    }

    pub(crate) fn find(&self, reference: &Reference) -> Option<&Descriptor> {
        let all = &self.index.manifests;
        if let Some(digest) = reference.digest() {
            let named = |d: &&Descriptor| d.digest == digest && d.media_type == INDEX_TYPE;
            return all.iter().find(named).or_else(|| all.iter().find(|d| d.digest == digest));
        }
        let name = reference.to_string();
        all.iter().find(|d| d.annotations.get(REF_NAME) == Some(&name))
    }

    fn blob_path(&self, digest: &str) -> Option<PathBuf> {
        blob_path(&self.root, digest)
    }
}

impl image::Blobs for Store {
    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, image::Error> {
        read_blob(self.blob_path(&descriptor.digest).as_deref(), descriptor)
    }
}

/// The file of a blob; `None` for anything but a whole SHA-256 digest, which could name a file elsewhere.
fn blob_path(root: &Path, digest: &str) -> Option<PathBuf> {
    if !crate::reference::is_digest(digest) {
        return None;
    }
    digest.strip_prefix("sha256:").map(|hex| root.join(BLOBS).join(hex))
}

/// Reads a blob from its file, `None` meaning that it can have none.
fn read_blob(path: Option<&Path>, descriptor: &Descriptor) -> Result<Vec<u8>, image::Error> {
    let digest = || descriptor.digest.clone();
    let missing = || image::Error::Missing { digest: digest(), media_type: descriptor.media_type.clone() };
    match files::read_bounded(path.ok_or_else(missing)?, descriptor.size) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(missing()),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Err(image::Error::Damaged {
            digest: digest(),
            why: format!("it has more than the {} bytes it should", descriptor.size),
        }),
        Err(source) => Err(image::Error::Io { digest: digest(), source }),
    }
}

fn read_index(root: &Path) -> Result<Index, Error> {
    read_index_by(root, |bytes| serde_json::from_slice(bytes))
}

fn read_index_by(root: &Path, parse: impl Fn(&[u8]) -> serde_json::Result<Index>) -> Result<Index, Error> {
    let path = root.join(INDEX);
    let bytes = match files::read_bounded(&path, MAX_INDEX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Blobs without an index are what is left of a first write that was broken off: still empty.
            return match fs::metadata(root) {
                Ok(found) if !found.is_dir() => Err(Error::NotAFolder(root.to_owned())),
                _ => Ok(Index::default()),
            };
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(Error::NotAFolder(root.to_owned()));
        }
        Err(source) => return Err(Error::Read { path, source }),
    };
    parse(&bytes).map_err(|error| Error::Damaged { path, why: error.to_string() })
}
