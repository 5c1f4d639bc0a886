//! Hellos cut short or changed: what the program says of them is what the reference says, never another name.

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::{
    corpus, frame,
    hello::{Hello, server_name},
    reference,
    tap::{Tap, Unread},
};

fn expect_as_reference(tap: &Tap, payload: &[u8], what: &str) {
    let expected: Vec<_> = reference::name(payload).into_iter().collect();
    assert_eq!(tap.names(&frame::over_ipv4(payload)), expected, "{what}");
    assert_eq!(tap.names(&frame::over_ipv6(payload)), expected, "{what}, IPv6");
}

#[test]
fn cut_at_every_byte() {
    let tap = Tap::new();
    for sample in corpus::samples() {
        for len in 0..sample.payload.len() {
            expect_as_reference(&tap, &sample.payload[..len], &format!("{} cut to {len}", sample.file));
        }
    }
    assert_eq!(tap.unread(Unread::NotLoaded), 0);
}

/// The frame itself ends early, whatever its headers say. The kernel runs none shorter than an IPv6 header.
#[test]
fn frame_cut_at_every_byte() {
    let tap = Tap::new();
    let payload = Hello::named(b"cut.example").record();
    let name_end = payload.windows(11).position(|part| part == b"cut.example").unwrap() + 11;
    for (at, (wrapping, frame)) in frame::wrapped(&payload).into_iter().enumerate() {
        let start = frame.windows(payload.len()).position(|part| part == payload).unwrap();
        for len in 40..frame.len() {
            // Each cut in a stream of its own.
            let frame = frame::wrapped(&payload).swap_remove(at).1;
            let expected = if len < start + name_end { 0 } else { 1 };
            assert_eq!(tap.names(&frame[..len]).len(), expected, "{wrapping} cut to {len}");
        }
    }
}

#[test]
fn every_value_in_every_byte_that_can_be_a_length() {
    let tap = Tap::new();
    let hello = Hello::named(b"changed.example").with(0, server_name(b"second.example")).record();
    for at in 0..hello.len() {
        for value in 0..=255 {
            let mut payload = hello.clone();
            payload[at] = value;
            expect_as_reference(&tap, &payload, &format!("byte {at} = {value}"));
        }
    }
}

#[test]
fn some_values_in_every_byte_of_the_captured_hellos() {
    let tap = Tap::new();
    for sample in corpus::samples() {
        for at in 0..sample.payload.len() {
            let old = sample.payload[at];
            for value in [0, old.wrapping_add(1), old ^ 0x80] {
                let mut payload = sample.payload.clone();
                payload[at] = value;
                let expected: Vec<_> = reference::name(&payload).into_iter().collect();
                assert_eq!(tap.names(&frame::over_ipv4(&payload)), expected, "{} at {at}", sample.file);
            }
        }
    }
}

/// A property of payloads, checked against one loaded program.
fn check<S: Strategy>(cases: u32, strategy: &S, property: impl Fn(&Tap, S::Value)) {
    let tap = Tap::new();
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    runner
        .run(strategy, |value| {
            property(&tap, value);
            Ok(())
        })
        .unwrap();
}

fn any_hello() -> impl Strategy<Value = Vec<u8>> {
    let extension = (any::<u16>(), prop::collection::vec(any::<u8>(), 0..24));
    let name = prop::collection::vec(any::<u8>(), 0..300).prop_map(|name| (0, server_name(&name)));
    let extensions = prop::collection::vec(prop_oneof![9 => extension, 1 => name], 0..70);
    let session_id = prop::collection::vec(any::<u8>(), 0..256);
    (extensions, session_id)
        .prop_map(|(extensions, session_id)| Hello { session_id, extensions, ..Hello::default() }.record())
}

#[test]
fn any_hello_with_any_bytes_changed_and_any_end() {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let strategy = (any_hello(), changes, any::<prop::sample::Index>(), any::<bool>());
    check(3000, &strategy, |tap, (mut payload, changes, end, cut)| {
        for (at, value) in changes {
            let at = at.index(payload.len());
            payload[at] = value;
        }
        if cut {
            payload.truncate(end.index(payload.len()));
        }
        payload.truncate(3400);
        expect_as_reference(tap, &payload, "changed");
    });
}

#[test]
fn any_bytes_behind_the_start_of_a_hello() {
    let strategy = prop::collection::vec(any::<u8>(), 0..600);
    check(2000, &strategy, |tap, tail| {
        let mut payload = vec![0x16, 3, 1, 2, 0, 1, 0];
        payload.extend(tail);
        expect_as_reference(tap, &payload, "random");
    });
}
