//! The corpora, and the ways in which their hellos can travel.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use aes::{
    Aes128,
    cipher::{BlockCipherEncrypt as _, KeyInit as _},
};
use aes_gcm::{Aes128Gcm, aead::AeadInOut as _};
use hkdf::Hkdf;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use sha2::Sha256;
use sni::{Flow, Gatherer, Outcome, Segment};

pub(crate) const NOW: Duration = Duration::from_secs(100);

/// A captured hello: its file, the name that its client was told to ask for, and its TLS records.
pub(crate) struct Sample {
    pub(crate) file: String,
    pub(crate) name: String,
    pub(crate) records: Vec<u8>,
}

impl Sample {
    /// The handshake message, from its type on.
    pub(crate) fn message(&self) -> &[u8] {
        &self.records[5..]
    }
}

fn index(corpus: &str) -> Vec<(String, String, Vec<u8>)> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus").join(corpus);
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

pub(crate) fn samples() -> Vec<Sample> {
    let samples = index("hellos").into_iter();
    let samples: Vec<_> = samples.map(|(file, name, records)| Sample { file, name, records }).collect();
    assert!(samples.len() >= 14, "only {} samples", samples.len());
    samples
}

/// Captured datagrams: the file, the name, and for each datagram whether the client sent it.
pub(crate) struct Capture {
    pub(crate) file: String,
    pub(crate) name: String,
    pub(crate) datagrams: Vec<(bool, Vec<u8>)>,
}

pub(crate) fn captures() -> Vec<Capture> {
    let captures = index("quic").into_iter();
    let captures: Vec<_> = captures
        .map(|(file, name, bytes)| {
            let mut rest = &bytes[..];
            let mut datagrams = Vec::new();
            while let [side, high, low, tail @ ..] = rest {
                let (datagram, tail) = tail.split_at(usize::from(*high) << 8 | usize::from(*low));
                datagrams.push((*side == b'c', datagram.to_vec()));
                rest = tail;
            }
            Capture { file, name, datagrams }
        })
        .collect();
    assert!(captures.len() >= 20, "only {} captures", captures.len());
    captures
}

/// A client's flow, one for each number.
pub(crate) fn flow(number: u16) -> Flow {
    let source = SocketAddr::from(([10, 0, 0, 2], number));
    Flow { namespace: 7, source, destination: SocketAddr::from(([192, 0, 2, 1], 443)) }
}

/// The names that an outcome gives: one or none.
pub(crate) fn name_in(outcome: Outcome) -> Option<String> {
    match outcome {
        Outcome::Hello(found) => Some(found.hello.server_name().text()),
        _ => None,
    }
}

/// The names found in segments of one flow, handed in in this order.
pub(crate) fn names<'a>(
    gatherer: &mut Gatherer,
    flow: Flow,
    segments: impl IntoIterator<Item = Segment<'a>>,
) -> Vec<String> {
    segments.into_iter().filter_map(|segment| name_in(gatherer.tcp(flow, segment, NOW))).collect()
}

/// The SYN in front of a stream whose first byte has the number `first`.
pub(crate) fn syn(first: u32) -> Segment<'static> {
    Segment { sequence: first.wrapping_sub(1), syn: true, payload: &[] }
}

/// A source of numbers that are the same in each run.
pub(crate) fn rng(seed: u8) -> TestRng {
    TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32])
}

pub(crate) fn runner() -> TestRunner {
    TestRunner::default()
}

/// Cuts `bytes` at `cuts`: offset and bytes of each piece, in order.
pub(crate) fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<(usize, &'a [u8])> {
    let mut borders: Vec<usize> = cuts.iter().map(|cut| cut % bytes.len()).collect();
    borders.extend([0, bytes.len()]);
    borders.sort_unstable();
    borders.dedup();
    borders.windows(2).map(|pair| (pair[0], &bytes[pair[0]..pair[1]])).collect()
}

/// A handshake message in records that end at `cuts`.
pub(crate) fn in_records(message: &[u8], cuts: &[usize]) -> Vec<u8> {
    pieces(message, cuts).into_iter().flat_map(|(_, piece)| crate::hello::record(piece)).collect()
}

/// The keys of a client whose first packet is for `id`, written down again and apart from the crate's.
pub(crate) struct Sealer {
    id: Vec<u8>,
    key: Aes128Gcm,
    iv: [u8; 12],
    header: Aes128,
}

impl Sealer {
    pub(crate) fn v1(id: &[u8]) -> Self {
        const SALT: u128 = 0x3876_2cf7_f559_34b3_4d17_9ae6_a4c8_0cad;
        let salt = [&SALT.to_be_bytes()[..], &[0xcc, 0xbb, 0x7f, 0x0a]].concat();
        let (_, initial) = Hkdf::<Sha256>::extract(Some(&salt), id);
        let expand = |secret: &Hkdf<Sha256>, label: &str, len: usize| {
            let label = format!("tls13 {label}");
            let info = [&[0, len as u8, label.len() as u8], label.as_bytes(), &[0]].concat();
            let mut out = vec![0; len];
            secret.expand(&info, &mut out).unwrap();
            out
        };
        let client = Hkdf::from_prk(&expand(&initial, "client in", 32)).unwrap();
        Self {
            id: id.to_vec(),
            key: Aes128Gcm::new_from_slice(&expand(&client, "quic key", 16)).unwrap(),
            iv: expand(&client, "quic iv", 12).try_into().unwrap(),
            header: Aes128::new_from_slice(&expand(&client, "quic hp", 16)).unwrap(),
        }
    }

    /// A protected Initial packet for `to`, or for the first id.
    pub(crate) fn packet(&self, to: Option<&[u8]>, number: u32, frames: &[u8]) -> Vec<u8> {
        let to = to.unwrap_or(&self.id);
        let mut frames = frames.to_vec();
        frames.resize(frames.len().max(4), 0);
        let mut packet = vec![0xc3, 0, 0, 0, 1, to.len() as u8];
        packet.extend(to);
        packet.extend([0, 0]);
        packet.extend((0x4000 | (4 + frames.len() + 16) as u16).to_be_bytes());
        let number_at = packet.len();
        packet.extend(number.to_be_bytes());
        let mut nonce = self.iv;
        for (byte, number) in nonce[8..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= number;
        }
        let tag =
            self.key.encrypt_inout_detached(&nonce.into(), &packet, frames.as_mut_slice().into()).unwrap();
        packet.extend(frames);
        packet.extend(tag);
        let mut mask = aes::Block::default();
        mask.copy_from_slice(&packet[number_at + 4..][..16]);
        self.header.encrypt_block(&mut mask);
        packet[0] ^= mask[0] & 0xf;
        for (byte, mask) in packet[number_at..number_at + 4].iter_mut().zip(&mask[1..]) {
            *byte ^= mask;
        }
        packet
    }
}

/// A CRYPTO frame.
pub(crate) fn crypto(offset: usize, data: &[u8]) -> Vec<u8> {
    let mut frame = vec![6];
    frame.extend((0x8000_0000 | offset as u32).to_be_bytes());
    frame.extend((0x4000 | data.len() as u16).to_be_bytes());
    frame.extend(data);
    frame
}
