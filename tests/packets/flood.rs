//! Many hellos at once, most of which never end: bounded, counted, and no one's loss but the flooder's.

use crate::{
    frame::{self, ACK, SYN, segment_from},
    hello::Hello,
    tap::{Tap, Unread},
};

const PEER: [u8; 4] = [203, 0, 113, 7];
const FLOWS: u32 = 3072;

fn half(hello: &[u8]) -> (&[u8], &[u8]) {
    hello.split_at(40)
}

#[test]
fn a_thousand_interleaved_connections_are_all_found() {
    let tap = Tap::new();
    let hello = Hello::named(b"interleaved.example").record();
    let (head, tail) = half(&hello);
    for round in 0..3 {
        for port in 0..1000 {
            assert!(tap.feed(&segment_from(PEER, port, round, ACK, head)).is_empty());
        }
        for port in 0..1000 {
            let last = segment_from(PEER, port, round + 40, ACK, tail);
            assert_eq!(tap.gathered(&[last]), [&hello[..]], "round {round}, port {port}");
        }
    }
    assert_eq!(tap.unread_all(), 0);
}

#[test]
fn one_peers_flood_leaves_room_for_others_and_is_counted() {
    let tap = Tap::new();
    let hello = Hello::named(b"other.example").record();
    let (head, tail) = half(&hello);
    let other = |seq, part: &[u8]| segment_from(frame::CLIENT4, 1, seq, ACK, part);
    assert!(tap.feed(&other(0, head)).is_empty());
    for port in 0..20_000 {
        tap.feed(&segment_from(PEER, port, 0, SYN, &[]));
        tap.feed(&segment_from(PEER, port, 1, ACK, head));
    }
    assert_eq!(tap.unread(Unread::PeerShare), 20_000 - u64::from(FLOWS / 4 * 3));
    assert_eq!(tap.gathered(&[other(40, tail)]), [&hello[..]], "one that began before");
    for port in 0..100 {
        let frames = [2, 3].map(|part| {
            let (seq, part) = if part == 2 { (0, head) } else { (40, tail) };
            segment_from([198, 51, 100, port as u8], port, seq, ACK, part)
        });
        assert_eq!(tap.gathered(&frames), [&hello[..]], "one that begins now");
    }
}

#[test]
fn more_peers_than_there_is_room_for_lose_the_oldest_and_it_is_counted() {
    let tap = Tap::new();
    let hello = Hello::named(b"crowd.example").record();
    let (head, _) = half(&hello);
    let crowd = 2 * FLOWS;
    for peer in 0..crowd {
        let source = (0x0a00_0000 + peer).to_be_bytes();
        tap.feed(&segment_from(source, 1, 0, ACK, head));
    }
    assert_eq!(tap.unread(Unread::Evicted), u64::from(crowd - FLOWS));
}
