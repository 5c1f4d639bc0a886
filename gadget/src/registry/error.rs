//! What can go wrong with a registry, and what to do about it. No message and no `Debug` holds a credential: URLs are
//! named by host only, for what follows it may be signed.

use super::credentials;
use crate::{image, store};
use std::{fmt, io, path::PathBuf, time::Duration};

/// What could not be done to what, and why. The store is as it was before.
#[derive(Debug)]
pub struct Error {
    doing: &'static str,
    what: String,
    fault: Box<Fault>,
}

impl Error {
    pub(super) fn new(doing: &'static str, what: &str, fault: Fault) -> Self {
        Self { doing, what: what.to_owned(), fault: Box::new(fault) }
    }

    /// Why.
    pub fn fault(&self) -> &Fault {
        &self.fault
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.doing, self.what, self.fault)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&*self.fault)
    }
}

/// Why something could not be done with a registry.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The registry, or the server of its tokens, wants other credentials than it got.
    #[error("{who} answered 401{said}; {}", login_hint(.registry, *.known))]
    Unauthorized {
        /// "registry" or the server of its tokens.
        who: String,
        /// As in the image's name.
        registry: String,
        /// Whether there were credentials.
        known: bool,
        /// The registry's own words.
        said: String,
    },
    /// Who logs in is not known there.
    #[error("{who} answered 401{said}: it does not accept this user with this password")]
    Rejected {
        /// "registry" or the server of its tokens.
        who: String,
        /// The registry's own words.
        said: String,
    },
    /// The account may not do this.
    #[error("{who} answered 403{said}; run 'igx login {registry}' with an account that may do this")]
    Forbidden {
        /// "registry" or the server of its tokens.
        who: String,
        /// As in the image's name.
        registry: String,
        /// The registry's own words.
        said: String,
    },
    /// There is no such thing.
    #[error("registry answered 404: {what}")]
    NotFound {
        /// What there is not, and what to do.
        what: String,
    },
    /// The registry wants to be asked less often.
    #[error("registry answered 429: too many requests{said}; {}, or run 'igx login {registry}' for a higher limit", wait_hint(.after))]
    TooMany {
        /// As in the image's name.
        registry: String,
        /// The registry's own words.
        said: String,
        /// How long it wants to be left alone.
        after: Option<Duration>,
    },
    /// Any other answer that is not a success.
    #[error("{who} answered {status}{said}{}", server_hint(*.status))]
    Status {
        /// "registry" or the server of its tokens.
        who: String,
        /// HTTP status.
        status: u16,
        /// The registry's own words.
        said: String,
        /// How long it wants to be left alone.
        after: Option<Duration>,
    },
    /// What should be fetched has no address.
    #[error("{0}: write it as https://HOST/PATH")]
    Address(String),
    /// Nobody listens.
    #[error("connection to {0} refused; is the registry running, and is the port right?")]
    Refused(String),
    /// No address.
    #[error("no address found for {0}; check the name, and this machine's DNS")]
    Dns(String),
    /// Nothing came, or not all in time.
    #[error("{host} {what} for {} s; check the network, or try again later", .after.as_secs_f32())]
    Timeout {
        /// The host.
        host: String,
        /// What it did not do.
        what: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// The connection ended too early.
    #[error("connection to {host} broke off: {why}; try again")]
    Broken {
        /// The host.
        host: String,
        /// What was seen.
        why: String,
    },
    /// Its certificate leads to nobody who is trusted.
    #[error(
        "nobody who is trusted here vouches for the certificate of {0}; name the file of its authority with --ca-file (or SSL_CERT_FILE)"
    )]
    UnknownIssuer(String),
    /// TLS failed in another way.
    #[error("TLS with {host}: {why}")]
    Tls {
        /// The host.
        host: String,
        /// What was seen, and what to do.
        why: String,
    },
    /// It does not speak TLS.
    #[error("{0} answers plain http, not https; if that is meant, name it: --insecure-registries {0}")]
    PlainHttp(String),
    /// Sent round and round, or to where nobody should go.
    #[error("{host} redirects {why}; this is no working registry")]
    Redirect {
        /// The host.
        host: String,
        /// Where to.
        why: String,
    },
    /// Content that is not what was asked for.
    #[error(
        "{what} has digest {found} and not {wanted}: the registry, or something on the way to it, changes content"
    )]
    Digest {
        /// What came.
        what: String,
        /// Of what came.
        found: String,
        /// Of what was asked for.
        wanted: String,
    },
    /// A length that is not what was said.
    #[error(
        "{what} should have {wanted} bytes, but the registry sends {found}; the image there is damaged, push it again"
    )]
    Length {
        /// What came.
        what: String,
        /// Or "more".
        found: String,
        /// As its descriptor says.
        wanted: u64,
    },
    /// More than such a thing can sensibly have.
    #[error("{what} has more than the {limit} bytes allowed; the rest is not read")]
    TooLong {
        /// What came.
        what: String,
        /// Bytes.
        limit: u64,
    },
    /// Something else than an image index.
    #[error(
        "the name leads to {0:?} and not to an image index; gadgets are pulled and pushed as a whole index"
    )]
    WrongType(String),
    /// The registry does not do as the specification says.
    #[error("{host} does not keep to the registry protocol: {why}")]
    Protocol {
        /// The host.
        host: String,
        /// How.
        why: String,
    },
    /// The image is wrong.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Credentials cannot be read or written.
    #[error(transparent)]
    Credentials(#[from] credentials::Error),
    /// The certificates given are none.
    #[error("{path}: {why}; it must hold certificates in PEM")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// This machine is at its limits.
    #[error("the asynchronous runtime: {0}")]
    Runtime(io::Error),
    /// Something in this program's HTTP client.
    #[error("the HTTP client: {0}")]
    Client(String),
}

fn login_hint(registry: &str, known: bool) -> String {
    match known {
        true => format!("the credentials kept for {registry} are not accepted: run 'igx login {registry}'"),
        false => format!("run 'igx login {registry}'"),
    }
}

fn wait_hint(after: &Option<Duration>) -> String {
    match after {
        Some(after) => format!("try again in {} s", after.as_secs()),
        None => "try again later".to_owned(),
    }
}

fn server_hint(status: u16) -> &'static str {
    if status >= 500 { "; the registry is in trouble, try again later" } else { "" }
}
