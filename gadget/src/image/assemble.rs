//! Putting an image together from its parts.

use super::{
    ARCHITECTURES, ARTIFACT_TYPE, BTFGEN_TYPE, BUILDER_VERSION, CONFIG_TYPE, CREATED, Descriptor, EMPTY_TYPE,
    Error, INDEX_TYPE, Index, MANIFEST_TYPE, Manifest, OBJECT_TYPE, Platform, WASM_TYPE, to_json,
};
use crate::metadata::Metadata;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// What goes into an image.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// Bytes of gadget.yaml, put into the image as they are.
    pub metadata: Option<Vec<u8>>,
    /// The eBPF object for each architecture (Go names).
    pub objects: BTreeMap<String, Vec<u8>>,
    /// The WebAssembly module, the same for all.
    pub wasm: Option<Vec<u8>>,
    /// Kernel types for each architecture.
    pub btfgen: BTreeMap<String, Vec<u8>>,
}

/// Bytes under their digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// The content.
    pub bytes: Vec<u8>,
}

/// A whole image, ready to be stored or pushed.
#[derive(Debug, Clone)]
pub struct Image {
    /// Points at the index; its digest is the image's.
    pub index: Descriptor,
    /// Every blob once, children before those that point at them.
    pub blobs: Vec<Blob>,
}

impl Image {
    /// Makes the image. `created` is RFC 3339, `builder` the version of the program that builds, such as `v0.55.0`:
    /// runners compare it with their own.
    ///
    /// Without objects the image is for all of [`ARCHITECTURES`]. The result depends on nothing but the arguments.
    pub fn assemble(parts: &Parts, created: &str, builder: &str) -> Result<Self, Error> {
        let annotations = annotations(parts.metadata.as_deref(), created, builder)?;
        let mut blobs = Blobs::default();
        let config = match &parts.metadata {
            Some(yaml) => blobs.add(CONFIG_TYPE, yaml.clone()),
            None => Descriptor { data: Some("e30=".to_owned()), ..blobs.add(EMPTY_TYPE, b"{}".to_vec()) },
        };
        let config = Descriptor { annotations: annotations.clone(), ..config };
        let mut manifests = Vec::new();
        for architecture in architectures(parts) {
            let layers = [
                (OBJECT_TYPE, parts.objects.get(architecture)),
                (WASM_TYPE, parts.wasm.as_ref()),
                (BTFGEN_TYPE, parts.btfgen.get(architecture)),
            ];
            let manifest = Manifest {
                schema_version: 2,
                media_type: None,
                artifact_type: Some(ARTIFACT_TYPE.to_owned()),
                config: config.clone(),
                layers: layers
                    .into_iter()
                    .filter_map(|(media_type, bytes)| Some(blobs.add(media_type, bytes?.clone())))
                    .collect(),
                subject: None,
                annotations: annotations.clone(),
            };
            manifests.push(Descriptor {
                annotations: annotations.clone(),
                platform: Some(Platform { architecture: architecture.to_owned(), os: "linux".to_owned() }),
                ..blobs.add(MANIFEST_TYPE, to_json(&manifest))
            });
        }
        let index = Index {
            media_type: Some(INDEX_TYPE.to_owned()),
            manifests,
            annotations: annotations.clone(),
            ..Index::default()
        };
        let index = Descriptor { annotations, ..blobs.add(INDEX_TYPE, to_json(&index)) };
        Ok(Self { index, blobs: blobs.list })
    }

    /// Digest of the index.
    pub fn digest(&self) -> &str {
        &self.index.digest
    }
}

fn architectures(parts: &Parts) -> BTreeSet<&str> {
    if parts.objects.is_empty() {
        ARCHITECTURES.into_iter().collect()
    } else {
        parts.objects.keys().map(String::as_str).collect()
    }
}

fn annotations(
    metadata: Option<&[u8]>,
    created: &str,
    builder: &str,
) -> Result<BTreeMap<String, String>, Error> {
    let mut all = BTreeMap::new();
    if let Some(yaml) = metadata {
        let metadata = Metadata::parse(yaml)?;
        let known = [
            ("org.opencontainers.image.title", metadata.name.as_str()),
            ("org.opencontainers.image.description", metadata.description.as_str()),
            ("org.opencontainers.image.url", metadata.homepage_url.as_str()),
            ("org.opencontainers.image.documentation", metadata.documentation_url.as_str()),
            ("org.opencontainers.image.source", metadata.source_url.as_str()),
            (BUILDER_VERSION, builder),
        ];
        all.extend(known.map(|(key, value)| (key.to_owned(), value.to_owned())));
        all.extend(metadata.annotations.iter().map(|(key, value)| (key.to_owned(), value.clone())));
    }
    all.insert(CREATED.to_owned(), created.to_owned());
    Ok(all)
}

/// `sha256:` and the digest of some bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex_digest(Sha256::new_with_prefix(bytes))
}

/// `sha256:` and the digest of all that went into a hash.
pub(crate) fn hex_digest(hash: Sha256) -> String {
    use std::fmt::Write;
    let mut text = "sha256:".to_owned();
    for byte in hash.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[derive(Default)]
struct Blobs {
    list: Vec<Blob>,
}

impl Blobs {
    fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let descriptor = Descriptor {
            media_type: media_type.to_owned(),
            digest: digest(&bytes),
            size: bytes.len() as u64,
            ..Descriptor::default()
        };
        if !self.list.iter().any(|blob| blob.digest == descriptor.digest) {
            self.list.push(Blob { digest: descriptor.digest.clone(), bytes });
        }
        descriptor
    }
}
