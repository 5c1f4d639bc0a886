//! Commands that are watched, and signals: what ends them, and what is theirs to handle.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;

use super::support::{Igx, Running, binary, wait_until, with_trace_files};

const FLAGS: &str = "run trace_files --verify-image=false -o none -q";

/// What a command tells before it is interrupted, and after that.
const CLEANS_UP: &str =
    "trap 'echo cleaning; echo cleaned; exit 44' INT; echo ready; while :; do sleep 0.1; done";
const GOES_ON: &str = "trap 'echo again' INT; echo ready; while :; do sleep 0.1; done";
const IGNORES: &str = "trap '' INT; echo ready; while :; do sleep 0.1; done";

/// A run of a shell's script, not on a terminal, from when that is ready.
fn started(igx: &Igx, flags: &[&str], script: &str) -> Running {
    let flags = FLAGS.split(' ').chain(flags.iter().copied());
    let args: Vec<&str> = flags.chain(["--", "sh", "-c", script]).collect();
    let mut running = Running::start(igx.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()));
    running.wait_for_said("ready");
    running
}

/// On a terminal: types Ctrl-C so many times, the first when the script is ready, others when it said so; returns what
/// came to the terminal, and the exit status.
fn typed(igx: &Igx, script: &str, next: &[&str]) -> (String, Option<i32>) {
    let file = igx.home.path().join("script.sh");
    std::fs::write(&file, script).unwrap();
    let (store, file) = (igx.store(), file.display().to_string());
    let line = format!("exec {} --store {} {FLAGS} -- sh {file}", binary(), store.display());
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut text, mut bytes) = (String::new(), [0; 256]);
    for what in next {
        while !text.contains(what) {
            let read = screen.read(&mut bytes).unwrap();
            assert!(read > 0, "{what} did not come: {text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        keys.write_all(b"\x03").unwrap();
    }
    screen.read_to_string(&mut text).unwrap();
    (text, child.wait().unwrap().code())
}

#[test]
fn ctrl_c_is_for_the_command_to_handle() {
    let igx = with_trace_files();
    let (text, code) = typed(&igx, CLEANS_UP, &["ready"]);
    // Once: it did not get another one from igx.
    assert_eq!((text.matches("cleaning").count(), code), (1, Some(44)), "{text}");
    assert!(text.contains("cleaned"), "{text}");
    let (text, code) = typed(&igx, "echo ready; exec sleep 1000", &["ready"]);
    assert_eq!(code, Some(130), "{text}");
}

#[test]
fn a_second_ctrl_c_ends_a_command_that_goes_on() {
    let igx = with_trace_files();
    let (text, code) = typed(&igx, GOES_ON, &["ready", "again"]);
    assert_eq!(code, Some(143), "{text}");
}

#[test]
fn an_interrupt_that_is_sent_to_igx_alone_is_passed_on() {
    let igx = with_trace_files();
    let running = started(&igx, &[], CLEANS_UP);
    running.signal(Signal::SIGINT);
    assert_eq!(running.status().code(), Some(44));
    let mut running = started(&igx, &[], GOES_ON);
    running.signal(Signal::SIGINT);
    running.wait_for_said("again");
    running.signal(Signal::SIGINT);
    assert_eq!(running.status().code(), Some(143));
}

#[test]
fn sigterm_and_time_that_is_up_end_the_command() {
    let igx = with_trace_files();
    let running = started(&igx, &[], IGNORES);
    running.signal(Signal::SIGTERM);
    assert_eq!(running.status().code(), Some(143));
    assert_eq!(started(&igx, &["-t", "1"], IGNORES).status().code(), Some(143));
    assert_eq!(
        started(&igx, &["--count", "1"], "echo ready; while :; do cat /nonexistent; done").status().code(),
        Some(143)
    );
}

#[test]
fn events_are_shown_while_an_interrupted_command_ends() {
    let igx = with_trace_files();
    let script = "trap 'cat /nonexistent-igx-late; exit 3' INT; echo ready; while :; do sleep 0.1; done";
    let args = ["run", "trace_files", "--verify-image=false", "-o", "json", "-q", "--", "sh", "-c", script];
    let mut running = Running::start(igx.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()));
    running.wait_for_said("ready");
    running.signal(Signal::SIGINT);
    let mut seen = false;
    wait_until("the event is shown", || {
        seen |= running.any_line().is_some_and(|line| line.contains("/nonexistent-igx-late"));
        seen
    });
    assert_eq!(running.status().code(), Some(3));
}
