//! Building on one machine and on another: same sources, same digest.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
    process::Command,
};

use crate::support::{Igx, NOBODY};

fn copy(to: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/trace_files");
    fs::create_dir_all(to).unwrap();
    for name in ["program.bpf.c", "gadget.yaml"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

/// Builds `folder` with a command that was prepared for it; returns what was said.
fn built(mut command: Command, folder: &Path) -> String {
    command.current_dir(folder).args(["image", "build", ".", "-t", "t", "--builder-version", "v1"]);
    let output = command.env("SOURCE_DATE_EPOCH", "1700000000").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn place_umask_user_locale_and_time_zone_do_not_matter() {
    let folders = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(folders.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (one, other) = (folders.path().join("one"), folders.path().join("two/of them"));
    copy(&one);
    copy(&other);
    let igx = Igx::new();
    let here = built(igx.command(&[]), &one);

    let nobody = igx.as_nobody();
    // A shell sets what Rust's Command cannot.
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "umask 077; exec \"$0\" \"$@\""]).arg(nobody.get_program()).args(nobody.get_args());
    shell.envs(nobody.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.env("TZ", "Pacific/Auckland").env("LC_ALL", "de_DE.UTF-8").env("CPATH", "/nonexistent");
    let there = built(shell, &other);
    assert!(here.contains("/t:latest@sha256:"), "{here}");
    assert_eq!(here, there);
    assert_eq!(fs::metadata(igx.theirs().join("igx/oci-store")).unwrap().uid(), 65534);
}

#[test]
fn images_are_looked_after_without_any_rights() {
    let igx = Igx::new();
    let ok = |args: &[&str]| {
        let output = igx.as_nobody().args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    igx.as_nobody();
    copy(&igx.theirs().join("sources"));
    ok(&["image", "build", "sources", "-t", "mine", "-o", "objects"]);
    assert!(ok(&["image", "list"]).contains("gadget/mine  latest"));
    assert!(ok(&["image", "inspect", "mine", "--show-datasources"]).contains("\"fields\""));
    assert!(ok(&["image", "inspect", "mine"]).contains("ebpf.programs"));
    ok(&["image", "tag", "mine", "yours"]);
    ok(&["image", "export", "yours", "yours.tar"]);
    ok(&["image", "remove", "mine", "yours"]);
    ok(&["image", "import", "yours.tar"]);
    ok(&["image", "check"]);
    assert!(ok(&["image", "list"]).contains("gadget/yours  latest"));
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

#[test]
fn a_guest_is_compiled_as_who_called_sudo_if_the_folder_is_theirs() {
    let igx = Igx::new();
    fs::set_permissions(igx.home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let made = igx.command(&["image", "new", "--guest", "mine"]).current_dir(igx.home.path()).status();
    assert!(made.unwrap().success());
    let (folder, bin) = (igx.home.path().join("mine"), igx.home.path().join("bin"));
    fs::create_dir(&bin).unwrap();
    let cargo = bin.join("cargo");
    fs::write(&cargo, "#!/bin/sh\nid -u > who; id -G >> who; echo $HOME >> who; exit 1\n").unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let ran_as = || {
        let mut command = igx.command(&["image", "build", folder.to_str().unwrap(), "-t", "mine"]);
        let output =
            command.env("PATH", &path).env("SUDO_USER", "nobody").env("HOME", "/root").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("compiling guest/Cargo.toml with"), "{said}");
        let who = fs::read_to_string(folder.join("who")).unwrap();
        fs::remove_file(folder.join("who")).unwrap();
        who
    };
    // Root's own folder is root's to build in.
    assert!(ran_as().starts_with("0\n"));
    chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
    assert_eq!(ran_as(), format!("{NOBODY}\n{NOBODY}\n/nonexistent\n"));
}
