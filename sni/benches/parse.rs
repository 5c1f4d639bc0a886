//! What a hello costs: `cargo bench -p sni`. Nanoseconds, the median of the rounds, `tls-parser` beside it.
//!
//! The parsers run in turns, so that a slow moment of the machine meets all of them.

use std::{fs, hint::black_box, net::SocketAddr, time::Duration, time::Instant};

use sni::{ClientHello, Flow, Gatherer, Segment, Transport, ja4};

const ROUNDS: usize = 15;
const RUNS: u32 = 2_000;

struct Case<'a> {
    name: &'static str,
    run: Box<dyn FnMut() + 'a>,
    nanoseconds: Vec<f64>,
}

fn main() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus");
    let read = |file: &str| fs::read(format!("{corpus}/{file}")).unwrap_or_default();
    let hello = read("hellos/browser-chrome131.bin");
    let initial = read("quic/rfc9001-a2.bin").split_off(3);
    let message = &hello[5..];
    let (first, second) = hello.split_at(1000);
    let flow = Flow {
        namespace: 1,
        source: SocketAddr::from(([10, 0, 0, 2], 40_000)),
        destination: SocketAddr::from(([192, 0, 2, 1], 443)),
    };
    let segment = |sequence, payload| Segment { sequence, syn: false, payload };
    let parsed = ClientHello::parse(message, Transport::Tcp);
    let (mut whole, mut split, mut other) = (Gatherer::new(), Gatherer::new(), Gatherer::new());
    let noise = vec![0x17; 1448];
    let mut cases = [
        Case::new("a hello of 1799 bytes", || {
            let _ = black_box(ClientHello::parse(black_box(message), Transport::Tcp));
        }),
        Case::new("the same, by tls-parser", || {
            if let Ok((
                _,
                tls_parser::TlsMessage::Handshake(tls_parser::TlsMessageHandshake::ClientHello(hello)),
            )) = tls_parser::parse_tls_message_handshake(black_box(message))
            {
                let _ = black_box(tls_parser::parse_tls_client_hello_extensions(hello.ext.unwrap_or(&[])));
            }
        }),
        Case::new("its JA4", || {
            if let Ok(hello) = &parsed {
                black_box(ja4::fingerprint(black_box(hello)));
            }
        }),
        Case::new("gathered from one segment", || {
            black_box(whole.tcp(flow, segment(1, black_box(&hello)), Duration::ZERO));
        }),
        Case::new("gathered from two segments", {
            let mut sequence = 0u32;
            move || {
                sequence = sequence.wrapping_add(10_000);
                black_box(split.tcp(flow, segment(sequence, first), Duration::ZERO));
                black_box(split.tcp(flow, segment(sequence.wrapping_add(1000), second), Duration::ZERO));
            }
        }),
        Case::new("a segment of 1448 bytes without one", || {
            black_box(other.tcp(flow, segment(1, black_box(&noise)), Duration::ZERO));
        }),
        Case::new("a QUIC Initial of 1200 bytes", || {
            black_box(Gatherer::new().udp(flow, black_box(&initial), 0, Duration::ZERO));
        }),
    ];
    for _ in 0..ROUNDS {
        for case in &mut cases {
            let start = Instant::now();
            (0..RUNS).for_each(|_| (case.run)());
            case.nanoseconds.push(start.elapsed().as_secs_f64() * 1e9 / f64::from(RUNS));
        }
    }
    for case in &mut cases {
        case.nanoseconds.sort_by(f64::total_cmp);
        println!("{:36} {:8.0} ns", case.name, case.nanoseconds[ROUNDS / 2]);
    }
}

impl<'a> Case<'a> {
    fn new(name: &'static str, run: impl FnMut() + 'a) -> Self {
        Self { name, run: Box::new(run), nanoseconds: Vec::with_capacity(ROUNDS) }
    }
}
