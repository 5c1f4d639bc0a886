//! Whether somebody who is trusted has signed an image, told from what lies in the store: no network, no log, no
//! clock.
//!
//! What is signed is the digest of an image's index; everything below is bound to it by digests, which are checked
//! whenever a blob is read. A signature is an OCI artifact itself, and is believed no more than an image: bounded,
//! hashed, and parsed strictly. Owned here are the keys, the two formats that cosign writes ([`simple`], [`bundle`])
//! and the search among several signatures. Which keys an image needs is the concern of [`crate::policy`].
//!
//! Certificates (keyless signing) and notation would be further [`Format`]s with another kind of [`Signer`].

mod bundle;
mod der;
mod key;
mod simple;
#[cfg(test)]
mod tests;

pub use key::{KeyError, Keys};

use crate::image::{self, Blobs, Descriptor, INDEX_TYPE, MANIFEST_TYPE, Manifest};
use std::fmt;

/// `artifactType` of a signature that cosign attached as a referrer.
pub const COSIGN_ARTIFACT: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";
/// Layer: what cosign signed.
pub const SIMPLE_SIGNING_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// `artifactType` and layer of a sigstore bundle.
pub const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// `artifactType` of a notation signature.
pub const NOTATION_ARTIFACT: &str = "application/vnd.cncf.notary.signature";

/// Most signatures of one image that are looked at. Upstream stops at 50.
const MAX_SIGNATURES: usize = 64;
/// Largest manifest of a signature, bytes. Certificates and log entries travel in its annotations.
const MAX_MANIFEST: u64 = 1 << 20;
/// Largest payload or bundle, bytes.
const MAX_PAYLOAD: u64 = 1 << 20;

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// cosign's own: a payload, with its signature in an annotation.
    SimpleSigning,
    /// sigstore bundle, signing an in-toto statement.
    BundleStatement,
    /// sigstore bundle, signing the index itself.
    BundleMessage,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SimpleSigning => "cosign simple signing",
            Self::BundleStatement => "sigstore bundle (statement)",
            Self::BundleMessage => "sigstore bundle (message)",
        })
    }
}

/// Who signed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signer {
    /// The holder of a key, by its fingerprint as in [`Keys::fingerprints`].
    Key(String),
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(fingerprint) => write!(f, "key {fingerprint}"),
        }
    }
}

/// A good signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Who signed.
    pub signer: Signer,
    /// How.
    pub format: Format,
    /// Digest of the signature's manifest.
    pub signature: String,
}

/// Why an image counts as unsigned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing that could be a signature is there.
    #[error("there is no signature of it in the store")]
    NotFound,
    /// There are signatures, and none is good.
    #[error("none of its signatures is by a trusted key: {}", .0.join("; "))]
    NotTrusted(Vec<String>),
}

/// Why one signature does not count.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Blob(#[from] image::Error),
    #[error("{0}")]
    Format(&'static str),
    #[error("it is about another image, {0:?}")]
    OtherImage(String),
    #[error("it was made with another key")]
    OtherKey,
}

/// Looks among `candidates`, the manifests of possible signatures, for one in which one of `keys` signed the image
/// whose index has this digest. One is enough; what is wrong with the others is told only if there is none.
pub fn verify(
    blobs: &dyn Blobs,
    candidates: &[Descriptor],
    digest: &str,
    keys: &Keys,
) -> Result<Verified, Error> {
    let mut faults = Vec::new();
    for candidate in candidates.iter().take(MAX_SIGNATURES) {
        match one(blobs, candidate, digest, keys) {
            Ok(verified) => return Ok(verified),
            Err(fault) => faults.push(format!("{:?}: {fault}", candidate.digest)),
        }
    }
    Err(if faults.is_empty() { Error::NotFound } else { Error::NotTrusted(faults) })
}

fn one(blobs: &dyn Blobs, candidate: &Descriptor, digest: &str, keys: &Keys) -> Result<Verified, Fault> {
    if candidate.media_type != MANIFEST_TYPE {
        return Err(Fault::Format("it is no manifest"));
    }
    let manifest = Manifest::parse(candidate, &image::within(blobs, candidate, MAX_MANIFEST)?)?;
    if let Some(subject) = manifest.subject.as_ref().filter(|subject| subject.digest != digest) {
        return Err(Fault::OtherImage(subject.digest.clone()));
    }
    // What it calls itself is a hint at most: old cosign gives no artifact type. The layers tell.
    let first = manifest.layers.first().map(|layer| layer.media_type.as_str());
    let (signer, format) = match first {
        Some(SIMPLE_SIGNING_TYPE) => (simple::verify(blobs, &manifest, digest, keys)?, Format::SimpleSigning),
        Some(media_type) if bundle::is_bundle(media_type) => bundle::verify(blobs, &manifest, digest, keys)?,
        _ if manifest.artifact_type.as_deref() == Some(NOTATION_ARTIFACT) => {
            return Err(Fault::Format(
                "it is by notation, which this version does not check; sign with cosign",
            ));
        }
        _ => return Err(Fault::Format("it is no signature of a known format")),
    };
    Ok(Verified { signer, format, signature: candidate.digest.clone() })
}

/// The index that a signature's manifest names as its subject.
fn subject(blobs: &dyn Blobs, manifest: &Manifest, digest: &str) -> Result<Vec<u8>, Fault> {
    let named = |d: &&Descriptor| d.digest == digest && d.media_type == INDEX_TYPE;
    let subject = manifest.subject.as_ref().filter(named);
    Ok(image::checked(blobs, subject.ok_or(Fault::Format("its manifest does not name the index it signs"))?)?)
}
