//! What a whole hello says.

use sni::{ClientHello, Ech, Error, Gatherer, NameStatus, Outcome, Segment, Transport, ja4};

use crate::{
    hello::{Hello, server_name},
    support::{NOW, flow, samples},
};

fn parse(message: &[u8]) -> Result<ClientHello<'_>, Error> {
    ClientHello::parse(message, Transport::Tcp)
}

#[test]
fn every_captured_hello_in_one_segment() {
    for sample in samples() {
        let mut gatherer = Gatherer::new();
        let segment = Segment { sequence: 9, syn: false, payload: &sample.records };
        let Outcome::Hello(found) = gatherer.tcp(flow(1), segment, NOW) else { panic!("{}", sample.file) };
        assert_eq!(found.hello.server_name().text(), sample.name);
        assert_eq!((found.hello.name_status(), found.segments), (NameStatus::Ok, 1));
        assert_eq!(found.hello.random()[..], sample.message()[6..38]);
        assert_eq!(gatherer.memory(), 0);
    }
}

/// Version, first protocol, ECH and fingerprint of real clients. The fingerprint of Chrome 131 is the one
/// that FoxIO publishes; the others were computed apart from this crate.
#[test]
fn fields_of_captured_hellos() {
    let shown: Vec<String> = samples()
        .iter()
        .map(|sample| {
            let hello = parse(sample.message()).unwrap();
            let alpn = String::from_utf8_lossy(hello.alpn().unwrap_or(b"-")).into_owned();
            let file = sample.file.trim_end_matches(".bin");
            format!(
                "{file} {:04x} {alpn} {} {}",
                hello.version(),
                hello.ech().as_str(),
                ja4::fingerprint(&hello)
            )
        })
        .collect();
    assert_eq!(shown, EXPECTED);
}

const EXPECTED: [&str; 18] = [
    "openssl-tls13 0304 - none t13d311000_e8f1e7e78f70_1f22a2ca17c4",
    "openssl-tls12 0303 - none t12d280700_d943125447b4_e7e480e5a997",
    "openssl35 0304 - none t13d301200_1d37bd780c83_ecd0401ec68b",
    "nss 0304 - none t13d351100_948423e5275c_496733ea6893",
    "gnutls 0304 - none t13d291300_723694b0fccc_2cc26d266019",
    "curl 0304 h2 none t13d3112h2_e8f1e7e78f70_b26ce05bbdd6",
    "go 0304 h2 none t13d1312h2_f57a46bbacb6_ab7e3b40a677",
    "rustls 0304 - none t13d101000_61a7ad8aa9b6_3fcd1a44f3e3",
    "python 0304 - none t13d181100_85036bcba153_d41ae481755e",
    "node 0304 - none t13d591000_a33745022dd6_1f22a2ca17c4",
    "java 0304 - none t13d371200_db35923f8641_7c76daad20ec",
    "chromium 0304 h2 present t13d1517h2_8daaf6152771_cb7bf5808d99",
    "firefox 0304 h2 present t13d1617h2_86a278354501_3cbfd9057e0d",
    "browser-chrome110 0304 h2 none t13d1516h2_8daaf6152771_e5627efa2ab1",
    "browser-chrome131 0304 h2 present t13d1516h2_8daaf6152771_02713d6af862",
    "browser-chrome 0304 h2 present t13d1516h2_8daaf6152771_806a8c22fdea",
    "browser-firefox 0304 h2 present t13d1717h2_5b57614c22b0_3cbfd9057e0d",
    "browser-safari 0304 h2 none t13d2013h2_a09f3c656075_7f0f34a4126d",
];

#[test]
fn versions_count_up_in_tls_and_down_in_dtls() {
    let mut hello = Hello::default().with(43, vec![6, 0xfa, 0xfa, 3, 3, 3, 4]);
    assert_eq!(parse(&hello.message()).unwrap().version(), 0x0304);
    hello.extensions[0].1 = vec![2, 0x1a, 0x1a];
    assert_eq!(parse(&hello.message()).unwrap().version(), 0x0303);
    // Damaged: what the hello itself says counts.
    hello.extensions[0].1 = vec![9, 3, 4];
    assert_eq!(parse(&hello.message()).unwrap().version(), 0x0303);
    let mut body = hello.message()[4..].to_vec();
    body[..2].copy_from_slice(&[0xfe, 0xfd]);
    body.insert(35 + 32, 0); // no cookie
    let len = body.len();
    body[len - 3..].copy_from_slice(&[2, 0xfe, 0xfc]);
    assert_eq!(ClientHello::parse_body(&body, Transport::Dtls).unwrap().version(), 0xfefc);
}

#[test]
fn ech_and_protocols() {
    let hello = Hello::named(b"cover.example")
        .with(0xfe0d, vec![0])
        .with(16, vec![0, 6, 2, b'h', b'2', 2, b'h', b'3']);
    let message = hello.message();
    let hello = parse(&message).unwrap();
    assert_eq!((hello.ech(), hello.alpn()), (Ech::Present, Some(&b"h2"[..])));
    for damaged in [vec![], vec![0, 9, 2, b'h', b'2'], vec![0, 1, 0], vec![0, 2, 7, b'h']] {
        let message = Hello::named(b"a.example").with(16, damaged).message();
        let hello = parse(&message).unwrap();
        assert_eq!((hello.ech(), hello.alpn()), (Ech::None, None));
    }
}

#[test]
fn hellos_without_a_name() {
    for hello in [Hello::default(), Hello::default().with(43, vec![2, 3, 4])] {
        let message = hello.message();
        let hello = parse(&message).unwrap();
        assert_eq!((hello.server_name().as_bytes(), hello.name_status()), (&b""[..], NameStatus::None));
    }
    // TLS 1.0 knew no extensions at all.
    let mut message = Hello::default().message();
    message.truncate(message.len() - 2);
    message[3] -= 2;
    assert_eq!(parse(&message).unwrap().name_status(), NameStatus::None);
}

#[test]
fn other_types_of_names_are_no_host_names() {
    let list = |entries: &[u8]| [&(entries.len() as u16).to_be_bytes(), entries].concat();
    let name = |data: Vec<u8>| {
        parse(&Hello::default().with(0, data).message()).map(|hello| hello.server_name().text())
    };
    assert_eq!(name(list(&[1, 0, 2, b'n', b'o'])), Ok(String::new()));
    assert_eq!(name(list(&[1, 0, 2, b'n', b'o', 0, 0, 1, b'a'])), Ok("a".to_owned()));
    let damaged: [&[u8]; 6] =
        [&[], &[0], &[0, 0, 0], &[0, 0, 2, b'a'], &[0, 0, 1, b'a', b'b'], &[0, 0, 1, b'a', 0, 0, 1, b'b']];
    for entries in damaged {
        assert!(matches!(name(list(entries)), Err(Error::Malformed(_))), "{entries:?}");
    }
    assert!(matches!(name(vec![0, 5, 0, 0, 1, b'a']), Err(Error::Malformed(_))));
    assert!(matches!(name(vec![0, 4, 0, 0, 1, b'a', 0]), Err(Error::Malformed(_))));
}

#[test]
fn of_two_server_names_the_first_counts() {
    let message = Hello::named(b"first.example").with(0, server_name(b"second.example")).message();
    assert_eq!(parse(&message).unwrap().server_name().as_bytes(), b"first.example");
}

#[test]
fn any_number_of_extensions() {
    let mut hello = Hello::default();
    for kind in 1000..4000 {
        hello = hello.with(kind, vec![]);
    }
    let message = hello.with(0, server_name(b"last.example")).message();
    assert_eq!(parse(&message).unwrap().server_name().as_bytes(), b"last.example");
    assert!(ja4::fingerprint(&parse(&message).unwrap()).starts_with("t12d029900_"));
}

#[test]
fn what_is_missing_is_said() {
    let message = Hello::named(b"a.example").message();
    assert_eq!(parse(&[]).unwrap_err(), Error::NeedMore { bytes: 4 });
    assert_eq!(parse(&message[..2]).unwrap_err(), Error::NeedMore { bytes: 2 });
    for len in 4..message.len() {
        assert_eq!(parse(&message[..len]).unwrap_err(), Error::NeedMore { bytes: message.len() - len });
    }
    assert_eq!(parse(&[2, 0, 0, 0]).unwrap_err(), Error::NotAHello);
}
