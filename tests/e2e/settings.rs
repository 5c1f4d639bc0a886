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

/// What bash has on its line once TAB was pressed behind `line`, in `folder`.
fn tab(igx: &Igx, folder: &Path, line: &str, called: &str) -> String {
    let bin = igx.home.path().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let link = bin.join(called);
    if !link.exists() {
        std::os::unix::fs::symlink(super::support::binary(), &link).unwrap();
    }
    // As readline does: words are parted at = and :, and $2 is the one behind that.
    let script = format!(
        r#"source <({called} completion bash)
        compopt() {{ :; }}
        COMP_LINE='{line}' COMP_POINT=${{#COMP_LINE}}
        IFS=$'\n' read -rd '' -a COMP_WORDS < <(sed -E 's/ +/\n/g; s/([=:]+)/\n\1\n/g' <<< "$COMP_LINE" | sed -E '${{/^$/d}}')
        COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _complete_{called}
        complete -p {called} >&2
        printf '%s\n' "${{COMPREPLY[@]}}""#
    );
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut command = std::process::Command::new("bash");
    command.args(["--norc", "-c", &script]).env("PATH", path).env("IGX_STORE", igx.store());
    let output = command.env("HOME", folder).current_dir(folder).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(" -o default ") && said.contains(&format!(" _complete_{called} {called}\n")),
        "{said}"
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn bash_completes_behind_equals_signs_and_files_and_what_the_chosen_store_has() {
    let igx = with_trace_files();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("other.yaml"), "").unwrap();
    let tab = |line: &str| tab(&igx, folder.path(), line, "igx");
    assert_eq!(tab("igx run trace_sni --fields=pid,-netn"), "pid,-netns_id");
    assert_eq!(tab("igx run trace_sni --output=jsonp"), "jsonpretty");
    assert_eq!(tab("igx run trace_sni --fields pid,+netn"), "pid,+netns_id");
    assert_eq!(tab("igx run -f o"), "other.yaml");
    assert_eq!(tab("igx image import o"), "other.yaml");
    assert_eq!(tab("igx run trace_sni -- ls o"), "other.yaml");
    // The store is the one that IGX_STORE names, or what is typed.
    assert_eq!(tab("igx run trace_f"), "trace_files");
    assert_eq!(tab("igx image remove trace_f"), "trace_files");
    assert_eq!(tab("igx run trace_files --fields=fna"), "fname");
    assert_eq!(tab("igx --store /nonexistent run trace_f"), "");
    assert_eq!(self::tab(&igx, folder.path(), "ig versi", "ig"), "version");
}

#[test]
fn ig_takes_the_last_of_flags_that_are_repeated() {
    let igx = with_trace_files();
    let flags = "run trace_files --verify-image=false --host --host=true -o json -o none --filter.open comm==a --filter.open=comm==b \
                 --fields comm --fields fname --timeout 9999 --timeout 1";
    let run = |called: &str| {
        let mut command = std::process::Command::new(super::support::binary());
        command.args(["--as", called, "--store"]).arg(igx.store()).args(flags.split_whitespace());
        command.env("HOME", "/nonexistent").output().unwrap()
    };
    let output = run("ig");
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(String::from_utf8(run("igx").stderr).unwrap().contains("cannot be used multiple times"));
}

#[test]
fn usage_is_told_plainly_and_help_that_cannot_be_written_is_an_error() {
    let igx = Igx::new();
    let said = igx.fails(&["run", "--foo"]);
    assert!(said.contains("unexpected argument '--foo'") && !said.contains("-- --foo"), "{said}");
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    for args in [&["--help"][..], &["run", "--help"], &["image", "--help"]] {
        assert_eq!(igx.command(args).stdout(full()).status().unwrap().code(), Some(1), "{args:?}");
    }
    let on_terminal = |color: &str| {
        let line = format!("{} run trace_sni --color {color} --foo", super::support::binary());
        let mut command = std::process::Command::new("script");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env_remove("NO_COLOR");
        command.env("TERM", "xterm").stdin(std::process::Stdio::null());
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert!(on_terminal("auto").contains("\u{1b}["));
    assert!(!on_terminal("never").contains('\u{1b}'), "{}", on_terminal("never"));
}
