//! Settings as people keep them: `config default` as the start of a file, and what is said where they are wrong.

use std::path::Path;

use super::support::{Igx, with_trace_files};

const RUN: [&str; 8] = ["run", "trace_files", "--verify-image=false", "-o", "none", "-q", "--", "true"];

/// What `config default` prints, called so, as a file.
fn defaults(igx: &Igx, called: &[&str], name: &str) -> String {
    let output = igx.command(&[]).get_program().to_owned();
    let output =
        std::process::Command::new(output).args(called).args(["config", "default"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let path = igx.home.path().join(name);
    std::fs::write(&path, output.stdout).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_defaults_that_are_printed_can_be_used_as_a_file() {
    let igx = with_trace_files();
    let file = defaults(&igx, &[], "config.yaml");
    igx.ok(&[&["--config", &file][..], &RUN].concat());
    let view = igx.ok(&["--config", &file, "config", "view"]);
    assert!(view.contains("color: auto") && !view.contains(": \"\""), "{view}");
    // As far as commands can go without a registry and a signature.
    let pull = igx.fails(&["--config", &file, "image", "pull", "localhost:1/x"]);
    assert!(pull.contains("connection to localhost:1 refused"), "{pull}");
    let verify = igx.fails(&["--config", &file, "image", "verify", "trace_files"]);
    assert!(verify.contains("there is no signature"), "{verify}");
    igx.ok(&["--config", &file, "list-containers"]);
}

#[test]
fn those_of_ig_can_be_used_as_well() {
    let igx = with_trace_files();
    let file = defaults(&igx, &["--as", "ig"], "ig.yaml");
    let store = igx.store();
    let ig = |args: &[&str]| {
        let mut command = std::process::Command::new(super::support::binary());
        command.args(["--as", "ig", "--config", &file, "--store"]).arg(&store).args(args);
        command.env("HOME", Path::new("/nonexistent")).output().unwrap()
    };
    let output = ig(&["run", "trace_files", "--verify-image=false", "--host", "-o", "none", "-t", "1"]);
    assert!(output.status.success(), "{output:?}");
    let output = ig(&["image", "pull", "localhost:1/x"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("connection to localhost:1 refused"), "{said}");
}

#[test]
fn a_file_that_is_wrong_is_named_and_hinders_only_what_needs_it() {
    let igx = Igx::new();
    let file = igx.home.path().join("config.yaml");
    std::fs::write(&file, "outptu: json\n").unwrap();
    let file = file.to_str().unwrap();
    for args in [&["version"][..], &["run", "--help"], &["config", "default"], &["completions", "bash"]] {
        let output = igx.output(&[&["--config", file], args].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && !output.stdout.is_empty(), "{args:?}: {said}");
        assert!(said.contains(&format!("Warning: reading settings from {file}: ")), "{said}");
    }
    for args in [&["image", "list"][..], &["config", "view"], &["run", "trace_sni"]] {
        let said = igx.fails(&[&["--config", file], args].concat());
        assert!(said.contains("there is no setting \"outptu\""), "{args:?}: {said}");
    }
}

#[test]
fn a_value_that_is_wrong_is_told_with_its_origin() {
    let igx = with_trace_files();
    let output = igx.command(&RUN).env("IGX_TIMEOUT", "abc").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("'abc'") && said.contains("--timeout comes from IGX_TIMEOUT"), "{said}");
    // What is typed decides.
    for host in ["true", "false"] {
        assert!(igx.command(&RUN).env("IGX_HOST", host).status().unwrap().success(), "{host}");
    }
    let said = igx.fails(&["run", "trace_files", "--verify-image=false", "--host", "--", "true"]);
    assert!(said.contains("'--host' cannot be used with a command"), "{said}");
    igx.ok(&["run", "trace_files", "--verify-image=false", "--host=false", "-o", "none", "--", "true"]);
}
