//! Sigstore bundles, as cosign 3 attaches them: one JSON with the signature and what it is of, either a statement
//! about the index in a signed envelope, or the index itself.
//!
//! Certificates, log entries and time stamps in a bundle say who signed when nobody holds a key; they are not looked
//! at here.
//!
//! Formats: sigstore `protobuf-specs` (`sigstore_bundle.proto`, v0.3), DSSE 1.0, in-toto Statement v0.1 and v1.

use super::{BUNDLE_TYPE, Fault, Format, Keys, MAX_PAYLOAD, Signer, subject};
use crate::image::{self, Blobs, Manifest};
use base64::{Engine, engine::general_purpose::STANDARD};
use ring::digest::{SHA256, SHA384, SHA512};
use serde::Deserialize;
use std::collections::BTreeMap;

/// The same as [`BUNDLE_TYPE`] in its older spelling.
const OLD_SPELLING: &str = "application/vnd.dev.sigstore.bundle+json;version=0.3";
/// What an envelope's payload is.
const STATEMENT_TYPE: &str = "application/vnd.in-toto+json";
/// What a statement must say to be a signature: others, such as an attestation of how the image was built or of what
/// a scan found in it, are made with the same keys and are no word for running it.
const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";
const STATEMENTS: [&str; 2] = ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    #[serde(default)]
    message_signature: Option<MessageSignature>,
    #[serde(default)]
    dsse_envelope: Option<Envelope>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageSignature {
    #[serde(default)]
    message_digest: Option<MessageDigest>,
    signature: String,
}

#[derive(Deserialize)]
struct MessageDigest {
    algorithm: String,
    digest: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    digest: BTreeMap<String, String>,
}

/// Whether a layer of this type is a bundle.
pub(super) fn is_bundle(media_type: &str) -> bool {
    media_type == BUNDLE_TYPE || media_type == OLD_SPELLING
}

/// Who of `keys` signed, and what.
pub(super) fn verify(
    blobs: &dyn Blobs,
    manifest: &Manifest,
    digest: &str,
    keys: &Keys,
) -> Result<(Signer, Format), Fault> {
    let [layer] = manifest.layers.as_slice() else {
        return Err(Fault::Format("it has more than one layer"));
    };
    let bundle: Bundle = serde_json::from_slice(&image::within(blobs, layer, MAX_PAYLOAD)?)
        .map_err(|_| Fault::Format("its layer is no sigstore bundle"))?;
    if !is_bundle(&bundle.media_type) {
        return Err(Fault::Format("its bundle is not of version 0.3"));
    }
    match (&bundle.dsse_envelope, &bundle.message_signature) {
        (Some(envelope), None) => Ok((statement(envelope, digest, keys)?, Format::BundleStatement)),
        (None, Some(signature)) => {
            let index = subject(blobs, manifest, digest)?;
            Ok((message(signature, &index, keys)?, Format::BundleMessage))
        }
        _ => Err(Fault::Format("its bundle has not exactly one signature")),
    }
}

fn statement(envelope: &Envelope, digest: &str, keys: &Keys) -> Result<Signer, Fault> {
    let [signature] = envelope.signatures.as_slice() else {
        return Err(Fault::Format("its envelope has not exactly one signature"));
    };
    let payload = decode(&envelope.payload)?;
    let signed = pre_authentication(&envelope.payload_type, &payload);
    let signer = keys.signer(&signed, &decode(&signature.sig)?).ok_or(Fault::OtherKey)?;
    // Signed it may be, but is it a word for running this image?
    if envelope.payload_type != STATEMENT_TYPE {
        return Err(Fault::Format("its envelope holds no in-toto statement"));
    }
    let statement: Statement = serde_json::from_slice(&payload)
        .map_err(|_| Fault::Format("its envelope holds no in-toto statement"))?;
    if !STATEMENTS.contains(&statement.kind.as_str()) {
        return Err(Fault::Format("its statement is of an unknown version"));
    }
    if statement.predicate_type != SIGNED {
        return Err(Fault::Format("it is an attestation and no signature"));
    }
    let about = statement.subject.first().and_then(|subject| subject.digest.get("sha256"));
    match about {
        Some(about) if digest.strip_prefix("sha256:") == Some(about) => Ok(Signer::Key(signer.to_owned())),
        about => Err(Fault::OtherImage(about.cloned().unwrap_or_default())),
    }
}

fn message(signature: &MessageSignature, index: &[u8], keys: &Keys) -> Result<Signer, Fault> {
    if let Some(digest) = &signature.message_digest {
        let algorithm = match digest.algorithm.as_str() {
            "SHA2_256" => &SHA256,
            "SHA2_384" => &SHA384,
            "SHA2_512" => &SHA512,
            _ => return Err(Fault::Format("its message is hashed in an unknown way")),
        };
        if ring::digest::digest(algorithm, index).as_ref() != decode(&digest.digest)? {
            return Err(Fault::OtherImage(digest.digest.chars().take(128).collect()));
        }
    }
    let signer = keys.signer(index, &decode(&signature.signature)?).ok_or(Fault::OtherKey)?;
    Ok(Signer::Key(signer.to_owned()))
}

fn decode(base64: &str) -> Result<Vec<u8>, Fault> {
    STANDARD.decode(base64).map_err(|_| Fault::Format("it has a field that is no base64"))
}

/// What is signed of an envelope: DSSE's PAE.
pub(super) fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}
