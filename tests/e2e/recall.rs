//! Recall: hellos of many kinds, through real sockets over loopback and over a pair of veth devices, and which of them
//! are shown. The table is docs/recall.md; `IGX_RECALL=write` writes it anew.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    io::Read as _,
    net::{TcpListener, TcpStream, UdpSocket},
    process::Command,
};

use runner::container::namespace;
use serde_json::Value;

use crate::{
    recall_cases::{Case, Sent, cases},
    support::{self, Igx},
};

/// Network namespace at the other end of a veth pair, whose names begin with `igxc`.
struct Other {
    name: String,
    link: String,
    part: u32,
}

fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Other {
    fn new() -> Self {
        let part = std::process::id() % 250 + 1;
        let other = Self { name: format!("igx-recall-{part}"), link: format!("igxc{part}"), part };
        let (name, link) = (&other.name, &other.link);
        ip(&format!("netns add {name}"));
        ip(&format!("link add {link} type veth peer name eth0 netns {name}"));
        ip(&format!("address add 10.252.{part}.1/24 dev {link}"));
        ip(&format!("link set {link} up"));
        ip(&format!("-n {name} address add 10.252.{part}.2/24 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        other
    }

    /// Without offloads TCP makes packets that fit the device, which taps then see.
    fn set(&self, mtu: usize, offloads: bool) {
        let segments = if offloads { 65_535 } else { 1 };
        ip(&format!("link set {} mtu {mtu} gso_max_segs {segments}", self.link));
        ip(&format!("-n {} link set eth0 mtu {mtu} gso_max_segs {segments}", self.name));
    }

    fn open(&self) -> File {
        File::open(format!("/run/netns/{}", self.name)).unwrap()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).output();
    }
}

/// A way from client to server.
struct Way {
    column: usize,
    /// The namespaces of client and server, where they are not this one.
    ends: [Option<File>; 2],
    addresses: [String; 2],
    mtu: usize,
    offloads: bool,
}

const COLUMNS: [&str; 3] = ["loopback", "veth, sent", "veth, received"];

fn at<T: Send>(end: Option<&File>, work: impl FnOnce() -> T + Send) -> T {
    match end {
        Some(namespace) => namespace::in_netns(namespace, work).unwrap(),
        None => work(),
    }
}

impl Way {
    fn carries(&self, case: &Case) -> bool {
        match &case.sent {
            Sent::Stream(_) => true,
            // QUIC goes only where its datagrams are not fragmented.
            Sent::Datagrams(datagrams) => datagrams.iter().all(|(_, bytes)| bytes.len() + 48 <= self.mtu),
        }
    }

    fn play(&self, case: &Case) {
        let [client, server] = [self.ends[0].as_ref(), self.ends[1].as_ref()];
        let [from, to] = self.addresses.each_ref().map(|address| format!("{address}:0"));
        let patience = Some(support::PATIENCE);
        match &case.sent {
            Sent::Stream(writes) => {
                let listener = at(server, || TcpListener::bind(&to).unwrap());
                let client = at(client, || TcpStream::connect(listener.local_addr().unwrap()).unwrap());
                client.set_nodelay(true).unwrap();
                let (mut accepted, _) = listener.accept().unwrap();
                accepted.set_read_timeout(patience).unwrap();
                for bytes in writes {
                    support::send(&client, bytes);
                    accepted.read_exact(&mut vec![0; bytes.len()]).unwrap();
                }
            }
            Sent::Datagrams(datagrams) => {
                let sockets = [at(client, || UdpSocket::bind(&from)), at(server, || UdpSocket::bind(&to))];
                let sockets = sockets.map(|socket| socket.unwrap());
                for (of_client, bytes) in datagrams {
                    let (from, to) = (usize::from(!of_client), usize::from(*of_client));
                    sockets[to].set_read_timeout(patience).unwrap();
                    sockets[from].send_to(bytes, sockets[to].local_addr().unwrap()).unwrap();
                    sockets[to].recv(&mut [0; 4096]).unwrap();
                }
            }
        }
    }
}

/// Found and sent, by category and column; and what was shown that should not have been.
#[derive(Default)]
struct Recall {
    counts: BTreeMap<&'static str, [[usize; 2]; COLUMNS.len()]>,
    wrong: Vec<String>,
}

impl Recall {
    fn measure(&mut self, igx: &Igx, way: &Way, cases: &[Case]) {
        let (pid, tid) = (std::process::id().to_string(), nix::unistd::gettid().to_string());
        let mut run = igx.run(&["trace_sni", "--host", "-o", "json", "--pid", &pid, "--tid", &tid]);
        let played: Vec<_> = cases.iter().filter(|case| way.carries(case)).collect();
        for case in &played {
            way.play(case);
        }
        let mut seen: Vec<String> = Vec::new();
        let mut cut = 0;
        let mut take = |line: &str| {
            let event: Value = serde_json::from_str(line).unwrap();
            let name = event["name"].as_str().unwrap();
            let whole = cases.iter().any(|case| case.category.ends_with(", whole") && case.names == [name]);
            cut += usize::from(whole && event["segments"].as_u64() > Some(1));
            seen.push(name.to_owned());
        };
        // What was sent last is shown last.
        let last = Case::last();
        way.play(&last);
        loop {
            let line = run.line();
            take(&line);
            if line.contains(&last.names[0]) {
                break;
            }
        }
        run.stop().iter().for_each(|line| take(line));
        // Or else the devices do not do what they are here for.
        assert!(cut > 0 || way.mtu > 1500 || way.offloads, "no hello was cut with an MTU of {}", way.mtu);
        seen.retain(|name| *name != last.names[0]);
        for case in played {
            let [found, sent] = &mut self.counts.entry(case.category).or_default()[way.column];
            for name in &case.names {
                *sent += 1;
                if let Some(at) = seen.iter().position(|seen| seen == name) {
                    *found += 1;
                    seen.swap_remove(at);
                } else {
                    self.wrong.push(format!("{}: {name} not shown", case.category));
                }
            }
        }
        self.wrong.extend(seen.into_iter().map(|name| format!("{name:?} shown once too often")));
    }

    fn table(&self) -> String {
        let mut table = format!("| hellos | {} |\n| --- |{}\n", COLUMNS.join(" | "), " --: |".repeat(3));
        for (category, columns) in &self.counts {
            let cells = columns.map(|[found, sent]| format!("{found} of {sent}"));
            let _ = writeln!(table, "| {category} | {} |", cells.join(" | "));
        }
        table
    }
}

const INTRODUCTION: &str = "# Recall

Which host names trace_sni shows of those that were asked for, by category: found of sent. Each was to be shown once, \
by the process that it is of, and nothing else.

Written by the test `recall` (`IGX_RECALL=write cargo test -p runner --test e2e recall`), which plays the cases of \
tests/e2e/recall_cases.rs through sockets of this host: captured hellos of real clients (tests/corpus) with names and \
random bytes of their own, and made ones. Loopback is IPv4 and IPv6; veth is with MTU 576, 1500 and 9000, each with \
and without segmentation offload (`gso_max_segs 1`), seen at the sender's or the receiver's side. QUIC needs an MTU of \
more than 1,200 bytes and is not sent over one of 576. Lines without a name hold what is no hello, or asks for none: \
nothing may be shown.

Not compared: tshark, which was not there.

";

#[test]
fn every_name_of_the_corpus_is_shown_once() {
    let igx = Igx::new();
    let cases = cases();
    assert!(cases.len() >= 300, "only {} cases", cases.len());
    let mut recall = Recall::default();
    for address in ["127.0.0.1", "[::1]"] {
        let addresses = [address, address].map(str::to_owned);
        recall.measure(
            &igx,
            &Way { column: 0, ends: [None, None], addresses, mtu: 65_536, offloads: true },
            &cases,
        );
    }
    let other = Other::new();
    let (here, there) = (format!("10.252.{}.1", other.part), format!("10.252.{}.2", other.part));
    for mtu in [576, 1500, 9000] {
        for offloads in [true, false] {
            other.set(mtu, offloads);
            let addresses = [here.clone(), there.clone()];
            recall.measure(
                &igx,
                &Way { column: 1, ends: [None, Some(other.open())], addresses, mtu, offloads },
                &cases,
            );
            let addresses = [there.clone(), here.clone()];
            recall.measure(
                &igx,
                &Way { column: 2, ends: [Some(other.open()), None], addresses, mtu, offloads },
                &cases,
            );
        }
    }
    assert_eq!(recall.wrong, Vec::<String>::new(), "\n{}", recall.table());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/recall.md");
    let text = format!("{INTRODUCTION}{} cases.\n\n{}", cases.len(), recall.table());
    if std::env::var("IGX_RECALL").is_ok_and(|told| told == "write") {
        fs::write(path, &text).unwrap();
    }
    assert!(fs::read_to_string(path).unwrap() == text, "docs/recall.md is out of date; now:\n{text}");
}
