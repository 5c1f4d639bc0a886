//! Public keys, as cosign, openssl and key services write them: PEM (RFC 7468) around a SubjectPublicKeyInfo.

use super::der::{self, KeyInfo};
use base64::{Engine, engine::general_purpose::STANDARD};
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use std::fmt;

/// Most keys in one text: each is tried on each signature.
const MAX_KEYS: usize = 32;
/// Largest PEM text of one key, characters. RSA with 8192 bits has about 1,500.
const MAX_PEM: usize = 16 << 10;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
const PUBLIC_KEY: &str = "PUBLIC KEY";

/// Object identifiers, without tag and length.
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// Why a text holds no usable public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("public key{}: {why}", which(*number))]
pub struct KeyError {
    /// Which of several, from 1; 0 if there is none at all.
    number: usize,
    why: &'static str,
}

fn which(number: usize) -> String {
    if number > 1 { format!(" {number}") } else { String::new() }
}

/// One public key.
#[derive(Clone, PartialEq, Eq)]
struct Key {
    kind: Kind,
    bits: Vec<u8>,
    fingerprint: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    EcdsaP256,
    EcdsaP384,
    Rsa,
    Ed25519,
}

impl Key {
    /// Whether this key signed the message, in any way that such a key is used: cosign hashes for P-384 with SHA-256
    /// or, since version 3, with SHA-384.
    fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let by = |algorithm: &'static dyn VerificationAlgorithm| {
            UnparsedPublicKey::new(algorithm, &self.bits).verify(message, signature).is_ok()
        };
        match self.kind {
            Kind::EcdsaP256 => by(&signature::ECDSA_P256_SHA256_ASN1),
            Kind::EcdsaP384 => {
                by(&signature::ECDSA_P384_SHA256_ASN1) || by(&signature::ECDSA_P384_SHA384_ASN1)
            }
            Kind::Rsa => by(&signature::RSA_PKCS1_2048_8192_SHA256),
            Kind::Ed25519 => by(&signature::ED25519),
        }
    }

    fn from_der(der: &[u8]) -> Result<Self, &'static str> {
        let Some(KeyInfo { algorithm, curve, key }) = der::key_info(der) else {
            return Err("it is no SubjectPublicKeyInfo in DER; write it again with 'openssl pkey -pubin'");
        };
        let kind = match (algorithm, curve) {
            (EC_PUBLIC_KEY, P256) => Kind::EcdsaP256,
            (EC_PUBLIC_KEY, P384) => Kind::EcdsaP384,
            (EC_PUBLIC_KEY, _) => return Err("its curve is neither P-256 nor P-384"),
            (RSA, []) => Kind::Rsa,
            (ED25519, []) => Kind::Ed25519,
            _ => return Err("it is neither ECDSA nor RSA nor Ed25519"),
        };
        let length = key.len();
        let fits = match kind {
            // An uncompressed point: 4, x, y.
            Kind::EcdsaP256 => length == 65 && key.first() == Some(&4),
            Kind::EcdsaP384 => length == 97 && key.first() == Some(&4),
            // Modulus and exponent with their headers; the limits themselves are looked at with each signature.
            Kind::Rsa => (256..=1100).contains(&length),
            Kind::Ed25519 => length == 32,
        };
        if !fits {
            return Err("it has not the length of such a key; RSA needs 2048 to 8192 bits");
        }
        Ok(Self { kind, bits: key.to_vec(), fingerprint: crate::image::digest(der) })
    }
}

/// Public keys; what one of them has signed is trusted.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// Reads one or several PEM public keys out of a text: ECDSA on P-256 or P-384, RSA of 2048 to 8192 bits, or
    /// Ed25519. Text around the PEM blocks is passed over, as RFC 7468 has it.
    ///
    /// # Errors
    /// If there is none, or one that cannot be used: a key that is quietly left out would be looked for later.
    pub fn parse(pem: &str) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        let mut rest = pem;
        while let Some(at) = rest.find(BEGIN) {
            let fail = |why| KeyError { number: keys.len() + 1, why };
            if keys.len() == MAX_KEYS {
                return Err(fail("there are more than 32; give fewer"));
            }
            let (der, after) = block(&rest[at + BEGIN.len()..]).map_err(fail)?;
            let key = Key::from_der(&der).map_err(fail)?;
            if !keys.contains(&key) {
                keys.push(key);
            }
            rest = after;
        }
        match keys.is_empty() {
            true => Err(KeyError {
                number: 0,
                why: "there is no '-----BEGIN PUBLIC KEY-----'; give the text of cosign.pub, or @ and the file's name",
            }),
            false => Ok(Self(keys)),
        }
    }

    /// Adds the keys of another text.
    pub fn extend(&mut self, other: Self) {
        for key in other.0 {
            if !self.0.contains(&key) {
                self.0.push(key);
            }
        }
    }

    /// The keys' fingerprints: `sha256:` and the digest of the SubjectPublicKeyInfo in DER, in hexadecimal, as
    /// `openssl pkey -pubin -outform DER | sha256sum` says it.
    pub fn fingerprints(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.fingerprint.as_str())
    }

    /// The fingerprint of the key that has made this signature of a message.
    pub(super) fn signer(&self, message: &[u8], signature: &[u8]) -> Option<&str> {
        self.0.iter().find(|key| key.signed(message, signature)).map(|key| key.fingerprint.as_str())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.fingerprints()).finish()
    }
}

/// The bytes of a PEM block, after `-----BEGIN `, and the text behind it.
fn block(text: &str) -> Result<(Vec<u8>, &str), &'static str> {
    let (label, text) = text.split_once(DASHES).ok_or("its first line has no end")?;
    if label.ends_with("PRIVATE KEY") {
        return Err("it is a private key; give the public one and keep this one to yourself");
    }
    if label != PUBLIC_KEY {
        return Err("it is not between lines of PUBLIC KEY; certificates and other kinds are not read");
    }
    let (body, text) = text.split_once(END).ok_or("it has no '-----END PUBLIC KEY-----'")?;
    let text = text.strip_prefix(PUBLIC_KEY).and_then(|t| t.strip_prefix(DASHES));
    let text = text.ok_or("its last line is not '-----END PUBLIC KEY-----'")?;
    if body.len() > MAX_PEM {
        return Err("it is far too long");
    }
    let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let der = STANDARD.decode(body).map_err(|_| "between its lines is no base64")?;
    Ok((der, text))
}
