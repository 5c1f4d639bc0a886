//! What each image of a store consists of, in one file, so that a list need not read three thousand.
//!
//! Derived from the images and rebuilt by whoever writes to the store; a line is about bytes that a digest names, so
//! it is never out of date. An image without a line is read. Nothing but the list of images relies on it: whoever
//! uses an image hashes it.
//!
//! As long as no file has come into the blobs' folder or gone since, only each image's own blob is looked at: who
//! shortens another in place is found out by who uses or checks it.
//!
//! Format: first `@ STAMP`, the state of the blobs' folder, then a line an image, `HEX SIZE:HEX SIZE:HEX …`: its digest,
//! then every blob below it and last it itself.

use super::{BLOBS, PARTIAL, Store, files};
use crate::image::{self, Descriptor, EMPTY_TYPE, INDEX_TYPE};
use nix::{fcntl::AtFlags, sys::stat::fstatat};
use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write as _,
    fs::File,
    io::Write as _,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

const NAME: &str = "index.igx";
/// Largest such file, bytes; without it, lists are only slower.
const MAX_SIZE: u64 = 32 << 20;

/// The file as it was read.
pub(super) struct Summary {
    text: String,
    blobs: Option<File>,
    unchanged: bool,
}

impl Summary {
    /// Empty if the store has none that can be read.
    pub(super) fn read(root: &Path) -> Self {
        let bytes = files::read_bounded(&path(root), MAX_SIZE).unwrap_or_default();
        let text = String::from_utf8(bytes).unwrap_or_default();
        let blobs = File::open(root.join(BLOBS)).ok();
        let then = text.lines().next().and_then(|line| line.strip_prefix("@ "));
        let unchanged = then.is_some() && then == blobs.as_ref().and_then(stamp).as_deref();
        Self { text, blobs, unchanged }
    }

    /// The blobs of each image, by its digest without `sha256:`.
    pub(super) fn lines(&self) -> HashMap<&str, &str> {
        self.text.lines().filter_map(|line| line.split_once(' ')).collect()
    }

    /// Whether all blobs of a line are there, each as long as it must be, as far as this has to be looked at.
    pub(super) fn is_there(&self, line: &str) -> bool {
        let itself = line.rsplit(' ').next().unwrap_or(line);
        self.are_there(if self.unchanged { itself } else { line })
    }

    fn are_there(&self, blobs: &str) -> bool {
        let Some(folder) = &self.blobs else { return false };
        blobs.split(' ').all(|blob| {
            let Some((size, hex)) = blob.split_once(':') else { return false };
            let found = fstatat(folder, hex, AtFlags::empty());
            !hex.contains('/') && found.is_ok_and(|found| size.parse() == Ok(found.st_size))
        })
    }
}

/// Writes the file anew, after the store has changed. Lists are only slower if this fails. The writer holds the
/// store's lock.
pub(super) fn write(store: &Store) {
    let old = Summary::read(&store.root);
    let known = old.lines();
    let (mut text, mut seen) = (String::new(), BTreeSet::new());
    if let Some(stamp) = old.blobs.as_ref().and_then(stamp) {
        let _ = writeln!(text, "@ {stamp}");
    }
    for entry in &store.index.manifests {
        if entry.media_type != INDEX_TYPE || entry.annotations.contains_key(PARTIAL) {
            continue;
        }
        let Some(hex) = entry.digest.strip_prefix("sha256:").filter(|hex| seen.insert(*hex)) else {
            continue;
        };
        let line = match known.get(hex) {
            Some(line) => (*line).to_owned(),
            None => line(store, entry),
        };
        // The stamp vouches for every image that has a line.
        if old.are_there(&line) {
            let _ = writeln!(text, "{hex} {line}");
        }
    }
    let put = || {
        let folder = store.root.join(files::INGEST);
        let mut file = tempfile::Builder::new().prefix(files::PREFIX).tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.persist(path(&store.root)).map_err(|error| error.error)
    };
    // What could not be written is not believed to be there either.
    if put().is_err() {
        let _ = std::fs::remove_file(path(&store.root));
    }
}

/// The blobs of an image; empty if it cannot be followed.
fn line(store: &Store, entry: &Descriptor) -> String {
    let told = |d: &&Descriptor| d.media_type == EMPTY_TYPE && d.data.is_some();
    let all = image::children(store, entry).unwrap_or_default();
    let itself = [entry].into_iter().filter(|_| !all.is_empty());
    let blob =
        |d: &Descriptor| format!("{}:{}", d.size, d.digest.strip_prefix("sha256:").unwrap_or_default());
    all.iter().filter(|d| !told(d)).chain(itself).map(blob).collect::<Vec<_>>().join(" ")
}

/// Changes whenever a file comes into a folder or leaves it.
fn stamp(folder: &File) -> Option<String> {
    let found = folder.metadata().ok()?;
    Some(format!("{} {} {}", found.ino(), found.mtime(), found.mtime_nsec()))
}

fn path(root: &Path) -> PathBuf {
    root.join(NAME)
}
