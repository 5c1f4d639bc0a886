//! A gadget of other kinds than the one we are born with, built and run from its image: the runner knows none by
//! name.

use std::{fs::File, process::Command};

use crate::support::with_trace_files;

#[test]
fn a_tracepoint_and_a_raw_tracepoint_send_two_kinds_of_events() {
    let igx = with_trace_files();
    let mut run = igx.run(&["trace_files", "--host", "-o", "json", "--comm", "true"]);
    let status = Command::new("/bin/true").status().unwrap();
    assert!(status.success());
    let events = run.events(&[&|e| e["fname"] == "/etc/ld.so.cache" && e["proc"]["comm"] == "true", &|e| {
        e.get("fname").is_none() && e["proc"]["comm"] == "true"
    }]);
    let open = &events[0];
    assert_eq!(open["flags"], "O_RDONLY|O_CLOEXEC");
    assert_eq!(open["by"], "openat");
    assert_eq!(open["proc"]["parent"]["pid"], std::process::id());
    assert_eq!(open["proc"]["creds"]["user"], "root");
    assert!(open["timestamp"].as_str().unwrap().len() >= "2026-01-01T00:00:00.000000000Z".len());
    run.stop();
}

#[test]
fn a_gadget_brings_its_own_flags() {
    let igx = with_trace_files();
    let help = igx.ok(&["run", "trace_files", "--help"]);
    assert!(help.contains("--creating"), "{help}");
    assert!(help.contains("Show only opens that may create the file"), "{help}");
    assert!(!igx.ok(&["run", "trace_sni", "--help"]).contains("--creating"));

    let pid = std::process::id().to_string();
    let mut run = igx.run(&["trace_files", "--host", "-o", "json", "--creating", "--pid", &pid]);
    let made = igx.home.path().join("made");
    File::open("/etc/hostname").unwrap();
    File::create(&made).unwrap();
    let event = run.event(|e| e.get("fname").is_some() && e["proc"]["pid"] == std::process::id());
    assert_eq!(event["fname"], made.to_str().unwrap());
    run.stop();
}

#[test]
fn what_a_run_shows_is_also_written_as_columns_and_yaml() {
    let igx = with_trace_files();
    let mut run = igx.run(&["trace_files", "--host", "-o", "yaml", "--comm", "cat"]);
    Command::new("cat").arg("/etc/hostname").output().unwrap();
    assert_eq!(run.line(), "---");
    run.stop();

    let mut run = igx.run(&["trace_files", "--host", "--fields", "comm,fname,flags", "--comm", "cat"]);
    Command::new("cat").arg("/etc/hostname").output().unwrap();
    while !run.line().starts_with("cat              /etc/hostname ") {}
    run.stop();
}
