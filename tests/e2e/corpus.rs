//! Hellos over real connections: of real clients, of sizes that `BPF_PROG_TEST_RUN` does not take, and in pieces. The
//! loopback device keeps up to 64 kB in one packet.

use std::{fs, io::Read as _, net::TcpStream, path::Path};

use serde_json::Value;

use crate::{
    hello::{self, Hello},
    support::{self, Igx, Running},
};

const PADDING: u16 = 21;
const ALPN: u16 = 16;
/// What a record's plaintext may have (RFC 8446, section 5.1).
const RECORD_MAX: usize = 1 << 14;

/// What this thread's sockets are seen to ask for. Both ends are ours, so each packet is seen twice.
fn watch(igx: &Igx) -> Running {
    let (pid, tid) = (std::process::id().to_string(), nix::unistd::gettid().to_string());
    igx.run(&["trace_sni", "--host", "--all", "-o", "json", "--pid", &pid, "--tid", &tid])
}

/// The names that were seen, in their order. Packets are seen before their bytes can be read, so none is under way.
fn names(run: Running) -> Vec<String> {
    let lines = run.stop();
    let events = lines.iter().map(|line| serde_json::from_str(line).unwrap());
    events.map(|event: Value| event["name"].as_str().unwrap().to_owned()).collect()
}

/// Sends each part by a write of its own, once the one before has been read.
fn send(ends: &(TcpStream, TcpStream), parts: &[&[u8]]) {
    let (client, mut server) = (&ends.0, &ends.1);
    for part in parts {
        support::send(client, part);
        server.read_exact(&mut vec![0; part.len()]).unwrap();
    }
}

/// Sends each hello over a connection of its own; each gives its name, at both ends, and nothing else is seen.
fn each_gives_its_name(hellos: &[(String, Vec<u8>)]) {
    let igx = Igx::new();
    for address in ["127.0.0.1", "[::1]"] {
        let run = watch(&igx);
        for (_, payload) in hellos {
            send(&support::connected(address), &[payload]);
        }
        let wanted: Vec<_> = hellos.iter().flat_map(|(name, _)| [name.clone(), name.clone()]).collect();
        assert_eq!(names(run), wanted, "over {address}");
    }
}

#[test]
fn every_captured_hello_gives_its_name() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/hellos");
    let index = fs::read_to_string(dir.join("index.tsv")).unwrap();
    let hellos: Vec<_> = index
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut columns = line.split('\t');
            let payload = fs::read(dir.join(columns.next().unwrap())).unwrap();
            (columns.next().unwrap().to_owned(), payload)
        })
        .collect();
    assert!(hellos.len() >= 8, "only {} samples", hellos.len());
    each_gives_its_name(&hellos);
}

/// A list of `len` bytes or a few less, in names of eight bytes.
fn alpn(len: usize) -> Vec<u8> {
    let names = b"\x07http/1x".repeat((len - 2) / 8);
    [&u16::try_from(names.len()).unwrap().to_be_bytes()[..], &names].concat()
}

#[test]
fn a_hello_of_up_to_16_kilobytes_gives_its_name() {
    let mut hellos = Vec::new();
    for size in [3_500, 4_096, 8_192, 15_000, 16_000] {
        for (kind, data) in [(PADDING, vec![0; size]), (ALPN, alpn(size))] {
            let before = format!("before-{kind}-{size}.example");
            let after = format!("after-{kind}-{size}.example");
            let server_name = |name: &str| (0, hello::server_name(name.as_bytes()));
            for (name, extensions) in [
                (before.clone(), vec![server_name(&before), (kind, data.clone())]),
                (after.clone(), vec![(kind, data.clone()), server_name(&after)]),
            ] {
                hellos.push((name, Hello { extensions, ..Hello::default() }.record()));
            }
        }
    }
    each_gives_its_name(&hellos);
}

#[test]
fn a_hello_larger_than_a_record_gives_no_wrong_name() {
    let igx = Igx::new();
    let run = watch(&igx);
    let first = Hello::named(b"first.example").with(PADDING, vec![0; 20_000]).message();
    let last = Hello::default().with(PADDING, vec![0; 20_000]).with(0, hello::server_name(b"last.example"));
    // In one record, which no record may be; and in two, of which the first has the one name and not the other.
    for message in [&first, &last.message()] {
        send(&support::connected("127.0.0.1"), &[&hello::record(message)]);
        let (one, two) = message.split_at(RECORD_MAX);
        send(&support::connected("127.0.0.1"), &[&[hello::record(one), hello::record(two)].concat()]);
    }
    assert_eq!(names(run), ["first.example"; 2]);
}

#[test]
fn a_hello_in_two_pieces_gives_its_name() {
    let igx = Igx::new();
    let run = watch(&igx);
    let mut wanted = Vec::new();
    let length = Hello::named(b"cut-000.example").record().len();
    for cut in 1..length {
        let name = format!("cut-{cut:03}.example");
        let payload = Hello::named(name.as_bytes()).record();
        let (one, two) = payload.split_at(cut);
        send(&support::connected("127.0.0.1"), &[one, two]);
        wanted.extend([name.clone(), name]);
    }
    assert_eq!(names(run), wanted);
}
