//! A stream in segments: against a model that keeps every byte for ever, and against the same stream in one
//! piece.
//!
//! The input is the stream. Its last bytes say how it is cut as well: the very last one the number of
//! segments, and five bytes in front of it for each: offset, length, and what else happens.
//!
//! Seeds: tests/corpus/hellos/*.bin
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sni::{
    Flow, Gatherer, Outcome, Segment,
    flows::{AGE, MEMORY},
    stream::{LIMIT, Stream},
};

const FIRST: u32 = u32::MAX - 700;

/// Offset, bytes and whether the SYN comes (again) before.
fn segments(data: &[u8]) -> Vec<(usize, &[u8], bool)> {
    let Some((count, rest)) = data.split_last() else { return vec![] };
    let mut segments: Vec<_> = rest
        .rchunks_exact(5)
        .take(usize::from(count % 32))
        .map(|says| {
            let start = (usize::from(says[0]) << 8 | usize::from(says[1])) % data.len();
            let len = usize::from(says[2]) << 8 | usize::from(says[3]);
            (start, &data[start..data.len().min(start + len)], says[4] == 0)
        })
        .collect();
    if count & 0x40 == 0 {
        // So that all of it comes in the end.
        segments.extend(data.chunks(700).enumerate().map(|(at, bytes)| (at * 700, bytes, false)).rev());
    }
    segments
}

fuzz_target!(|data: &[u8]| {
    let mut stream = Stream::new();
    let mut model: Vec<Option<u8>> = vec![None; data.len().min(LIMIT)];
    for (start, bytes, _) in segments(data) {
        // Every other copy lies about its bytes.
        let bytes: Vec<u8> = bytes.iter().map(|byte| byte ^ (start as u8 & 1)).collect();
        stream.insert(start as u64, &bytes);
        for (cell, byte) in model.iter_mut().skip(start).zip(&bytes) {
            cell.get_or_insert(*byte);
        }
        let whole: Vec<u8> = model.iter().map_while(|cell| *cell).collect();
        assert_eq!(stream.bytes(), whole);
        assert!(stream.memory() <= LIMIT * 2 + LIMIT / 4);
    }

    let flow =
        Flow { namespace: 0, source: ([10, 0, 0, 1], 1).into(), destination: ([10, 0, 0, 2], 443).into() };
    let name = |outcome: Outcome| match outcome {
        Outcome::Hello(found) => Some(found.hello.server_name().text()),
        _ => None,
    };
    let whole = Segment { sequence: FIRST, syn: false, payload: data };
    let expected = name(Gatherer::new().tcp(flow, whole, Duration::ZERO));
    let mut gatherer = Gatherer::new();
    let open = Segment { sequence: FIRST.wrapping_sub(1), syn: true, payload: &[] };
    gatherer.tcp(flow, open, Duration::ZERO);
    let mut found = Vec::new();
    let mut covered = vec![false; data.len()];
    for (start, payload, again) in segments(data) {
        if again {
            gatherer.tcp(flow, open, Duration::ZERO);
        }
        covered[start..start + payload.len()].fill(true);
        let sequence = FIRST.wrapping_add(start as u32);
        found.extend(name(gatherer.tcp(flow, Segment { sequence, syn: false, payload }, Duration::ZERO)));
        assert!(gatherer.memory() <= MEMORY);
    }
    // With decoys in front, which piece completes something first depends on the cuts: only that it is found
    // is the same.
    if data.len() <= LIMIT && covered.iter().all(|byte| *byte) && gatherer.counters() == Default::default() {
        if let Some(expected) = expected {
            assert!(found.contains(&expected), "{found:?} without {expected}");
        }
    }
    gatherer.expire(AGE);
    assert_eq!(gatherer.memory(), 0);
});
