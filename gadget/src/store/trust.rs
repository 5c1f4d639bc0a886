//! Which images were built here, by digest, so that they run without a signature.
//!
//! Kept in a file beside the store's folder and not in it: whoever can make somebody unpack an archive into the
//! folder must not be able to speak for it. It counts only if nobody but root or this user could have written it.

use super::{Error, files};
use crate::{image::to_json, reference::is_digest};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

const MAX_SIZE: u64 = 4 << 20;

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trusted {
    #[serde(default)]
    built_here: BTreeSet<String>,
}

/// `NAME.trusted.json` for a store `NAME`.
pub(super) fn path(root: &Path) -> Option<PathBuf> {
    let mut name = root.file_name()?.to_owned();
    name.push(".trusted.json");
    Some(root.with_file_name(name))
}

/// The digests. A file that is missing, damaged or not safely ours makes nothing trusted: a signature is then asked
/// for, which is the safe side.
pub(super) fn read(root: &Path) -> BTreeSet<String> {
    let Some(path) = path(root).filter(|path| only_ours(path)) else { return BTreeSet::new() };
    let bytes = files::read_bounded(&path, MAX_SIZE).unwrap_or_default();
    let mut trusted: Trusted = serde_json::from_slice(&bytes).unwrap_or_default();
    trusted.built_here.retain(|digest| is_digest(digest));
    trusted.built_here
}

/// Replaces the digests. The writer holds the store's lock.
pub(super) fn write(root: &Path, built_here: &BTreeSet<String>) -> Result<(), Error> {
    let Some(path) = path(root) else { return Ok(()) };
    if built_here.is_empty() && !path.exists() {
        return Ok(());
    }
    // Not in the store's folder, which may be a filesystem of its own.
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let bytes = to_json(&Trusted { built_here: built_here.clone() });
    files::replace_by(folder, &path, &bytes, 0o600)
        .map_err(|source| Error::Trust { path: path.clone(), source })
}

fn only_ours(path: &Path) -> bool {
    let me = nix::unistd::geteuid().as_raw();
    fs::symlink_metadata(path).is_ok_and(|found| {
        found.is_file() && (found.uid() == 0 || found.uid() == me) && found.mode() & 0o022 == 0
    })
}
