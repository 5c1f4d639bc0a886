//! What a failure means: an error of the transport, or an answer that is not a success.

use super::{
    Fault, Limits,
    http::{Http, Scope, host, is_loopback},
};
use crate::image::seconds_of_http_date;
use oci_client::errors::{OciEnvelope, OciErrorCode};
use reqwest::{Response, StatusCode, Url, header::RETRY_AFTER};
use std::{
    error::Error as StdError,
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Bytes of an error's body that are read.
const MAX_BODY: u64 = 64 << 10;
/// Characters of a registry's own words that are shown.
const MAX_WORDS: usize = 200;

/// The innermost cause, which names no URL.
pub(super) fn root(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn StdError + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            // The source of an io::Error is its content's source, which leaves the content out.
            Some(inner) => Some(inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

/// An error of the transport.
pub(super) fn of_transport(error: reqwest::Error, url: &Url, limits: &Limits) -> Fault {
    let host = host(url);
    let error = error.without_url();
    if let Some(tls) = causes(&error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        return of_tls(tls, host);
    }
    let io = |kind| causes(&error).any(|c| c.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == kind));
    if error.is_timeout() || io(io::ErrorKind::TimedOut) {
        return Fault::Timeout { host, what: "could not be connected to", after: limits.connect };
    }
    if io(io::ErrorKind::ConnectionRefused) {
        return Fault::Refused(if through_proxy(url) { format!("{host} (or to its proxy)") } else { host });
    }
    if error.is_connect() && causes(&error).any(|cause| cause.to_string().contains("dns error")) {
        return Fault::Dns(host);
    }
    if error.is_builder() {
        return Fault::Client(root(&error));
    }
    Fault::Broken { host, why: root(&error) }
}

/// Whether the environment names a proxy, which then is what could not be reached.
fn through_proxy(url: &Url) -> bool {
    let named = ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY"].into_iter();
    let set = |name: String| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_loopback(url) && named.flat_map(|name| [name.to_owned(), name.to_ascii_lowercase()]).any(set)
}

fn of_tls(error: &rustls::Error, host: String) -> Fault {
    use rustls::{CertificateError as Bad, Error as Tls};
    let why = match error {
        Tls::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => return Fault::PlainHttp(host),
        Tls::InvalidCertificate(Bad::UnknownIssuer) => return Fault::UnknownIssuer(host),
        Tls::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            "its certificate is for another name; use the name that the certificate has".to_owned()
        }
        Tls::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => {
            "its certificate has expired; if it has not, this machine's clock is wrong".to_owned()
        }
        Tls::InvalidCertificate(Bad::NotValidYet | Bad::NotValidYetContext { .. }) => {
            "its certificate is not valid yet; if it is, this machine's clock is wrong".to_owned()
        }
        Tls::InvalidCertificate(bad) if bad.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is one of its own making; if it is the right one, name its file with --ca-file (or \
             SSL_CERT_FILE)"
                .to_owned()
        }
        other => other.to_string(),
    };
    Fault::Tls { host, why }
}

/// An answer as it is, if it is a success.
pub(super) async fn success(
    http: &Http,
    scope: &Scope,
    response: Response,
    missing: &str,
) -> Result<Response, Fault> {
    if response.status().is_success() {
        return Ok(response);
    }
    Err(of_answer(http, scope, "registry", response, missing).await)
}

/// How long a registry wants to be left alone: it says so in seconds, or as a date.
fn wait(after: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = after.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = UNIX_EPOCH.checked_add(Duration::from_secs(seconds_of_http_date(after)?))?;
    // A date that has passed: at once.
    Some(then.duration_since(now).unwrap_or_default())
}

/// An answer that is not a success. `who` gave it; `missing` is said where there is no such thing.
pub(super) async fn of_answer(
    http: &Http,
    scope: &Scope,
    who: &str,
    response: Response,
    missing: &str,
) -> Fault {
    let status = response.status();
    let after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok());
    let after = after.and_then(|after| wait(after.trim(), SystemTime::now()));
    let registry = scope.registry.clone();
    let who = who.to_owned();
    // The words are a courtesy: without them, the status says enough.
    let body = http.document(response, "the error", MAX_BODY).await.unwrap_or_default();
    let envelope = serde_json::from_slice::<OciEnvelope>(&body).ok();
    let said = envelope.as_ref().map(words).unwrap_or_default();
    match status {
        StatusCode::UNAUTHORIZED => {
            let known = http.answers.borrow().contains_key(scope);
            Fault::Unauthorized { who, registry, known, said }
        }
        StatusCode::FORBIDDEN => Fault::Forbidden { who, registry, said },
        StatusCode::NOT_FOUND => {
            let code = |code| envelope.iter().flat_map(|e| &e.errors).any(|error| error.code == code);
            let what = match code(OciErrorCode::NameUnknown) {
                true => format!("it has no repository {}; check the name", scope.repository),
                false => missing.to_owned(),
            };
            Fault::NotFound { what }
        }
        StatusCode::TOO_MANY_REQUESTS => Fault::TooMany { registry, said, after },
        status => Fault::Status { who, status: status.as_u16(), said, after },
    }
}

/// The registry's own words, fit for a terminal.
fn words(envelope: &OciEnvelope) -> String {
    let said = envelope.errors.iter().map(|error| error.message.trim()).filter(|m| !m.is_empty());
    let said = said.collect::<Vec<_>>().join("; ");
    let clean = said.chars().map(|c| if c.is_control() { ' ' } else { c });
    let shown: String = clean.take(MAX_WORDS).collect();
    if shown.is_empty() { shown } else { format!(" ({shown})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_to_wait_is_a_number_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_700);
        let waits = |after| wait(after, now).map(|wait| wait.as_secs());
        assert_eq!(waits("120"), Some(120));
        assert_eq!(waits("Sun, 06 Nov 1994 08:49:37 GMT"), Some(77));
        assert_eq!(waits("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        assert_eq!(waits("soon"), None);
    }
}
