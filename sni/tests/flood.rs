//! Floods of half-hellos: what they may take, and whom they may not harm.

use std::net::SocketAddr;

use sni::{Flow, Gatherer, Segment, flows::MEMORY};

use crate::{
    hello::Hello,
    support::{NOW, flow, name_in, syn},
};

fn from(address: u32, port: u16) -> Flow {
    Flow { source: SocketAddr::from((address.to_be_bytes(), port)), ..flow(1) }
}

#[test]
fn a_flood_from_one_peer_takes_nothing_from_the_others() {
    let hello = Hello::named(b"waiting.example").with(21, vec![0; 1400]).record();
    let (first, second) = hello.split_at(1000);
    let segment = |sequence, payload| Segment { sequence, syn: false, payload };
    let mut gatherer = Gatherer::new();
    let others: Vec<Flow> = (0..300).map(|address| from(0x0a00_0000 + address, 40_000)).collect();
    for other in &others {
        gatherer.tcp(*other, segment(1, first), NOW);
    }
    for port in 0..50_000 {
        gatherer.tcp(from(0xc633_6401, port), segment(1, &first[..[20, 500][usize::from(port % 2)]]), NOW);
        gatherer.tcp(from(0xc633_6402, port), syn(1), NOW);
        assert!(gatherer.memory() <= MEMORY);
    }
    for other in &others {
        let name = name_in(gatherer.tcp(*other, segment(1001, second), NOW));
        assert_eq!(name.as_deref(), Some("waiting.example"));
    }
    assert!(gatherer.counters().evicted > 45_000);
}

#[test]
fn a_flood_from_everywhere_stays_within_bounds() {
    let hello = Hello::named(b"a.example").record();
    let mut gatherer = Gatherer::new();
    for address in 0..50_000 {
        let far = Segment { sequence: 16_000, syn: false, payload: &[7; 30] };
        gatherer.tcp(from(address, 1), syn(1), NOW);
        gatherer.tcp(from(address, 1), far, NOW);
        assert!(gatherer.memory() <= MEMORY);
    }
    // The newest still have room.
    gatherer.tcp(from(1, 2), Segment { sequence: 1, syn: false, payload: &hello[..50] }, NOW);
    let rest = Segment { sequence: 51, syn: false, payload: &hello[50..] };
    assert_eq!(name_in(gatherer.tcp(from(1, 2), rest, NOW)).as_deref(), Some("a.example"));
}
