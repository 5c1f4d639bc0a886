//! Ethernet frames around a TCP or UDP payload.

use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) const CLIENT_PORT: u16 = 45_678;
pub(crate) const SERVER_PORT: u16 = 8443;
pub(crate) const CLIENT4: [u8; 4] = [192, 0, 2, 1];
pub(crate) const SERVER4: [u8; 4] = [192, 0, 2, 2];
pub(crate) const CLIENT6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
pub(crate) const SERVER6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
const ETH_IPV4: u16 = 0x0800;
const ETH_IPV6: u16 = 0x86dd;
/// To the loopback device's address, so that the kernel takes the frame for one to this host.
const TO_THIS_HOST: [u8; 6] = [0; 6];

pub(crate) fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = TO_THIS_HOST.to_vec();
    frame.extend([2, 0, 0, 0, 0, 1]);
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The frame, made one for another host.
pub(crate) fn for_another_host(mut frame: Vec<u8>) -> Vec<u8> {
    frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
    frame
}

/// The frame with one more 802.1Q tag in it.
pub(crate) fn tagged(frame: &[u8], tpid: u16) -> Vec<u8> {
    let mut tagged = frame[..12].to_vec();
    tagged.extend(tpid.to_be_bytes());
    tagged.extend(100u16.to_be_bytes());
    tagged.extend(&frame[12..]);
    tagged
}

/// A TCP segment with `options` (a multiple of four bytes) and no PSH flag. It belongs to a stream of its own: no two
/// have sequence numbers near each other.
pub(crate) fn tcp(payload: &[u8], options: &[u8]) -> Vec<u8> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const APART: u32 = 1 << 20;
    segment(CLIENT_PORT, NEXT.fetch_add(APART, Ordering::Relaxed), ACK, payload, options)
}

pub(crate) const SYN: u8 = 2;
pub(crate) const ACK: u8 = 0x10;

/// A TCP segment from `port` to the server, with the sequence number `seq`.
pub(crate) fn segment(port: u16, seq: u32, flags: u8, payload: &[u8], options: &[u8]) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(port.to_be_bytes());
    segment.extend(SERVER_PORT.to_be_bytes());
    segment.extend(seq.to_be_bytes());
    segment.extend([0; 4]);
    segment.push(((5 + options.len() / 4) as u8) << 4);
    segment.push(flags);
    segment.extend([0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(options);
    segment.extend(payload);
    segment
}

/// The same in a whole frame, from a source address of its own.
pub(crate) fn segment_from(source: [u8; 4], port: u16, seq: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = over_ipv4_with(&[], 0x4000, &segment(port, seq, flags, payload, &[]), TCP);
    frame[26..30].copy_from_slice(&source);
    frame
}

/// A UDP datagram.
pub(crate) fn udp(payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(CLIENT_PORT.to_be_bytes());
    datagram.extend(SERVER_PORT.to_be_bytes());
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

/// An IPv4 packet; `fragment` is the field of flags and offset.
pub(crate) fn ipv4(proto: u8, options: &[u8], fragment: u16, l4: &[u8]) -> Vec<u8> {
    let header_len = 20 + options.len();
    let mut packet = vec![0x40 | (header_len / 4) as u8, 0];
    packet.extend(((header_len + l4.len()) as u16).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend(fragment.to_be_bytes());
    packet.extend([64, proto, 0, 0]);
    packet.extend(CLIENT4);
    packet.extend(SERVER4);
    packet.extend(options);
    packet.extend(l4);
    packet
}

/// An IPv6 packet; `next` is the type of what follows the fixed header.
pub(crate) fn ipv6(next: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((rest.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend(CLIENT6);
    packet.extend(SERVER6);
    packet.extend(rest);
    packet
}

pub(crate) fn over_ipv4(payload: &[u8]) -> Vec<u8> {
    ethernet(ETH_IPV4, &ipv4(TCP, &[], 0x4000, &tcp(payload, &[])))
}

pub(crate) fn over_ipv6(payload: &[u8]) -> Vec<u8> {
    ethernet(ETH_IPV6, &ipv6(TCP, &tcp(payload, &[])))
}

/// `fragment`: offset and flags of a fragment header, if there is one.
pub(crate) fn over_ipv6_extended(payload: &[u8], fragment: Option<u16>) -> Vec<u8> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION: u8 = 60;
    let mut rest = Vec::new();
    rest.extend([DESTINATION, 1]); // hop-by-hop, 16 bytes
    rest.extend([1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    rest.extend([ROUTING, 0, 1, 4, 0, 0, 0, 0]);
    rest.extend([if fragment.is_some() { FRAGMENT } else { AUTHENTICATION }, 0, 253, 0, 0, 0, 0, 0]);
    if let Some(fragment) = fragment {
        rest.extend([AUTHENTICATION, 0]);
        rest.extend(fragment.to_be_bytes());
        rest.extend([0, 0, 0, 7]);
    }
    rest.extend([TCP, 4, 0, 0]); // authentication: counted in words, less two
    rest.extend([0; 20]);
    rest.extend(tcp(payload, &[]));
    ethernet(ETH_IPV6, &ipv6(HOP_BY_HOP, &rest))
}

pub(crate) fn over_ipv4_with(options: &[u8], fragment: u16, l4: &[u8], proto: u8) -> Vec<u8> {
    ethernet(ETH_IPV4, &ipv4(proto, options, fragment, l4))
}

/// Every way in which a payload may be wrapped, with the name of the way.
pub(crate) fn wrapped(payload: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let plain = over_ipv4(payload);
    let timestamps = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
    let mut padded = plain.clone();
    padded.extend([0; 9]);
    vec![
        ("IPv6", over_ipv6(payload)),
        ("IPv6 with extension headers", over_ipv6_extended(payload, None)),
        ("IPv6, first fragment", over_ipv6_extended(payload, Some(1))),
        ("one VLAN tag", tagged(&plain, 0x8100)),
        ("two VLAN tags", tagged(&tagged(&plain, 0x8100), 0x88a8)),
        ("IPv6, one VLAN tag", tagged(&over_ipv6(payload), 0x8100)),
        ("IPv4 options", over_ipv4_with(&[1; 40], 0, &tcp(payload, &[]), TCP)),
        ("TCP options", over_ipv4_with(&[], 0, &tcp(payload, &timestamps), TCP)),
        ("IPv4, first fragment", over_ipv4_with(&[], 0x2000, &tcp(payload, &[]), TCP)),
        ("link padding", padded),
        ("IPv4", plain),
    ]
}
