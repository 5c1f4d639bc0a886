//! The JSON documents of an image. Fields stand in the order in which they are written.

use super::{Blobs, Error, read::MAX_JSON};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// Most manifests in an image's index, and most layers in a manifest. Gadgets have one for each of two architectures,
/// and three.
pub(super) const MAX_ENTRIES: usize = 64;

/// Points at a blob.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob is.
    #[serde(default)]
    pub media_type: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// Where else the blob may be had; not used.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Free key-value pairs.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The blob itself in base64; not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Which machines a manifest is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What kind of artifact a manifest describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

/// Which machines a manifest is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Go's name of the architecture.
    #[serde(default)]
    pub architecture: String,
    /// Go's name of the operating system; not looked at, as upstream does not.
    #[serde(default)]
    pub os: String,
}

/// One architecture's configuration and layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Absent in manifests that are written here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// [`super::ARTIFACT_TYPE`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The metadata file.
    pub config: Descriptor,
    /// Object, WebAssembly module, kernel types.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub layers: Vec<Descriptor>,
    /// What a referring artifact, such as a signature, is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free key-value pairs.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The manifests of an image, or the images of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// [`super::INDEX_TYPE`]; may be absent in a store's index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Sorted by architecture in images that are written here.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub manifests: Vec<Descriptor>,
    /// Free key-value pairs.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Default for Index {
    fn default() -> Self {
        Self { schema_version: 2, media_type: None, manifests: Vec::new(), annotations: BTreeMap::new() }
    }
}

impl Index {
    /// Reads the index that a descriptor points at; `Format` if it has more than 64 manifests.
    pub fn read(blobs: &dyn Blobs, descriptor: &Descriptor) -> Result<Self, Error> {
        if descriptor.media_type != super::INDEX_TYPE {
            return Err(Error::NotAnIndex {
                digest: descriptor.digest.clone(),
                media_type: descriptor.media_type.clone(),
            });
        }
        const WHAT: &str = "image index";
        let index: Self = parse(WHAT, descriptor, &super::read::within(blobs, descriptor, MAX_JSON)?)?;
        few(WHAT, descriptor, "manifests", index.manifests.len())?;
        Ok(index)
    }
}

impl Manifest {
    /// Understands the bytes of the manifest that a descriptor points at; `Format` if it has more than 64 layers.
    pub fn parse(descriptor: &Descriptor, bytes: &[u8]) -> Result<Self, Error> {
        const WHAT: &str = "image manifest";
        let manifest: Self = parse(WHAT, descriptor, bytes)?;
        few(WHAT, descriptor, "layers", manifest.layers.len())?;
        Ok(manifest)
    }
}

/// Refuses more than [`MAX_ENTRIES`]: each is followed, and may be as large as its own limit allows.
fn few(what: &'static str, descriptor: &Descriptor, of: &str, found: usize) -> Result<(), Error> {
    if found <= MAX_ENTRIES {
        return Ok(());
    }
    Err(Error::Format {
        what,
        digest: descriptor.digest.clone(),
        why: format!("it has {found} {of}, more than the {MAX_ENTRIES} allowed"),
    })
}

fn parse<T: DeserializeOwned>(what: &'static str, descriptor: &Descriptor, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Format {
        what,
        digest: descriptor.digest.clone(),
        why: error.to_string(),
    })
}

/// Go writes an empty list or map as null when it was never made.
fn null_is_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
