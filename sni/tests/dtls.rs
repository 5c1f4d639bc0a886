//! Hellos in DTLS records.

use proptest::prelude::*;
use sni::{Gatherer, NameStatus, Outcome, Transport, ja4};

use crate::{
    hello::Hello,
    support::{NOW, flow, name_in, pieces, rng},
};

/// The body of a DTLS hello that asks for `name`, with a cookie.
fn body(name: &[u8], cookie: &[u8]) -> Vec<u8> {
    let mut body = Hello::named(name).with(13, vec![0, 2, 4, 3]).message()[4..].to_vec();
    body[..2].copy_from_slice(&[0xfe, 0xfd]);
    let cookie = [&[cookie.len() as u8], cookie].concat();
    body.splice(35 + 32..35 + 32, cookie);
    body
}

/// A record with one fragment.
fn record(message: u16, body_len: usize, offset: usize, data: &[u8]) -> Vec<u8> {
    let u24 = |number: usize| (number as u32).to_be_bytes()[1..].to_vec();
    let fragment =
        [&[1][..], &u24(body_len), &message.to_be_bytes(), &u24(offset), &u24(data.len()), data].concat();
    let len = (fragment.len() as u16).to_be_bytes();
    [&[22, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0][..], &len, &fragment].concat()
}

#[test]
fn a_whole_hello() {
    let body = body(b"media.example", b"");
    let mut gatherer = Gatherer::new();
    let datagram = record(0, body.len(), 0, &body);
    let Outcome::Hello(found) = gatherer.udp(flow(1), &datagram, 0, NOW) else { panic!() };
    assert_eq!((found.hello.transport(), found.hello.version()), (Transport::Dtls, 0xfefd));
    assert_eq!(
        (found.hello.server_name().text().as_str(), found.hello.name_status()),
        ("media.example", NameStatus::Ok)
    );
    assert!(ja4::fingerprint(&found.hello).starts_with("dd2d020400_"));
    assert_eq!(gatherer.memory(), 0);
}

#[test]
fn fragments_in_any_order_and_the_hello_with_the_cookie() {
    let mut rng = rng(5);
    for round in 0..200 {
        let body = body(b"parts.example", &[7; 32]);
        let cuts: Vec<usize> = (0..1 + round % 30).map(|_| rng.random_range(0..body.len())).collect();
        let mut records: Vec<_> =
            pieces(&body, &cuts).iter().map(|(at, data)| record(1, body.len(), *at, data)).collect();
        for at in (1..records.len()).rev() {
            records.swap(at, rng.random_range(0..=at));
        }
        let mut gatherer = Gatherer::new();
        let datagrams: Vec<_> = records.chunks(3).map(<[_]>::concat).collect();
        let mut found = Vec::new();
        for datagram in datagrams.iter().chain(&datagrams[..1]) {
            found.extend(name_in(gatherer.udp(flow(1), datagram, 0, NOW)));
        }
        // When it came in one piece, nothing was kept to tell the second copy by.
        assert_eq!(found[0], "parts.example");
        assert!(found.len() == 1 || records.len() == 1);
        assert_eq!(gatherer.counters(), Default::default());
    }
}

#[test]
fn fragments_of_another_hello_are_not_mixed_in() {
    let (one, two) = (body(b"one.example", b""), body(b"other.example", b""));
    let mut gatherer = Gatherer::new();
    assert_eq!(name_in(gatherer.udp(flow(1), &record(0, one.len(), 0, &one[..50]), 0, NOW)), None);
    assert_eq!(name_in(gatherer.udp(flow(1), &record(0, two.len(), 50, &two[50..]), 0, NOW)), None);
    let rest = record(0, two.len(), 0, &two[..50]);
    assert_eq!(name_in(gatherer.udp(flow(1), &rest, 0, NOW)).as_deref(), Some("other.example"));
}

#[test]
fn a_hello_that_is_too_long_is_counted() {
    let mut gatherer = Gatherer::new();
    assert!(matches!(gatherer.udp(flow(1), &record(0, 20_000, 0, &[7; 9]), 0, NOW), Outcome::Unreadable(_)));
    assert_eq!((gatherer.counters().too_large, gatherer.memory()), (1, 0));
}
