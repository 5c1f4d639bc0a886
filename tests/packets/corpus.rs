//! Hellos of real clients (tests/corpus/hellos, captured by scripts/capture-hellos) give their names.

use std::{fs, path::PathBuf};

use crate::{frame, hello::Hello, reference, tap::Tap};

/// A captured hello: what sent it, the name that it was told to ask for, and the bytes.
pub(crate) struct Sample {
    pub(crate) file: String,
    pub(crate) name: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn samples() -> Vec<Sample> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/hellos");
    let index = fs::read_to_string(dir.join("index.tsv")).unwrap();
    let lines = index.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut columns = line.split('\t');
            let file = columns.next().unwrap().to_owned();
            let name = columns.next().unwrap().as_bytes().to_vec();
            let payload = fs::read(dir.join(&file)).unwrap();
            Sample { file, name, payload }
        })
        .collect()
}

#[test]
fn every_captured_hello_gives_its_name_in_every_wrapping() {
    let tap = Tap::new();
    let samples = samples();
    assert!(samples.len() >= 8, "only {} samples", samples.len());
    for sample in &samples {
        for (wrapping, frame) in frame::wrapped(&sample.payload) {
            assert_eq!(
                tap.names(&frame),
                std::slice::from_ref(&sample.name),
                "{} over {wrapping}",
                sample.file
            );
        }
    }
    assert_eq!((tap.unread_all(), tap.lost()), (0, 0));
}

#[test]
fn the_reference_knows_every_captured_hello() {
    for sample in samples() {
        assert_eq!(reference::name(&sample.payload), Some(sample.name), "{}", sample.file);
    }
}

#[test]
fn the_corpus_has_hellos_larger_than_a_packet() {
    assert!(samples().iter().any(|sample| sample.payload.len() > 1460));
}

#[test]
fn the_largest_hello_that_a_test_run_takes_gives_its_name() {
    let tap = Tap::new();
    for place in [0, 1] {
        let mut hello = Hello::named(b"big.example");
        hello.extensions.insert(place * 3, (0x0015, vec![0; 3300]));
        assert_eq!(tap.names(&frame::over_ipv4(&hello.record())), [b"big.example"]);
    }
}
