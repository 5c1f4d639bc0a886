//! Hellos that come in pieces.

use std::time::Duration;

use proptest::prelude::*;
use sni::{Gatherer, Segment, flows::AGE};

use crate::{
    hello::{Hello, record},
    support::{NOW, flow, in_records, name_in, names, pieces, rng, samples, syn},
};

/// Close to the end of the numbers, so that they wrap inside the hello.
const FIRST: u32 = u32::MAX - 100;

fn segments<'a>(pieces: &[(usize, &'a [u8])]) -> Vec<Segment<'a>> {
    let at = |offset: usize| FIRST.wrapping_add(offset as u32);
    pieces.iter().map(|(offset, payload)| Segment { sequence: at(*offset), syn: false, payload }).collect()
}

#[test]
fn at_every_byte_into_two_segments_in_both_orders() {
    for sample in samples() {
        for cut in 1..sample.records.len() {
            let two = segments(&pieces(&sample.records, &[cut]));
            let mut gatherer = Gatherer::new();
            assert_eq!(
                names(&mut gatherer, flow(1), two.clone()),
                [sample.name.as_str()],
                "{} {cut}",
                sample.file
            );
            let turned = [syn(FIRST), two[1], two[0]];
            assert_eq!(
                names(&mut gatherer, flow(2), turned),
                [sample.name.as_str()],
                "{} {cut} turned",
                sample.file
            );
            assert_eq!(gatherer.counters(), Default::default());
        }
    }
}

#[test]
fn at_random_into_many_segments_in_random_order() {
    let mut rng = rng(1);
    for sample in samples() {
        for round in 0..60 {
            let many = 1 + rng.random_range(0..[5, 40, 2000][round % 3]);
            let cuts: Vec<usize> = (0..many).map(|_| rng.random_range(0..sample.records.len())).collect();
            let mut segments = segments(&pieces(&sample.records, &cuts));
            // Some come twice.
            segments.extend_from_within(..segments.len() / 5);
            for at in (1..segments.len()).rev() {
                segments.swap(at, rng.random_range(0..=at));
            }
            let mut gatherer = Gatherer::new();
            gatherer.tcp(flow(1), syn(FIRST), NOW);
            assert_eq!(names(&mut gatherer, flow(1), segments), [sample.name.as_str()], "{}", sample.file);
            assert_eq!(gatherer.counters(), Default::default());
        }
    }
}

#[test]
fn a_syn_that_comes_again_takes_nothing_back() {
    let sample = &samples()[0];
    let plain = b"PROXY TCP4 192.0.2.1 192.0.2.2 45678 443\r\n";
    let stream = [plain, &sample.records[..]].concat();
    let [greeting, one, two] = segments(&pieces(&stream, &[plain.len(), plain.len() + 60]))[..] else {
        panic!("three pieces")
    };
    let mut gatherer = Gatherer::new();
    let all = [syn(FIRST), greeting, syn(FIRST), one, syn(FIRST), two];
    assert_eq!(names(&mut gatherer, flow(1), all), [sample.name.as_str()]);
    assert_eq!(gatherer.counters(), Default::default());
}

#[test]
fn byte_by_byte() {
    for sample in samples() {
        let all: Vec<usize> = (0..sample.records.len()).collect();
        let mut gatherer = Gatherer::new();
        let mut found = segments(&pieces(&sample.records, &all));
        assert_eq!(names(&mut gatherer, flow(1), found.clone()), [sample.name.as_str()]);
        found.reverse();
        gatherer.tcp(flow(2), syn(FIRST), NOW);
        assert_eq!(names(&mut gatherer, flow(2), found), [sample.name.as_str()]);
    }
}

#[test]
fn over_records_and_segments() {
    let mut rng = rng(2);
    for sample in samples() {
        for round in 0..40 {
            let mut cuts = |most: usize| -> Vec<usize> {
                (0..rng.random_range(0..most)).map(|_| rng.random_range(1..sample.records.len())).collect()
            };
            let bytes = in_records(sample.message(), &cuts([3, 500][round % 2]));
            let segments = segments(&pieces(&bytes, &cuts(8)));
            assert_eq!(
                names(&mut Gatherer::new(), flow(1), segments),
                [sample.name.as_str()],
                "{}",
                sample.file
            );
        }
        let bytewise: Vec<usize> = (0..sample.message().len()).collect();
        let bytes = in_records(sample.message(), &bytewise);
        assert_eq!(
            names(&mut Gatherer::new(), flow(1), segments(&pieces(&bytes, &[700]))),
            [sample.name.as_str()]
        );
    }
}

#[test]
fn behind_plaintext() {
    let before: [&[u8]; 7] = [
        b"EHLO a.example\r\nSTARTTLS\r\n",
        b"CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n",
        &[0, 0, 0, 8, 4, 210, 22, 47],
        &[5, 1, 0, 5, 1, 0, 3, 1, b'c', 1, 187],
        &[0x16],
        &[0x16, 3, 1, 2, 0, 2, 0x16, 3],
    ];
    for sample in samples().iter().step_by(4) {
        for plaintext in before {
            let stream = [plaintext, &sample.records].concat();
            for cut in 1..stream.len() {
                let two = segments(&pieces(&stream, &[cut]));
                let mut gatherer = Gatherer::new();
                assert_eq!(names(&mut gatherer, flow(1), two.clone()), [sample.name.as_str()], "{cut}");
                let turned = [syn(FIRST), two[1], two[0]];
                assert_eq!(names(&mut gatherer, flow(2), turned), [sample.name.as_str()], "{cut} turned");
                assert_eq!(gatherer.counters(), Default::default());
            }
        }
    }
}

#[test]
fn a_decoy_hides_nothing_that_follows() {
    let mut decoy = Hello::named(b"decoy.example").record();
    let lie = decoy.windows(5).position(|bytes| bytes == b"decoy").unwrap() - 1;
    decoy[lie] += 1;
    let stream = [&decoy[..], &Hello::named(b"real.example").record()].concat();
    for cut in 1..stream.len() {
        let found = names(&mut Gatherer::new(), flow(1), segments(&pieces(&stream, &[cut])));
        assert_eq!(found.last().map(String::as_str), Some("real.example"), "{cut}");
    }
}

#[test]
fn the_first_copy_is_read() {
    let (one, other) = (Hello::named(b"one.example").record(), Hello::named(b"two.example").record());
    let cut = one.len() - 8;
    let segment = |offset: usize, payload| segments(&[(offset, payload)])[0];
    let mut gatherer = Gatherer::new();
    // The second copy overlaps the first one, and says another name.
    let found = names(&mut gatherer, flow(1), [segment(0, &one[..cut]), segment(0, &other)]);
    assert_eq!(found, ["one.example"]);
    // What comes again afterwards begins nothing.
    assert_eq!(names(&mut gatherer, flow(1), [segment(0, &one[..cut]), segment(0, &one)]), [""; 0]);
    // A second hello on the same connection does.
    assert_eq!(names(&mut gatherer, flow(1), [segment(one.len(), &other)]), ["two.example"]);
    // And so does a connection of the same ports.
    let again = [syn(5), Segment { sequence: 5, syn: false, payload: &one }];
    assert_eq!(names(&mut gatherer, flow(1), again), ["one.example"]);
}

#[test]
fn data_in_the_syn() {
    let hello = Hello::named(b"fast.example").record();
    let open = Segment { sequence: 70, syn: true, payload: &hello[..50] };
    let rest = Segment { sequence: 71 + 50, syn: false, payload: &hello[50..] };
    assert_eq!(names(&mut Gatherer::new(), flow(1), [open, rest]), ["fast.example"]);
}

#[test]
fn thousands_of_connections_at_once() {
    let hello = |number: u16| {
        Hello::named(format!("host-{number}.example").as_bytes()).with(21, vec![0; 900]).record()
    };
    let mut gatherer = Gatherer::new();
    let hellos: Vec<_> = (0..1000).map(hello).collect();
    for part in 0..3 {
        for (number, hello) in (0..).zip(&hellos) {
            let piece = segments(&pieces(hello, &[300, 600]))[part];
            let expected = (part == 2).then(|| format!("host-{number}.example"));
            assert_eq!(name_in(gatherer.tcp(flow(number), piece, NOW)), expected);
        }
    }
    assert_eq!(gatherer.counters(), Default::default());
}

#[test]
fn what_does_not_come_is_counted() {
    let hello = Hello::named(b"late.example").record();
    let two = segments(&pieces(&hello, &[60]));
    let mut gatherer = Gatherer::new();
    gatherer.tcp(flow(1), two[0], NOW);
    // A byte that could begin a hello, and a connection that says nothing, are no hellos.
    gatherer.tcp(flow(2), Segment { sequence: 1, syn: false, payload: &[b'a', 0x16] }, NOW);
    gatherer.tcp(flow(3), syn(1), NOW);
    assert!(gatherer.memory() > 0);
    gatherer.expire(NOW + AGE - Duration::from_millis(1));
    assert_eq!(gatherer.counters().timed_out, 0);
    assert_eq!(name_in(gatherer.tcp(flow(1), two[1], NOW + AGE)), None);
    assert_eq!((gatherer.counters().timed_out, gatherer.memory()), (1, 0));
}

#[test]
fn what_goes_too_far_is_counted() {
    let hello = Hello::named(b"gap.example").with(21, vec![0; 4000]).record();
    let mut gatherer = Gatherer::new();
    gatherer.tcp(flow(1), segments(&[(0, &hello[..60])])[0], NOW);
    gatherer.tcp(flow(1), segments(&[(17_000, &[7; 100])])[0], NOW);
    assert_eq!((gatherer.counters().out_of_order, gatherer.memory()), (1, 0));

    let mut long = Hello::named(b"long.example");
    long.extensions.extend((0..6).map(|kind| (0x5000 + kind, vec![0; 3000])));
    let bytes = in_records(&long.message(), &[9000]);
    assert_eq!(names(&mut gatherer, flow(2), segments(&pieces(&bytes, &[1400]))), [""; 0]);
    assert_eq!((gatherer.counters().too_large, gatherer.memory()), (1, 0));
}

#[test]
fn another_record_inside_a_hello_is_malformed() {
    let message = Hello::named(b"a.example").message();
    let alert = [0x15, 3, 3, 0, 2, 1, 0];
    let stream = [&record(&message[..40])[..], &alert, &record(&message[40..])].concat();
    let mut gatherer = Gatherer::new();
    assert_eq!(names(&mut gatherer, flow(1), segments(&pieces(&stream, &[30]))), [""; 0]);
    assert_eq!(gatherer.counters().malformed, 1);
}
