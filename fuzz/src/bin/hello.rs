//! A TCP payload, or a message of its own: whatever it is, it ends nothing, and gives no name that the
//! reference walk does not find.
//!
//! Seeds: tests/corpus/hellos/*.bin
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sni::{ClientHello, Flow, Gatherer, Outcome, Segment, Transport, ja4, record};

#[path = "../../../sni/tests/reference.rs"]
mod reference;

fn check(hello: &ClientHello) {
    let text = hello.server_name().text();
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()) && text.len() <= 255 * 4);
    assert_eq!(text.is_empty(), hello.name_status().as_str() == "none");
    assert_eq!(ja4::fingerprint(hello).len(), 36);
    let _ = (hello.version(), hello.alpn(), hello.ech());
}

fuzz_target!(|data: &[u8]| {
    for (transport, dtls) in [(Transport::Tcp, false), (Transport::Quic, false), (Transport::Dtls, true)] {
        if let Ok(hello) = ClientHello::parse(data, transport) {
            check(&hello);
            assert_eq!(hello.server_name().as_bytes(), reference::name(data, dtls).unwrap_or_default());
        }
    }
    let mut joined = Vec::new();
    let whole = record::message(data, &mut joined).map(<[u8]>::to_vec);
    let mut gatherer = Gatherer::new();
    let flow =
        Flow { namespace: 0, source: ([10, 0, 0, 1], 1).into(), destination: ([10, 0, 0, 2], 443).into() };
    let segment = Segment { sequence: 0, syn: false, payload: data };
    match gatherer.tcp(flow, segment, Duration::ZERO) {
        Outcome::Hello(found) => check(&found.hello),
        _ => {
            // What parses from the front is found, unless it could not begin a hello.
            if let Ok(message) = whole
                && record::find(data) == record::Beginning::At(0)
            {
                assert!(ClientHello::parse(&message, Transport::Tcp).is_err());
            }
        }
    }
});
