//! What people read and pipe: modes, fields, terminals, commands that are watched, and the sum at the end.

use std::{
    fs::OpenOptions,
    io::{Read, Write},
    process::{Command, Stdio},
};

use nix::sys::termios::{FlowArg, tcflow};
use serde_json::Value;

use super::support::{Igx, Running, with_trace_files};

fn watch(igx: &Igx, flags: &[&str], command: &[&str]) -> std::process::Output {
    igx.output(&[&["run", "trace_files", "--verify-image=false"], flags, &["--"], command].concat())
}

fn events(output: &std::process::Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_command_is_watched_with_its_children_and_nobody_else() {
    let igx = with_trace_files();
    let marker = igx.home.path().join("marker");
    std::fs::write(&marker, "seen").unwrap();
    // Somebody else opens the same file all the time.
    let mut other = Command::new("sh");
    other.args(["-c", "while :; do cat \"$1\"; done", "sh"]).arg(&marker);
    let _other = super::support::Process::start(&mut other);
    let script = format!("(cat {0}; true) & wait; /bin/true; cat {0}; exit 7", marker.display());
    let output = watch(&igx, &["-o", "json"], &["sh", "-c", &script]);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let events = events(&output);
    let opened = events.iter().filter(|event| event["fname"] == marker.to_str().unwrap());
    let mut pids: Vec<&Value> = opened.map(|event| &event["proc"]["pid"]).collect();
    pids.dedup();
    assert_eq!(pids.len(), 2, "{events:#?}");
    let of_true = events.iter().filter(|event| event["proc"]["comm"] == "true");
    assert!(of_true.count() > 0, "{events:#?}");
    // What the command prints is no event.
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("seenseen") && said.contains(" events shown, "), "{said}");
}

#[test]
fn a_command_ends_with_the_run() {
    let igx = with_trace_files();
    let output =
        watch(&igx, &["-o", "none", "--count", "1"], &["sh", "-c", "cat /dev/null; exec sleep 1000"]);
    assert_eq!(output.status.code(), Some(128 + 15), "{output:?}");
    let error = igx.fails(&["run", "trace_files", "--verify-image=false", "--", "/nonexistent/x"]);
    assert_eq!(error, "Error: cannot start /nonexistent/x: No such file or directory (os error 2)\n");
}

#[test]
fn a_count_is_kept_and_fields_narrow_json() {
    let igx = with_trace_files();
    let output =
        watch(&igx, &["-o", "json", "--count", "3", "--fields", "fname,comm"], &["cat", "/nonexistent"]);
    let events = events(&output);
    assert_eq!(events.len(), 3, "{events:#?}");
    for event in &events {
        let keys: Vec<&String> = event.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["fname", "proc"], "{event}");
        assert_eq!(event["proc"].as_object().unwrap().len(), 1, "{event}");
    }
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("3 events shown, 0 filtered out, 0 lost in "), "{said}");
}

#[test]
fn each_data_source_has_its_mode_and_its_title() {
    let igx = with_trace_files();
    let show = |flags: &[&str]| {
        String::from_utf8(watch(&igx, &[flags, &["-q"]].concat(), &["true"]).stdout).unwrap()
    };
    let tables = show(&["--fields", "comm"]);
    assert!(tables.starts_with("OPEN:\nCOMM\n") && tables.contains("\nSTART:\nCOMM\ntrue\n"), "{tables}");
    let split = show(&["-o", "open:none,start:json", "--fields", "comm"]);
    assert_eq!(split, "{\"proc\":{\"comm\":\"true\"}}\n");
    assert_eq!(show(&["-o", "open:none,start:columns", "--fields", "comm"]), "COMM\ntrue\n");
    let error = igx.fails(&["run", "trace_files", "--verify-image=false", "--host", "-o", "opne:json"]);
    insta::assert_snapshot!(error, @r#"Error: the gadget has no data source "opne" (did you mean open?); it has open, start"#);
}

#[test]
fn what_a_gadget_says_of_its_fields_can_be_said_otherwise() {
    let igx = with_trace_files();
    let flags =
        ["--annotate", "open:cli.default-output-mode=none,start.proc.comm:columns.alias=program", "-q"];
    let output = watch(&igx, &[&flags[..], &["--fields", "start:program"]].concat(), &["true"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "PROGRAM\ntrue\n");
    let wrong = ["run", "trace_files", "--verify-image=false", "--host", "--annotate", "opne.fname:a=b"];
    insta::assert_snapshot!(igx.fails(&wrong), @r#"Error: --annotate: the gadget has no data source "opne" (did you mean open?); it is for open, start"#);
}

#[test]
fn a_quiet_run_says_nothing() {
    let igx = with_trace_files();
    let output = watch(&igx, &["-q", "-o", "none"], &["true"]);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    // Nor that an image of somebody else is not verified.
    let archive = igx.home.path().join("files.tar");
    igx.ok(&["image", "export", "trace_files", archive.to_str().unwrap()]);
    let other = Igx::new();
    other.ok(&["image", "import", archive.to_str().unwrap()]);
    let output = watch(&other, &["-o", "none"], &["true"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("without verifying"));
    let output = watch(&other, &["-q", "-o", "none"], &["true"]);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

/// Runs `igx` on a terminal of so many columns, and returns all that came there.
fn on_terminal(igx: &Igx, columns: u16, flags: &str) -> String {
    let binary = super::support::binary();
    let store = igx.store();
    let line = format!(
        "stty cols {columns}; {binary} --store {} run trace_files --verify-image=false {flags} -- cat /nonexistent 2>/dev/null",
        store.display()
    );
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().replace('\r', "")
}

#[test]
fn lines_fit_terminals_of_any_width() {
    let igx = with_trace_files();
    for columns in [20, 80, 500] {
        let text = on_terminal(&igx, columns, "");
        assert!(text.contains("cat"), "{text}");
        for line in text.lines() {
            assert!(line.chars().count() <= usize::from(columns), "{columns}: {line}");
        }
    }
    let eighty = on_terminal(&igx, 80, "");
    // Names of programs and of files can be told at 80 columns.
    assert!(eighty.lines().any(|line| line.contains(" /nonexistent ")), "{eighty}");
}

#[test]
fn a_disk_that_is_full_is_an_error_and_a_closed_pipe_is_none() {
    let igx = with_trace_files();
    let args = ["run", "trace_files", "--verify-image=false", "-o", "json", "--", "cat", "/nonexistent"];
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = igx.command(&args).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("Error: cannot write events: No space left on device"), "{said}");

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let args =
        ["run", "trace_files", "--verify-image=false", "-o", "json", "--host", "-q", "--timeout", "20"];
    let output = igx.command(&args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

/// What bash would offer behind this line.
fn completed(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let output = Command::new(super::support::binary())
        .env("_IGX_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string())
        .env("_CLAP_IFS", "\n")
        .env("_CLAP_COMPLETE_SPACE", "true")
        .env("_CLAP_COMPLETE_COMP_TYPE", "9")
        .arg("--")
        .args(words)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn shells_complete_gadgets_their_flags_and_their_fields() {
    assert!(completed("igx run tr").contains("trace_sni"));
    assert_eq!(completed("igx run trace_sni --com").trim(), "--comm");
    assert_eq!(completed("igx run trace_sni --fields pid,+netn").trim(), "pid,+netns_id");
    assert!(completed("igx run trace_sni -o js").contains("jsonpretty"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(Igx::new().ok(&["completions", shell]).contains("_IGX_COMPLETE"), "{shell}");
    }
}

#[test]
fn settings_come_from_a_file_the_environment_and_manifests() {
    let igx = with_trace_files();
    let config = igx.home.path().join("config.yaml");
    std::fs::write(&config, "verify-image: false\nrun:\n  output: json\n  fields: [fname]\n  quiet: true\n")
        .unwrap();
    let with_config = |args: &[&str]| {
        let mut command = igx.command(args);
        command.env("IGX_CONFIG", &config).env("IGX_FIELDS", "comm");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
        String::from_utf8(output.stdout).unwrap()
    };
    let json = with_config(&["run", "trace_files", "--", "true"]);
    assert!(json.contains("{\"proc\":{\"comm\":\"true\"}}\n") && !json.contains("fname"), "{json}");
    let view = with_config(&["config", "view"]);
    assert!(view.contains("  fields: comm  # IGX_FIELDS\n"), "{view}");
    assert!(view.contains(&format!("verify-image: false  # {}\n", config.display())), "{view}");

    let manifest = igx.home.path().join("run.yaml");
    let text = "apiVersion: 1\nkind: instance-spec\nimage: trace_files\nparamValues:\n  operator.cli.output: open:none,start:columns\n  operator.cli.fields: comm\n  operator.oci.ebpf.map-fetch-interval: 1s\n";
    std::fs::write(&manifest, text).unwrap();
    let path = manifest.to_str().unwrap();
    let output = igx.ok(&["run", "-f", path, "--verify-image=false", "--", "true"]);
    assert_eq!(output, "COMM\ntrue\n");
    assert_eq!(
        igx.fails(&["run", "trace_files", "-f", path]),
        "Error: give an image or a manifest, not both\n"
    );
}

#[test]
fn a_manifest_may_be_somewhere_on_the_web() {
    let igx = with_trace_files();
    let text = "apiVersion: 1\nkind: instance-spec\nimage: trace_files\nparamValues:\n  operator.cli.output: open:none,start:columns\n  operator.cli.fields: comm\n";
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/run.yaml", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len());
        stream.write_all(format!("{head}{text}").as_bytes()).unwrap();
    });
    assert_eq!(igx.ok(&["run", "-f", &url, "--verify-image=false", "--", "true"]), "COMM\ntrue\n");
    server.join().unwrap();
    let error = igx.fails(&["run", "-f", &url]);
    assert!(error.starts_with(&format!("Error: cannot fetch {url}: ")), "{error}");
}

#[test]
fn one_ctrl_c_ends_a_run_whose_pipe_nobody_reads() {
    let igx = with_trace_files();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command =
        igx.command(&["-v", "run", "trace_files", "--verify-image=false", "-o", "json", "--host"]);
    let mut running = Running::start(command.stdout(writer).stderr(Stdio::piped()));
    running.wait_for_said("running...");
    // More than a pipe holds.
    for _ in 0..2000 {
        let _ = std::fs::File::open("/nonexistent-igx-test");
    }
    let said = running.finish().1;
    assert!(said.iter().any(|line| line.ends_with(": nobody read them at the end")), "{said:#?}");
    drop(reader);
}

#[test]
fn one_ctrl_c_ends_a_run_whose_terminal_does_not_read() {
    let igx = with_trace_files();
    let pty = nix::pty::openpty(None, None).unwrap();
    let args = ["-v", "run", "trace_files", "--verify-image=false", "-o", "json", "--host"];
    let mut command = igx.command(&args);
    let slave = std::fs::File::from(pty.slave);
    let mut running = Running::start(command.stdout(slave.try_clone().unwrap()).stderr(Stdio::piped()));
    running.wait_for_said("running...");
    // As Ctrl-S does; a terminal that nobody drains says for a while that it takes more.
    tcflow(&slave, FlowArg::TCOOFF).unwrap();
    assert!(Command::new("true").status().unwrap().success());
    let said = running.finish().1;
    assert!(said.iter().any(|line| line.ends_with(": nobody read them at the end")), "{said:#?}");
    drop(pty.master);
}
