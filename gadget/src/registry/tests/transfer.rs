//! What goes well, and what a patient client brings to a good end.

use super::*;
use crate::image::{Blobs, host_architecture};
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

#[test]
fn an_image_comes_whole() {
    let sample = Sample::new(100_000);
    let server = sample.clone().serve();
    let home = Home::new();
    let pulled = home.pull(&server).unwrap();
    assert_eq!(pulled, Pulled { digest: sample.digest(), warnings: vec![] });
    let store = home.store();
    let list = store.list();
    assert_eq!(
        (list.len(), list[0].damage.as_deref(), list[0].created.as_str()),
        (1, None, "2026-01-01T00:00:00Z")
    );
    for architecture in ["amd64", "arm64"] {
        let image = store.get(&name(&server), architecture).unwrap().unwrap();
        assert_eq!(image.object.map(|o| o.len()), Some(100_000));
    }
    assert_eq!(server.asked().len(), 1 + 2 + 3, "the configuration is shared: {:?}", server.asked());
    home.pull(&server).unwrap();
    assert_eq!(server.count("GET", "/blobs/"), 3, "what is there is not fetched again");
}

#[test]
fn one_architecture_alone_can_be_had() {
    let sample = Sample::new(10);
    let server = sample.serve();
    let home = Home::new();
    let client = Client::new(config(&server)).unwrap();
    let only = Platforms::Only(host_architecture());
    client.pull(&mut home.store(), &name(&server), only, &Silent).unwrap();
    assert_eq!((server.count("GET", "/manifests/"), server.count("GET", "/blobs/")), (2, 2));
    assert!(home.store().get(&name(&server), host_architecture()).unwrap().is_some());
    let error = client.pull(&mut home.store(), &name(&server), Platforms::Only("vax"), &Silent).unwrap_err();
    let said = error.to_string().replace(&server.host, "HOST");
    insta::assert_snapshot!(said, @r#"cannot pull HOST/team/gadget:v1: no manifest for architecture "vax"; the image has: "amd64", "arm64""#);
}

#[test]
fn by_digest_the_content_must_have_it() {
    let sample = Sample::new(10);
    let server = sample.clone().serve();
    let home = Home::new();
    let client = Client::new(config(&server)).unwrap();
    let pinned = Reference::parse(&format!("{}/{REPOSITORY}@{}", server.host, sample.digest())).unwrap();
    client.pull(&mut home.store(), &pinned, Platforms::All, &Silent).unwrap();
    assert_eq!(home.store().digest(&pinned), Some(sample.digest().as_str()));
    let liar = Server::start(move |_| Answer::ok(b"{}".to_vec()).header("content-type", INDEX_TYPE));
    let pinned = Reference::parse(&format!("{}/{REPOSITORY}@{}", liar.host, sample.digest())).unwrap();
    let client = Client::new(config(&liar)).unwrap();
    let error = client.pull(&mut home.store(), &pinned, Platforms::All, &Silent).unwrap_err();
    assert!(matches!(error.fault(), crate::registry::Fault::Digest { .. }), "{error}");
}

#[test]
fn a_blob_is_resumed_where_its_connection_broke() {
    let sample = Sample::new(300_000);
    let (layer, cuts) = (sample.layer(), AtomicUsize::new(0));
    let server = Server::start(move |asked| match asked.path.ends_with(&layer) {
        // Twice in the middle of what is left, even of the rest that a range asks for.
        true if cuts.fetch_add(1, Ordering::SeqCst) < 2 => {
            let answer = sample.answer(asked);
            let Body::Whole(bytes) = answer.body.clone() else { unreachable!() };
            let half = bytes.len() / 2;
            answer.body(Body::Cut(bytes, half))
        }
        _ => sample.answer(asked),
    });
    let home = Home::new();
    home.pull(&server).unwrap();
    let ranges: Vec<_> =
        server.asked().iter().filter_map(|asked| asked.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges, ["bytes=150000-", "bytes=225000-"]);
    let image = home.store().get(&name(&server), "amd64").unwrap().unwrap();
    assert_eq!(image.object.map(|o| o.len()), Some(300_000));
}

#[test]
fn a_registry_without_ranges_starts_over() {
    let sample = Sample::new(100_000);
    let (layer, cuts) = (sample.layer(), AtomicUsize::new(0));
    let server = Server::start(move |asked| match asked.path.ends_with(&layer) {
        true if cuts.fetch_add(1, Ordering::SeqCst) == 0 => {
            Answer::new(200).body(Body::Cut(sample.blobs[&layer].clone(), 70_000))
        }
        true => Answer::ok(sample.blobs[&layer].clone()),
        false => sample.answer(asked),
    });
    Home::new().pull(&server).unwrap();
}

#[test]
fn trouble_that_passes_is_waited_out() {
    let sample = Sample::new(10);
    let seen = Mutex::new(BTreeMap::<String, usize>::new());
    let server = Server::start(move |asked| {
        let mut seen = seen.lock().unwrap();
        let times = seen.entry(asked.path.clone()).or_default();
        *times += 1;
        match *times {
            1 => Answer::new(503),
            2 => Answer::new(429).header("retry-after", "0"),
            _ => sample.answer(asked),
        }
    });
    Home::new().pull(&server).unwrap();
}

#[test]
fn two_pulls_at_once_do_not_meet() {
    let sample = Sample::new(200_000);
    let server = sample.serve();
    let home = Home::new();
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..4).map(|_| scope.spawn(|| home.pull(&server))).collect();
        for pull in pulls {
            pull.join().unwrap().unwrap();
        }
    });
    assert_eq!(home.store().list().len(), 1);
    assert!(home.store().get(&name(&server), "arm64").unwrap().is_some());
    assert_eq!(std::fs::read_dir(home.path().join("ingest")).unwrap().count(), 0);
}

#[test]
fn blobs_are_fetched_several_at_once_and_told() {
    #[derive(Default)]
    struct Log(Mutex<Vec<String>>);
    impl crate::registry::Progress for Log {
        fn blobs(&self, count: usize, bytes: u64) {
            self.0.lock().unwrap().push(format!("{count} {bytes}"));
        }
        fn done(&self, _: &str) {
            self.0.lock().unwrap().push("done".to_owned());
        }
    }
    let sample = Sample::new(1000);
    // Nobody is answered before all three have asked.
    let together = std::sync::Barrier::new(3);
    let server = Server::start(move |asked| {
        if asked.path.contains("/blobs/") {
            together.wait();
        }
        sample.answer(asked)
    });
    let (home, log) = (Home::new(), Log::default());
    Client::new(config(&server))
        .unwrap()
        .pull(&mut home.store(), &name(&server), Platforms::All, &log)
        .unwrap();
    assert_eq!(log.0.lock().unwrap().as_slice(), ["3 2013", "done", "done", "done"]);
}

#[test]
fn long_annotations_do_not_fill_the_stores_list() {
    let mut sample = Sample::new(10);
    let mut index: Index = serde_json::from_slice(&sample.index).unwrap();
    index.annotations.insert("../../etc/passwd".to_owned(), "x".repeat(100_000));
    sample.index = to_json(&index);
    let server = sample.serve();
    let home = Home::new();
    assert_eq!(home.pull(&server).unwrap().warnings.len(), 1);
    assert!(std::fs::metadata(home.path().join("index.json")).unwrap().len() < 2000);
    let list = home.store().list();
    assert_eq!(list[0].created, "2026-01-01T00:00:00Z");
    assert!(home.store().blob(home.store().find(&name(&server)).unwrap()).unwrap().len() > 100_000);
}
