//! Called as `ig`: what scripts and test suites that drive upstream's program count on.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use super::support::{Igx, binary, copy_program, with_trace_files};

/// The program by another name.
fn named(igx: &Igx, name: &str) -> PathBuf {
    let link = igx.home.path().join(name);
    if !link.exists() {
        symlink(binary(), &link).unwrap();
    }
    link
}

/// `ig`, of a user whose home is empty.
fn ig(igx: &Igx, args: &[&str]) -> Command {
    let mut command = Command::new(named(igx, "ig"));
    command.args(args).env("HOME", igx.home.path()).stdin(Stdio::null());
    command
}

fn output(igx: &Igx, args: &[&str]) -> Output {
    ig(igx, args).output().unwrap()
}

/// How it ended, and what it said on stderr.
fn end(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A run of the example gadget for a second.
fn run(igx: &Igx, flags: &[&str]) -> Output {
    let store = igx.store();
    let args = ["--store", store.to_str().unwrap(), "run", "trace_files", "--verify-image=false", "--host"];
    output(igx, &[&args, flags, &["--timeout=1"]].concat())
}

#[test]
fn lines_that_callers_wait_for_are_upstreams_and_nothing_else_is_said() {
    let igx = with_trace_files();
    let output = run(&igx, &["-v", "-o=json", "--fields=fname", "--otel-metrics-listen"]);
    let (code, said) = end(&output);
    assert_eq!(code, Some(0), "{said}");
    for line in said.lines() {
        assert!(line.starts_with("time=\"20") && line.contains("Z\" level="), "{line}");
    }
    assert!(said.lines().any(|line| line.ends_with(" level=debug msg=running...")), "{said}");
    let warning = "level=warning msg=\"--otel-metrics-listen has no effect: igx does not do this yet\"";
    assert!(said.contains(warning), "{said}");
    // All of each event, whatever fields tables have.
    let text = String::from_utf8(output.stdout).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!events.is_empty());
    for event in events {
        assert!(event["proc"]["pid"].is_u64() && event["k8s"]["podName"] == "", "{event}");
    }
}

#[test]
fn a_run_in_a_pipe_says_nothing_at_its_end() {
    let igx = with_trace_files();
    let (code, said) = end(&run(&igx, &["--socket-enricher-fields=", "--validate-metadata"]));
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("shown"), "{said}");
}

#[test]
fn defaults_are_settings_that_can_be_kept() {
    let igx = with_trace_files();
    let folder = igx.home.path().join(".ig");
    fs::create_dir_all(&folder).unwrap();
    let defaults = output(&igx, &["config", "default"]);
    assert!(defaults.status.success() && !defaults.stdout.is_empty());
    fs::write(folder.join("config.yaml"), &defaults.stdout).unwrap();
    let (code, said) = end(&run(&igx, &["--output=none"]));
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("has no effect"), "{said}");
}

#[test]
fn mistakes_end_as_upstreams_do() {
    let igx = with_trace_files();
    for (args, error) in [
        (&["--nosuch"][..], "Error: unknown flag: --nosuch\n"),
        (
            &["runn"],
            "Error: unknown command \"runn\" for \"ig\"\n\nDid you mean this?\n\trun\n\nRun 'ig --help' for usage.\n",
        ),
        (&["daemon"], "Error: igx is no daemon yet: 'ig run' runs a gadget while it is watched\n"),
    ] {
        assert_eq!(end(&output(&igx, args)), (Some(1), error.to_owned()), "{args:?}");
    }
    assert_eq!(end(&run(&igx, &["--nosuch=1"])), (Some(1), "Error: unknown flag: --nosuch\n".into()));
    let (code, said) = end(&run(&igx, &["--notation-certificates=x"]));
    assert_eq!(code, Some(1));
    assert!(said.ends_with("Error: --notation-certificates: igx does not do this yet; run it without\n"));
    for args in [&[][..], &["run"], &["image"], &["config"]] {
        let output = output(&igx, args);
        assert_eq!(end(&output), (Some(0), String::new()), "{args:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("Usage: ig"), "{output:?}");
    }
    for name in ["gadgetctl", "kubectl-gadget"] {
        let output = Command::new(named(&igx, name)).arg("list").output().unwrap();
        let (code, said) = end(&output);
        assert_eq!(code, Some(1));
        assert!(said.starts_with(&format!("Error: {name}: igx is no client of a daemon yet")), "{said}");
    }
    let other = igx.home.path().join("other");
    copy_program(binary(), &other);
    let output = Command::new(&other).args(["--as", "ig", "--nosuch"]).output().unwrap();
    assert_eq!(end(&output), (Some(1), "Error: unknown flag: --nosuch\n".into()));
}

#[test]
fn settings_are_read_where_ig_has_them() {
    let igx = Igx::new();
    let said = |config: &str, variables: &[(&str, &str)]| {
        let folder = igx.home.path().join(".ig");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("config.yaml"), config).unwrap();
        let store = igx.store();
        let mut command = ig(&igx, &["--store", store.to_str().unwrap(), "run", "nosuch"]);
        // What is igx's own is not ig's.
        command.env("IGX_PULL", "always").envs(variables.iter().copied());
        let (code, said) = end(&command.output().unwrap());
        assert_eq!(code, Some(1), "{said}");
        said
    };
    let never = "--pull=never keeps from fetching it";
    assert!(said("operator:\n  oci:\n    pull: never\n", &[]).contains(never));
    assert!(said("nosuch: 1\n", &[("INSPEKTOR_GADGET_OPERATOR_OCI_PULL", "never")]).contains(never));
    let broken = said("operator: [", &[]);
    let line = "level=fatal msg=\"initializing config: reading config from ";
    assert!(broken.starts_with("time=\"") && broken.contains(line), "{broken}");
}

#[test]
fn images_are_where_ig_keeps_them() {
    let igx = with_trace_files();
    let archive = igx.home.path().join("files.tar");
    igx.ok(&["image", "export", "trace_files", archive.to_str().unwrap()]);
    let script = format!(
        "mount -t tmpfs none /var/lib && {0} image import {1} >&2 && test -f /var/lib/ig/oci-store/index.json \
         && test ! -e /var/lib/igx && {0} image list -o json",
        named(&igx, "ig").display(),
        archive.display()
    );
    let output = Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().unwrap();
    let (code, said) = end(&output);
    assert_eq!(code, Some(0), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("trace_files"), "{output:?}");
}

#[test]
fn nobody_else_than_root_runs_gadgets() {
    let igx = Igx::new();
    let mut command = igx.as_nobody();
    let (code, said) = end(&command.args(["--as", "ig", "run", "--help"]).output().unwrap());
    let error = "Error: initializing runtime: ig must be run as root to be able to run eBPF programs\n";
    assert_eq!((code, said.as_str()), (Some(1), error));
    assert!(!Path::new("/nonexistent/.ig").exists());
}
