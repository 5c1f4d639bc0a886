//! QUIC's Initial packets: real ones, and those that are cut and sealed here.

use proptest::prelude::*;
use sni::{Gatherer, NameStatus, Outcome, Reason, Transport, flows::AGE, ja4};

use crate::{
    hello::Hello,
    support::{Capture, NOW, Sealer, captures, crypto, flow, name_in, pieces, rng, samples},
};

/// The names that the capture's datagrams give, both sides being seen, and then the counters.
fn names(gatherer: &mut Gatherer, capture: &Capture) -> Vec<String> {
    let from = |client: bool| if client { flow(1) } else { flow(1).reverse() };
    let datagrams = capture.datagrams.iter();
    datagrams.filter_map(|(client, bytes)| name_in(gatherer.udp(from(*client), bytes, 0, NOW))).collect()
}

#[test]
fn every_capture_gives_its_name_once() {
    for capture in captures() {
        let mut gatherer = Gatherer::new();
        assert_eq!(names(&mut gatherer, &capture), [capture.name.as_str()], "{}", capture.file);
        gatherer.expire(NOW + AGE);
        assert_eq!(gatherer.counters(), Default::default(), "{}", capture.file);
    }
}

#[test]
fn datagrams_in_any_order() {
    let mut rng = rng(3);
    for capture in captures().iter().filter(|capture| !capture.file.contains("retry")) {
        // What the client sends after an answer is no part of its hello.
        let answered = capture.datagrams.iter().any(|(client, _)| !client);
        for _ in 0..10 {
            let mut client: Vec<_> = capture.datagrams.iter().filter(|(client, _)| *client).collect();
            client.truncate(if answered { 2 } else { 6 });
            for at in (1..client.len()).rev() {
                client.swap(at, rng.random_range(0..=at));
            }
            let mut gatherer = Gatherer::new();
            let outcomes =
                client.iter().filter_map(|(_, bytes)| name_in(gatherer.udp(flow(1), bytes, 0, NOW)));
            assert_eq!(outcomes.collect::<Vec<_>>(), [capture.name.as_str()], "{}", capture.file);
        }
    }
}

#[test]
fn several_datagrams_in_one_buffer() {
    for capture in captures().iter().filter(|capture| !capture.file.contains("retry")) {
        let client: Vec<_> =
            capture.datagrams.iter().filter(|(client, _)| *client).map(|(_, bytes)| bytes).collect();
        let (Some(first), Some(second)) = (client.first(), client.get(1)) else { continue };
        if second.len() > first.len() {
            continue;
        }
        let buffer = [&first[..], second].concat();
        // Whether the size of the segments is known, or has to be told from the packets.
        for size in [first.len(), 0] {
            let mut gatherer = Gatherer::new();
            let mut found: Vec<_> = name_in(gatherer.udp(flow(1), &buffer, size, NOW)).into_iter().collect();
            for bytes in &client[2..] {
                found.extend(name_in(gatherer.udp(flow(1), bytes, size, NOW)));
            }
            assert_eq!(found, [capture.name.as_str()], "{} {size}", capture.file);
        }
    }
}

#[test]
fn what_the_hello_says() {
    let capture = captures().into_iter().find(|capture| capture.file == "rfc9001-a2.bin").unwrap();
    let mut gatherer = Gatherer::new();
    let Outcome::Hello(found) = gatherer.udp(flow(1), &capture.datagrams[0].1, 0, NOW) else { panic!() };
    assert_eq!(
        (found.hello.transport(), found.hello.version(), found.segments),
        (Transport::Quic, 0x0304, 1)
    );
    assert_eq!((found.hello.name_status(), found.hello.alpn()), (NameStatus::Ok, Some(&b"alpn"[..])));
    assert_eq!(ja4::fingerprint(&found.hello), "q13d0211an_62ed6f6ca7ad_4d634acda6c0");
}

#[test]
fn every_hello_cut_into_frames_over_packets_and_datagrams() {
    let mut rng = rng(4);
    let sealer = Sealer::v1(b"12345678");
    for sample in samples() {
        for round in 0..30 {
            let many = [1, 10, 200][round % 3];
            let cuts: Vec<usize> = (0..many).map(|_| rng.random_range(0..sample.message().len())).collect();
            let mut frames: Vec<_> =
                pieces(sample.message(), &cuts).into_iter().map(|(at, data)| crypto(at, data)).collect();
            for at in (1..frames.len()).rev() {
                frames.swap(at, rng.random_range(0..=at));
            }
            let mut gatherer = Gatherer::new();
            let mut found = Vec::new();
            for (number, frames) in (0..).zip(frames.chunks(7)) {
                let packet = sealer.packet(None, number, &frames.join(&[1, 0, 0][..]));
                found.extend(name_in(gatherer.udp(flow(1), &packet, 0, NOW)));
            }
            assert_eq!(found, [sample.name.as_str()], "{}", sample.file);
        }
    }
}

#[test]
fn at_every_byte_into_two_packets() {
    let sealer = Sealer::v1(b"12345678");
    let message = Hello::named(b"cut.example").message();
    for cut in 1..message.len() {
        let packets = [
            sealer.packet(None, 1, &crypto(cut, &message[cut..])),
            sealer.packet(None, 0, &crypto(0, &message[..cut])),
        ];
        for datagrams in [vec![packets.concat()], packets.to_vec()] {
            let mut gatherer = Gatherer::new();
            let found = datagrams.iter().filter_map(|bytes| name_in(gatherer.udp(flow(1), bytes, 0, NOW)));
            assert_eq!(found.collect::<Vec<_>>(), ["cut.example"], "{cut}");
        }
    }
}

/// The server answers before all of the hello has come, and the client goes over to the id that the server
/// chose.
#[test]
fn keys_stay_when_the_server_replaces_the_id() {
    let sealer = Sealer::v1(b"first-id");
    let message = Hello::named(b"moved.example").message();
    let mut gatherer = Gatherer::new();
    gatherer.udp(flow(1), &sealer.packet(None, 0, &crypto(0, &message[..50])), 0, NOW);
    let moved = sealer.packet(Some(b"the server's id"), 1, &crypto(50, &message[50..]));
    assert_eq!(name_in(gatherer.udp(flow(1), &moved, 0, NOW)).as_deref(), Some("moved.example"));
    assert_eq!(gatherer.counters(), Default::default());
}

/// After a Retry the client sends the same hello again, for another id and with other keys.
#[test]
fn a_retried_hello_is_given_once() {
    let message = Hello::named(b"retried.example").message();
    let (first, retried) = (Sealer::v1(b"first-id"), Sealer::v1(b"the id of the Retry"));
    let again = retried.packet(None, 1, &crypto(0, &message));
    for until in [60, message.len()] {
        let mut gatherer = Gatherer::new();
        let before =
            name_in(gatherer.udp(flow(1), &first.packet(None, 0, &crypto(0, &message[..until])), 0, NOW));
        let after = name_in(gatherer.udp(flow(1), &again, 0, NOW));
        assert_eq!(before.into_iter().chain(after).collect::<Vec<_>>(), ["retried.example"], "{until}");
        gatherer.expire(NOW + AGE);
        assert_eq!(gatherer.counters(), Default::default());
    }
}

#[test]
fn connections_between_the_same_ports_are_kept_apart() {
    let sealers = [Sealer::v1(b"one-id-1"), Sealer::v1(b"two-id-2")];
    let messages = ["one.example", "two.example"].map(|name| {
        let mut message = Hello::named(name.as_bytes()).message();
        message[10] = name.as_bytes()[0];
        message
    });
    let mut gatherer = Gatherer::new();
    let mut found = Vec::new();
    for (number, part) in [(0, 0..50), (1, 50..messages[0].len())] {
        for (sealer, message) in sealers.iter().zip(&messages) {
            let packet = sealer.packet(None, number, &crypto(part.start, &message[part.clone()]));
            found.extend(name_in(gatherer.udp(flow(1), &packet, 0, NOW)));
        }
    }
    assert_eq!(found, ["one.example", "two.example"]);
}

#[test]
fn what_does_not_authenticate_is_counted() {
    let sealer = Sealer::v1(b"12345678");
    let message = Hello::named(b"a.example").message();
    let mut packet = sealer.packet(None, 0, &crypto(0, &message));
    *packet.last_mut().unwrap() ^= 1;
    let mut gatherer = Gatherer::new();
    assert!(matches!(gatherer.udp(flow(1), &packet, 0, NOW), Outcome::Unreadable(Reason::Encrypted)));
    assert_eq!((gatherer.counters().encrypted, gatherer.memory()), (1, 0));
    // A garbled packet does not spoil the connection that it pretends to be of.
    gatherer.udp(flow(1), &sealer.packet(None, 0, &crypto(0, &message[..50])), 0, NOW);
    assert!(matches!(gatherer.udp(flow(1), &packet, 0, NOW), Outcome::Unreadable(Reason::Encrypted)));
    let rest = sealer.packet(None, 1, &crypto(50, &message[50..]));
    assert_eq!(name_in(gatherer.udp(flow(1), &rest, 0, NOW)).as_deref(), Some("a.example"));
    // And a datagram with a bad and a good packet gives the good one's hello, and counts the bad one.
    let good = Sealer::v1(b"87654321").packet(None, 0, &crypto(0, &message));
    let both = [packet, good].concat();
    assert_eq!(name_in(gatherer.udp(flow(2), &both, 0, NOW)).as_deref(), Some("a.example"));
    assert_eq!(gatherer.counters().encrypted, 3);
}

#[test]
fn frames_that_do_not_belong_there_are_malformed() {
    let sealer = Sealer::v1(b"12345678");
    let mut gatherer = Gatherer::new();
    for frames in [&[8, 0, 1, 2][..], &[6, 0, 0x7f, 0xff], &crypto(0, &[2, 0, 0, 1, 0])] {
        let packet = sealer.packet(None, 0, frames);
        assert!(matches!(gatherer.udp(flow(1), &packet, 0, NOW), Outcome::Unreadable(Reason::Malformed)));
    }
    let far = sealer.packet(None, 0, &crypto(20_000, b"far"));
    assert!(matches!(gatherer.udp(flow(1), &far, 0, NOW), Outcome::Unreadable(Reason::TooLarge)));
    assert_eq!(gatherer.memory(), 0);
}

#[test]
fn a_hello_that_waits_too_long_is_counted() {
    let sealer = Sealer::v1(b"12345678");
    let mut gatherer = Gatherer::new();
    let half = sealer.packet(None, 0, &crypto(0, &Hello::named(b"a.example").message()[..60]));
    assert!(matches!(gatherer.udp(flow(1), &half, 0, NOW), Outcome::Pending));
    gatherer.expire(NOW + AGE);
    assert_eq!((gatherer.counters().timed_out, gatherer.memory()), (1, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// A datagram of anything, and a real one with anything in it.
    #[test]
    fn nothing_ends_it(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        (at, cut, size) in (0usize..1200, 0usize..1300, 0usize..700),
    ) {
        let capture = &captures()[0];
        let mut gatherer = Gatherer::new();
        let _ = gatherer.udp(flow(1), &bytes, size, NOW);
        let mut datagram = capture.datagrams[0].1.clone();
        let end = (at + bytes.len()).min(datagram.len());
        let start = at.min(end);
        datagram[start..end].copy_from_slice(&bytes[..end - start]);
        datagram.truncate(cut);
        if let Some(name) = name_in(gatherer.udp(flow(1), &datagram, size, NOW)) {
            prop_assert_eq!(&name, &capture.name);
        }
    }

    /// Frames that are authentic and still anything.
    #[test]
    fn no_frames_end_it(frames in prop::collection::vec(any::<u8>(), 0..400)) {
        let packet = Sealer::v1(b"12345678").packet(None, 0, &frames);
        let _ = Gatherer::new().udp(flow(1), &packet, 0, NOW);
    }
}
