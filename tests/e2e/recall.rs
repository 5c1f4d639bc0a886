//! Recall: hellos of many kinds, through real sockets over loopback and over a pair of veth devices, and which of them
//! are shown. The table is docs/recall.md; `IGX_RECALL=write` writes it anew, with the columns of those peers that are
//! there.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use serde_json::Value;

use crate::{
    recall_cases::{Case, cases},
    recall_peers::{self, PEERS},
    recall_ways::{COLUMNS, Other, Way},
    support::Igx,
};

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
        let last = Case::last(0);
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

    fn table(&self, peers: &Peers) -> String {
        let titles = [&COLUMNS[..], &PEERS].concat();
        let mut table =
            format!("| hellos | {} |\n| --- |{}\n", titles.join(" | "), " --: |".repeat(titles.len()));
        for (category, columns) in &self.counts {
            let mut cells = columns.map(|[found, sent]| format!("{found} of {sent}")).to_vec();
            cells.extend(PEERS.map(|peer| {
                peers
                    .get(&(category.to_string(), peer.to_owned()))
                    .map_or(NOT_COMPARED, String::as_str)
                    .to_owned()
            }));
            let _ = writeln!(table, "| {category} | {} |", cells.join(" | "));
        }
        table
    }
}

/// Cells by category and peer.
type Peers = BTreeMap<(String, String), String>;

const NOT_COMPARED: &str = "not compared";

/// What a table of before says of others.
fn peers_of(text: &str) -> Peers {
    let mut peers = Peers::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        for (peer, cell) in PEERS.iter().zip(cells.get(1 + COLUMNS.len()..).unwrap_or_default()) {
            peers.insert((cells[0].to_owned(), (*peer).to_owned()), (*cell).to_owned());
        }
    }
    peers
}

/// Every way there is, with the devices set up for it until the next one is asked for.
fn ways(other: &Other) -> impl Iterator<Item = Way> {
    let loopback = ["127.0.0.1", "[::1]"].into_iter().map(Way::loopback);
    loopback.chain([576, 1500, 9000].into_iter().flat_map(move |mtu| {
        let four = [(true, true), (true, false), (false, true), (false, false)];
        four.into_iter().map(move |(offloads, sent)| other.way(sent, mtu, offloads))
    }))
}

const INTRODUCTION: &str = "# Recall

Which host names trace_sni shows of those that were asked for, by category: found of sent. Each was to be shown once, \
by the process that it is of, and nothing else.

Written by the test `recall` (`IGX_RECALL=write cargo test -p runner --test e2e recall`), which plays the cases of \
tests/e2e/recall_cases.rs through sockets of this host: captured hellos of real clients (tests/corpus) with names and \
random bytes of their own, and made ones. Loopback is IPv4 and IPv6; veth is with MTU 576, 1500 and 9000, each with \
and without offloads (`ethtool -K tso off gso off gro off`), seen at the sender's or the receiver's side. QUIC needs an \
MTU of more than 1,200 bytes and is not sent over one of 576. Lines without a name hold what is no hello, or asks for \
none: nothing may be shown.

Others were asked only whether a name is shown at all, be it once or often. tshark (4.0, with its defaults) saw all of \
these ways. Inspektor Gadget's ig (0.55) ran in a machine of its own with Linux 6.12 (`scripts/recall-ig`), over \
loopback and over veth with an MTU of 1500, sent with and without offloads and received without them: once with the \
image of this tree, whose QUIC and DTLS names it has on the data source `sni_quic`, and once with its own trace_sni. \
There a hello that took the emulated machine four seconds to send, in 1,800 segments, does not count: the gadget waits \
for five. A column that was not measured anew stays as it was.

";

#[test]
fn every_name_of_the_corpus_is_shown_once() {
    let igx = Igx::new();
    let cases = cases();
    assert!(cases.len() >= 300, "only {} cases", cases.len());
    let mut recall = Recall::default();
    let other = Other::new();
    for way in ways(&other) {
        recall.measure(&igx, &way, &cases);
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/recall.md");
    let before = fs::read_to_string(path).unwrap();
    let mut peers = peers_of(&before);
    let write = std::env::var("IGX_RECALL").is_ok_and(|told| told == "write");
    if write {
        let tshark = recall_peers::tshark(ways(&other), &cases).unwrap_or_default();
        for (category, [found, sent]) in tshark {
            peers.insert((category.to_owned(), PEERS[0].to_owned()), format!("{found} of {sent}"));
        }
        // What scripts/recall-ig left.
        let ig = std::env::var_os("IGX_RECALL_IG").map(|path| fs::read_to_string(path).unwrap());
        for line in ig.iter().flat_map(|text| text.lines()) {
            let [category, peer, cell] =
                line.splitn(3, '\t').map(str::to_owned).collect::<Vec<_>>().try_into().unwrap();
            peers.insert((category, peer), cell);
        }
    }
    let table = recall.table(&peers);
    assert_eq!(recall.wrong, Vec::<String>::new(), "\n{table}");
    let text = format!("{INTRODUCTION}{} cases.\n\n{table}", cases.len());
    if write {
        fs::write(path, text).unwrap();
    } else {
        assert!(before == text, "docs/recall.md is out of date; now:\n{text}");
    }
}
