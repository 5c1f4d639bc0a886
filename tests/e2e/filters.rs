//! What people ask to see: filters, expressions, and batches that are sorted and cut.

use std::{fs::File, process::Command};

use serde_json::Value;

use crate::support::{Igx, TlsServer, handshake, with_gadget, with_trace_files};

/// Runs a gadget that ends by itself and gives the entries of all its batches.
fn entries(igx: &Igx, args: &[&str]) -> Vec<Value> {
    let text = igx.ok(&[&["run"], args, &["--host", "-o", "json"]].concat());
    let batch = |line: &str| match serde_json::from_str(line).unwrap() {
        Value::Array(entries) => entries,
        entry => vec![entry],
    };
    text.lines().flat_map(batch).collect()
}

#[test]
fn an_expression_picks_events() {
    let igx = with_trace_files();
    let (other, wanted) = (igx.home.path().join("other"), igx.home.path().join("wanted"));
    let expression =
        "proc.uid == 0 && fname endsWith '/wanted' && flags contains 'O_CREAT' && by in ['openat']";
    let arguments = ["trace_files", "--host", "-o", "json", "--filter-expr.open", expression];
    let mut run = igx.run(&[&arguments[..], &["--filter-expr.start", "false"]].concat());
    File::create(&other).unwrap();
    File::create(&wanted).unwrap();
    let event: Value = serde_json::from_str(&run.line()).unwrap();
    assert_eq!(event["fname"], wanted.to_str().unwrap());
    run.stop();
}

#[test]
fn rules_and_an_expression_must_both_hold() {
    let igx = Igx::new();
    let server = TlsServer::start(igx.home.path(), "127.0.0.1");
    let mut run = igx.run(&[
        "trace_sni",
        "--host",
        "-o",
        "json",
        "-F",
        "name~wanted",
        "-E",
        "proc.uid == 0 && name endsWith '.example' && comm == 'openssl'",
    ]);
    handshake("127.0.0.1", server.port, "other.example");
    handshake("127.0.0.1", server.port, "wanted.test");
    handshake("127.0.0.1", server.port, "wanted.example");
    let event: Value = serde_json::from_str(&run.line()).unwrap();
    assert_eq!(event["name"], "wanted.example");
    run.stop();
}

#[test]
fn mistakes_are_told_before_anything_is_shown() {
    let igx = Igx::new();
    for (arguments, wanted) in [
        (
            ["-E", "nmae == 'x'"],
            "no field \"nmae\" (did you mean name or k8s.owner.name?) (1:1)\n | nmae == 'x'\n | ^",
        ),
        (
            ["-E", "pid == 1 && name == 3"],
            "== cannot compare text with a whole number (1:18)\n | pid == 1 && name == 3\n | .................^",
        ),
        (["-E", "name"], "must be true or false, but this is text"),
        (["-E", "name in cidr('10.0.0.0/99')"], "\"10.0.0.0/99\" is no network"),
        (["--filter-expr.sni", "name matches '('"], "not a regular expression"),
        (["-F", "nmae==x"], "no field \"nmae\" (did you mean name or"),
        (["-F", "name~("], "\"(\" is not a regular expression"),
        (["-F", "proc.pid==x"], "\"x\" is no value for field \"proc.pid\""),
        (["--sort", "name"], "unexpected argument '--sort'"),
    ] {
        let output = igx.output(&[&["run", "trace_sni", "--host"], &arguments[..]].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(wanted), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_snapshot_is_complete_and_ends_by_itself() {
    let igx = with_gadget("examples/snapshot_tasks");
    let all = entries(&igx, &["snapshot_tasks"]);
    let of = |pid: u32| all.iter().find(|task| task["pid"] == pid && task["tid"] == pid);
    let own = of(std::process::id()).unwrap();
    assert_eq!(own["uid"], 0);

    let first = entries(&igx, &["snapshot_tasks", "--sort", "-pid,tid", "--max-entries", "5"]);
    let order: Vec<(u64, u64)> =
        first.iter().map(|task| (task["pid"].as_u64().unwrap(), task["tid"].as_u64().unwrap())).collect();
    let mut sorted = order.clone();
    sorted.sort_by_key(|(pid, tid)| (std::cmp::Reverse(*pid), *tid));
    assert_eq!(order, sorted);
    assert_eq!(order.len(), 5);

    let pid = std::process::id().to_string();
    let threads =
        entries(&igx, &["snapshot_tasks", "-F", &format!("pid=={pid}"), "-E", &format!("tid == {pid}")]);
    assert_eq!(threads.len(), 1);
    assert!(entries(&igx, &["snapshot_tasks", "-E", "pid in [0]"]).is_empty());
}

#[test]
fn a_map_is_read_at_intervals_and_sorted_as_the_gadget_says() {
    let igx = with_gadget("examples/top_opens");
    let mut run =
        igx.run(&["top_opens", "--host", "-o", "json", "--map-fetch-interval", "100ms", "--comm", "cat"]);
    let busy = |files: &[&str]| assert!(Command::new("cat").args(files).output().unwrap().status.success());
    busy(&["/etc/hostname"]);
    let first = run.line();
    assert!(first.contains("\"comm\":\"cat\""), "{first}");
    run.stop();

    let all = entries(
        &igx,
        &["top_opens", "--map-fetch-interval", "300ms", "--map-fetch-count", "2", "--max-entries", "3"],
    );
    assert!(all.len() <= 6, "{all:?}");
}

#[test]
fn mistakes_about_batches_are_told() {
    let igx = with_gadget("examples/snapshot_tasks");
    for (arguments, wanted) in [
        (["--sort", "pdi"], "--sort: data source \"tasks\" has no field \"pdi\" (did you mean pid?)"),
        (["--sort", "tsaks:pid"], "--sort: the gadget has no data source \"tsaks\" (did you mean tasks?)"),
        (["--max-entries", "many"], "--max-entries: \"many\" is no limit"),
        (["--max-entries", "-5"], "--max-entries: \"-5\" is no limit"),
    ] {
        let said = igx.fails(&[&["run", "snapshot_tasks", "--host"], &arguments[..]].concat());
        assert!(said.contains(wanted), "{arguments:?}: {said}");
    }
    let igx = with_gadget("examples/top_opens");
    let said = igx.fails(&["run", "top_opens", "--host", "--map-fetch-interval", "5"]);
    assert!(said.contains("--map-fetch-interval: \"5\" is no duration"), "{said}");
}

#[test]
fn flags_about_maps_are_for_gadgets_that_show_some() {
    let igx = with_gadget("examples/snapshot_tasks");
    let args = ["run", "snapshot_tasks", "--verify-image=false"];
    let help = igx.ok(&[&args[..], &["--help"]].concat());
    assert!(help.contains("--max-entries") && !help.contains("--map-fetch"), "{help}");
    let said = igx.fails(&[&args[..], &["--map-fetch-interval", "1s"]].concat());
    assert!(said.contains("--map-fetch-interval is for gadgets that show maps"), "{said}");
    // A manifest may be for more gadgets than one.
    let manifest = igx.home.path().join("run.yaml");
    let text = "apiVersion: 1\nkind: instance-spec\nimage: snapshot_tasks\nparamValues:\n  operator.oci.ebpf.map-fetch-interval: 1s\n";
    std::fs::write(&manifest, text).unwrap();
    igx.ok(&["run", "-f", manifest.to_str().unwrap(), "--host", "--verify-image=false"]);
}
