//! What others find of the cases of the recall test, played the same way: tshark, and Inspektor Gadget's ig with this
//! tree's image and with its own. Wanted by `IGX_RECALL=write` and scripts/recall-ig; no other run needs them.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    recall_cases::{Case, cases},
    recall_ways::{Other, Way},
    support::Running,
};

/// Found and sent, by category.
pub(crate) type Found = BTreeMap<&'static str, [usize; 2]>;

/// In the order of the table's last columns.
pub(crate) const PEERS: [&str; 3] = ["tshark", "ig, this image", "ig, its own image"];

/// Until it shows its first name: in an emulated machine, ig takes its time.
const START: Duration = Duration::from_secs(240);
/// Nothing more is shown when nothing was for so long.
const QUIET: Duration = Duration::from_secs(3);

/// The gadget waits five seconds for the rest of a hello. An emulated machine that takes longer to send its 1,800
/// segments shows nothing about who finds it: such a case does not count.
const WAITED: Duration = Duration::from_secs(4);

/// Adds to `found` what a program shows of the cases that `way` carries. `names`: those in one of its lines. `sure`: a
/// way whose names it shows for certain, if it is there at all.
fn measure(
    found: &mut Found,
    command: &mut Command,
    names: impl Fn(&str) -> Vec<String>,
    (way, sure): (&Way, &Way),
    cases: &[Case],
) {
    let mut running =
        Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()));
    let mut seen: Vec<String> = Vec::new();
    let started = Instant::now();
    while !seen.contains(&Case::last(0).names[0]) {
        assert!(started.elapsed() < START, "{command:?} shows nothing");
        sure.play(&Case::last(0));
        while let Some(line) = running.line_within(Duration::from_millis(300)) {
            seen.extend(names(&line));
        }
    }
    let mut played: Vec<_> = cases.iter().filter(|case| way.carries(case)).collect();
    played.retain(|case| {
        let started = Instant::now();
        way.play(case);
        started.elapsed() < WAITED
    });
    sure.play(&Case::last(1));
    let last = &Case::last(1).names[0];
    while let Some(line) = running.line_within(if seen.contains(last) { QUIET } else { QUIET * 10 }) {
        seen.extend(names(&line));
    }
    assert!(seen.contains(last), "{command:?} ended in the midst of it");
    for case in played {
        let [names, sent] = found.entry(case.category).or_default();
        *sent += case.names.len();
        *names += case.names.iter().filter(|name| seen.contains(name)).count();
    }
}

/// What tshark finds by all ways, if it is there.
pub(crate) fn tshark(ways: impl Iterator<Item = Way>, cases: &[Case]) -> Option<Found> {
    Command::new("tshark").arg("--version").output().ok()?;
    let mut found = Found::new();
    for way in ways {
        let mut command = Command::new("tshark");
        command.args(["-i", &way.device, "-B", "64", "-l", "-n", "-T", "fields", "-E", "occurrence=a"]);
        command.args([
            "-Y",
            "tls.handshake.extensions_server_name",
            "-e",
            "tls.handshake.extensions_server_name",
        ]);
        let names = |line: &str| line.split(',').map(str::to_owned).collect();
        measure(&mut found, &mut command, names, (&way, &way), cases);
    }
    Some(found)
}

fn ig(folder: &Path, image: &str) -> Command {
    let mut command = Command::new(folder.join("ig"));
    command.args(["run", image, "--auto-mount-filesystems", "--verify-image=false", "--host", "-o", "json"]);
    command
}

/// scripts/recall-ig runs this where ig can run, and takes what it prints.
#[test]
fn ig_shows_the_names_of_this_image() {
    let Some(folder) = std::env::var_os("IGX_RECALL_PEER") else {
        return eprintln!("not compared with ig: scripts/recall-ig does that");
    };
    let folder = Path::new(&folder);
    let names = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        vec![event["name"].as_str().unwrap_or_default().to_owned()]
    };
    let cases = cases();
    let (other, sure) = (Other::new(), Way::loopback("127.0.0.1"));
    let mut missed = Vec::new();
    for (peer, image) in [(1, "trace_sni:ours"), (2, "trace_sni:latest")] {
        let mut found = Found::new();
        for number in 0..5 {
            let way = match number {
                0 => Way::loopback("127.0.0.1"),
                1 => Way::loopback("[::1]"),
                2 => other.way(true, 1500, true),
                3 => other.way(true, 1500, false),
                _ => other.way(false, 1500, false),
            };
            measure(&mut found, &mut ig(folder, image), names, (&way, &sure), &cases);
        }
        for (category, [names, sent]) in &found {
            println!("@@ {category}\t{}\t{names} of {sent}", PEERS[peer]);
        }
        if peer == 1 {
            missed.extend(found.into_iter().filter(|(_, [names, sent])| names < sent));
        }
    }
    assert!(missed.is_empty(), "ig misses names of this tree's image: {missed:?}");
}
