//! What a descriptor leads to, whoever made the image and however damaged it is.
//!
//! Cleaning up must know what every entry needs, without being stopped by one that is broken; so nothing here fails
//! over content. What cannot be understood leads nowhere; whatever else needs it keeps it.

use super::Stage;
use crate::image::{self, Blobs, Descriptor, INDEX_TYPE, MANIFEST_TYPE};
use serde::Deserialize;
use std::collections::BTreeSet;

/// How deep an index may lie in an index.
const MAX_DEPTH: usize = 4;

/// The parts of any index or manifest that point at something.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Document {
    pub(super) manifests: Option<Vec<Descriptor>>,
    pub(super) config: Option<Descriptor>,
    pub(super) layers: Option<Vec<Descriptor>>,
    pub(super) blobs: Option<Vec<Descriptor>>,
    pub(super) subject: Option<Descriptor>,
}

impl Document {
    /// Reads one; empty if it is not there, damaged beyond understanding, or larger than such a document may be.
    /// Fails only if it could not be read for a reason that says nothing about it.
    pub(super) fn read(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<Self, image::Error> {
        Ok(Self::find(blobs, descriptor)?.unwrap_or_default())
    }

    /// As [`Self::read`], with `None` if it is not there.
    pub(super) fn find(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<Option<Self>, image::Error> {
        if descriptor.size > image::MAX_JSON {
            return Ok(Some(Self::default()));
        }
        match blobs.blob(descriptor) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).unwrap_or_default())),
            Err(image::Error::Io { source, .. }) if !is_passing(&source) => Ok(Some(Self::default())),
            Err(error @ image::Error::Io { .. }) => Err(error),
            Err(image::Error::Missing { .. }) => Ok(None),
            Err(_) => Ok(Some(Self::default())),
        }
    }

    /// Reads one for which anything else would not do: whole, undamaged and understood.
    pub(super) fn checked(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<Self, image::Error> {
        let bytes = image::checked(blobs, descriptor)?;
        serde_json::from_slice(&bytes).map_err(|error| image::Error::Format {
            what: "image index or manifest",
            digest: descriptor.digest.clone(),
            why: error.to_string(),
        })
    }

    /// Blobs that lead no further.
    pub(super) fn leaves(&self) -> impl Iterator<Item = &Descriptor> {
        self.config.iter().chain(self.layers.iter().flatten()).chain(self.blobs.iter().flatten())
    }

    /// Documents of which this one consists.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().flatten()
    }
}

/// Adds the digest of an entry and of all that it leads to. What is in the set already is not followed again.
pub(super) fn reach(
    blobs: &dyn Blobs,
    entry: &Descriptor,
    into: &mut BTreeSet<String>,
) -> Result<(), image::Error> {
    follow(blobs, entry, into, &mut BTreeSet::new(), MAX_DEPTH)
}

fn follow(
    blobs: &dyn Blobs,
    entry: &Descriptor,
    into: &mut BTreeSet<String>,
    seen: &mut BTreeSet<String>,
    depth: usize,
) -> Result<(), image::Error> {
    into.insert(entry.digest.clone());
    // Apart from `into`: what one manifest lists as a layer may be the next manifest, to be followed like any.
    if depth == 0 || !is_document(entry) || !seen.insert(entry.digest.clone()) {
        return Ok(());
    }
    let document = Document::read(blobs, entry)?;
    into.extend(document.leaves().map(|leaf| leaf.digest.clone()));
    for part in document.parts() {
        follow(blobs, part, into, seen, depth - 1)?;
    }
    Ok(())
}

/// Digest of a blob that an entry needs and that is in neither stage nor store. An index may list manifests that are
/// not there, but not only such.
pub(super) fn missing(stage: &Stage, entry: &Descriptor) -> Result<Option<String>, image::Error> {
    if !stage.holds(&entry.digest) {
        return Ok(Some(entry.digest.clone()));
    }
    let absent = missing_below(stage, entry, &mut BTreeSet::new(), MAX_DEPTH)?;
    if absent.is_some() || !is_document(entry) {
        return Ok(absent);
    }
    let mut parts = Document::read(stage, entry)?.manifests.unwrap_or_default().into_iter().peekable();
    let first = parts.peek().map(|part| part.digest.clone());
    Ok(first.filter(|_| !parts.any(|part| stage.holds(&part.digest))))
}

/// Whether an index lists manifests that are not there.
pub(super) fn is_partial(stage: &Stage, entry: &Descriptor) -> bool {
    let document = Some(entry).filter(|d| is_document(d)).and_then(|d| Document::read(stage, d).ok());
    document.is_some_and(|document| document.parts().any(|part| !stage.holds(&part.digest)))
}

fn missing_below(
    stage: &Stage,
    entry: &Descriptor,
    seen: &mut BTreeSet<String>,
    depth: usize,
) -> Result<Option<String>, image::Error> {
    if depth == 0 || !is_document(entry) || !seen.insert(entry.digest.clone()) {
        return Ok(None);
    }
    let Some(document) = Document::find(stage, entry)? else { return Ok(None) };
    let empty = |d: &Descriptor| d.media_type == image::EMPTY_TYPE && d.data.is_some();
    if let Some(leaf) = document.leaves().find(|d| !empty(d) && !stage.holds(&d.digest)) {
        return Ok(Some(leaf.digest.clone()));
    }
    for part in document.parts() {
        if let Some(digest) = missing_below(stage, part, seen, depth - 1)? {
            return Ok(Some(digest));
        }
    }
    Ok(None)
}

/// Whether a descriptor points at an index or a manifest, of OCI or of Docker. Some tools leave the type out.
pub(super) fn is_document(descriptor: &Descriptor) -> bool {
    let media_type = descriptor.media_type.as_str();
    let docker = |kind: &str| media_type.strip_prefix("application/vnd.docker.distribution.") == Some(kind);
    matches!(media_type, "" | INDEX_TYPE | MANIFEST_TYPE)
        || docker("manifest.list.v2+json")
        || docker("manifest.v2+json")
}

/// Whether an error is of the machine or of who asks, and not of the file.
fn is_passing(error: &std::io::Error) -> bool {
    let codes = [libc::EIO, libc::EACCES, libc::EPERM, libc::EMFILE, libc::ENFILE, libc::ENOMEM];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}
