//! Hellos cut short or changed: what is said of them is what the reference says, never another name.

use proptest::prelude::*;
use sni::{ClientHello, Gatherer, Segment, Transport};

use crate::{
    hello::{Hello, record, server_name},
    reference,
    support::{NOW, flow, name_in, runner, samples},
};

fn expect_as_reference(message: &[u8], what: &str) {
    let expected = reference::name(message, false).unwrap_or_default();
    match ClientHello::parse(message, Transport::Tcp) {
        Ok(hello) => assert_eq!(hello.server_name().as_bytes(), expected, "{what}"),
        Err(error) => {
            // The versions and the session id are held to more than the walk needs.
            let stricter = message.get(4) != Some(&3) || message.get(38).is_some_and(|len| *len > 32);
            let odd = error.to_string().contains("half a cipher suite");
            assert!(expected.is_empty() || stricter || odd, "{what}: {error}");
        }
    }
}

#[test]
fn the_reference_knows_every_captured_hello() {
    for sample in samples() {
        assert_eq!(reference::name(sample.message(), false), Some(sample.name.into_bytes()));
    }
}

#[test]
fn cut_at_every_byte() {
    for sample in samples() {
        for len in 0..sample.message().len() {
            let mut message = sample.message()[..len].to_vec();
            expect_as_reference(&message, &format!("{} cut to {len}", sample.file));
            // The same with the lengths around it made to fit.
            if len > 4 {
                let lens = ((len - 4) as u32).to_be_bytes();
                message[1..4].copy_from_slice(&lens[1..]);
                expect_as_reference(&message, &format!("{} cut to {len}, as it says", sample.file));
            }
        }
    }
}

#[test]
fn every_value_in_every_byte() {
    let hello = Hello::named(b"changed.example").with(0, server_name(b"second.example")).message();
    for at in 0..hello.len() {
        for value in 0..=255 {
            let mut message = hello.clone();
            message[at] = value;
            expect_as_reference(&message, &format!("byte {at} = {value}"));
        }
    }
}

#[test]
fn captured_hellos_with_bytes_changed() {
    let samples = samples();
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
    let cases = (any::<prop::sample::Index>(), changes);
    runner()
        .run(&cases, |(sample, changes)| {
            let mut message = sample.get(&samples).message().to_vec();
            for (at, value) in changes {
                let at = at.index(message.len());
                message[at] = value;
            }
            expect_as_reference(&message, "changed");
            let bytes = record(&message);
            let segment = Segment { sequence: 1, syn: false, payload: &bytes };
            if let Some(name) = name_in(Gatherer::new().tcp(flow(1), segment, NOW)) {
                let expected = reference::name(&message, false).unwrap_or_default();
                prop_assert_eq!(name, sni::ServerName(&expected).text());
            }
            Ok(())
        })
        .unwrap();
}

proptest! {
    #[test]
    fn anything_at_all(bytes in prop::collection::vec(any::<u8>(), 0..600), dtls in any::<bool>()) {
        let transport = if dtls { Transport::Dtls } else { Transport::Tcp };
        let _ = ClientHello::parse_body(&bytes, transport);
        let _ = Gatherer::new().tcp(flow(1), Segment { sequence: 1, syn: false, payload: &bytes }, NOW);
    }
}
