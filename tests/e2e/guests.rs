//! Gadgets with guests, built from their sources and run as users run them: the example beside the peer, and guests
//! written by hand, which try what compilers make hard to try.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::support::{Igx, Process};

const PROGRAM: &str = include_str!("guests/program.bpf.c");
const IMPORTS: &str = include_str!("guests/imports.wat");

/// A module of `body`, in which `@"text"` stands for the text's place and length. Texts lie from the start of memory.
fn module(body: &str) -> Vec<u8> {
    let (mut texts, mut code) = (String::new(), String::new());
    let mut parts = body.split("@\"");
    code.push_str(parts.next().unwrap());
    for part in parts {
        let (text, rest) = part.split_once('"').unwrap();
        code.push_str(&format!("(i64.const {}){rest}", (text.len() as u64) << 32 | texts.len() as u64));
        texts.push_str(text);
    }
    wat::parse_str(format!("(module {IMPORTS} (data (i32.const 0) \"{texts}\") {code})")).unwrap()
}

/// A store with the gadget `test` of the given parts.
fn gadget(program: Option<&str>, metadata: &str, guest: &str) -> Igx {
    let igx = Igx::new();
    let folder = igx.home.path().join("gadget");
    fs::create_dir(&folder).unwrap();
    if let Some(program) = program {
        fs::write(folder.join("program.bpf.c"), program).unwrap();
    }
    fs::write(folder.join("gadget.yaml"), metadata).unwrap();
    fs::write(folder.join("guest.wasm"), module(guest)).unwrap();
    fs::write(folder.join("build.yaml"), "wasm: guest.wasm\n").unwrap();
    igx.ok(&["image", "build", folder.to_str().unwrap(), "-t", "test"]);
    igx
}

/// A shell that opens the files whose names it reads.
struct Opener(Child);

impl Opener {
    fn new() -> Self {
        let script = "while read name; do true < \"$name\"; echo; done";
        let shell = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        Self(shell.unwrap())
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }

    fn open(&mut self, names: &[&str]) {
        let mut answers = BufReader::new(self.0.stdout.as_mut().unwrap()).lines();
        for name in names {
            writeln!(self.0.stdin.as_mut().unwrap(), "{name}").unwrap();
            answers.next().unwrap().unwrap();
        }
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const METADATA: &str = "name: test\n\
    datasources:\n  open:\n    annotations:\n      ebpf.rest.name: name\n      igx.guest.only-with-rest: \"true\"\n\
    params:\n  ebpf:\n    pid:\n      key: pid\n      defaultValue: \"0\"\n      description: Process\n";

/// Sets `seen` where it is called, and discards events whose name is as long as that of /etc/shells.
const MARKING: &str = r#"
  (func (export "igxHost"))
  (func (export "gadgetInit") (result i32)
    (global.set $ds (call $not0 (call $getDataSource @"open")))
    (global.set $f (call $not0 (call $getField (global.get $ds) @"length")))
    (global.set $g (call $not0 (call $addField (global.get $ds) @"seen" (i32.const 1))))
    (call $subscribe (global.get $ds) (i32.const 1) (i32.const 0) (i64.const 7)))
  (func (export "dataSourceCallback") (param i64 i32 i32) unreachable)
  (func (export "igxDataSourceCallback") (param i64 i32 i32) (result i32)
    (call $is (call $set (global.get $g) (local.get 2) (i32.const 1) (i64.const 1)) (i32.const 0))
    (i64.eq (i64.const 12) (call $getScalar (global.get $f) (local.get 2) (i32.const 8) (i32.const 900))))"#;

#[test]
fn a_guest_is_called_only_for_events_with_bytes_behind_them_and_may_discard() {
    let igx = gadget(Some(PROGRAM), METADATA, MARKING);
    let mut opener = Opener::new();
    let mut run = igx.run(&["test", "--host", "-o", "json", "--pid", &opener.pid()]);
    opener.open(&["/proc/version", "/etc/hostname", "/etc/shells", "/etc/passwd", "/nonexistent"]);
    let seen: Vec<_> = (0..3)
        .map(|_| {
            let event: Value = serde_json::from_str(&run.line()).unwrap();
            (event["length"].as_u64().unwrap(), event["seen"].as_bool().unwrap())
        })
        .collect();
    // The names' lengths, with the NUL. /etc/shells and /etc/passwd, as long, are gone.
    assert_eq!(seen, [(14, false), (14, true), (13, false)]);
    assert!(run.stop().is_empty());
}

/// Keeps a perf buffer in the map of maps, and tells at the end how many records and opens there were.
const RECORDING: &str = r#"
  (global $records (mut i32) (i32.const 0))
  (global $opens (mut i32) (i32.const 0))
  (global $map (mut i32) (i32.const 0))
  (global $reader (mut i32) (i32.const 0))
  (global $outer (mut i32) (i32.const 0))
  (func (export "gadgetInit") (result i32)
    (global.set $ds (call $not0 (call $newDataSource @"summary" (i32.const 1))))
    (global.set $f (call $not0 (call $addField (global.get $ds) @"records" (i32.const 8))))
    (global.set $g (call $not0 (call $addField (global.get $ds) @"opens" (i32.const 8))))
    ;; There are no maps yet.
    (call $is (call $getMap @"counts") (i32.const 0))
    (i32.const 0))
  (func (export "gadgetStart") (result i32)
    (local $inner i32)
    (call $is (call $getMap @"none") (i32.const 0))
    (global.set $map (call $not0 (call $newMap @"mine" (i32.const 4) (i32.const 4) (i32.const 4) (i32.const 0))))
    ;; Descriptors are not a guest's to set.
    (call $is (call $update (global.get $map) (call $span (i32.const 1000) (i32.const 4))
                (call $span (i32.const 1000) (i32.const 4)) (i64.const 0)) (i32.const 1))
    (call $is (call $newMap @"progs" (i32.const 3) (i32.const 4) (i32.const 4) (i32.const 1)) (i32.const 0))
    (call $is (call $newReader (global.get $map) (i32.const -1) (i32.const 1)) (i32.const 0))
    (global.set $reader (call $not0 (call $newReader (global.get $map) (i32.const 65536) (i32.const 1))))
    (global.set $outer (call $not0 (call $getMap @"recorders")))
    (call $is (call $newReader (global.get $outer) (i32.const 4096) (i32.const 1)) (i32.const 0))
    (i32.store (i32.const 1004) (global.get $map))
    (call $is (call $update (global.get $outer) (call $span (i32.const 1000) (i32.const 4))
                (call $span (i32.const 1004) (i32.const 4)) (i64.const 0)) (i32.const 0))
    ;; What comes out of it is a handle of its own.
    (call $is (call $lookup (global.get $outer) (call $span (i32.const 1000) (i32.const 4))
                (call $span (i32.const 1008) (i32.const 4))) (i32.const 0))
    (local.set $inner (call $not0 (i32.load (i32.const 1008))))
    (if (i32.eq (local.get $inner) (global.get $map)) (then unreachable))
    (call $is (call $release (local.get $inner)) (i32.const 0))
    (i32.const 0))
  (func (export "gadgetStop") (result i32)
    (local $packet i32) (local $at i32) (local $size i32)
    (call $is (call $pause (global.get $reader)) (i32.const 0))
    (block $end
      (loop $next
        (br_if $end (call $read (global.get $reader) (call $span (i32.const 2000) (i32.const 64))))
        (global.set $records (i32.add (global.get $records) (i32.const 1)))
        (br $next)))
    (call $is (call $read (global.get $reader) (call $span (i32.const 2000) (i32.const 64))) (i32.const 2))
    (call $is (call $resume (global.get $reader)) (i32.const 0))
    (call $is (call $close (global.get $reader)) (i32.const 0))
    (call $is (call $close (global.get $reader)) (i32.const 1))
    (call $is (call $mapRelease (global.get $map)) (i32.const 0))
    ;; Eight bytes a processor; too little room is an error.
    (call $is (call $lookup (call $not0 (call $getMap @"counts")) (call $span (i32.const 1000) (i32.const 4))
                (call $span (i32.const 3000) (i32.const 4))) (i32.const 1))
    (call $is (call $lookup (call $getMap @"counts") (call $span (i32.const 1000) (i32.const 4))
                (call $span (i32.const 3000) (i32.const 65536))) (i32.const 0))
    (loop $more
      (global.set $opens (i32.add (global.get $opens) (i32.load (i32.add (i32.const 3000) (local.get $at)))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $more (i32.lt_u (local.get $at) (i32.const 65536))))
    (local.set $packet (call $not0 (call $newPacket (global.get $ds))))
    (call $is (call $set (global.get $f) (local.get $packet) (i32.const 8) (i64.extend_i32_u (global.get $records)))
              (i32.const 0))
    (call $is (call $set (global.get $g) (local.get $packet) (i32.const 8) (i64.extend_i32_u (global.get $opens)))
              (i32.const 0))
    (call $emit (global.get $ds) (local.get $packet)))"#;

#[test]
fn a_guest_records_into_perf_buffers_and_reads_every_processors_number() {
    let igx = gadget(Some(PROGRAM), METADATA, RECORDING);
    let mut opener = Opener::new();
    let run = igx.run(&["test", "--host", "-o", "json", "--pid", &opener.pid()]);
    opener.open(&["/etc/hostname"; 300]);
    let lines = run.stop();
    let summary: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    assert_eq!(summary, serde_json::json!({"records": 300, "opens": 300}));
}

/// Numbers the batches, as a subscription to batches, and makes of each entry a list, as one to events.
const COUNTING: &str = r#"
  (global $batches (mut i32) (i32.const 0))
  (global $list (mut i32) (i32.const 0))
  (func (export "gadgetInit") (result i32)
    (global.set $ds (call $not0 (call $getDataSource @"opens")))
    (global.set $f (call $not0 (call $getField (global.get $ds) @"opens")))
    (global.set $g (call $not0 (call $addField (global.get $ds) @"batch" (i32.const 8))))
    (global.set $list (call $not0 (call $addField (global.get $ds) @"list" (i32.const 0x10000008))))
    (call $is (call $subscribe (global.get $ds) (i32.const 2) (i32.const 0) (i64.const 1)) (i32.const 0))
    (call $subscribe (global.get $ds) (i32.const 1) (i32.const 1) (i64.const 2)))
  (func $number (param $batch i32) (local $at i32)
    (global.set $batches (i32.add (global.get $batches) (i32.const 1)))
    (block $end (loop $next
      (br_if $end (i32.ge_u (local.get $at) (call $arrayLen (local.get $batch))))
      (call $is (i32.const 0)
        (call $set (global.get $g) (call $not0 (call $arrayGet (local.get $batch) (local.get $at))) (i32.const 8)
          (i64.extend_i32_u (global.get $batches))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next))))
  (func $listed (param $entry i32)
    (i64.store32 (i32.const 1000) (call $getScalar (global.get $g) (local.get $entry) (i32.const 8) (i32.const 900)))
    (i64.store32 (i32.const 1004) (call $getScalar (global.get $f) (local.get $entry) (i32.const 9) (i32.const 900)))
    ;; Upstream takes lists as bytes only.
    (call $is (i32.const 0)
      (call $set (global.get $list) (local.get $entry) (i32.const 14) (call $span (i32.const 1000) (i32.const 8)))))
  (func (export "dataSourceCallback") (param $subscription i64) (param i32) (param $data i32)
    (if (i64.eq (local.get $subscription) (i64.const 1))
      (then (call $number (local.get $data)))
      (else (call $listed (local.get $data)))))"#;

#[test]
fn a_guest_sees_each_batch_when_it_is_fetched_and_fills_lists() {
    let igx = gadget(Some(include_str!("../../examples/top_opens/program.bpf.c")), "name: test\n", COUNTING);
    let script = "while :; do : < /etc/hostname; sleep 0.01; done";
    let opens = Process::start(Command::new("sh").args(["-c", script]));
    let flags =
        ["--map-fetch-interval", "200ms", "--map-fetch-count", "3", "--pid", &opens.pid().to_string()];
    let output = igx.ok(&[&["run", "test", "--host", "-o", "json"], &flags[..]].concat());
    let batches: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(batches.len(), 3, "{output}");
    let mut entries = 0;
    for (number, batch) in (1..).zip(&batches) {
        for entry in batch.as_array().unwrap() {
            assert_eq!(entry["batch"], number, "{output}");
            assert_eq!(entry["list"], serde_json::json!([number, entry["opens"]]), "{output}");
            entries += 1;
        }
    }
    assert!(entries > 0, "{output}");
}

#[test]
fn an_image_may_be_a_guest_alone() {
    let guest = r#"
      (func (export "gadgetInit") (result i32)
        (global.set $ds (call $not0 (call $newDataSource @"hello" (i32.const 1))))
        (global.set $f (call $not0 (call $addField (global.get $ds) @"text" (i32.const 12))))
        (i32.const 0))
      (func (export "gadgetStart") (result i32)
        (local $packet i32)
        (local.set $packet (call $not0 (call $newPacket (global.get $ds))))
        (call $is (call $set (global.get $f) (local.get $packet) (i32.const 12) @"world") (i32.const 0))
        (call $emit (global.get $ds) (local.get $packet)))"#;
    let igx = gadget(None, "name: test\n", guest);
    let mut run = igx.run(&["test", "--host", "-o", "json"]);
    assert_eq!(run.line(), r#"{"text":"world"}"#);
    run.stop();
}

/// What becomes of a run whose guest fails at its second event, or in `gadgetInit`.
fn failing(annotations: &str, init: &str) -> Igx {
    let guest = format!(
        r#"(func (export "gadgetInit") (result i32) {init}
             (call $subscribe (call $getDataSource @"open") (i32.const 1) (i32.const 0) (i64.const 7)))
           (func (export "dataSourceCallback") (param i64 i32 i32)
             (global.set $f (i32.add (global.get $f) (i32.const 1)))
             (if (i32.eq (global.get $f) (i32.const 2)) (then unreachable)))"#
    );
    let metadata = METADATA.replace("igx.guest.only-with-rest: \"true\"", "other: x");
    gadget(
        Some(PROGRAM),
        &metadata.replace("name: test\n", &format!("name: test\nannotations:\n{annotations}")),
        &guest,
    )
}

#[test]
fn gadget_yaml_says_whether_a_run_goes_on_without_its_guest() {
    for annotations in ["  other: x\n", "  igx.guest.on-failure: continue\n"] {
        let igx = failing(annotations, "");
        let mut opener = Opener::new();
        let mut run = igx.run(&["test", "--host", "-o", "json", "--pid", &opener.pid()]);
        opener.open(&["/etc/hostname"; 5]);
        (0..5).for_each(|_| drop(run.line()));
        let (_, said) = run.finish();
        let warnings =
            said.iter().filter(|line| line.contains("guest test was stopped in dataSourceCallback"));
        assert_eq!(warnings.count(), 1, "{said:#?}");
    }

    let igx = failing("  igx.guest.on-failure: end\n", "");
    // It ends by itself, and with it whatever goes on.
    let script = "while :; do true < /etc/hostname; done";
    let opens = Process::start(Command::new("sh").args(["-c", script]));
    let output = igx.output(&["run", "test", "--host", "-o", "json", "--pid", &opens.pid().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("guest test was stopped in dataSourceCallback: it gave up"), "{said}");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(shown.lines().count(), 1, "{shown}");
}

#[test]
fn gadget_yaml_says_whether_a_run_starts_without_its_guest() {
    let igx = failing("  igx.guest.on-failure: continue\n", "unreachable");
    let mut opener = Opener::new();
    let mut run = igx.run(&["test", "--host", "-o", "json", "--pid", &opener.pid()]);
    opener.open(&["/etc/hostname"]);
    run.line();
    let (_, said) = run.finish();
    let warnings = said.iter().filter(|line| line.contains("guest test was stopped in gadgetInit"));
    assert_eq!(warnings.count(), 1, "{said:#?}");

    let igx = failing("  other: x\n", "unreachable");
    let said = igx.fails(&["run", "test", "--host"]);
    assert!(said.contains("guest test was stopped in gadgetInit: it gave up"), "{said}");
}

#[test]
fn gadget_yaml_bounds_a_guests_memory() {
    let init = "(call $is (memory.grow (i32.const 2)) (i32.const 2)) (call $is (memory.grow (i32.const 1)) (i32.const -1))";
    let igx = failing("  igx.guest.memory-pages: \"4\"\n", init);
    igx.run(&["test", "--host", "-o", "json"]).stop();
    let igx = failing("  igx.guest.memory-pages: \"1\"\n", "");
    let said = igx.fails(&["run", "test", "--host"]);
    assert!(said.contains("resource limiter"), "{said}");
}

/// The paths of all keys of a JSON object.
fn keys(prefix: &str, value: &Value, into: &mut BTreeSet<String>) {
    if let Value::Object(fields) = value {
        for (key, value) in fields {
            let path = format!("{prefix}{key}");
            keys(&format!("{path}."), value, into);
            into.insert(path);
        }
    }
}

/// Opens two files once the gadget runs, and returns the events of that in JSON.
fn opens_seen_by(command: &mut Command, marker: &Path) -> Vec<Value> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let script = format!("while :; do : < /etc/hostname; : > {}; sleep 0.1; done", marker.display());
    let _opens = Process::start(Command::new("sh").args(["-c", &script]));
    let mut found = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        let event: Value = serde_json::from_str(&line).unwrap();
        let of_script = event["fname"] == "/etc/hostname" || event["fname"] == marker.to_str().unwrap();
        if event["proc"]["comm"] == "sh"
            && of_script
            && !found.iter().any(|f: &Value| f["fname"] == event["fname"])
        {
            found.push(event);
        }
        if found.len() == 2 {
            break;
        }
    }
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id() as i32), nix::sys::signal::Signal::SIGTERM)
        .unwrap();
    drop(child.stdout.take());
    let _ = child.kill();
    child.wait().unwrap();
    found.sort_by_key(|event| event["fname"].to_string());
    assert_eq!(found.len(), 2, "{command:?}: {found:#?}");
    found
}

#[test]
fn the_example_gives_the_peer_the_same_data() {
    let igx = Igx::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/who_opens");
    igx.ok(&["image", "build", source.to_str().unwrap(), "-t", "who_opens"]);
    let marker = igx.home.path().join("made");
    let args = ["run", "who_opens", "--host", "-o", "json", "--shorten", "12"];
    let ours = opens_seen_by(&mut igx.command(&args), &marker);
    assert_eq!(ours[0]["summary"], "sh reads /etc/hostname".replace("/etc/hostname", "…tc/hostname"));
    assert!(ours[1]["summary"].as_str().unwrap().starts_with("sh overwrites …"), "{ours:#?}");
    let Some(peer) = env::var_os("IGX_PEER").map(PathBuf::from).filter(|p| p.join("ig").exists()) else {
        eprintln!("left out: IGX_PEER names no folder with the peer's binary ig");
        return;
    };
    let (tar, state) = (igx.home.path().join("who_opens.tar"), igx.home.path().join("peer"));
    igx.ok(&["image", "export", "who_opens", tar.to_str().unwrap()]);
    fs::create_dir(&state).unwrap();
    fs::create_dir_all("/var/lib/ig").unwrap();
    let script =
        "mount --bind \"$0\" /var/lib/ig && \"$1\" image import \"$2\" >&2 && shift 2 && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "-p", "-f", "--kill-child", "--mount-proc", "sh", "-c", script]);
    command.args([&state, &peer.join("ig"), &tar, &peer.join("ig")]);
    command.args(args).args(["--auto-mount-filesystems", "--verify-image=false"]);
    let theirs = opens_seen_by(&mut command, &marker);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        for key in ["fname", "flags", "flags_raw", "summary"] {
            assert_eq!(ours[key], theirs[key], "{key}");
        }
        let (mut of_ours, mut of_theirs) = (BTreeSet::new(), BTreeSet::new());
        keys("", ours, &mut of_ours);
        keys("", theirs, &mut of_theirs);
        assert_eq!(of_ours, of_theirs);
    }
}
