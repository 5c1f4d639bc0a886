//! A registry that means no good, or does none.

use super::*;

/// A registry that is honest but for one path.
fn but(sample: &Sample, part: String, answer: Answer) -> Server {
    let sample = sample.clone();
    Server::start(move |asked| if asked.path.contains(&part) { answer.clone() } else { sample.answer(asked) })
}

/// What a pull says of it, digests made alike.
fn said(server: &Server) -> String {
    let text = Home::new().pull(server).unwrap_err();
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("sha256:") {
        out += before;
        out += "sha256:X";
        rest = after.trim_start_matches(|c: char| c.is_ascii_hexdigit());
    }
    out + rest
}

/// What it says of an answer to the first question.
fn said_of(answer: Answer) -> String {
    said(&Server::start(move |_| answer.clone()))
}

fn envelope(code: &str, message: &str) -> String {
    serde_json::json!({"errors": [{"code": code, "message": message}]}).to_string()
}

#[test]
fn statuses_are_told_with_the_next_step() {
    let with = |status, code: &str, message: &str| {
        said_of(Answer::new(status).body(Body::Whole(envelope(code, message).into())))
    };
    insta::assert_snapshot!(with(401, "UNAUTHORIZED", "authentication required"), @"cannot pull HOST/team/gadget:v1: registry answered 401 (authentication required); run 'igx login HOST'");
    insta::assert_snapshot!(with(403, "DENIED", "\u{1b}[31mno"), @"cannot pull HOST/team/gadget:v1: registry answered 403 ( [31mno); run 'igx login HOST' with an account that may do this");
    insta::assert_snapshot!(with(404, "NAME_UNKNOWN", "repository name not known to registry"), @"cannot pull HOST/team/gadget:v1: registry answered 404: it has no repository team/gadget; check the name");
    insta::assert_snapshot!(with(404, "MANIFEST_UNKNOWN", "manifest unknown"), @r#"cannot pull HOST/team/gadget:v1: registry answered 404: there is no "v1" in HOST/team/gadget; check the name and the tag"#);
    insta::assert_snapshot!(said_of(Answer::new(429).header("retry-after", "3600")), @"cannot pull HOST/team/gadget:v1: registry answered 429: too many requests; try again in 3600 s, or run 'igx login HOST' for a higher limit");
    insta::assert_snapshot!(with(500, "UNKNOWN", "disk full"), @"cannot pull HOST/team/gadget:v1: registry answered 500 (disk full); the registry is in trouble, try again later");
    insta::assert_snapshot!(said_of(Answer::new(418)), @"cannot pull HOST/team/gadget:v1: registry answered 418");
}

#[test]
fn it_is_asked_five_times_and_no_more() {
    let server = Server::start(|_| Answer::new(500));
    Home::new().pull(&server).unwrap_err();
    assert_eq!(server.asked().len(), 5);
    let server = Server::start(|_| Answer::new(404));
    Home::new().pull(&server).unwrap_err();
    assert_eq!(server.asked().len(), 1, "what will not change is asked for once");
}

#[test]
fn endless_bodies_are_not_read_to_their_end() {
    let sample = Sample::new(1000);
    insta::assert_snapshot!(said_of(Answer::new(200).body(Body::Endless)), @"cannot pull HOST/team/gadget:v1: team/gadget:v1 has more than the 4194304 bytes allowed; the rest is not read");
    insta::assert_snapshot!(said_of(Answer::new(404).body(Body::Endless)), @r#"cannot pull HOST/team/gadget:v1: registry answered 404: there is no "v1" in HOST/team/gadget; check the name and the tag"#);
    insta::assert_snapshot!(said(&but(&sample, sample.layer(), Answer::new(200).body(Body::Endless))), @"cannot pull HOST/team/gadget:v1: blob sha256:X should have 1000 bytes, but the registry sends more; the image there is damaged, push it again");
    insta::assert_snapshot!(said(&but(&sample, image::digest(&sample.manifests[1]), Answer::new(200).body(Body::Endless))), @"cannot pull HOST/team/gadget:v1: team/gadget:sha256:X has more than the 4194304 bytes allowed; the rest is not read");
}

#[test]
fn a_length_that_is_a_lie_is_noticed_before_the_body() {
    let sample = Sample::new(1000);
    let long = Answer::new(200).header("content-length", "99999999999").body(Body::Stalled(0));
    insta::assert_snapshot!(said_of(long.clone()), @"cannot pull HOST/team/gadget:v1: team/gadget:v1 has more than the 4194304 bytes allowed; the rest is not read");
    insta::assert_snapshot!(said(&but(&sample, sample.layer(), long)), @"cannot pull HOST/team/gadget:v1: blob sha256:X should have 1000 bytes, but the registry sends 99999999999; the image there is damaged, push it again");
    insta::assert_snapshot!(said(&but(&sample, sample.layer(), Answer::ok(vec![0; 999]))), @"cannot pull HOST/team/gadget:v1: blob sha256:X should have 1000 bytes, but the registry sends 999; the image there is damaged, push it again");
    // Without a length, the end comes too early; by a connection that broke, it might be more the next time.
    insta::assert_snapshot!(said(&but(&sample, sample.layer(), Answer::new(200).body(Body::Unsized(vec![0; 999])))), @"cannot pull HOST/team/gadget:v1: connection to HOST broke off: it ended after 999 of 1000 bytes of blob sha256:X; try again");
}

#[test]
fn content_that_is_not_what_was_asked_for_is_refused() {
    let sample = Sample::new(1000);
    insta::assert_snapshot!(said(&but(&sample, sample.layer(), Answer::ok(vec![0; 1000]))), @"cannot pull HOST/team/gadget:v1: blob sha256:X has digest sha256:X and not sha256:X: the registry, or something on the way to it, changes content");
    insta::assert_snapshot!(said(&but(&sample, image::digest(&sample.manifests[0]), Answer::ok(sample.manifests[1].clone()))), @"cannot pull HOST/team/gadget:v1: team/gadget:sha256:X has digest sha256:X and not sha256:X: the registry, or something on the way to it, changes content");
    let header = Answer::ok(sample.index.clone()).header("docker-content-digest", sample.layer());
    insta::assert_snapshot!(said(&but(&sample, "/manifests/v1".to_owned(), header)), @"cannot pull HOST/team/gadget:v1: team/gadget:v1 has digest sha256:X and not sha256:X: the registry, or something on the way to it, changes content");
}

#[test]
fn another_part_of_a_blob_is_refused() {
    let sample = Sample::new(1000);
    let layer = sample.layer();
    let server = Server::start(move |asked| match (asked.path.ends_with(&layer), asked.header("range")) {
        (true, None) => Answer::new(200).body(Body::Cut(sample.blobs[&layer].clone(), 500)),
        (true, Some(_)) => {
            Answer::new(206).header("content-range", "bytes 0-999/1000").body(Body::Whole(vec![0; 500]))
        }
        _ => sample.answer(asked),
    });
    insta::assert_snapshot!(said(&server), @"cannot pull HOST/team/gadget:v1: HOST does not keep to the registry protocol: it sends another part of a blob than it was asked for");
}

#[test]
fn manifests_of_the_wrong_type_are_named() {
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let of = |media_type: &str, body: &str| said_of(Answer::ok(body).header("content-type", media_type));
    insta::assert_snapshot!(of(docker, "{}"), @r#"cannot pull HOST/team/gadget:v1: the name leads to "application/vnd.docker.distribution.manifest.v2+json" and not to an image index; gadgets are pulled and pushed as a whole index"#);
    insta::assert_snapshot!(of(MANIFEST_TYPE, "{\"schemaVersion\":2}"), @r#"cannot pull HOST/team/gadget:v1: the name leads to "application/vnd.oci.image.manifest.v1+json" and not to an image index; gadgets are pulled and pushed as a whole index"#);
    insta::assert_snapshot!(of(INDEX_TYPE, &format!("{{\"mediaType\":\"{MANIFEST_TYPE}\"}}")), @r#"cannot pull HOST/team/gadget:v1: the name leads to "application/vnd.oci.image.manifest.v1+json" and not to an image index; gadgets are pulled and pushed as a whole index"#);
    insta::assert_snapshot!(of("text/html; charset=utf-8", "<html>"), @r#"cannot pull HOST/team/gadget:v1: the name leads to "text/html" and not to an image index; gadgets are pulled and pushed as a whole index"#);
    insta::assert_snapshot!(of(INDEX_TYPE, "<html>"), @r#"cannot pull HOST/team/gadget:v1: image index "sha256:X": expected value at line 1 column 1; this is no gadget image"#);
}

/// An image whose first manifest is something else.
fn with_manifest(change: impl Fn(&mut serde_json::Value)) -> Server {
    let mut sample = Sample::new(10);
    let mut manifest: serde_json::Value = serde_json::from_slice(&sample.manifests[0]).unwrap();
    change(&mut manifest);
    sample.manifests[0] = manifest.to_string().into_bytes();
    let mut index: Index = serde_json::from_slice(&sample.index).unwrap();
    let entry = point(MANIFEST_TYPE, &sample.manifests[0]);
    index.manifests[0] = Descriptor { platform: index.manifests[0].platform.clone(), ..entry };
    sample.index = to_json(&index);
    sample.serve()
}

#[test]
fn crowds_and_giants_are_refused_before_they_are_fetched() {
    let layer = serde_json::json!({"mediaType": OBJECT_TYPE, "digest": image::digest(b""), "size": 0});
    let many = |count: usize| vec![layer.clone(); count];
    let crowd = with_manifest(|m| m["layers"] = many(20_000).into());
    insta::assert_snapshot!(said(&crowd), @r#"cannot pull HOST/team/gadget:v1: image manifest "sha256:X": it has 20000 layers, more than the 64 allowed; this is no gadget image"#);
    assert_eq!(crowd.count("GET", "/blobs/"), 0);
    let crowd = with_manifest(|m| m["layers"] = many(100_000).into());
    insta::assert_snapshot!(said(&crowd), @r#"cannot pull HOST/team/gadget:v1: blob "sha256:X" ("application/vnd.oci.image.manifest.v1+json") says it has 15400236 bytes, more than the 4194304 allowed; this is no gadget"#);
    let giant = with_manifest(|m| m["layers"][0]["size"] = (1u64 << 40).into());
    insta::assert_snapshot!(said(&giant), @r#"cannot pull HOST/team/gadget:v1: blob "sha256:X" ("application/vnd.gadget.ebpf.program.v1+binary") says it has 1099511627776 bytes, more than the 268435456 allowed; this is no gadget"#);
    assert_eq!(giant.count("GET", "/blobs/"), 0);
    let elsewhere = with_manifest(|m| m["layers"][0]["digest"] = "sha256:../../../../etc/passwd".into());
    insta::assert_snapshot!(said(&elsewhere), @r#"cannot pull HOST/team/gadget:v1: blob "sha256:X../../../../etc/passwd" is damaged: its digest is not sha256:X and 64 of 0-9 and a-f; remove the image and fetch or build it again"#);
    assert_eq!(elsewhere.count("GET", "/blobs/"), 0);
}

#[test]
fn redirects_end() {
    insta::assert_snapshot!(said_of(Answer::new(307).header("location", "/v2/again")), @"cannot pull HOST/team/gadget:v1: HOST redirects more than 5 times; this is no working registry");
    insta::assert_snapshot!(said_of(Answer::new(302)), @"cannot pull HOST/team/gadget:v1: HOST redirects without saying where; this is no working registry");
    insta::assert_snapshot!(said_of(Answer::new(302).header("location", "file:///etc/passwd")), @"cannot pull HOST/team/gadget:v1: HOST redirects to what is no web address; this is no working registry");
    let server = Server::start(|_| Answer::new(307).header("location", "/v2/again"));
    Home::new().pull(&server).unwrap_err();
    assert_eq!(server.asked().len(), 6);
}

#[test]
fn what_does_not_come_is_not_waited_for() {
    let sample = Sample::new(1000);
    insta::assert_snapshot!(said_of(Answer::new(200).body(Body::Stalled(10))), @"cannot pull HOST/team/gadget:v1: HOST sent nothing more for 0.7 s; check the network, or try again later");
    insta::assert_snapshot!(said(&but(&sample, sample.layer(), Answer::new(200).body(Body::Stalled(1000)))), @"cannot pull HOST/team/gadget:v1: HOST sent nothing more for 0.7 s; check the network, or try again later");
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::of(mute.local_addr().unwrap().to_string());
    insta::assert_snapshot!(said(&server), @"cannot pull HOST/team/gadget:v1: HOST did not answer for 0.7 s; check the network, or try again later");
}

#[test]
fn who_is_not_there_is_named() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    insta::assert_snapshot!(said(&Server::of(nobody)), @"cannot pull HOST/team/gadget:v1: connection to HOST refused; is the registry running, and is the port right?");
    insta::assert_snapshot!(said(&Server::of("nobody.invalid".to_owned())), @"cannot pull HOST/team/gadget:v1: no address found for HOST; check the name, and this machine's DNS");
}

#[test]
fn plain_http_is_told_from_broken_tls() {
    let server = Server::start(|_| Answer::new(200));
    let config = Config { insecure: vec!["localhost:1".to_owned()], ..config(&server) };
    insta::assert_snapshot!(Home::new().pull_as(&server, config).unwrap_err(), @"cannot pull HOST/team/gadget:v1: HOST answers plain http, not https; if that is meant, name it: --insecure-registries HOST");
}
