//! Reading an image that somebody else wrote. Nothing in it is believed: every blob is bounded before it is read and
//! hashed before it is used, layers and configuration too (upstream hashes only index and manifest).

use super::{
    ARTIFACT_TYPE, BTFGEN_TYPE, BUILDER_VERSION, CONFIG_TYPE, Descriptor, EMPTY_TYPE, Error, GadgetImage,
    INDEX_TYPE, Index, MANIFEST_TYPE, Manifest, OBJECT_TYPE, Trust, WASM_TYPE, digest,
};
use crate::{metadata, reference::is_digest};
use std::collections::BTreeSet;

/// Largest index or manifest, bytes.
pub(crate) const MAX_JSON: u64 = 4 << 20;
/// Largest layer, bytes. Upstream's largest gadget has less than 4 MiB.
const MAX_LAYER: u64 = 256 << 20;

/// Where blobs come from: a store, a registry, memory.
pub trait Blobs {
    /// Reads a whole blob. At most `descriptor.size` bytes are wanted; the caller has bounded that, and checks the
    /// content.
    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error>;
}

/// Refuses a descriptor that cannot be of anything in a gadget, before anything of it is read.
pub(crate) fn plausible(descriptor: &Descriptor, limit: u64) -> Result<(), Error> {
    if !is_digest(&descriptor.digest) {
        let why = "its digest is not sha256: and 64 of 0-9 and a-f".to_owned();
        return Err(Error::Damaged { digest: descriptor.digest.clone(), why });
    }
    if descriptor.size > limit {
        return Err(Error::TooLarge {
            digest: descriptor.digest.clone(),
            media_type: descriptor.media_type.clone(),
            size: descriptor.size,
            limit,
        });
    }
    Ok(())
}

/// Reads a blob if it is no larger than `limit`, and checks size and digest.
pub(crate) fn within(blobs: &dyn Blobs, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, Error> {
    let damaged = |why: String| Error::Damaged { digest: descriptor.digest.clone(), why };
    plausible(descriptor, limit)?;
    let bytes = blobs.blob(descriptor)?;
    if bytes.len() as u64 != descriptor.size {
        return Err(damaged(format!("it has {} bytes and not {}", bytes.len(), descriptor.size)));
    }
    let actual = digest(&bytes);
    if actual != descriptor.digest {
        return Err(damaged(format!("its content has digest {actual}")));
    }
    Ok(bytes)
}

/// Reads any blob of an image, bounded by what it says it is, and checks size and digest.
pub fn checked(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
    within(blobs, descriptor, limit(&descriptor.media_type))
}

/// Largest blob of a media type, bytes.
pub(crate) fn limit(media_type: &str) -> u64 {
    match media_type {
        INDEX_TYPE | MANIFEST_TYPE => MAX_JSON,
        CONFIG_TYPE => metadata::MAX_SIZE as u64,
        _ => MAX_LAYER,
    }
}

/// Every descriptor below an index: manifests, configurations and layers, each digest once.
pub fn children(blobs: &dyn Blobs, index: &Descriptor) -> Result<Vec<Descriptor>, Error> {
    // Apart from `listed`: what one manifest lists as a layer may be the next manifest, to be followed like any.
    let mut followed = BTreeSet::new();
    let mut listed = BTreeSet::new();
    let mut all = Vec::new();
    for child in Index::read(blobs, index)?.manifests {
        if followed.insert(child.digest.clone()) {
            let below = manifest_children(blobs, &child)?;
            all.extend([child].into_iter().chain(below).filter(|d| listed.insert(d.digest.clone())));
        }
    }
    Ok(all)
}

/// The configuration and layers of a manifest.
pub fn manifest_children(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<Vec<Descriptor>, Error> {
    let manifest = Manifest::parse(descriptor, &within(blobs, descriptor, MAX_JSON)?)?;
    Ok([manifest.config].into_iter().chain(manifest.layers).collect())
}

/// Reads the image whose index `descriptor` points at, for one architecture (Go's name). `reference` is only carried
/// into the result.
pub fn read(
    blobs: &dyn Blobs,
    descriptor: &Descriptor,
    reference: &str,
    architecture: &str,
    trust: Trust,
) -> Result<GadgetImage, Error> {
    let index = Index::read(blobs, descriptor)?;
    let child = pick(&index, architecture)?;
    let manifest_bytes = within(blobs, child, MAX_JSON)?;
    let manifest = Manifest::parse(child, &manifest_bytes)?;
    let mut warnings = Vec::new();
    if manifest.artifact_type.as_deref() != Some(ARTIFACT_TYPE) {
        let found = manifest.artifact_type.as_deref().unwrap_or_default();
        warnings.push(format!("artifact type is {found:?} and not {ARTIFACT_TYPE:?}"));
    }
    let metadata = match manifest.config.media_type.as_str() {
        EMPTY_TYPE => Vec::new(),
        media_type => {
            if media_type != CONFIG_TYPE {
                warnings.push(format!("configuration is {media_type:?}, read as {CONFIG_TYPE:?}"));
            }
            within(blobs, &manifest.config, metadata::MAX_SIZE as u64)?
        }
    };
    if !manifest.annotations.contains_key(BUILDER_VERSION) {
        warnings.push("the image does not say which version built it; it may not suit this one".to_owned());
    }
    let mut image = GadgetImage {
        reference: reference.to_owned(),
        digest: descriptor.digest.clone(),
        metadata,
        object: None,
        wasm: None,
        btfgen: None,
        annotations: manifest.annotations,
        manifest: manifest_bytes,
        config_digest: manifest.config.digest,
        trust,
        warnings,
    };
    for layer in &manifest.layers {
        let slot = match layer.media_type.as_str() {
            OBJECT_TYPE => &mut image.object,
            WASM_TYPE => &mut image.wasm,
            BTFGEN_TYPE => &mut image.btfgen,
            other => {
                image.warnings.push(format!("layer of unknown type {other:?} is left out"));
                continue;
            }
        };
        if slot.is_some() {
            return Err(Error::Format {
                what: "image manifest",
                digest: child.digest.clone(),
                why: format!("more than one layer of type {:?}", layer.media_type),
            });
        }
        *slot = Some(within(blobs, layer, MAX_LAYER)?);
    }
    Ok(image)
}

fn pick<'a>(index: &'a Index, architecture: &str) -> Result<&'a Descriptor, Error> {
    let of = |d: &'a Descriptor| d.platform.as_ref().map(|p| p.architecture.as_str());
    index
        .manifests
        .iter()
        .find(|d| of(d) == Some(architecture) && (d.media_type.is_empty() || d.media_type == MANIFEST_TYPE))
        .ok_or_else(|| {
            let found: Vec<_> = index.manifests.iter().filter_map(of).map(|a| format!("{a:?}")).collect();
            let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
            Error::Architecture { wanted: architecture.to_owned(), found }
        })
}
