//! cosign's simple signing: each layer of the manifest is a small JSON that names the image's digest, and carries the
//! signature of these bytes as an annotation. cosign adds a layer when an image is signed again.
//!
//! Format: `specs/SIGNATURE_SPEC.md` of cosign.

use super::{Fault, Keys, MAX_PAYLOAD, SIMPLE_SIGNING_TYPE, Signer};
use crate::image::{self, Blobs, Descriptor, Manifest};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

/// Annotation of a layer: the signature in base64.
pub(super) const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// What the payload says it is.
const KIND: &str = "cosign container image signature";
/// Longest signature in base64; RSA with 8192 bits has 1,368 characters.
const MAX_SIGNATURE: usize = 4096;

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// Who of `keys` signed; one layer with a good signature is enough.
pub(super) fn verify(
    blobs: &dyn Blobs,
    manifest: &Manifest,
    digest: &str,
    keys: &Keys,
) -> Result<Signer, Fault> {
    let mut fault = Fault::Format("it has no layer that is a signature");
    for layer in manifest.layers.iter().filter(|layer| layer.media_type == SIMPLE_SIGNING_TYPE) {
        match one(blobs, layer, digest, keys) {
            Ok(signer) => return Ok(signer),
            Err(why) => fault = why,
        }
    }
    Err(fault)
}

fn one(blobs: &dyn Blobs, layer: &Descriptor, digest: &str, keys: &Keys) -> Result<Signer, Fault> {
    let encoded = layer.annotations.get(SIGNATURE).filter(|encoded| encoded.len() <= MAX_SIGNATURE);
    let signature = encoded.and_then(|encoded| STANDARD.decode(encoded).ok());
    let signature = signature.ok_or(Fault::Format("its layer has no signature in base64"))?;
    let payload = image::within(blobs, layer, MAX_PAYLOAD)?;
    let signer = keys.signer(&payload, &signature).ok_or(Fault::OtherKey)?;
    // Signed it may be, but is it about this image?
    let Ok(Payload { critical }) = serde_json::from_slice(&payload) else {
        return Err(Fault::Format("its payload is no simple signing"));
    };
    if critical.kind != KIND {
        return Err(Fault::Format("its payload is not of type 'cosign container image signature'"));
    }
    if critical.image.digest != digest {
        return Err(Fault::OtherImage(critical.image.digest));
    }
    Ok(Signer::Key(signer.to_owned()))
}
