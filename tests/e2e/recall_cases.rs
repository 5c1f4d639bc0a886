//! The cases of the recall test: hellos by category, each with the name that is to be shown.

use std::{fs, path::PathBuf};

use crate::hello::{self, Hello};

/// More than a segment of a network with the usual MTU takes.
const LARGE: usize = 1_448;

pub(crate) enum Sent {
    /// What the client writes, each as a segment of its own where it fits.
    Stream(Vec<Vec<u8>>),
    /// Whether the client sends it, and what.
    Datagrams(Vec<(bool, Vec<u8>)>),
}

pub(crate) struct Case {
    pub(crate) category: &'static str,
    /// To be shown: one, or none.
    pub(crate) names: Vec<String>,
    pub(crate) sent: Sent,
}

impl Case {
    /// A case that is sent behind all others, or in front of them; each `number` has a name of its own.
    pub(crate) fn last(number: u32) -> Self {
        let name = format!("the-last-{number}.recall.example");
        let mut record = Hello::named(name.as_bytes()).record();
        set_random(&mut record, u32::MAX - number);
        Self { category: "", names: vec![name], sent: Sent::Stream(vec![record]) }
    }
}

/// How a stream is cut, and what is said before TLS is.
const WAYS: [(&str, &str); 8] = [
    ("TLS, whole", "TLS of 1.5 kB and more, whole"),
    ("TLS, two segments", "TLS of 1.5 kB and more, two segments"),
    ("TLS, segments of 100 bytes", "TLS of 1.5 kB and more, segments of 100 bytes"),
    ("TLS, a byte a segment", "TLS of 1.5 kB and more, a byte a segment"),
    ("TLS, records in one segment", "TLS of 1.5 kB and more, records in one segment"),
    ("TLS, a record a segment", "TLS of 1.5 kB and more, a record a segment"),
    ("TLS, plain text before", "TLS of 1.5 kB and more, plain text before"),
    ("TLS, plain text in its segment", "TLS of 1.5 kB and more, plain text in its segment"),
];

const OPENINGS: [&[u8]; 8] = [
    b"PROXY TCP4 192.0.2.1 192.0.2.2 45678 443\r\n",
    b"CONNECT behind.example:443 HTTP/1.1\r\nHost: behind.example:443\r\n\r\n",
    b"STARTTLS\r\n",
    b"STLS\r\n",
    b"AUTH TLS\r\n",
    b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    &[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f],
    &[5, 1, 0, 1, 192, 0, 2, 1, 1, 0xbb],
];

fn cut(record: &[u8], way: usize, number: u32) -> Vec<Vec<u8>> {
    let opening = OPENINGS[number as usize % OPENINGS.len()];
    let records = || record[5..].chunks(150 + number as usize % 300).map(hello::record);
    match way {
        0 => vec![record.to_vec()],
        1 => {
            // Anywhere, but for the first byte.
            let (one, two) =
                record.split_at(1 + number.wrapping_mul(0x9e37_79b1) as usize % (record.len() - 1));
            vec![one.to_vec(), two.to_vec()]
        }
        2 => record.chunks(100).map(<[_]>::to_vec).collect(),
        3 => record.chunks(1).map(<[_]>::to_vec).collect(),
        4 => vec![records().collect::<Vec<_>>().concat()],
        5 => records().collect(),
        6 => vec![opening.to_vec(), record.to_vec()],
        _ => vec![[opening, record].concat()],
    }
}

fn set_random(record: &mut [u8], number: u32) {
    for (at, byte) in record[11..43].iter_mut().enumerate() {
        *byte = (number.rotate_left(at as u32).wrapping_mul(0x85eb_ca6b) >> 24) as u8;
    }
    record[11..15].copy_from_slice(&number.to_be_bytes());
}

fn corpus(folder: &str) -> Vec<(String, String, Vec<u8>)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus").join(folder);
    let index = fs::read_to_string(dir.join("index.tsv")).unwrap();
    let lines = index.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let mut columns = line.split('\t').map(str::to_owned);
            let (file, name) = (columns.next().unwrap(), columns.next().unwrap());
            let bytes = fs::read(dir.join(&file)).unwrap();
            (file, name, bytes)
        })
        .collect()
}

/// Records with their names: captured ones, and made ones of many sizes with the name anywhere in them.
fn records() -> Vec<(String, Vec<u8>)> {
    let captured = corpus("hellos").into_iter().map(|(_, name, record)| (name, record));
    let made = (0..22_usize).map(|number| {
        let name = format!("{number:06}.{}example", "long.".repeat(number * 2));
        let fill = |kind| (kind, vec![0x0a; number * 90 % 1_900 + 1]);
        let mut extensions = vec![fill(51), fill(0xfe0d), fill(21)];
        extensions.insert(number % 4, (0, hello::server_name(name.as_bytes())));
        let record = Hello { extensions, ..Hello::default() }.record();
        (name, record)
    });
    captured.chain(made).collect()
}

fn streams(cases: &mut Vec<Case>) {
    let mut number = 0;
    for (name, record) in records() {
        for (way, categories) in WAYS.iter().enumerate() {
            number += 1;
            let mut own = name.clone();
            own.replace_range(..6, &format!("r{number:05}"));
            let at = record.windows(name.len()).position(|bytes| bytes == name.as_bytes()).unwrap();
            let mut record = record.clone();
            record[at..at + own.len()].copy_from_slice(own.as_bytes());
            set_random(&mut record, number);
            let category = if record.len() > LARGE { categories.1 } else { categories.0 };
            cases.push(Case { category, sent: Sent::Stream(cut(&record, way, number)), names: vec![own] });
        }
    }
}

/// Datagrams of a capture: `c` or `s` for who sent it, a length of two bytes, the bytes.
fn datagrams(mut rest: &[u8]) -> Vec<(bool, Vec<u8>)> {
    let mut datagrams = Vec::new();
    while let [who, high, low, behind @ ..] = rest {
        let (datagram, next) = behind.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        datagrams.push((*who == b'c', datagram.to_vec()));
        rest = next;
    }
    datagrams
}

fn quic(cases: &mut Vec<Case>) {
    for (file, name, bytes) in corpus("quic") {
        // The samples of the two RFCs are of one hello.
        let category = match file.as_str() {
            "rfc9369-a2.bin" => continue,
            file if file.contains("retry") => "QUIC, with Retry",
            file if file.starts_with("scrambled") => "QUIC, scrambled",
            file if file.starts_with("browser") || file.starts_with("chromium") => "QUIC of browsers",
            file if file.contains("v2") => "QUIC, version 2",
            _ => "QUIC, version 1",
        };
        cases.push(Case { category, names: vec![name], sent: Sent::Datagrams(datagrams(&bytes)) });
    }
}

fn dtls(cases: &mut Vec<Case>) {
    for number in 0..16_u32 {
        let name = format!("dtls-{number}.example");
        let mut record = Hello::named(name.as_bytes()).with(21, vec![0; number as usize * 9]).record();
        set_random(&mut record, 0x0100_0000 + number);
        let mut body = record[9..].to_vec();
        body[..2].copy_from_slice(&[0xfe, 0xfd]);
        body.insert(2 + 32 + 1 + 32, 0); // no cookie
        let size = if number % 2 == 0 { body.len() } else { 60 };
        let u24 = |number: usize| (number as u32).to_be_bytes()[1..].to_vec();
        let sent = body.chunks(size).enumerate().map(|(at, data)| {
            let header = [&[1][..], &u24(body.len()), &[0, 0], &u24(at * size), &u24(data.len())].concat();
            let len = ((header.len() + data.len()) as u16).to_be_bytes();
            let record = [&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, at as u8][..], &len].concat();
            (true, [record, header, data.to_vec()].concat())
        });
        let category = if size == body.len() { "DTLS, whole" } else { "DTLS, fragments" };
        cases.push(Case { category, names: vec![name], sent: Sent::Datagrams(sent.collect()) });
    }
}

/// What is no hello, or asks for no host name.
fn nothing(cases: &mut Vec<Case>) {
    let hello = Hello::named(b"not-me.example").record();
    let mut other_type = Hello::named(b"not-me.example").record();
    let at = other_type.windows(6).position(|bytes| bytes == b"not-me").unwrap();
    other_type[at - 3] = 7;
    let mut server = hello.clone();
    server[5] = 2;
    let mut data = hello.clone();
    data[0] = 0x17;
    let payloads = [
        b"GET /not-me.example HTTP/1.1\r\nHost: not-me.example\r\n\r\n".to_vec(),
        [&[0x17, 3, 3, 1, 0][..], &hello].concat(),
        Hello::default().record(),
        hello[1..].to_vec(),
        other_type,
        server,
        data,
    ];
    for payload in payloads {
        cases.push(Case { category: "without a name", names: Vec::new(), sent: Sent::Stream(vec![payload]) });
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    streams(&mut cases);
    quic(&mut cases);
    dtls(&mut cases);
    nothing(&mut cases);
    cases
}
