//! Building on one machine and on another: same sources, same digest.

use std::{fs, os::unix::process::CommandExt, path::Path, process::Command};

use crate::support::Igx;

fn copy(to: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/trace_files");
    fs::create_dir_all(to).unwrap();
    for name in ["program.bpf.c", "gadget.yaml"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

/// Builds `folder` as somebody else does; returns what was said.
fn built(folder: &Path, change: impl FnOnce(&mut Command)) -> String {
    let igx = Igx::new();
    let mut command = igx.command(&["image", "build", ".", "--builder-version", "v1"]);
    command.current_dir(folder).env("SOURCE_DATE_EPOCH", "1700000000");
    change(&mut command);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn place_umask_user_locale_and_time_zone_do_not_matter() {
    let folders = tempfile::tempdir_in("/tmp").unwrap();
    let (one, other) = (folders.path().join("one"), folders.path().join("two/of them"));
    copy(&one);
    copy(&other);
    let here = built(&one, |_| {});
    let there = built(&other, |command| {
        command.env("TZ", "Pacific/Auckland").env("LC_ALL", "de_DE.UTF-8").env("CPATH", "/nonexistent");
        command.env("HOME", "/nonexistent").uid(0).gid(65534);
        // A shell sets what Rust's Command cannot.
        let args: Vec<_> = command.get_args().map(|a| a.to_owned()).collect();
        let program = command.get_program().to_owned();
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "umask 077; exec \"$0\" \"$@\""]).arg(program).args(args);
        shell.current_dir(command.get_current_dir().unwrap());
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        *command = shell;
    });
    assert!(here.contains("Successfully built @sha256:"), "{here}");
    assert_eq!(here, there);
}

#[test]
fn clang_is_quoted_and_metadata_faults_have_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let igx = Igx::new();
    fs::write(folder.path().join("program.bpf.c"), "#include <vmlinux.h>\nint x = nope;\n").unwrap();
    let path = folder.path().to_str().unwrap();
    let said = igx.fails(&["image", "build", path]);
    assert!(said.contains("program.bpf.c:2:9: error: use of undeclared identifier 'nope'"), "{said}");
    fs::write(folder.path().join("gadget.yaml"), "name: x\nparams:\n  ebpf:\n    a: {}\n").unwrap();
    let said = igx.fails(&["image", "build", path]);
    assert!(said.contains("gadget.yaml, line 4, column 5: param \"a\" has an empty key"), "{said}");
}
