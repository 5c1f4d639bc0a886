//! Who is let in, and who gets to see the credentials: the registry that they are for, its server of tokens, and
//! nobody else.

use super::*;
use crate::registry::Login;
use base64::{Engine, prelude::BASE64_STANDARD};
use std::sync::atomic::{AtomicUsize, Ordering};

fn basic(user: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{PASSWORD}")))
}

/// Lets in who shows this.
fn guarded(sample: Sample, wanted: String, challenge: impl Fn() -> String + Send + Sync + 'static) -> Server {
    Server::start(move |asked| match asked.header("authorization") {
        Some(shown) if shown == wanted && asked.path == "/v2/" => Answer::ok("{}"),
        Some(shown) if shown == wanted => sample.answer(asked),
        _ => Answer::new(401).header("www-authenticate", challenge()),
    })
}

fn guarded_by_password(sample: &Sample) -> Server {
    guarded(sample.clone(), basic("anna"), || "Basic realm=\"x\"".to_owned())
}

/// A server of tokens that hands out `letmein` to who shows this, and what else it was asked.
fn tokens(shown: Option<String>) -> Server {
    Server::start(move |asked| match asked.header("authorization").map(str::to_owned) == shown {
        true => Answer::ok("{\"token\":\"letmein\"}"),
        false => Answer::new(401),
    })
}

fn guarded_by_token(sample: &Sample, tokens: &Server) -> Server {
    let challenge = format!("Bearer realm=\"http://{}/token\",service=\"the registry\"", tokens.host);
    guarded(sample.clone(), "Bearer letmein".to_owned(), move || challenge.clone())
}

#[test]
fn a_password_is_shown_where_it_is_asked_for() {
    let server = guarded_by_password(&Sample::new(10));
    let home = Home::new();
    insta::assert_snapshot!(home.pull_as(&server, Config { authfile: Some(home.authfile(&server, "anna", "wrong")), ..config(&server) }).unwrap_err(), @"cannot pull HOST/team/gadget:v1: registry answered 401; the credentials kept for HOST are not accepted: run 'igx login HOST'");
    let authfile = Some(home.authfile(&server, "anna", PASSWORD));
    home.pull_as(&server, Config { authfile, ..config(&server) }).unwrap();
    assert_eq!(server.asked()[2].header("authorization"), None, "nobody is told who asks before asking");
    let nowhere = Config { authfile: Some(home.path().join("nosuch")), ..config(&server) };
    let said = home.pull_as_is(&server, nowhere).unwrap_err().replace(home.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(said, @"cannot pull HOST/team/gadget:v1: there is no file of credentials DIR/nosuch; 'igx login REGISTRY --authfile DIR/nosuch' makes it");
}

#[test]
fn a_token_is_fetched_once_for_all() {
    let tokens = tokens(Some(basic("anna")));
    let server = guarded_by_token(&Sample::new(10), &tokens);
    let home = Home::new();
    let authfile = Some(home.authfile(&server, "anna", PASSWORD));
    home.pull_as(&server, Config { authfile, ..config(&server) }).unwrap();
    let asked = tokens.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, "/token?service=the+registry&scope=repository%3Ateam%2Fgadget%3Apull");
    assert!(server.asked().iter().all(|a| !a.header("authorization").unwrap_or("").starts_with("Basic")));
}

#[test]
fn nobody_in_particular_gets_a_token_too() {
    let tokens = tokens(None);
    Home::new().pull(&guarded_by_token(&Sample::new(10), &tokens)).unwrap();
}

#[test]
fn a_token_that_has_expired_is_fetched_again() {
    let (sample, tokens) = (Sample::new(10), tokens(None));
    let (challenge, count) = (format!("Bearer realm=\"http://{}/token\"", tokens.host), AtomicUsize::new(0));
    let server = Server::start(move |asked| {
        let expired = asked.path.contains("/blobs/") && count.fetch_add(1, Ordering::SeqCst) == 0;
        match asked.header("authorization") {
            Some("Bearer letmein") if !expired => sample.answer(asked),
            _ => Answer::new(401).header("www-authenticate", challenge.clone()),
        }
    });
    Home::new().pull(&server).unwrap();
    assert_eq!(tokens.asked().len(), 2);
}

#[test]
fn an_identity_token_is_traded_by_post() {
    let tokens = Server::start(|asked| {
        let form = String::from_utf8_lossy(&asked.body).into_owned();
        match asked.method == "POST"
            && form.contains("grant_type=refresh_token&client_id=igx&refresh_token=re%2Bfresh")
        {
            true => Answer::ok("{\"access_token\":\"letmein\"}"),
            false => Answer::new(400),
        }
    });
    let server = guarded_by_token(&Sample::new(10), &tokens);
    let home = Home::new();
    let path = home.authfile(&server, "", "");
    let content = serde_json::json!({"auths": {server.host.as_str(): {"identitytoken": "re+fresh"}}});
    std::fs::write(&path, content.to_string()).unwrap();
    home.pull_as(&server, Config { authfile: Some(path), ..config(&server) }).unwrap();
}

#[test]
fn bad_tokens_are_told_without_telling_them() {
    let sample = Sample::new(10);
    let of = |answer: Answer| {
        let tokens = Server::start(move |_| answer.clone());
        let server = guarded_by_token(&sample, &tokens);
        let home = Home::new();
        let authfile = Some(home.authfile(&server, "anna", PASSWORD));
        let said = home.pull_as(&server, Config { authfile, ..config(&server) }).unwrap_err();
        said.replace(&tokens.host, "TOKENS")
    };
    insta::assert_snapshot!(of(Answer::ok("{\"token\":\"secret\\nX: y\"}")), @"cannot pull HOST/team/gadget:v1: TOKENS does not keep to the registry protocol: its token has characters that no token can have");
    insta::assert_snapshot!(of(Answer::ok("{\"token\":[\"secret\"]}")), @"cannot pull HOST/team/gadget:v1: TOKENS does not keep to the registry protocol: its answer holds no token");
    insta::assert_snapshot!(of(Answer::new(200).body(Body::Endless)), @"cannot pull HOST/team/gadget:v1: the token has more than the 1048576 bytes allowed; the rest is not read");
    insta::assert_snapshot!(of(Answer::new(401)), @"cannot pull HOST/team/gadget:v1: the server of tokens at TOKENS answered 401; the credentials kept for HOST are not accepted: run 'igx login HOST'");
    insta::assert_snapshot!(of(Answer::new(403)), @"cannot pull HOST/team/gadget:v1: the server of tokens at TOKENS answered 403; run 'igx login HOST' with an account that may do this");
}

#[test]
fn credentials_go_to_no_other_host() {
    let sample = Sample::new(10);
    // Another port is another server: it asks for a password, and must not get one.
    let thief = Server::start(|asked| match asked.header("authorization") {
        Some(_) => Answer::ok("stolen"),
        None => Answer::new(401).header("www-authenticate", "Basic realm=\"x\""),
    });
    let (aim, layer) = (format!("http://user:name@{}/x", thief.host), sample.layer());
    let server = Server::start(move |asked| match asked.header("authorization") {
        None => Answer::new(401).header("www-authenticate", "Basic realm=\"x\""),
        Some(_) if asked.path.ends_with(&layer) => Answer::new(307).header("location", aim.clone()),
        Some(_) => sample.answer(asked),
    });
    let home = Home::new();
    let authfile = Some(home.authfile(&server, "anna", PASSWORD));
    home.pull_as(&server, Config { authfile, ..config(&server) }).unwrap_err();
    assert_eq!(thief.asked().len(), 1);
    assert!(thief.asked()[0].header("authorization").is_none());
}

#[test]
fn a_redirect_to_storage_is_followed_without_credentials() {
    let sample = Sample::new(10);
    let store = sample.clone();
    let storage = Server::start(move |asked| match asked.header("authorization") {
        None => ranged(&store.blobs[asked.path.trim_start_matches('/')], asked),
        Some(_) => Answer::new(400),
    });
    let to = storage.host;
    let wanted = basic("anna");
    let server =
        Server::start(move |asked| match (asked.header("authorization"), asked.path.split_once("/blobs/")) {
            (Some(shown), _) if shown != wanted => Answer::new(403),
            (None, _) => Answer::new(401).header("www-authenticate", "Basic realm=\"x\""),
            (_, Some((_, digest))) => Answer::new(307).header("location", format!("http://{to}/{digest}")),
            _ => sample.answer(asked),
        });
    let home = Home::new();
    let authfile = Some(home.authfile(&server, "anna", PASSWORD));
    home.pull_as(&server, Config { authfile, ..config(&server) }).unwrap();
}

#[test]
fn a_server_of_tokens_elsewhere_must_speak_tls() {
    let sample = Sample::new(10);
    let server = guarded(sample, String::new(), || "Bearer realm=\"http://tokens.example/t\"".to_owned());
    insta::assert_snapshot!(Home::new().pull(&server).unwrap_err(), @"cannot pull HOST/team/gadget:v1: HOST does not keep to the registry protocol: it sends to tokens.example for tokens without TLS; if that is meant, name it: --insecure-registries tokens.example");
}

#[test]
fn login_keeps_what_the_registry_accepts() {
    let server = guarded_by_password(&Sample::new(10));
    let home = Home::new();
    let path = home.path().with_file_name("new").join("auth.json");
    let config = Config { authfile: Some(path.clone()), ..config(&server) };
    let login = |password: &str| {
        let login =
            Login { registry: server.host.clone(), user: "anna".to_owned(), password: Secret::new(password) };
        assert!(!format!("{login:?}").contains(password));
        Client::new(config.clone())
            .unwrap()
            .login(&login)
            .map_err(|error| error.to_string().replace(&server.host, "HOST"))
    };
    insta::assert_snapshot!(login("wrong").unwrap_err(), @"cannot log in to HOST: registry answered 401: it does not accept this user with this password");
    assert!(!path.exists());
    assert_eq!(login(PASSWORD).unwrap(), Some(path.clone()));
    home.pull_as(&server, config.clone()).unwrap();
    config.logout(Some(&server.host)).unwrap();
    let again = config.logout(Some(&server.host)).unwrap_err().to_string().replace(&server.host, "HOST");
    insta::assert_snapshot!(again, @"cannot log out of HOST: not logged in to HOST");
    config.logout(None).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\n\t\"auths\": {}\n}");
}

#[test]
fn login_trades_its_password_for_a_token() {
    let tokens = tokens(Some(basic("anna")));
    let server = guarded_by_token(&Sample::new(10), &tokens);
    let path = Home::new().path().with_file_name("auth.json");
    let config = Config { authfile: Some(path), ..config(&server) };
    let login = Login { registry: server.host, user: "anna".to_owned(), password: Secret::new(PASSWORD) };
    Client::new(config).unwrap().login(&login).unwrap();
    assert_eq!(tokens.asked()[0].path, "/token?service=the+registry");
}
