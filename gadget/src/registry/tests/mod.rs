//! Against a registry in this process that lies, stalls and breaks off. What must hold each time: the error says what
//! and where, and the store is as it was.

mod access;
mod hostile;
mod pushing;
mod server;
mod signing;
mod transfer;

use super::{Client, Config, Limits, Platforms, Pulled, Secret, Silent};
use crate::{
    image::{
        self, ARTIFACT_TYPE, CONFIG_TYPE, CREATED, Descriptor, INDEX_TYPE, Index, MANIFEST_TYPE, Manifest,
        OBJECT_TYPE, Platform, to_json,
    },
    reference::Reference,
    store::Store,
};
use server::{Answer, Asked, Body, Server};
use std::{collections::BTreeMap, path::Path, time::Duration};

const REPOSITORY: &str = "team/gadget";

/// An image in memory, as a registry has it.
#[derive(Debug, Clone)]
struct Sample {
    index: Vec<u8>,
    manifests: Vec<Vec<u8>>,
    /// Configurations and layers, by digest.
    blobs: BTreeMap<String, Vec<u8>>,
}

fn point(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: image::digest(bytes),
        size: bytes.len() as u64,
        ..Descriptor::default()
    }
}

impl Sample {
    /// Two architectures; the layer of each has `size` bytes.
    fn new(size: usize) -> Self {
        let config = b"name: sample\n".to_vec();
        let mut blobs = BTreeMap::from([(image::digest(&config), config.clone())]);
        let mut manifests = Vec::new();
        let mut entries = Vec::new();
        for (at, architecture) in ["amd64", "arm64"].into_iter().enumerate() {
            let layer: Vec<u8> = (0..size).map(|i| (i * 31 + at) as u8 ^ (i >> 8) as u8).collect();
            let manifest = Manifest {
                schema_version: 2,
                media_type: None,
                artifact_type: Some(ARTIFACT_TYPE.to_owned()),
                config: point(CONFIG_TYPE, &config),
                layers: vec![point(OBJECT_TYPE, &layer)],
                subject: None,
                annotations: BTreeMap::new(),
            };
            blobs.insert(image::digest(&layer), layer);
            let bytes = to_json(&manifest);
            let platform = Platform { architecture: architecture.to_owned(), os: "linux".to_owned() };
            entries.push(Descriptor { platform: Some(platform), ..point(MANIFEST_TYPE, &bytes) });
            manifests.push(bytes);
        }
        let annotations = BTreeMap::from([(CREATED.to_owned(), "2026-01-01T00:00:00Z".to_owned())]);
        let index = Index {
            media_type: Some(INDEX_TYPE.to_owned()),
            manifests: entries,
            annotations,
            ..Index::default()
        };
        Self { index: to_json(&index), manifests, blobs }
    }

    fn digest(&self) -> String {
        image::digest(&self.index)
    }

    /// Digest of the object for amd64.
    fn layer(&self) -> String {
        let manifest: Manifest = serde_json::from_slice(&self.manifests[0]).unwrap();
        manifest.layers[0].digest.clone()
    }

    /// What an honest registry answers.
    fn answer(&self, asked: &Asked) -> Answer {
        let Some(path) = asked.path.strip_prefix(&format!("/v2/{REPOSITORY}/")) else {
            return Answer::new(404);
        };
        let document = |bytes: &Vec<u8>, media_type: &str| {
            Answer::ok(bytes.clone())
                .header("content-type", media_type)
                .header("docker-content-digest", image::digest(bytes))
        };
        match path.split_once('/') {
            Some(("manifests", name)) if name == "v1" || name == self.digest() => {
                document(&self.index, INDEX_TYPE)
            }
            Some(("manifests", name)) => match self.manifests.iter().find(|m| image::digest(m) == name) {
                Some(bytes) => document(bytes, MANIFEST_TYPE),
                None => Answer::new(404),
            },
            Some(("blobs", name)) => match self.blobs.get(name) {
                Some(bytes) => ranged(bytes, asked),
                None => Answer::new(404),
            },
            _ => Answer::new(404),
        }
    }

    fn serve(self) -> Server {
        Server::start(move |asked| self.answer(asked))
    }
}

/// A blob, or the rest of it.
fn ranged(bytes: &[u8], asked: &Asked) -> Answer {
    let start = asked.header("range").and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    match start {
        Some(start) => Answer::new(206)
            .header("content-range", format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len()))
            .body(Body::Whole(bytes[start..].to_vec())),
        None => Answer::ok(bytes),
    }
}

/// A store in a folder of its own.
struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn store(&self) -> Store {
        Store::open(self.path()).unwrap()
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("store")
    }

    fn authfile(&self, server: &Server, user: &str, password: &str) -> std::path::PathBuf {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let path = self.folder.path().join("auth.json");
        let auth = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let content = serde_json::json!({"auths": {server.host.as_str(): {"auth": auth}}});
        std::fs::write(&path, content.to_string()).unwrap();
        path
    }

    /// Pulls, and tells what went wrong as a person reads it, hosts and digests made alike.
    fn pull(&self, server: &Server) -> Result<Pulled, String> {
        self.pull_as(server, config(server))
    }

    fn pull_as(&self, server: &Server, config: Config) -> Result<Pulled, String> {
        let outcome = self.pull_as_is(server, config);
        if outcome.is_err() {
            assert_untouched(&self.path());
        }
        outcome
    }

    /// As [`Self::pull_as`], into a store that may have something already.
    fn pull_as_is(&self, server: &Server, config: Config) -> Result<Pulled, String> {
        let outcome =
            Client::new(config).unwrap().pull(&mut self.store(), &name(server), Platforms::All, &Silent);
        outcome.map_err(|error| {
            assert!(!format!("{error:?}").contains(PASSWORD), "{error:?}");
            error.to_string().replace(&server.host, "HOST")
        })
    }
}

const PASSWORD: &str = "correct-horse-battery";

fn assert_untouched(store: &Path) {
    assert!(Store::open(store).unwrap().list().is_empty());
    for folder in ["ingest", "blobs/sha256"] {
        let left: Vec<_> = std::fs::read_dir(store.join(folder)).into_iter().flatten().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn name(server: &Server) -> Reference {
    Reference::parse(&format!("{}/{REPOSITORY}:v1", server.host)).unwrap()
}

/// Patient enough for a busy machine, and soon at the end where nothing comes.
fn config(server: &Server) -> Config {
    let limits = Limits {
        stall: Duration::from_millis(700),
        pause: Duration::from_millis(2),
        document: Duration::from_secs(20),
        ..Limits::default()
    };
    let authfile = None;
    Config { insecure: vec![server.host.clone()], authfile, limits, ..Config::default() }
}
