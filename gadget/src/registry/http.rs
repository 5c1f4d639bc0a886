//! One request to a registry: over plain http only where the registry was named for it, through a proxy if the
//! environment names one, after redirects that are counted and take no credentials to another host, and with the
//! credentials that a challenge asks for.

use super::{Config, Fault, Limits, auth, credentials::Source, failure, tls};
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION},
};
use rustls::{crypto::CryptoProvider, pki_types::CertificateDer};
use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Redirects that are followed. Registries send to their storage by one, sometimes two.
const REDIRECTS: usize = 5;
/// Bytes of an upload that are handed over at once.
const PIECE: usize = 64 << 10;
/// Most fields in the head of an answer.
const HEADERS: usize = 128;

/// What requests are made with.
pub(super) struct Http {
    pub(super) limits: Limits,
    insecure: Vec<String>,
    verify_tls: bool,
    ca: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
    /// By whether TLS is spoken and whether it is to this machine itself. Reading the system's certificates takes
    /// longer than pulling a gadget from the next room, so it is done only for who needs it.
    clients: [OnceCell<reqwest::Client>; 4],
    pub(super) source: Source,
    /// What a challenge was answered with.
    pub(super) answers: RefCell<HashMap<Scope, HeaderValue>>,
}

/// What a request is about: whose credentials, and what for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    /// As in the image's name.
    pub(super) registry: String,
    /// Empty for the registry as such.
    pub(super) repository: String,
    pub(super) push: bool,
}

/// What to ask.
pub(super) struct Request<'a> {
    pub(super) scope: &'a Scope,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

/// What goes with it.
#[derive(Clone)]
pub(super) enum Body {
    /// Nothing.
    None,
    /// This, whose passage can be watched.
    Bytes(Arc<[u8]>),
}

impl Body {
    fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

impl<'a> Request<'a> {
    pub(super) fn new(scope: &'a Scope, method: Method, url: Url) -> Self {
        Self { scope, method, url, headers: HeaderMap::new(), body: Body::None }
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(super) fn body(mut self, media_type: &'static str, bytes: Arc<[u8]>) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        self.body = Body::Bytes(bytes);
        self
    }
}

impl Http {
    pub(super) fn new(config: Config) -> Result<Self, Fault> {
        let mut ca = Vec::new();
        for path in &config.ca_files {
            ca.extend(tls::certificates(path)?);
        }
        Ok(Self {
            limits: config.limits,
            insecure: config.insecure,
            verify_tls: config.verify_tls,
            ca,
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            clients: Default::default(),
            source: Source::new(config.authfile),
            answers: RefCell::default(),
        })
    }

    /// Whether a host, with its port if it has one, was named as one for plain http.
    pub(super) fn is_insecure(&self, host: &str) -> bool {
        self.insecure.iter().any(|named| named == host)
    }

    /// The address of something in a registry; `path` begins after `/v2/`.
    pub(super) fn url(&self, registry: &str, path: &str) -> Result<Url, Fault> {
        let scheme = if self.is_insecure(registry) { "http" } else { "https" };
        let host = match registry {
            "docker.io" | "index.docker.io" => "registry-1.docker.io",
            other => other,
        };
        Url::parse(&format!("{scheme}://{host}/v2/{path}"))
            .map_err(|error| Fault::Protocol { host: registry.to_owned(), why: error.to_string() })
    }

    /// Asks, and answers a challenge once. Any status comes back, but one that is a redirect.
    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Response, Fault> {
        let registry = self.url(&request.scope.registry, "")?;
        // An upload may go elsewhere: there, nobody has a right to know who one is.
        if !same_origin(&request.url, &registry) {
            return self.follow(request, None).await;
        }
        let known = self.answers.borrow().get(request.scope).cloned();
        let response = self.follow(request, known.as_ref()).await?;
        let ours = same_origin(response.url(), &registry);
        if response.status() != StatusCode::UNAUTHORIZED || !ours {
            return Ok(response);
        }
        let Some(answer) = auth::answer(self, request.scope, &request.url, response.headers()).await? else {
            return Ok(response);
        };
        self.answers.borrow_mut().insert(request.scope.clone(), answer.clone());
        self.follow(request, Some(&answer)).await
    }

    /// Asks, and follows redirects. `authorization` goes to the first host only.
    pub(super) async fn follow(
        &self,
        request: &Request<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Fault> {
        let mut url = request.url.clone();
        for _ in 0..=REDIRECTS {
            let own = same_origin(&url, &request.url);
            let response = self.once(request, &url, authorization.filter(|_| own)).await?;
            let Some(next) = redirect(&response)? else { return Ok(response) };
            url = next;
        }
        let why = format!("more than {REDIRECTS} times");
        Err(Fault::Redirect { host: host(&request.url), why })
    }

    async fn once(
        &self,
        request: &Request<'_>,
        url: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Fault> {
        let mut builder =
            self.client(url)?.request(request.method.clone(), url.clone()).headers(request.headers.clone());
        if let Some(authorization) = authorization {
            builder = builder.header(AUTHORIZATION, authorization.clone());
        }
        let sent = Arc::new(AtomicU64::new(0));
        if request.method != Method::GET && request.method != Method::HEAD {
            builder = builder.header(CONTENT_LENGTH, request.body.len());
        }
        if let Body::Bytes(bytes) = &request.body {
            builder = builder.body(reqwest::Body::wrap_stream(pieces(bytes.clone(), sent.clone())));
        }
        let silent = || Fault::Timeout { host: host(url), what: "did not answer", after: self.limits.stall };
        let answer = watched(self.limits.stall, &sent, builder.send()).await.ok_or_else(silent)?;
        answer.map_err(|error| failure::of_transport(error, url, &self.limits))
    }

    /// The next bytes of a body, waiting no longer than a stall may last.
    pub(super) async fn chunk(
        &self,
        response: &mut Response,
    ) -> Result<Option<impl AsRef<[u8]> + use<>>, Fault> {
        match tokio::time::timeout(self.limits.stall, response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(failure::of_transport(error, &response.url().clone(), &self.limits)),
            Err(_) => Err(Fault::Timeout {
                host: host(response.url()),
                what: "sent nothing more",
                after: self.limits.stall,
            }),
        }
    }

    /// A whole body that is to be small.
    pub(super) async fn document(
        &self,
        mut response: Response,
        what: &str,
        limit: u64,
    ) -> Result<Vec<u8>, Fault> {
        let too_long = || Fault::TooLong { what: what.to_owned(), limit };
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(too_long());
        }
        let host = host(response.url());
        let whole = async {
            let mut bytes = Vec::new();
            while let Some(chunk) = self.chunk(&mut response).await? {
                bytes.extend_from_slice(chunk.as_ref());
                if bytes.len() as u64 > limit {
                    return Err(too_long());
                }
            }
            Ok(bytes)
        };
        let after = self.limits.document;
        let late = |_| Fault::Timeout { host, what: "did not finish its answer", after };
        tokio::time::timeout(after, whole).await.map_err(late)?
    }

    fn client(&self, url: &Url) -> Result<&reqwest::Client, Fault> {
        let tls = url.scheme() == "https";
        let here = is_loopback(url);
        let cell = &self.clients[usize::from(tls) * 2 + usize::from(here)];
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("igx/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_max_headers(HEADERS)
            .connect_timeout(self.limits.connect);
        // Without certificates where no TLS is spoken: to read the system's takes a while.
        let config = match tls {
            true => tls::config(&self.ca, self.verify_tls, &self.provider),
            false => tls::none(&self.provider),
        };
        builder =
            builder.tls_backend_preconfigured(config.map_err(|error| Fault::Client(error.to_string()))?);
        // No proxy can reach this machine's own services for it; Go's programs leave it out too.
        if here {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| Fault::Client(failure::root(&error)))?;
        Ok(cell.get_or_init(|| client))
    }
}

/// `host:port`, without a port that goes without saying.
pub(super) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

pub(super) fn same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str().map(|host| host.trim_start_matches('[').trim_end_matches(']')) {
        Some("localhost") => true,
        Some(host) => host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback()),
        None => false,
    }
}

/// Where a redirect leads; `None` if the answer is none.
fn redirect(response: &Response) -> Result<Option<Url>, Fault> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let from = response.url();
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let next = location.map(|location| resolve(from, location));
    next.unwrap_or_else(|| Err(Fault::Redirect { host: host(from), why: "without saying where".to_owned() }))
        .map(Some)
}

/// An address that a registry gives, relative to where it was asked; never from https to plain http.
pub(super) fn resolve(from: &Url, location: &str) -> Result<Url, Fault> {
    let bad = |why: &str| Fault::Redirect { host: host(from), why: why.to_owned() };
    let mut next = from.join(location).map_err(|_| bad("to what is no address"))?;
    match (from.scheme(), next.scheme()) {
        (_, "https") | ("http", "http") => {}
        (_, "http") => return Err(bad("from https to plain http")),
        _ => return Err(bad("to what is no web address")),
    }
    // Nobody's credentials but ours are used.
    if next.set_username("").is_err() || next.set_password(None).is_err() {
        return Err(bad("to what is no web address"));
    }
    Ok(next)
}

/// A body in pieces, counting those that were taken.
fn pieces(
    bytes: Arc<[u8]>,
    sent: Arc<AtomicU64>,
) -> impl futures_util::Stream<Item = Result<Vec<u8>, std::io::Error>> + Send + 'static {
    futures_util::stream::iter((0..bytes.len().div_ceil(PIECE)).map(move |piece| {
        sent.fetch_add(1, Ordering::Relaxed);
        let start = piece * PIECE;
        Ok(bytes[start..bytes.len().min(start + PIECE)].to_vec())
    }))
}

/// Waits for `work` while it comes forward: `None` once `sent` has not moved for so long.
async fn watched<T>(stall: Duration, sent: &AtomicU64, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    loop {
        let before = sent.load(Ordering::Relaxed);
        match tokio::time::timeout(stall, &mut work).await {
            Ok(done) => return Some(done),
            Err(_) if sent.load(Ordering::Relaxed) != before => {}
            Err(_) => return None,
        }
    }
}
