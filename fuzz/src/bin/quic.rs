//! Datagrams of both sides of a connection, in the format of tests/corpus/quic; and frames, as if they had
//! been decrypted: what is random hardly ever authenticates.
//!
//! Seeds: tests/corpus/quic/*.bin
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sni::{
    ClientHello, Flow, Gatherer, Transport, dtls,
    flows::{AGE, MEMORY},
    quic::{frame, header::Initials},
    stream::Stream,
};

fuzz_target!(|data: &[u8]| {
    let flow =
        Flow { namespace: 0, source: ([10, 0, 0, 1], 1).into(), destination: ([10, 0, 0, 2], 443).into() };
    let mut gatherer = Gatherer::new();
    let mut rest = data;
    while let [side, high, low, tail @ ..] = rest {
        let len = usize::from(*high) << 8 | usize::from(*low);
        let (datagram, tail) = tail.split_at(len.min(tail.len()));
        rest = tail;
        let flow = if side & 1 == 1 { flow } else { flow.reverse() };
        let _ = gatherer.udp(flow, datagram, usize::from(side >> 4) * 100, Duration::ZERO);
        assert!(gatherer.memory() <= MEMORY);
        for initial in Initials::of(datagram) {
            assert!(initial.number_at <= initial.packet.len() && initial.packet.len() <= datagram.len());
        }
        for fragment in dtls::fragments(datagram) {
            assert!(fragment.offset + fragment.data.len() <= fragment.total);
        }
    }
    gatherer.expire(AGE);
    assert_eq!(gatherer.memory(), 0);

    let mut handshake = Stream::new();
    for crypto in frame::crypto(data).flatten() {
        handshake.insert(crypto.offset, crypto.data);
    }
    let _ = ClientHello::parse(handshake.bytes(), Transport::Quic);
});
