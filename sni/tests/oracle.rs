//! Against `tls-parser`, where it can read a hello.

use proptest::prelude::*;
use sni::{ClientHello, Transport};
use tls_parser::{SNIType, TlsExtension, TlsMessage, TlsMessageHandshake};

use crate::{
    hello::{Hello, server_name},
    support::{runner, samples},
};

/// Random, cipher suites, types of extensions and the first host name, as `tls-parser` reads them.
type Read = (Vec<u8>, Vec<u16>, Vec<u16>, Vec<u8>);

fn oracle(message: &[u8]) -> Option<Read> {
    let (rest, TlsMessage::Handshake(TlsMessageHandshake::ClientHello(hello))) =
        tls_parser::parse_tls_message_handshake(message).ok()?
    else {
        return None;
    };
    let (left, extensions) = tls_parser::parse_tls_client_hello_extensions(hello.ext.unwrap_or(&[])).ok()?;
    if !rest.is_empty() || !left.is_empty() {
        return None;
    }
    let name = extensions.iter().find_map(|extension| match extension {
        TlsExtension::SNI(names) => Some(
            names
                .iter()
                .find(|(kind, _)| *kind == SNIType::HostName)
                .map_or(vec![], |(_, name)| name.to_vec()),
        ),
        _ => None,
    });
    let kinds = extensions.iter().map(|extension| match extension {
        TlsExtension::Grease(kind, _) => *kind,
        other => tls_parser::TlsExtensionType::from(other).0,
    });
    let ciphers = hello.ciphers.iter().map(|cipher| cipher.0).collect();
    Some((hello.random.to_vec(), ciphers, kinds.collect(), name.unwrap_or_default()))
}

fn ours(message: &[u8]) -> Option<Read> {
    let hello = ClientHello::parse(message, Transport::Tcp).ok()?;
    let kinds = hello.extensions().map(|(kind, _)| kind).collect();
    let name = hello.server_name().as_bytes().to_vec();
    Some((hello.random().to_vec(), hello.cipher_suites().collect(), kinds, name))
}

#[test]
fn both_read_every_captured_hello_alike() {
    for sample in samples() {
        let expected = oracle(sample.message());
        assert!(expected.is_some(), "{}", sample.file);
        assert_eq!(ours(sample.message()), expected, "{}", sample.file);
    }
}

#[test]
fn hellos_made_at_random() {
    let extension = (0x1000u16..0x2000, prop::collection::vec(any::<u8>(), 0..40));
    let name = prop::option::of(prop::collection::vec(any::<u8>(), 1..300));
    let cases = (
        prop::collection::vec(any::<u8>(), 0..=32),
        prop::collection::vec(any::<u16>(), 1..40),
        prop::collection::vec(extension, 0..30),
        name,
        any::<prop::sample::Index>(),
    );
    runner()
        .run(&cases, |(session_id, ciphers, extensions, name, at)| {
            let ciphers = ciphers.iter().flat_map(|cipher| cipher.to_be_bytes()).collect();
            let mut hello = Hello { session_id, ciphers, extensions };
            if let Some(name) = &name {
                let at = at.index(hello.extensions.len() + 1);
                hello.extensions.insert(at, (0, server_name(name)));
            }
            let message = hello.message();
            let read = ours(&message);
            prop_assert_eq!(read.as_ref().map(|read| read.3.clone()), Some(name.unwrap_or_default()));
            if let Some(expected) = oracle(&message) {
                prop_assert_eq!(read, Some(expected));
            }
            Ok(())
        })
        .unwrap();
}
