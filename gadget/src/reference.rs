//! Names of gadget images: what a person types, and the full name that it stands for.
//!
//! Owned here and nowhere else, because the full name is the key of the local store, of allow-lists and of
//! registries: all must complete a short name alike. The grammar is that of the OCI distribution specification; the
//! completion is Inspektor Gadget's, so `trace_open` means the same image to both.

use std::fmt;

/// Registry of a name that has none.
const DEFAULT_DOMAIN: &str = "ghcr.io";
/// Repository prefix of a single word in the default registry.
const DEFAULT_PREFIX: &str = "inspektor-gadget/gadget/";
const DEFAULT_TAG: &str = "latest";
/// Longest registry and repository together, as the distribution specification has it.
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// Why a name was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("image name {name:?}: {why}")]
pub struct Error {
    name: String,
    why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Why {
    #[error("it is empty; write for example trace_open or ghcr.io/my/gadget:v1")]
    Empty,
    #[error("repository {0:?} must be lower case")]
    UpperCase(String),
    #[error("repository {0:?} may hold only a-z and 0-9, parted by '/', '.', '_', '__' or '-'")]
    Repository(String),
    #[error("registry {0:?} must be a host name or address, with or without a port")]
    Domain(String),
    #[error(
        "tag {0:?} must be 1 to {MAX_TAG} of A-Z, a-z, 0-9, '_', '.' and '-', and not begin with '.' or '-'"
    )]
    Tag(String),
    #[error("digest {0:?} must be sha256: and 64 of 0-9 and a-f")]
    Digest(String),
    #[error("it is longer than {MAX_NAME} characters")]
    TooLong,
}

/// A full image name.
///
/// It always has a tag, a digest or both. Two references that were typed differently but mean the same image are
/// equal.
#[derive(Debug, Clone)]
pub struct Reference {
    domain: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
    bare: bool,
}

impl Reference {
    /// Understands what a person typed and completes it: the registry (`ghcr.io`), the repository's prefix for a
    /// single word, and the tag (`latest`) if there is no digest.
    pub fn parse(typed: &str) -> Result<Self, Error> {
        let fail = |why| Error { name: typed.chars().take(MAX_NAME + MAX_TAG).collect(), why };
        Self::split(typed).map_err(fail)
    }

    fn split(typed: &str) -> Result<Self, Why> {
        if typed.is_empty() {
            return Err(Why::Empty);
        }
        let (domain, rest) = match typed.split_once('/') {
            Some((first, rest)) if is_registry(first) => (first, rest),
            _ => (DEFAULT_DOMAIN, typed),
        };
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(checked(digest, is_digest, Why::Digest)?)),
            None => (rest, None),
        };
        let (rest, tag) = match rest.split_once(':') {
            Some((rest, tag)) => (rest, Some(checked(tag, is_tag, Why::Tag)?)),
            None => (rest, None),
        };
        let bare = rest == typed && !rest.contains('/');
        let repository = if domain == DEFAULT_DOMAIN && !rest.contains('/') {
            format!("{DEFAULT_PREFIX}{rest}")
        } else {
            rest.to_owned()
        };
        if rest.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(Why::UpperCase(rest.to_owned()));
        }
        if !is_repository(&repository) {
            return Err(Why::Repository(rest.to_owned()));
        }
        if !is_domain(domain) {
            return Err(Why::Domain(domain.to_owned()));
        }
        if domain.len() + 1 + repository.len() > MAX_NAME {
            return Err(Why::TooLong);
        }
        let tag = tag.or_else(|| digest.is_none().then(|| DEFAULT_TAG.to_owned()));
        Ok(Self { domain: domain.to_owned(), repository, tag, digest, bare })
    }

    /// The registry's host, with its port if it has one.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The path in the registry, such as `inspektor-gadget/gadget/trace_open`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Registry and repository.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.repository)
    }

    /// The tag; `None` only if there is a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, with its `sha256:`.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Whether a bare word was typed: no registry, path, tag or digest. Only such a name may mean the image that
    /// the binary carries.
    pub fn is_bare(&self) -> bool {
        self.bare
    }

    /// The name without the part that completion would add again.
    pub fn short_name(&self) -> String {
        shorten(&self.name()).to_owned()
    }
}

/// Leaves out of a registry-and-repository name what [`Reference::parse`] would add again.
pub fn shorten(name: &str) -> &str {
    let short = name
        .strip_prefix(DEFAULT_DOMAIN)
        .and_then(|n| n.strip_prefix('/'))
        .and_then(|n| n.strip_prefix(DEFAULT_PREFIX));
    match short {
        Some(word) if !word.contains('/') => word,
        _ => name,
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl PartialEq for Reference {
    fn eq(&self, other: &Self) -> bool {
        (&self.domain, &self.repository, &self.tag, &self.digest)
            == (&other.domain, &other.repository, &other.tag, &other.digest)
    }
}

impl Eq for Reference {}

impl std::str::FromStr for Reference {
    type Err = Error;

    fn from_str(typed: &str) -> Result<Self, Error> {
        Self::parse(typed)
    }
}

fn checked(text: &str, ok: fn(&str) -> bool, why: fn(String) -> Why) -> Result<String, Why> {
    if ok(text) { Ok(text.to_owned()) } else { Err(why(text.to_owned())) }
}

/// Whether the part before the first '/' can only be a registry: no repository path has a dot-or-colon-less first
/// component in lower case that is one.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.chars().any(char::is_uppercase)
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[').and_then(|d| d.split_once(']')) {
        Some((address, "")) => (address, None),
        Some((address, port)) => (address, Some(port.strip_prefix(':').unwrap_or("bad"))),
        None => match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (domain, None),
        },
    };
    if port.is_some_and(|p| !p.bytes().all(|b| b.is_ascii_digit()) || p.parse::<u16>().is_err()) {
        return false;
    }
    if domain.starts_with('[') {
        return host.parse::<std::net::Ipv6Addr>().is_ok();
    }
    host.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

fn is_repository(path: &str) -> bool {
    path.split('/').all(|part| {
        let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = part.as_bytes();
        bytes.first().copied().is_some_and(alnum)
            && bytes.last().copied().is_some_and(alnum)
            && part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).all(|separator| {
                matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
            })
    })
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= MAX_TAG
        && !tag.is_empty()
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// Whether a text is a whole SHA-256 digest, in the only spelling that names a blob file.
pub fn is_digest(digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "bbbd9a85944b14a92bcbcbc4b8a4c80929aeebaf66005871f79f3757788f6770";

    fn full(typed: &str) -> String {
        match Reference::parse(typed) {
            Ok(reference) => reference.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn completes_short_names() {
        let prefix = "ghcr.io/inspektor-gadget/gadget";
        assert_eq!(full("trace_sni"), format!("{prefix}/trace_sni:latest"));
        assert_eq!(full("ghcr.io/trace_sni"), format!("{prefix}/trace_sni:latest"));
        assert_eq!(full("trace_sni:v0.55.0"), format!("{prefix}/trace_sni:v0.55.0"));
        assert_eq!(full("inspektor-gadget/ig:foobar"), "ghcr.io/inspektor-gadget/ig:foobar");
        assert_eq!(full("localhost:5000/trace_exec"), "localhost:5000/trace_exec:latest");
        assert_eq!(full("localhost/trace_exec"), "localhost/trace_exec:latest");
        assert_eq!(full("[::1]:5000/a/b:c"), "[::1]:5000/a/b:c");
        assert_eq!(full(&format!("myreg.io/a/b@sha256:{HEX}")), format!("myreg.io/a/b@sha256:{HEX}"));
        assert_eq!(full(&format!("a:b@sha256:{HEX}")), format!("{prefix}/a:b@sha256:{HEX}"));
    }

    #[test]
    fn only_a_word_alone_is_bare() {
        let bare = |typed: &str| Reference::parse(typed).map(|r| r.is_bare()).unwrap();
        assert!(bare("trace_sni"));
        for typed in
            ["trace_sni:latest", "ghcr.io/trace_sni", "inspektor-gadget/trace_sni", "localhost/trace_sni"]
        {
            assert!(!bare(typed), "{typed}");
        }
        assert!(!bare(&format!("trace_sni@sha256:{HEX}")));
        assert_eq!(Reference::parse("trace_sni"), Reference::parse("trace_sni:latest"));
    }

    #[test]
    fn shortens_what_completion_adds() {
        assert_eq!(Reference::parse("trace_sni:v1").unwrap().short_name(), "trace_sni");
        assert_eq!(Reference::parse("a/b").unwrap().short_name(), "ghcr.io/a/b");
        assert_eq!(shorten("ghcr.io/inspektor-gadget/gadget/a/b"), "ghcr.io/inspektor-gadget/gadget/a/b");
    }

    #[test]
    fn says_what_is_wrong() {
        insta::assert_snapshot!(full("sniA"), @r#"image name "sniA": repository "sniA" must be lower case"#);
        insta::assert_snapshot!(full(""), @r#"image name "": it is empty; write for example trace_open or ghcr.io/my/gadget:v1"#);
        insta::assert_snapshot!(full("a:"), @r#"image name "a:": tag "" must be 1 to 128 of A-Z, a-z, 0-9, '_', '.' and '-', and not begin with '.' or '-'"#);
        insta::assert_snapshot!(full("a@sha256:12"), @r#"image name "a@sha256:12": digest "sha256:12" must be sha256: and 64 of 0-9 and a-f"#);
        insta::assert_snapshot!(full("reg.io:port/a"), @r#"image name "reg.io:port/a": registry "reg.io:port" must be a host name or address, with or without a port"#);
        insta::assert_snapshot!(full("../etc"), @r#"image name "../etc": registry ".." must be a host name or address, with or without a port"#);
        for bad in ["a..b", "a___b", "-a", "a-", "a//b", "reg.io/", "a b", "a/../b", "a\0", "é"] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
        assert!(Reference::parse(&"a".repeat(300)).is_err());
        for good in ["a--b", "a__b", "x/a.b_c/d", "Reg/a"] {
            assert!(Reference::parse(good).is_ok(), "{good}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(typed in "\\PC{0,300}") {
            let _ = Reference::parse(&typed);
        }

        #[test]
        fn a_full_name_is_its_own_completion(typed in "[a-z0-9.:/_@\\[\\]-]{1,40}") {
            if let Ok(reference) = Reference::parse(&typed) {
                let text = reference.to_string();
                prop_assert_eq!(Reference::parse(&text).map(|r| r.to_string()), Ok(text.clone()));
                prop_assert!(!text.contains("/../"));
            }
        }
    }
}
