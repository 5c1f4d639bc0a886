//! A store with a thousand images: how long a list and one name take, from opening it to the answer.
//!
//! `cargo bench -p gadget --bench store`; prints the median of a hundred runs each, and fails above the limits that
//! the project has set itself.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use gadget::{
    image::{ARCHITECTURES, Image, Parts},
    reference::Reference,
    store::{Entered, Store},
};
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

const IMAGES: usize = 1000;
const RUNS: usize = 100;

fn image(n: usize) -> Image {
    let yaml = format!(
        "name: gadget {n}\ndescription: number {n} of many\nhomepageURL: https://example.com/\n\
         documentationURL: https://example.com/docs/gadgets/{n}\nsourceURL: https://example.com/src/{n}\n"
    );
    let objects = ARCHITECTURES.map(|a| (a.to_owned(), format!("ELF {n} {a}").into_bytes())).into();
    let parts = Parts { metadata: Some(yaml.into_bytes()), objects, ..Parts::default() };
    Image::assemble(&parts, "2023-11-14T22:13:20Z", "v0.1.0").unwrap()
}

fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<_> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[RUNS / 2]
}

fn main() -> ExitCode {
    let folder = tempfile::tempdir().unwrap();
    // Kept with IGX_BENCH_STORE, for measuring the program as a whole.
    let path = std::env::var_os("IGX_BENCH_STORE").map_or(folder.path().join("store"), Into::into);
    let name = |n: usize| Reference::parse(&format!("registry.example.com/many/gadget{n}:v1")).unwrap();
    let mut store = Store::open(&path).unwrap();
    if store.list().is_empty() {
        let stage = store.stage().unwrap();
        let mut entries = Vec::new();
        for n in 0..IMAGES {
            let image = image(n);
            for blob in &image.blobs {
                stage.put(&blob.bytes, "").unwrap();
            }
            entries.push(Entered { descriptor: image.index, name: Some(name(n)) });
        }
        store.commit(stage, &entries).unwrap();
    }
    let list = median(|| assert_eq!(Store::open(&path).unwrap().list().len(), IMAGES));
    let digest = median(|| assert!(Store::open(&path).unwrap().digest(&name(700)).is_some()));
    let get = median(|| assert!(Store::open(&path).unwrap().get(&name(700), "amd64").unwrap().is_some()));
    let mut slow = false;
    let rows = [("list", list, 10_000), ("resolve one", digest, 2000), ("read one", get, 2000)];
    for (what, took, limit) in rows {
        let took = took.as_micros();
        println!("{what:12} {took:6} us of {limit}");
        slow |= took > limit;
    }
    ExitCode::from(u8::from(slow))
}
