//! Answering a registry's challenge: basic authentication as it is, or a token from the server that the challenge
//! names, for the credentials kept for this registry or for nobody in particular.
//!
//! The server of tokens may be another host, by the protocol; it is asked over https, or over plain http if the
//! registry itself is and the two are one machine or the server was named for it too.
//!
//! Format: RFC 7235 challenges; docker's token and OAuth2 specifications of the distribution project.

use super::{
    Fault,
    credentials::Credential,
    failure,
    http::{Http, Request, Scope, host},
    retry::retried,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::{
    Method, Url,
    header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE},
};
use serde::Deserialize;
use std::{fmt::Write, sync::Arc};

/// Longest challenge that is looked at, bytes.
const MAX_CHALLENGE: usize = 8 << 10;
/// Longest answer with a token, bytes.
const MAX_TOKEN: u64 = 1 << 20;
/// How this program names itself to a server of tokens.
const CLIENT: &str = "igx";

/// What a registry asks for.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// What a server of tokens answers: one of the two, by the one specification or the other.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

/// The value of the Authorization header that a challenge asks for; `None` if there is nothing to answer with.
pub(super) async fn answer(
    http: &Http,
    scope: &Scope,
    from: &Url,
    headers: &HeaderMap,
) -> Result<Option<HeaderValue>, Fault> {
    let challenges: Vec<_> = headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok().filter(|text| text.len() <= MAX_CHALLENGE))
        .flat_map(challenges)
        .collect();
    let credential = http.source.find(&scope.registry, &scope.repository)?;
    if let Some(Credential::Token(token)) = &credential {
        return secret(format!("Bearer {}", token.expose()), from).map(Some);
    }
    // A token says less about its owner than a password: it goes first.
    for challenge in &challenges {
        if let Challenge::Bearer { realm, service, scope: asked } = challenge {
            let realm = realm_url(http, from, realm)?;
            let wanted = wanted(scope).or_else(|| asked.clone());
            let token = retried(http.limits, async || {
                fetch(http, scope, &realm, service.as_deref(), wanted.as_deref(), credential.as_ref()).await
            })
            .await?;
            return secret(format!("Bearer {token}"), &realm).map(Some);
        }
    }
    match (challenges.contains(&Challenge::Basic), &credential) {
        (true, Some(Credential::Password { .. })) => basic(credential.as_ref(), from),
        _ => Ok(None),
    }
}

/// What is asked for: all that the work needs, so that one token does for it.
fn wanted(scope: &Scope) -> Option<String> {
    let actions = if scope.push { "pull,push" } else { "pull" };
    (!scope.repository.is_empty()).then(|| format!("repository:{}:{actions}", scope.repository))
}

fn basic(credential: Option<&Credential>, to: &Url) -> Result<Option<HeaderValue>, Fault> {
    let Some(Credential::Password { user, password }) = credential else { return Ok(None) };
    let encoded = BASE64_STANDARD.encode(format!("{user}:{}", password.expose()));
    secret(format!("Basic {encoded}"), to).map(Some)
}

/// A header that does not print itself.
fn secret(text: String, from: &Url) -> Result<HeaderValue, Fault> {
    let mut value = HeaderValue::try_from(text).map_err(|_| Fault::Protocol {
        host: host(from),
        why: "its token has characters that no token can have".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The server of tokens, if it may be trusted with credentials.
fn realm_url(http: &Http, from: &Url, realm: &str) -> Result<Url, Fault> {
    let bad = |why: String| Fault::Protocol { host: host(from), why };
    let url = Url::parse(realm).map_err(|_| bad("the address of its server of tokens is none".to_owned()))?;
    let plain = url.scheme() == "http"
        && from.scheme() == "http"
        && (url.host_str() == from.host_str() || http.is_insecure(&host(&url)));
    if url.scheme() != "https" && !plain {
        return Err(bad(format!(
            "it sends to {} for tokens without TLS; if that is meant, name it: --insecure-registries {}",
            host(&url),
            host(&url)
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("the address of its server of tokens has credentials in it".to_owned()));
    }
    Ok(url)
}

async fn fetch(
    http: &Http,
    scope: &Scope,
    realm: &Url,
    service: Option<&str>,
    wanted: Option<&str>,
    credential: Option<&Credential>,
) -> Result<String, Fault> {
    let given = [("service", service), ("scope", wanted)];
    let given = given.into_iter().filter_map(|(key, value)| Some((key, value?)));
    let (request, authorization) = match credential {
        Some(Credential::Identity(token)) => {
            let mut form = url_encoded(given);
            let more =
                [("grant_type", "refresh_token"), ("client_id", CLIENT), ("refresh_token", token.expose())];
            form = [form, url_encoded(more.into_iter())].join("&");
            let request = Request::new(scope, Method::POST, realm.clone());
            (request.body("application/x-www-form-urlencoded", Arc::from(form.into_bytes())), None)
        }
        credential => {
            let mut url = realm.clone();
            url.query_pairs_mut().extend_pairs(given);
            (Request::new(scope, Method::GET, url), basic(credential, realm)?)
        }
    };
    let response = http.follow(&request, authorization.as_ref()).await?;
    if !response.status().is_success() {
        let who = format!("the server of tokens at {}", host(realm));
        let missing = format!("there is no server of tokens at {}", host(realm));
        return Err(match failure::of_answer(http, scope, &who, response, &missing).await {
            Fault::Unauthorized { who, registry, said, .. } => {
                Fault::Unauthorized { who, registry, said, known: credential.is_some() }
            }
            other => other,
        });
    }
    let body = http.document(response, "the token", MAX_TOKEN).await?;
    let answer: Option<Answer> = serde_json::from_slice(&body).ok();
    let token =
        answer.and_then(|a| a.token.filter(|t| !t.is_empty()).or(a.access_token)).filter(|t| !t.is_empty());
    // The parser's own words might quote the token.
    token.ok_or_else(|| Fault::Protocol { host: host(realm), why: "its answer holds no token".to_owned() })
}

/// `application/x-www-form-urlencoded`.
fn url_encoded<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    for (key, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(key);
        out.push('=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
                _ => {
                    let _ = write!(out, "%{byte:02X}");
                }
            }
        }
    }
    out
}

/// The challenges in one header: a scheme, then `key=value` or `key="value"` parted by commas. What is not understood
/// is left out.
fn challenges(text: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let word_end = rest.find(|c: char| c.is_whitespace() || matches!(c, '=' | ',')).unwrap_or(rest.len());
        let (word, after) = rest.split_at(word_end);
        let after = after.trim_start();
        if let Some(value) = after.strip_prefix('=') {
            let (value, after) = parameter(value.trim_start());
            if let Some((_, parameters)) = found.last_mut() {
                parameters.push((word.to_ascii_lowercase(), value));
            }
            rest = after;
        } else {
            if !word.is_empty() {
                found.push((word.to_ascii_lowercase(), Vec::new()));
            }
            rest = after;
        }
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
    }
    found.into_iter().filter_map(|(scheme, parameters)| challenge(&scheme, &parameters)).collect()
}

fn challenge(scheme: &str, parameters: &[(String, String)]) -> Option<Challenge> {
    let find = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => {
            Some(Challenge::Bearer { realm: find("realm")?, service: find("service"), scope: find("scope") })
        }
        _ => None,
    }
}

/// A value, in quotes or without, and what follows it.
fn parameter(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| c.is_whitespace() || c == ',').unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    (value, chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Challenge::Bearer { realm: realm.to_owned(), service: owned(service), scope: owned(scope) }
    }

    #[test]
    fn understands_challenges() {
        assert_eq!(challenges("Basic realm=\"Registry Realm\""), [Challenge::Basic]);
        assert_eq!(
            challenges(
                "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:a/b:pull,push\""
            ),
            [bearer(
                "https://auth.docker.io/token",
                Some("registry.docker.io"),
                Some("repository:a/b:pull,push")
            )]
        );
        assert_eq!(
            challenges("Negotiate, BEARER realm = https://x/t , Basic realm=\"a\\\"b, c\""),
            [bearer("https://x/t", None, None), Challenge::Basic]
        );
        assert_eq!(challenges("Bearer service=x"), []);
        assert_eq!(challenges("=,==,\"\""), []);
    }

    #[test]
    fn forms_are_encoded() {
        assert_eq!(url_encoded([("a", "x y&z"), ("b", "é")].into_iter()), "a=x%20y%26z&b=%C3%A9");
    }

    proptest! {
        #[test]
        fn any_challenge_is_survived(text in "\\PC{0,200}") {
            let _ = challenges(&text);
        }
    }
}
