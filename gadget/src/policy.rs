//! Which images may be used: what an operator allows, and whose signature an image needs.
//!
//! One place, so that running, verifying and serving cannot differ. Keys are bound to names: the key that a binary is
//! built with speaks only for the repositories of its holder, so that an image from elsewhere needs a key that the
//! user gave. Nothing is read or parsed until an image asks for it.

use crate::{
    reference::Reference,
    signature::{self, KeyError, Keys, Verified},
    store::Store,
};
use std::{fs, io::Read, path::Path};

/// The keys that this binary is built with, each with the prefix of the image names that it speaks for.
const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/keys.rs"));
/// Largest file of keys, bytes.
const MAX_KEY_FILE: u64 = 1 << 20;

/// What may be used.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Whether images from elsewhere need a signature.
    pub verify: bool,
    /// Whose signatures count: PEM texts, or `@` and a file's name. Empty: the built-in keys, each for its own names.
    pub public_keys: Vec<String>,
    /// The images that may be used at all: `repository:tag`, `repository@digest`, or the beginning of one with `*` behind
    /// it. Empty: all.
    pub allowed_gadgets: Vec<String>,
    /// Whether nothing may be fetched from a registry.
    pub disallow_pulling: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self { verify: true, public_keys: Vec::new(), allowed_gadgets: Vec::new(), disallow_pulling: false }
    }
}

/// Why an image may not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator's list does not have it.
    #[error("{name} is not one of the allowed gadgets: {}; --allowed-gadgets names them", .allowed.join(", "))]
    NotAllowed {
        /// The image.
        name: String,
        /// What is.
        allowed: Vec<String>,
    },
    /// Nobody is known who could have signed it.
    #[error(
        "cannot verify {0}: no public key is known for it; give its author's key with --public-keys @cosign.pub"
    )]
    NoKey(String),
    /// A key that was given cannot be used.
    #[error("--public-keys{source_of_key}: {why}")]
    Key {
        /// Nothing, or a space and `@` and the file's name.
        source_of_key: String,
        /// What is wrong with it.
        why: KeyError,
    },
    /// A file of keys cannot be read.
    #[error(
        "--public-keys @{path}: {source}; give the file that 'cosign generate-key-pair' wrote as cosign.pub"
    )]
    KeyFile {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no good signature.
    #[error("cannot verify {name}: {why}; give its author's key with --public-keys @cosign.pub")]
    Unverified {
        /// The image.
        name: String,
        /// What was found instead.
        why: signature::Error,
    },
}

impl Policy {
    /// Whether the operator's list has an image, which `reference` led to and whose index has this digest.
    ///
    /// # Errors
    /// [`Error::NotAllowed`].
    pub fn check_allowed(&self, reference: &Reference, digest: &str) -> Result<(), Error> {
        let by_digest = format!("{}@{digest}", reference.name());
        // A tag beside a digest is decoration that anybody can write: then only the digest tells which image it is.
        let by_tag = reference.tag().filter(|_| reference.digest().is_none());
        let by_tag = by_tag.map(|tag| format!("{}:{tag}", reference.name()));
        let names = || [Some(&by_digest), by_tag.as_ref()].into_iter().flatten();
        let allows = |entry: &String| match entry.strip_suffix('*') {
            Some(beginning) => names().any(|name| name.starts_with(beginning)),
            None => {
                let completed = Reference::parse(entry).map(|entry| entry.to_string()).ok();
                names().any(|name| name == entry || Some(name) == completed.as_ref())
            }
        };
        if self.allowed_gadgets.is_empty() || self.allowed_gadgets.iter().any(allows) {
            return Ok(());
        }
        Err(Error::NotAllowed { name: reference.to_string(), allowed: self.allowed_gadgets.clone() })
    }

    /// Whether the operator's list may have an image of this name, whose digest is not known yet: others need not even
    /// be fetched.
    ///
    /// # Errors
    /// [`Error::NotAllowed`].
    pub fn check_name(&self, reference: &Reference) -> Result<(), Error> {
        if let Some(digest) = reference.digest() {
            return self.check_allowed(reference, digest);
        }
        let by_digest = format!("{}@", reference.name());
        match self.allowed_gadgets.iter().any(|entry| entry.starts_with(&by_digest)) {
            true => Ok(()),
            // No entry ends in this digest; beginnings of the name fit as they would with the true one.
            false => self.check_allowed(reference, ""),
        }
    }

    /// The keys whose signature counts for an image of this name: those that were given, else the built-in ones for
    /// names like this.
    ///
    /// # Errors
    /// [`Error::NoKey`] if there is none, and those of reading the keys that were given.
    pub fn keys(&self, reference: &Reference) -> Result<Keys, Error> {
        let mut keys = Keys::default();
        for given in self.public_keys.iter().map(|given| given.trim()).filter(|given| !given.is_empty()) {
            keys.extend(read_keys(given)?);
        }
        if self.public_keys.is_empty() {
            let name = reference.name();
            for (_, pem) in BUILT_IN.iter().filter(|(prefix, _)| speaks_for(prefix, &name)) {
                keys.extend(parse(pem, " (built in)")?);
            }
        }
        if keys.fingerprints().next().is_none() {
            return Err(Error::NoKey(reference.to_string()));
        }
        Ok(keys)
    }

    /// Verifies the image whose index has this digest, by the signatures that are in the store.
    ///
    /// # Errors
    /// [`Error::Unverified`] if there is no good signature, and those of [`Self::keys`].
    pub fn verify(&self, store: &Store, reference: &Reference, digest: &str) -> Result<Verified, Error> {
        let keys = self.keys(reference)?;
        signature::verify(store, &store.related(digest), digest, &keys)
            .map_err(|why| Error::Unverified { name: reference.to_string(), why })
    }
}

/// Whether a key for names with this prefix speaks for an image: the prefix is whole components of its path.
fn speaks_for(prefix: &str, name: &str) -> bool {
    let rest = name.strip_prefix(prefix.trim_end_matches(['*', '/']));
    !prefix.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The keys in a value of `--public-keys`.
fn read_keys(given: &str) -> Result<Keys, Error> {
    let Some(path) = given.strip_prefix('@') else { return parse(given, "") };
    let fail = |source| Error::KeyFile { path: path.to_owned(), source };
    let mut text = String::new();
    fs::File::open(Path::new(path))
        .and_then(|file| file.take(MAX_KEY_FILE).read_to_string(&mut text))
        .map_err(fail)?;
    parse(&text, &format!(" {given}"))
}

fn parse(pem: &str, source_of_key: &str) -> Result<Keys, Error> {
    Keys::parse(pem).map_err(|why| Error::Key { source_of_key: source_of_key.to_owned(), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:bbbd9a85944b14a92bcbcbc4b8a4c80929aeebaf66005871f79f3757788f6770";
    const OTHER: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

    fn allows(entry: &str, typed: &str) -> bool {
        let policy = Policy { allowed_gadgets: vec![entry.to_owned()], ..Policy::default() };
        policy.check_allowed(&Reference::parse(typed).unwrap(), DIGEST).is_ok()
    }

    #[test]
    fn allows_by_tag_digest_and_beginning() {
        let by_digest = format!("reg.io/a@{DIGEST}");
        for entry in ["reg.io/a:v1", &by_digest, "reg.io/*", "reg.io/a:v*", "*"] {
            assert!(allows(entry, "reg.io/a:v1"), "{entry}");
        }
        let other_digest = format!("reg.io/a@{OTHER}");
        for entry in ["reg.io/a:v2", "reg.io/b:v1", &other_digest, "reg.io/b*", "reg.io/a", "io/a:v1", ""] {
            assert!(!allows(entry, "reg.io/a:v1"), "{entry}");
        }
        assert!(allows("trace_open", "ghcr.io/inspektor-gadget/gadget/trace_open:latest"));
        assert!(allows("ghcr.io/inspektor-gadget/*", "trace_open"));
        assert!(Policy::default().check_allowed(&Reference::parse("x").unwrap(), DIGEST).is_ok());
    }

    #[test]
    fn a_tag_beside_a_digest_allows_nothing() {
        let typed = format!("reg.io/a:v1@{DIGEST}");
        assert!(!allows("reg.io/a:v1", &typed) && !allows("reg.io/a:*", &typed));
        assert!(allows(&format!("reg.io/a@{DIGEST}"), &typed) && allows("reg.io/a@*", &typed));
    }

    #[test]
    fn a_name_is_refused_before_anything_is_fetched() {
        let named = |entry: &str, typed: &str| {
            let policy = Policy { allowed_gadgets: vec![entry.to_owned()], ..Policy::default() };
            policy.check_name(&Reference::parse(typed).unwrap()).is_ok()
        };
        let (right, wrong) = (format!("reg.io/a@{DIGEST}"), format!("reg.io/a@{OTHER}"));
        for entry in [&right, "reg.io/a:v1", "reg.io/*", "reg.io/a@*", "reg.io/a@sha256:b*"] {
            assert!(named(entry, "reg.io/a:v1"), "{entry}");
            assert!(!named(entry, "evil.io/a:v1"), "{entry}");
        }
        assert!(named(&right, &right) && !named(&right, &wrong) && !named("reg.io/a:v2", "reg.io/a:v1"));
    }

    #[test]
    fn the_built_in_key_is_for_its_own_repositories() {
        let has_key = |typed: &str| {
            let keys = Policy::default().keys(&Reference::parse(typed).unwrap());
            assert!(keys.is_ok() || matches!(keys, Err(Error::NoKey(_))), "{keys:?}");
            keys.is_ok()
        };
        let digest = format!("ghcr.io/inspektor-gadget/ig@{DIGEST}");
        for typed in ["trace_open", "ghcr.io/inspektor-gadget/gadget/trace_dns:v1", &digest] {
            assert!(has_key(typed), "{typed}");
        }
        for typed in [
            "ghcr.io/inspektor-gadgets/x",
            "ghcr.io/inspektor-gadget-x/y",
            "ghcr.io/other/x",
            "ghcr.io.evil.io/inspektor-gadget/x",
            "evil.io/ghcr.io/inspektor-gadget/x",
            "localhost:5000/inspektor-gadget/x",
        ] {
            assert!(!has_key(typed), "{typed}");
        }
        assert!(speaks_for("reg.io/me/*", "reg.io/me/a") && speaks_for("reg.io/me/a", "reg.io/me/a"));
        assert!(!speaks_for("", "reg.io/me/a") && !speaks_for("*", "reg.io/me/a"));
    }

    #[test]
    fn upstreams_key_is_the_built_in_one() {
        let keys = Policy::default().keys(&Reference::parse("trace_open").unwrap()).unwrap();
        let fingerprints: Vec<_> = keys.fingerprints().collect();
        insta::assert_snapshot!(fingerprints.join("\n"), @r#"sha256:20fe3de3a3b62df47cfee4db548392300db21c7871a50478f5e027c1901d49db"#);
    }

    #[test]
    fn given_keys_take_the_place_of_the_built_in_ones() {
        let trace_open = Reference::parse("trace_open").unwrap();
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("cosign.pub");
        let pem = BUILT_IN[0].1;
        fs::write(&path, pem).unwrap();
        let policy = |given: &str| Policy { public_keys: vec![given.to_owned()], ..Policy::default() };
        let elsewhere = Reference::parse("reg.io/a").unwrap();
        for given in [pem, &format!("@{}", path.display())] {
            assert_eq!(policy(given).keys(&elsewhere).unwrap().fingerprints().count(), 1);
        }
        let said = |given: &str| policy(given).keys(&trace_open).unwrap_err().to_string();
        insta::assert_snapshot!(said("@/nonexistent/cosign.pub"), @r#"--public-keys @/nonexistent/cosign.pub: No such file or directory (os error 2); give the file that 'cosign generate-key-pair' wrote as cosign.pub"#);
        insta::assert_snapshot!(said("cosign.pub"), @r#"--public-keys: public key: there is no '-----BEGIN PUBLIC KEY-----'; give the text of cosign.pub, or @ and the file's name"#);
        insta::assert_snapshot!(said(" "), @r#"cannot verify ghcr.io/inspektor-gadget/gadget/trace_open:latest: no public key is known for it; give its author's with --public-keys @cosign.pub, or, if you trust it, use --verify-image=false"#);
        fs::write(&path, "nothing").unwrap();
        let given = format!("@{}", path.display());
        assert!(
            said(&given).starts_with(&format!("--public-keys {given}: public key: there is no ")),
            "{}",
            said(&given)
        );
    }
}
