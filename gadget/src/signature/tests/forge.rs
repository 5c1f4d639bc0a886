//! Keys and signatures as cosign and openssl make them, and a store in memory that holds them.

use super::super::{bundle::pre_authentication, simple::SIGNATURE, *};
use crate::image::{EMPTY_TYPE, Image, Parts, digest, to_json};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Output},
    sync::LazyLock,
};
use tempfile::TempDir;

/// A key pair in a folder of its own.
pub(super) struct Pair {
    pub(super) folder: TempDir,
    pub(super) public: String,
    pub(super) kind: &'static str,
}

impl Pair {
    pub(super) fn new(kind: &'static str) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("key.pem");
        let path = path.to_str().unwrap();
        let what: &[&str] = match kind {
            "p256" => &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            "p384" => &["EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
            "p521" => &["EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
            "rsa" => &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
            "rsa1024" => &["RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
            _ => &["ed25519"],
        };
        openssl(&[&["genpkey", "-out", path, "-algorithm"], what].concat());
        let public = String::from_utf8(openssl(&["pkey", "-in", path, "-pubout"]).stdout).unwrap();
        Self { folder, public, kind }
    }

    pub(super) fn keys(&self) -> Keys {
        Keys::parse(&self.public).unwrap()
    }

    pub(super) fn private(&self) -> String {
        fs::read_to_string(self.folder.path().join("key.pem")).unwrap()
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let key = self.folder.path().join("key.pem").to_str().unwrap().to_owned();
        // Of its own: tests that run side by side share the key.
        let file = tempfile::NamedTempFile::new().unwrap();
        let input = file.path().to_str().unwrap().to_owned();
        fs::write(&input, message).unwrap();
        match self.kind {
            "ed25519" => openssl(&["pkeyutl", "-sign", "-rawin", "-inkey", &key, "-in", &input]).stdout,
            _ => openssl(&["dgst", "-sha256", "-sign", &key, &input]).stdout,
        }
    }
}

pub(super) fn openssl(args: &[&str]) -> Output {
    let output = Command::new("openssl").args(args).output().unwrap();
    assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// A key that many tests share.
pub(super) static PAIR: LazyLock<Pair> = LazyLock::new(|| Pair::new("p256"));
pub(super) static OTHER: LazyLock<Pair> = LazyLock::new(|| Pair::new("p256"));

/// An image and what lies beside it, in memory.
#[derive(Clone)]
pub(super) struct Memory {
    pub(super) blobs: BTreeMap<String, Vec<u8>>,
    pub(super) index: Descriptor,
}

impl Blobs for Memory {
    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, image::Error> {
        self.blobs.get(&descriptor.digest).cloned().ok_or_else(|| image::Error::Missing {
            digest: descriptor.digest.clone(),
            media_type: descriptor.media_type.clone(),
        })
    }
}

impl Memory {
    pub(super) fn new() -> Self {
        let parts = Parts {
            metadata: Some(b"name: small\n".to_vec()),
            objects: BTreeMap::from([("amd64".to_owned(), b"program".to_vec())]),
            ..Parts::default()
        };
        let image = Image::assemble(&parts, "", "test").unwrap();
        let blobs = image.blobs.into_iter().map(|blob| (blob.digest, blob.bytes)).collect();
        Self { blobs, index: image.index }
    }

    pub(super) fn digest(&self) -> &str {
        &self.index.digest
    }

    pub(super) fn put(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let descriptor = Descriptor {
            media_type: media_type.to_owned(),
            digest: digest(&bytes),
            size: bytes.len() as u64,
            ..Descriptor::default()
        };
        self.blobs.insert(descriptor.digest.clone(), bytes);
        descriptor
    }

    /// The manifest of a signature with these layers.
    pub(super) fn put_manifest(
        &mut self,
        artifact_type: Option<&str>,
        layers: Vec<Descriptor>,
    ) -> Descriptor {
        let config = self.put(EMPTY_TYPE, b"{}".to_vec());
        let subject = artifact_type.map(|_| self.index.clone());
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(MANIFEST_TYPE.to_owned()),
            artifact_type: artifact_type.map(str::to_owned),
            config,
            layers,
            subject,
            annotations: BTreeMap::new(),
        };
        self.put(MANIFEST_TYPE, to_json(&manifest))
    }

    pub(super) fn simple_layer(&mut self, payload: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> Descriptor {
        let bytes = payload.to_string().into_bytes();
        let signature = STANDARD.encode(sign(&bytes));
        let mut layer = self.put(SIMPLE_SIGNING_TYPE, bytes);
        layer.annotations.insert(SIGNATURE.to_owned(), signature);
        layer
    }

    pub(super) fn simple(&mut self, pair: &Pair) -> Descriptor {
        let payload = payload(self.digest());
        let layer = self.simple_layer(&payload, |bytes| pair.sign(bytes));
        self.put_manifest(None, vec![layer])
    }

    pub(super) fn put_bundle(&mut self, bundle: &Value) -> Descriptor {
        let layer = self.put(BUNDLE_TYPE, bundle.to_string().into_bytes());
        self.put_manifest(Some(BUNDLE_TYPE), vec![layer])
    }

    pub(super) fn bundle(&mut self, pair: &Pair) -> Descriptor {
        let bundle = envelope(&statement(self.digest()), |bytes| pair.sign(bytes));
        self.put_bundle(&bundle)
    }

    pub(super) fn message_bundle(&mut self, pair: &Pair) -> Descriptor {
        let index = self.blobs[self.digest()].clone();
        let hash = STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, &index));
        let bundle = json!({
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {"publicKey": {"hint": "x"}},
            "messageSignature": {
                "messageDigest": {"algorithm": "SHA2_256", "digest": hash},
                "signature": STANDARD.encode(pair.sign(&index)),
            },
        });
        self.put_bundle(&bundle)
    }

    pub(super) fn verify(&self, candidates: &[Descriptor], keys: &Keys) -> Result<Verified, Error> {
        verify(self, candidates, self.digest(), keys)
    }

    /// What is said of a signature that does not count.
    pub(super) fn refused(&self, candidate: &Descriptor) -> String {
        let error = self.verify(std::slice::from_ref(candidate), &PAIR.keys()).unwrap_err().to_string();
        error.replace(&candidate.digest, "SIG").replace(self.digest(), "IMAGE")
    }
}

pub(super) fn payload(digest: &str) -> Value {
    json!({"critical": {
        "identity": {"docker-reference": "reg.io/a"},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    }, "optional": null})
}

pub(super) fn statement(digest: &str) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": digest.strip_prefix("sha256:").unwrap()}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    })
}

pub(super) fn envelope(statement: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> Value {
    const TYPE: &str = "application/vnd.in-toto+json";
    let payload = statement.to_string().into_bytes();
    let signature = STANDARD.encode(sign(&pre_authentication(TYPE, &payload)));
    json!({
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": "x"}},
        "dsseEnvelope": {
            "payload": STANDARD.encode(&payload),
            "payloadType": TYPE,
            "signatures": [{"sig": signature, "keyid": ""}],
        },
    })
}
