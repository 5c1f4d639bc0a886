//! Signatures as cosign writes them, made here with openssl: each kind of key, each format, and what must not count.

mod forge;

use super::{bundle::pre_authentication, simple::SIGNATURE, *};
use crate::{
    image::{ARTIFACT_TYPE, Trust, digest},
    reference::is_digest,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use forge::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{fs, sync::LazyLock};

/// Makes one kind of signature.
type Make = fn(&mut Memory, &Pair) -> Descriptor;

const FORMATS: [(Format, Make); 3] = [
    (Format::SimpleSigning, Memory::simple),
    (Format::BundleStatement, Memory::bundle),
    (Format::BundleMessage, Memory::message_bundle),
];

#[test]
fn each_kind_of_key_verifies_each_format() {
    for kind in ["p256", "p384", "rsa", "ed25519"] {
        let pair = Pair::new(kind);
        for (format, make) in FORMATS {
            let mut store = Memory::new();
            let signature = make(&mut store, &pair);
            let verified = store.verify(std::slice::from_ref(&signature), &pair.keys());
            let fingerprint = pair.keys().fingerprints().next().unwrap().to_owned();
            let expected = Verified { signer: Signer::Key(fingerprint), format, signature: signature.digest };
            assert_eq!(verified, Ok(expected), "{kind}");
        }
    }
}

#[test]
fn p384_may_hash_as_long_as_itself() {
    let pair = Pair::new("p384");
    let mut store = Memory::new();
    let sign = |message: &[u8]| {
        let input = pair.folder.path().join("long");
        fs::write(&input, message).unwrap();
        let key = pair.folder.path().join("key.pem");
        let (key, input) = (key.to_str().unwrap(), input.to_str().unwrap());
        openssl(&["dgst", "-sha384", "-sign", key, input]).stdout
    };
    let bundle = envelope(&statement(store.digest()), sign);
    let signature = store.put_bundle(&bundle);
    assert!(store.verify(&[signature], &pair.keys()).is_ok());
}

#[test]
fn any_good_signature_by_any_key_is_enough() {
    let mut store = Memory::new();
    let (bad, good) = (store.simple(&OTHER), store.bundle(&PAIR));
    let mut missing = good.clone();
    missing.digest = digest(b"nothing");
    let mut keys = Pair::new("ed25519").keys();
    keys.extend(PAIR.keys());
    for candidates in [[&bad, &missing, &good], [&good, &missing, &bad]] {
        let candidates = candidates.map(Descriptor::clone);
        assert_eq!(store.verify(&candidates, &keys).unwrap().format, Format::BundleStatement);
    }
    // Signed by two, one after the other: cosign adds a layer.
    let payload = payload(store.digest());
    let layers = [&OTHER, &PAIR].map(|pair| store.simple_layer(&payload, |bytes| pair.sign(bytes)));
    let twice = store.put_manifest(Some(COSIGN_ARTIFACT), layers.to_vec());
    assert!(store.verify(std::slice::from_ref(&twice), &PAIR.keys()).is_ok());
    assert!(store.verify(&[twice], &OTHER.keys()).is_ok());
}

#[test]
fn says_why_no_signature_counts() {
    let mut store = Memory::new();
    assert_eq!(store.verify(&[], &PAIR.keys()), Err(Error::NotFound));
    let sign = |bytes: &[u8]| PAIR.sign(bytes);

    let other = store.simple(&OTHER);
    insta::assert_snapshot!(store.refused(&other), @r#"none of its signatures is by a trusted key: "SIG": it was made with another key"#);
    let foreign = format!("sha256:{}", "0".repeat(64));
    let layer = store.simple_layer(&payload(&foreign), sign);
    let foreign_simple = store.put_manifest(None, vec![layer]);
    insta::assert_snapshot!(store.refused(&foreign_simple), @r#"none of its signatures is by a trusted key: "SIG": it is about another image, "sha256:0000000000000000000000000000000000000000000000000000000000000000""#);
    let foreign_bundle = store.put_bundle(&envelope(&statement(&foreign), sign));
    insta::assert_snapshot!(store.refused(&foreign_bundle), @r#"none of its signatures is by a trusted key: "SIG": it is about another image, "0000000000000000000000000000000000000000000000000000000000000000""#);

    let mut attestation = statement(store.digest());
    attestation["predicateType"] = json!("https://slsa.dev/provenance/v1");
    let attestation = store.put_bundle(&envelope(&attestation, sign));
    insta::assert_snapshot!(store.refused(&attestation), @r#"none of its signatures is by a trusted key: "SIG": it is an attestation and no signature"#);

    let mut two = envelope(&statement(store.digest()), sign);
    let first = two["dsseEnvelope"]["signatures"][0].clone();
    two["dsseEnvelope"]["signatures"] = json!([first, first]);
    let two = store.put_bundle(&two);
    insta::assert_snapshot!(store.refused(&two), @r#"none of its signatures is by a trusted key: "SIG": its envelope has not exactly one signature"#);

    let notation = store.put_manifest(Some(NOTATION_ARTIFACT), vec![]);
    insta::assert_snapshot!(store.refused(&notation), @r#"none of its signatures is by a trusted key: "SIG": it is by notation, which this version does not check; sign with cosign"#);
    let gadget = store.put_manifest(Some(ARTIFACT_TYPE), vec![]);
    insta::assert_snapshot!(store.refused(&gadget), @r#"none of its signatures is by a trusted key: "SIG": it is no signature of a known format"#);
    let index = store.index.clone();
    insta::assert_snapshot!(store.refused(&index), @r#"none of its signatures is by a trusted key: "SIG": it is no manifest"#);
    let bare = store.put(SIMPLE_SIGNING_TYPE, payload(store.digest()).to_string().into_bytes());
    let bare = store.put_manifest(None, vec![bare]);
    insta::assert_snapshot!(store.refused(&bare), @r#"none of its signatures is by a trusted key: "SIG": its layer has no signature in base64"#);
}

#[test]
fn what_was_signed_for_another_purpose_does_not_count() {
    let mut store = Memory::new();
    let sign = |bytes: &[u8]| PAIR.sign(bytes);
    // A payload that is an in-toto statement, one of another type, and one with the digest twice.
    let mut other_type = payload(store.digest());
    other_type["critical"]["type"] = json!("atomic container signature");
    for payload in [statement(store.digest()), other_type, json!([]), json!("x")] {
        let layer = store.simple_layer(&payload, sign);
        let signature = store.put_manifest(None, vec![layer]);
        assert!(store.verify(&[signature], &PAIR.keys()).is_err(), "{payload}");
    }
    let text = payload(store.digest()).to_string();
    let twice = text.replace(r#""image":"#, r#""image":{"docker-manifest-digest":"x"},"image":"#);
    assert_ne!(text, twice);
    let mut layer = store.put(SIMPLE_SIGNING_TYPE, twice.clone().into_bytes());
    layer.annotations.insert(SIGNATURE.to_owned(), STANDARD.encode(sign(twice.as_bytes())));
    let signature = store.put_manifest(None, vec![layer]);
    assert!(store.refused(&signature).contains("no simple signing"));
    // A signed statement in an envelope of another type.
    let mut bundle = envelope(&statement(store.digest()), sign);
    let payload = statement(store.digest()).to_string().into_bytes();
    bundle["dsseEnvelope"]["payloadType"] = json!("text/plain");
    let signature = STANDARD.encode(sign(&pre_authentication("text/plain", &payload)));
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = json!(signature);
    let signature = store.put_bundle(&bundle);
    assert!(store.refused(&signature).contains("no in-toto statement"));
    // The subject must be the first.
    let mut second = statement(store.digest());
    second["subject"] = json!([{"digest": {"sha256": "0".repeat(64)}}, second["subject"][0]]);
    let signature = store.put_bundle(&envelope(&second, sign));
    assert!(store.refused(&signature).contains("about another image"));
}

#[test]
fn a_message_bundle_needs_the_index_as_its_subject() {
    let mut store = Memory::new();
    let signature = store.message_bundle(&PAIR);
    let mut manifest: Value = serde_json::from_slice(&store.blobs[&signature.digest]).unwrap();
    manifest["subject"] = json!({"mediaType": INDEX_TYPE, "digest": digest(b"x"), "size": 1});
    let other = store.put(MANIFEST_TYPE, manifest.to_string().into_bytes());
    assert!(store.refused(&other).contains("about another image"));
    manifest.as_object_mut().unwrap().remove("subject");
    let none = store.put(MANIFEST_TYPE, manifest.to_string().into_bytes());
    assert!(store.refused(&none).contains("does not name the index"));
}

/// Whether an image is still read and verified.
fn stands(store: &Memory, signature: &Descriptor, keys: &Keys) -> bool {
    let read = |architecture| image::read(store, &store.index, "x", architecture, Trust::Unverified).is_ok();
    read("amd64") && store.verify(std::slice::from_ref(signature), keys).is_ok()
}

#[test]
fn one_changed_byte_anywhere_is_refused() {
    let keys = PAIR.keys();
    for (format, make) in FORMATS {
        let mut store = Memory::new();
        let signature = make(&mut store, &PAIR);
        assert!(stands(&store, &signature, &keys));
        // The empty configuration of the signature is not read, and says nothing.
        let whole = store.blobs.iter().filter(|(_, bytes)| *bytes != b"{}");
        for (digest, bytes) in whole {
            for at in 0..bytes.len() {
                let mut changed = store.clone();
                changed.blobs.get_mut(digest).unwrap()[at] ^= 1;
                assert!(!stands(&changed, &signature, &keys), "{format}: {digest}, byte {at}");
            }
        }
        // As whoever can make the digests fit would do it: another index under the same signature.
        let mut other = store.clone();
        let mut index = other.blobs[other.digest()].clone();
        index.push(b'\n');
        other.index = other.put(INDEX_TYPE, index);
        assert!(!stands(&other, &signature, &keys), "{format}");
    }
}

#[test]
fn a_changed_key_or_signature_verifies_nothing() {
    let mut store = Memory::new();
    let signature = store.simple(&PAIR);
    for (at, _) in PAIR.public.char_indices().filter(|(_, c)| !c.is_ascii_whitespace()) {
        let mut pem = PAIR.public.clone().into_bytes();
        pem[at] = if pem[at] == b'A' { b'B' } else { b'A' };
        let keys = Keys::parse(std::str::from_utf8(&pem).unwrap());
        assert!(!keys.is_ok_and(|keys| stands(&store, &signature, &keys)), "character {at}");
    }
    let payload = payload(store.digest());
    let good = PAIR.sign(payload.to_string().as_bytes());
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let layer = store.simple_layer(&payload, |_| bad.clone());
        let signature = store.put_manifest(None, vec![layer]);
        assert!(!stands(&store, &signature, &PAIR.keys()), "byte {at}");
    }
}

#[test]
fn large_and_many_signatures_are_bounded() {
    let mut store = Memory::new();
    let good = store.simple(&PAIR);
    let mut many = vec![store.simple(&OTHER); MAX_SIGNATURES];
    many.push(good);
    assert!(store.verify(&many, &PAIR.keys()).is_err(), "more than {MAX_SIGNATURES} were looked at");
    let mut large = store.put(SIMPLE_SIGNING_TYPE, vec![b' '; MAX_PAYLOAD as usize + 1]);
    large.annotations.insert(SIGNATURE.to_owned(), String::new());
    let large = store.put_manifest(None, vec![large]);
    assert!(store.refused(&large).contains("more than the 1048576 allowed"), "{}", store.refused(&large));
    let mut manifest = store.put_manifest(None, vec![]);
    manifest.size = MAX_MANIFEST + 1;
    assert!(store.refused(&manifest).contains("more than the 1048576 allowed"));
}

#[test]
fn keys_are_told_by_their_fingerprint() {
    let der = openssl(&[
        "pkey",
        "-in",
        PAIR.folder.path().join("key.pem").to_str().unwrap(),
        "-pubout",
        "-outform",
        "DER",
    ]);
    let both = format!("a comment\n{}\r\n{}{}", PAIR.public, OTHER.public, PAIR.public);
    let keys = Keys::parse(&both).unwrap();
    assert_eq!(keys.fingerprints().next().unwrap(), digest(&der.stdout));
    assert_eq!(keys.fingerprints().count(), 2, "the same key twice");
    assert!(keys.fingerprints().all(is_digest));
    let indented = PAIR.public.replace('\n', "\r\n  ");
    assert_eq!(Keys::parse(&indented), Ok(PAIR.keys()), "as in a YAML file");
}

#[test]
fn says_what_is_wrong_with_a_key() {
    let said = |pem: &str| Keys::parse(pem).unwrap_err().to_string();
    insta::assert_snapshot!(said(""), @r#"public key: there is no '-----BEGIN PUBLIC KEY-----'; give the text of cosign.pub, or @ and the file's name"#);
    insta::assert_snapshot!(said(&PAIR.private()), @r#"public key: it is a private key; give the public one and keep this one to yourself"#);
    insta::assert_snapshot!(said("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----"), @r#"public key: it is not between lines of PUBLIC KEY; certificates and other kinds are not read"#);
    insta::assert_snapshot!(said(&Pair::new("p521").public), @r#"public key: its curve is neither P-256 nor P-384"#);
    insta::assert_snapshot!(said(&Pair::new("rsa1024").public), @r#"public key: it has not the length of such a key; RSA needs 2048 to 8192 bits"#);
    let second = format!("{}{}", PAIR.public, OTHER.public.replace("-----END", ""));
    insta::assert_snapshot!(said(&second), @r#"public key 2: it has no '-----END PUBLIC KEY-----'"#);
    insta::assert_snapshot!(said("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----"), @r#"public key: between its lines is no base64"#);
    insta::assert_snapshot!(said("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"), @r#"public key: it is no SubjectPublicKeyInfo in DER; write it again with 'openssl pkey -pubin'"#);
    let many: String = (0..40).map(|_| PAIR.public.as_str()).collect();
    assert_eq!(Keys::parse(&many), Ok(PAIR.keys()), "forty times one key is one key");
    assert!(!said(&PAIR.private()).contains("MII") && !format!("{:?}", PAIR.keys()).contains("bits"));
}

/// Bytes as a signer of bad intent would choose them: nearly right.
fn mutated(original: &str, at: usize, with: &str) -> String {
    let mut text = original.to_owned();
    let at = at % text.len();
    let end = (at + with.len()).min(text.len());
    if text.is_char_boundary(at) && text.is_char_boundary(end) {
        text.replace_range(at..end, with);
    }
    text
}

proptest! {
    #[test]
    fn keys_never_panic(pem in "(-----BEGIN |-----END |PUBLIC KEY|-----|[A-Za-z0-9+/=\n]{0,90}|\\PC{0,4}){0,12}") {
        let _ = Keys::parse(&pem);
    }

    #[test]
    fn a_key_with_any_content_never_panics(der in proptest::collection::vec(any::<u8>(), 0..200)) {
        let body = STANDARD.encode(der);
        let _ = Keys::parse(&format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"));
    }

    #[test]
    fn a_changed_document_never_verifies(
        which in 0..3usize, at: usize, with in "[\\[\\]{}\":,0-9a-z\\\\]{1,4}",
    ) {
        static MADE: LazyLock<(Memory, Vec<Descriptor>)> = LazyLock::new(|| {
            let mut store = Memory::new();
            let made = FORMATS.iter().map(|(_, make)| make(&mut store, &PAIR)).collect();
            (store, made)
        });
        let (mut store, made) = MADE.clone();
        let manifest = Manifest::parse(&made[which], &store.blobs[&made[which].digest]).unwrap();
        let layer = &manifest.layers[0];
        let text = String::from_utf8(store.blobs[&layer.digest].clone()).unwrap();
        let changed = mutated(&text, at, &with);
        // All digests fit: only the parser and the signature stand in the way.
        let mut descriptor = store.put(&layer.media_type, changed.clone().into_bytes());
        descriptor.annotations = layer.annotations.clone();
        let signature = store.put_manifest(Some(BUNDLE_TYPE), vec![descriptor]);
        let verified = store.verify(&[signature], &PAIR.keys());
        if which == 0 && changed != text {
            prop_assert!(verified.is_err(), "{changed}");
        }
    }

    #[test]
    fn any_layer_is_refused_without_a_panic(text in "\\PC{0,200}", which in 0..2usize) {
        let mut store = Memory::new();
        let media_type = [SIMPLE_SIGNING_TYPE, BUNDLE_TYPE][which];
        let mut layer = store.put(media_type, text.clone().into_bytes());
        layer.annotations.insert(SIGNATURE.to_owned(), text);
        let signature = store.put_manifest(None, vec![layer]);
        prop_assert!(store.verify(&[signature], &PAIR.keys()).is_err());
    }
}
