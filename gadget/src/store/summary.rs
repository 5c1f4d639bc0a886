//! What each image of a store consists of, in one file, so that a list need not read three thousand.
//!
//! Derived from the images and rebuilt by whoever writes to the store; a line is about bytes that a digest names, so
//! it is never out of date. An image without a line is read. Nothing but the list of images relies on it: whoever
//! uses an image hashes it.
//!
//! Format: a line an image, `HEX SIZE:HEX SIZE:HEX …`: its digest, then every blob below it and it itself.

use super::{BLOBS, PARTIAL, Store, files};
use crate::image::{self, Descriptor, EMPTY_TYPE, INDEX_TYPE, Index};
use nix::{fcntl::AtFlags, sys::stat::fstatat};
use std::{
    collections::{BTreeSet, HashMap},
    fmt::Write as _,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

const NAME: &str = "index.igx";
/// Largest such file, bytes; without it, lists are only slower.
const MAX_SIZE: u64 = 32 << 20;

/// The file as it was read.
pub(super) struct Summary {
    text: String,
    blobs: Option<File>,
}

impl Summary {
    /// Empty if the store has none that can be read.
    pub(super) fn read(root: &Path) -> Self {
        let bytes = files::read_bounded(&path(root), MAX_SIZE).unwrap_or_default();
        Self { text: String::from_utf8(bytes).unwrap_or_default(), blobs: File::open(root.join(BLOBS)).ok() }
    }

    /// The blobs of each image, by its digest without `sha256:`.
    pub(super) fn lines(&self) -> HashMap<&str, &str> {
        self.text.lines().filter_map(|line| line.split_once(' ')).collect()
    }

    /// Whether all blobs of a line are there, each as long as it must be.
    pub(super) fn is_there(&self, line: &str) -> bool {
        let Some(folder) = &self.blobs else { return false };
        line.split(' ').all(|blob| {
            let Some((size, hex)) = blob.split_once(':') else { return false };
            let found = fstatat(folder, hex, AtFlags::empty());
            !hex.contains('/') && found.is_ok_and(|found| size.parse() == Ok(found.st_size))
        })
    }
}

/// Writes the file anew for an index. Lists are only slower if this fails. The writer holds the store's lock.
pub(super) fn write(store: &Store, index: &Index) {
    let old = Summary::read(&store.root);
    let known = old.lines();
    let (mut text, mut seen) = (String::new(), BTreeSet::new());
    for entry in &index.manifests {
        if entry.media_type != INDEX_TYPE || entry.annotations.contains_key(PARTIAL) {
            continue;
        }
        let Some(hex) = entry.digest.strip_prefix("sha256:").filter(|hex| seen.insert(*hex)) else {
            continue;
        };
        if let Some(line) = known.get(hex) {
            let _ = writeln!(text, "{hex} {line}");
        } else if let Ok(all) = image::children(store, entry) {
            text += hex;
            let told = |d: &&Descriptor| d.media_type == EMPTY_TYPE && d.data.is_some();
            for blob in all.iter().filter(|d| !told(d)).chain([entry]) {
                let hex = blob.digest.strip_prefix("sha256:").unwrap_or("-");
                let _ = write!(text, " {}:{hex}", blob.size);
            }
            text.push('\n');
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

fn path(root: &Path) -> PathBuf {
    root.join(NAME)
}
