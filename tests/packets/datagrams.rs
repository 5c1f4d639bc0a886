//! Datagrams that may carry a hello go to the guest as they are; others do not.

use crate::{frame, tap::Tap};

const IPV6: u16 = 0x86dd;

fn quic(first: u8, version: u32, len: usize) -> Vec<u8> {
    let mut datagram = vec![first];
    datagram.extend(version.to_be_bytes());
    datagram.push(8);
    datagram.resize(len, 0x5a);
    datagram
}

fn dtls(version: u8, epoch: u8, message: u8) -> Vec<u8> {
    let mut datagram = vec![22, 0xfe, version, 0, epoch, 0, 0, 0, 0, 0, 0, 0, 100, message];
    datagram.resize(113, 1);
    datagram
}

fn over_ipv4(datagram: &[u8]) -> Vec<u8> {
    frame::over_ipv4_with(&[], 0, &frame::udp(datagram), frame::UDP)
}

#[test]
fn client_initials_retries_and_dtls_hellos_travel_whole() {
    let tap = Tap::new();
    let datagrams = [
        (1, quic(0xc3, 1, 1200)),
        (1, quic(0xcf, 1, 1350)),
        (1, quic(0xd1, 0x6b33_43cf, 1252)),
        (1, quic(0xc0, 1, 2400)),
        (1, quic(0xf3, 1, 100)),           // a Retry
        (1, quic(0xc3, 0x6b33_43cf, 100)), // one of version 2
        (2, dtls(0xfd, 0, 1)),
        (2, dtls(0xff, 0, 1)),
    ];
    for (transport, datagram) in datagrams {
        for frame in
            [over_ipv4(&datagram), frame::ethernet(IPV6, &frame::ipv6(frame::UDP, &frame::udp(&datagram)))]
        {
            let events = tap.feed(&frame);
            let [event] = &events[..] else { panic!("{} events", events.len()) };
            assert_eq!((event.codes()[1], event.rest()), (transport, &datagram[..]));
            assert_eq!(event.endpoints()[0].2, 17);
            assert_eq!(event.datagram_size(), 0);
        }
    }
}

#[test]
fn other_datagrams_stay_where_they_are() {
    let tap = Tap::new();
    let datagrams = [
        vec![],
        vec![0xc3],
        quic(0xc3, 1, 1199),           // an answer, or no Initial of a client
        quic(0xe3, 1, 1200),           // a Handshake packet
        quic(0x43, 1, 1200),           // a short header
        quic(0xc3, 0, 1200),           // version negotiation
        quic(0xf3, 0x6b33_43cf, 1200), // a Handshake packet of version 2
        dtls(0xfd, 1, 1),              // encrypted
        dtls(0xfd, 0, 2),              // a ServerHello
        vec![0; 1400],
    ];
    for datagram in &datagrams {
        assert!(tap.feed(&over_ipv4(datagram)).is_empty(), "{:?}", &datagram[..datagram.len().min(16)]);
    }
}
