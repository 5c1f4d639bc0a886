//! Into a registry that remembers what it is given, as far as the test lets it.

use super::*;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// What a registry has been given: by path, for blobs with their digest.
type Kept = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// An honest registry, but for what `odd` answers.
fn keeping(odd: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> (Server, Kept) {
    let kept = Kept::default();
    let memory = Arc::clone(&kept);
    let server = Server::start(move |asked| {
        if let Some(answer) = odd(asked) {
            return answer;
        }
        let mut kept = memory.lock().unwrap();
        let created = |bytes: &[u8]| Answer::new(201).header("docker-content-digest", image::digest(bytes));
        match asked.method.as_str() {
            "POST" => Answer::new(202).header("location", "/upload?state=1"),
            "PUT" => {
                let digest = asked.path.split_once("digest=").map(|(_, d)| d.replace("%3A", ":"));
                let path = digest.map_or(asked.path.clone(), |d| format!("/v2/{REPOSITORY}/blobs/{d}"));
                kept.insert(path, asked.body.clone());
                created(&asked.body)
            }
            _ => match kept.get(&asked.path) {
                Some(bytes) if asked.path.contains("/manifests/") => {
                    Answer::ok(bytes.clone()).header("docker-content-digest", image::digest(bytes))
                }
                Some(bytes) => ranged(bytes, asked),
                None => Answer::new(404),
            },
        }
    });
    (server, kept)
}

/// A store with the sample under the server's name.
fn stocked(sample: &Sample, server: &Server) -> Home {
    let home = Home::new();
    let source = sample.clone().serve();
    home.pull(&source).unwrap();
    home.store().tag(&name(&source), &name(server)).unwrap();
    home
}

fn push(home: &Home, server: &Server) -> Result<String, String> {
    let pushed = Client::new(config(server)).unwrap().push(&home.store(), &name(server), &Silent);
    pushed.map_err(|error| error.to_string().replace(&server.host, "HOST"))
}

#[test]
fn what_was_pushed_can_be_pulled() {
    let sample = Sample::new(200_000);
    let (server, kept) = keeping(|_| None);
    let home = stocked(&sample, &server);
    assert_eq!(push(&home, &server).unwrap(), sample.digest());
    assert_eq!(kept.lock().unwrap().len(), 3 + 2 + 1);
    let puts: Vec<_> = server.asked().into_iter().filter(|a| a.method == "PUT").collect();
    assert_eq!(puts.last().unwrap().path, format!("/v2/{REPOSITORY}/manifests/v1"), "the name comes last");
    assert_eq!(puts.last().unwrap().header("content-type"), Some(INDEX_TYPE));
    assert_eq!(Home::new().pull(&server).unwrap().digest, sample.digest());
    push(&home, &server).unwrap();
    assert_eq!(server.count("POST", ""), 3, "what is there is not sent again");
}

#[test]
fn an_upload_that_broke_is_begun_again() {
    let broken = AtomicUsize::new(0);
    let (server, _) = keeping(move |asked| {
        let break_it = asked.method == "PUT" && asked.path.contains("/upload");
        (break_it && broken.fetch_add(1, Ordering::SeqCst) < 3).then(|| Answer::new(502))
    });
    let sample = Sample::new(1000);
    push(&stocked(&sample, &server), &server).unwrap();
    Home::new().pull(&server).unwrap();
}

#[test]
fn what_the_registry_took_must_be_what_it_was_given() {
    let (server, _) = keeping(|asked| {
        let wrong = asked.method == "PUT" && asked.path.ends_with("/v1");
        wrong.then(|| Answer::new(201).header("docker-content-digest", image::digest(b"else")))
    });
    let home = stocked(&Sample::new(10), &server);
    assert!(
        push(&home, &server)
            .unwrap_err()
            .starts_with("cannot push HOST/team/gadget:v1: what the registry took has digest sha256:")
    );
    // Without that header, it is asked.
    let (server, _) =
        keeping(|asked| asked.is("PUT", &format!("/v2/{REPOSITORY}/manifests/v1")).then(|| Answer::new(201)));
    let home = stocked(&Sample::new(10), &server);
    insta::assert_snapshot!(push(&home, &server).unwrap_err(), @"cannot push HOST/team/gadget:v1: registry answered 404: it took v1 and does not have it");
}

#[test]
fn an_upload_elsewhere_gets_no_credentials() {
    let elsewhere = Server::start(|_| Answer::new(201));
    let aim = format!("http://{}/put?sig=1", elsewhere.host);
    let (server, _) = keeping(move |asked| match (asked.header("authorization"), asked.method.as_str()) {
        (None, _) => Some(Answer::new(401).header("www-authenticate", "Basic realm=x")),
        (_, "POST") => Some(Answer::new(202).header("location", aim.clone())),
        _ => None,
    });
    let home = stocked(&Sample::new(10), &server);
    let authfile = Some(home.authfile(&server, "anna", PASSWORD));
    let client = Client::new(Config { authfile, ..config(&server) }).unwrap();
    client.push(&home.store(), &name(&server), &Silent).unwrap();
    let asked = elsewhere.asked();
    assert_eq!(asked.len(), 3);
    assert!(
        asked
            .iter()
            .all(|a| a.header("authorization").is_none() && a.path.starts_with("/put?sig=1&digest=sha256"))
    );
}

#[test]
fn what_cannot_be_pushed_is_told() {
    let (server, _) = keeping(|asked| (asked.method == "POST").then(|| Answer::new(403)));
    let home = stocked(&Sample::new(10), &server);
    insta::assert_snapshot!(push(&home, &server).unwrap_err(), @"cannot push HOST/team/gadget:v1: registry answered 403; run 'igx login HOST' with an account that may do this");
    insta::assert_snapshot!(push(&Home::new(), &server).unwrap_err(), @"cannot push HOST/team/gadget:v1: image HOST/team/gadget:v1 is not in the store; `image list` shows what is, `image build` or `image pull` adds it");
    let (server, _) = keeping(|asked| (asked.method == "POST").then(|| Answer::new(202)));
    let home = stocked(&Sample::new(10), &server);
    insta::assert_snapshot!(push(&home, &server).unwrap_err(), @"cannot push HOST/team/gadget:v1: HOST does not keep to the registry protocol: it begins an upload without saying where");
}

#[test]
fn a_body_that_nobody_takes_is_not_pushed_for_ever() {
    let (server, _) = keeping(|asked| {
        (asked.method == "PUT").then(|| Answer::new(201).body(Body::Stalled(10)).header("x", "y"))
    });
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let aim = format!("http://{}/", mute.local_addr().unwrap());
    let (to_mute, _) = keeping(move |asked| {
        (asked.method == "POST").then(|| Answer::new(202).header("location", aim.clone()))
    });
    drop(server);
    let home = stocked(&Sample::new(10), &to_mute);
    assert!(push(&home, &to_mute).unwrap_err().contains("did not answer for 0.7 s"));
}
