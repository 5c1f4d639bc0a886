//! Images between the local store and registries: pull, push, signatures, and the credentials that these need.
//!
//! Owned here is the distrust of registries. Every length is bounded before it is read, every digest is checked while
//! the bytes stream in, credentials go to the registry that they are for and to nobody else, and an image reaches the
//! store whole or not at all, because all that is fetched goes through a [`crate::store::Stage`].
//!
//! `oci-client` gives the protocol's words: the envelope and the codes of errors. Its requests are not used.
//! Version 0.18 reads every answer that is not a success, every manifest and every token to its end, however long;
//! panics when a token holds a line break, or when a manifest that was pushed by digest is answered without a
//! Location; cannot push to registries that answer a finished upload without one (crane's); hides Retry-After; and
//! knows no identity tokens. So requests are made by `reqwest`, which `oci-client` stands on too, in [`http`].
//!
//! The face is blocking; inside, a current-thread runtime drives several blobs at once.
//!
//! Protocol: OCI distribution specification 1.1, docker's token authentication.

mod auth;
mod credentials;
mod document;
mod error;
mod failure;
mod fetch;
mod http;
mod login;
mod progress;
mod pull;
mod push;
mod retry;
mod signatures;
#[cfg(test)]
mod tests;
mod tls;

pub use credentials::{Error as CredentialsError, Secret};
pub use error::{Error, Fault};
pub use login::Login;
pub use progress::{Progress, Silent};
pub use pull::{Platforms, Pulled};

use http::Http;
use std::{fmt, future::Future, path::PathBuf, time::Duration};

/// How registries are reached, and as whom.
#[derive(Debug, Clone)]
pub struct Config {
    /// Registries that are spoken to over plain http: `host:port`, exactly as in the image's name.
    pub insecure: Vec<String>,
    /// Where credentials are; by default igx's own file or, where that is absent, docker's and podman's.
    pub authfile: Option<PathBuf>,
    /// Certificates of authorities to be trusted besides the system's, PEM.
    pub ca_files: Vec<PathBuf>,
    /// Whether certificates are checked at all.
    pub verify_tls: bool,
    /// How long and how often to try.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            authfile: None,
            ca_files: Vec::new(),
            verify_tls: true,
            limits: Limits::default(),
        }
    }
}

/// How long and how often to try.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For a connection.
    pub connect: Duration,
    /// Without a byte in either direction.
    pub stall: Duration,
    /// For a manifest, an index or a token in all, so that one that drips is not waited for.
    pub document: Duration,
    /// Tries of what is worth trying again.
    pub tries: u32,
    /// Before the second try; doubled each time.
    pub pause: Duration,
    /// Of all pauses together.
    pub pauses: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            document: Duration::from_secs(60),
            tries: 5,
            pause: Duration::from_millis(300),
            pauses: Duration::from_secs(30),
        }
    }
}

/// Speaks to registries. Connections and tokens are kept for as long as it lives.
pub struct Client {
    http: Http,
    runtime: tokio::runtime::Runtime,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Makes a client; nothing is connected or read before it is needed, but the files of `ca_files`.
    ///
    /// # Errors
    /// A certificate file that cannot be read or holds no certificate.
    pub fn new(config: Config) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Error::new("start", "the network client", Fault::Runtime(source)))?;
        let http = Http::new(config).map_err(|fault| Error::new("use", "the certificates given", fault))?;
        Ok(Self { http, runtime })
    }

    /// Waits for `work`, and says in its error what could not be done to what.
    fn wait<T>(
        &self,
        doing: &'static str,
        what: &str,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Error> {
        // A thread that drives one runtime cannot wait in another.
        let busy = tokio::runtime::Handle::try_current().is_ok();
        let result = if busy {
            Err(Fault::Runtime(std::io::Error::other("called from inside another asynchronous runtime")))
        } else {
            self.runtime.block_on(work)
        };
        result.map_err(|fault| Error::new(doing, what, fault))
    }
}
