//! An author's way: a gadget is started, built, run and tested; and its test fails when it should.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use nix::sys::signal::{Signal, kill};

use crate::support::{Igx, binary, wait_until};

/// A gadget as `image new` starts it.
fn demo(igx: &Igx) -> PathBuf {
    let folder = igx.home.path().join("demo");
    igx.ok(&["image", "new", "demo", "--path", folder.to_str().unwrap()]);
    folder
}

/// Runs the gadget's tests after one of its files was changed.
fn test_with(igx: &Igx, from: &str, to: &str) -> Output {
    let folder = igx.home.path().join("demo");
    let file = folder.join("tests/exec.yaml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(&file, text.replace(from, to) + "timeout: 2\n").unwrap();
    let output = igx.output(&["image", "test", folder.to_str().unwrap()]);
    fs::write(&file, text).unwrap();
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_new_gadget_builds_runs_and_passes_its_test() {
    let igx = Igx::new();
    let folder = demo(&igx);
    let folder = folder.to_str().unwrap();
    igx.ok(&["image", "build", folder, "-t", "demo"]);
    let mut run = igx.run(&["demo", "--host", "-o", "json"]);
    assert!(Command::new("/bin/true").status().unwrap().success());
    let event = run.event(|e| e["path"] == "/bin/true" && e["proc"]["parent"]["pid"] == std::process::id());
    assert_eq!(event["proc"]["comm"], "true");
    run.stop();
    let mut run = igx.run(&["demo", "--host", "--comm", "true"]);
    assert!(Command::new("/bin/true").status().unwrap().success());
    assert!(run.line().ends_with(" PATH"));
    run.stop();

    let passed = igx.ok(&["image", "test", folder]);
    assert!(passed.ends_with("  ok    reject path: \"\"\n2 passed, 0 failed\n"), "{passed}");
    // An image is tested as well, and the built one is in no store but the author's.
    let file = format!("{folder}/tests/exec.yaml");
    let passed = igx.ok(&["image", "test", "demo", "-f", &file]);
    assert!(passed.ends_with("2 passed, 0 failed\n"), "{passed}");
    assert!(!igx.ok(&["image", "list"]).contains("tested"));
}

#[test]
fn a_new_gadget_with_a_guest_builds_and_passes_its_test() {
    let igx = Igx::new();
    let folder = igx.home.path().join("demo");
    igx.ok(&["image", "new", "demo", "--guest", "--path", folder.to_str().unwrap()]);
    // Here the crate is that of this tree, as no release may have it yet.
    let manifest = folder.join("guest/Cargo.toml");
    let old = fs::read_to_string(&manifest).unwrap();
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest").canonicalize().unwrap();
    let (before, after) = old.split_once("{ git = ").unwrap();
    let after = after.split_once('}').unwrap().1;
    fs::write(&manifest, format!("{before}{{ path = {crates:?} }}{after}")).unwrap();

    let passed = igx.ok(&["image", "test", folder.to_str().unwrap()]);
    assert!(passed.ends_with("2 passed, 0 failed\n"), "{passed}");
    let tests =
        Command::new(env!("CARGO")).args(["test", "--quiet"]).current_dir(folder.join("guest")).output();
    let tests = tests.unwrap();
    assert!(tests.status.success(), "{}{}", text(&tests.stdout), text(&tests.stderr));
}

#[test]
fn a_test_fails_when_the_gadget_does_not_do_what_it_says() {
    let igx = Igx::new();
    demo(&igx);
    let output = test_with(&igx, "~/true$", "~/false$");
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(said.contains("FAIL  expect path: ~/false$, proc.comm"), "{said}");
    assert!(said.ends_with("1 passed, 1 failed\n"), "{said}");

    // Of all events, the one that differs least is shown.
    let output = test_with(&igx, "proc.comm: \"true\"", "proc.comm: \"false\"");
    let said = text(&output.stdout);
    assert!(said.contains("\n          proc.comm is \"true\"\n"), "{said}");

    let output = test_with(&igx, "- path: \"\"", "- path: ~/true$");
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(said.contains("FAIL  reject path: ~/true$\n        but there is one:\n"), "{said}");
    assert!(said.ends_with("1 passed, 1 failed\n"), "{said}");
}

#[test]
fn a_workload_or_gadget_that_fails_is_told() {
    let igx = Igx::new();
    demo(&igx);
    let output = test_with(&igx, "workload: /bin/true", "workload: /bin/true; echo so >&2; exit 3");
    let said = text(&output.stdout);
    assert!(said.contains("FAIL  workload: exit status: 3\n        so\n"), "{said}");
    assert!(said.ends_with("2 passed, 1 failed\n"), "{said}");

    let output = test_with(&igx, "[--host]", "[--host, --no-such-flag]");
    let said = text(&output.stdout);
    assert!(said.contains("FAIL  igx run: it ended\n        error: unexpected argument"), "{said}");

    // What a workload leaves running ends with it, and so does one that never ends.
    let mark = format!("{}.5", 86_400 + std::process::id());
    let output = test_with(&igx, "/bin/true", &format!("sleep {mark} & /bin/true; sleep {mark}"));
    let said = text(&output.stdout);
    assert!(said.contains("FAIL  workload: it ran on after 2 s, the test's timeout\n"), "{said}");
    assert_eq!(running(&mark), 0);
}

#[test]
fn an_interrupted_test_leaves_nothing_behind() {
    let igx = Igx::new();
    let folder = demo(&igx);
    let mark = format!("{}.25", 86_400 + std::process::id());
    let test = "run: [--host]\nworkload: sleep MARK\nexpect: [{path: ~/sleep$}]\n".replace("MARK", &mark);
    fs::write(folder.join("tests/exec.yaml"), test).unwrap();
    let mut command = igx.command(&["image", "test", folder.to_str().unwrap()]);
    command.env("TMPDIR", igx.home.path()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    wait_until("the workload runs", || running(&mark) > 0);
    kill(nix::unistd::Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    let said: Vec<String> =
        BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok).collect();
    assert_eq!(said, ["Error: interrupted"]);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(running(&mark), 0);
    let left: Vec<_> = fs::read_dir(igx.home.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_str().unwrap().starts_with("igx-")), "{left:?}");
}

/// Runs a README's first block of commands below a heading as they are written, with a store of the test's own.
fn follow(igx: &Igx, readme: &str, heading: &str) -> String {
    let (_, section) = readme.split_once(heading).unwrap();
    let lines = section.lines().skip_while(|line| !line.starts_with("    "));
    let script: Vec<_> = lines.take_while(|line| line.starts_with("    ")).collect();
    let bin = igx.home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let igx_command = format!("exec {} --store {} \"$@\"", binary(), igx.store().display());
    for (name, text) in [("igx", igx_command.as_str()), ("sudo", "exec \"$@\"")] {
        fs::write(bin.join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", bin.display(), env::var("PATH").unwrap());
    let script = script.join("\n").replace("--timeout 10", "--timeout 1");
    let mut shell = Command::new("sh");
    shell.args(["-exc", &script]).env("PATH", path).stdin(Stdio::null()).current_dir(igx.home.path());
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{script}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn the_readme_can_be_followed_word_for_word() {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = fs::read_to_string(tree.join("README.md")).unwrap();
    let igx = Igx::new();
    let printed = follow(&igx, &readme, "## Build and publish your own gadget");
    assert!(printed.contains("2 passed, 0 failed\n"), "{printed}");
    assert!(printed.lines().any(|line| line.ends_with(" PATH")), "{printed}");

    // And that of the new gadget, in its folder.
    let mine = igx.home.path().join("trace_mine");
    let readme =
        fs::read_to_string(mine.join("README.md")).unwrap().replace(" --host\n", " --host --timeout 10\n");
    let other = Igx::new();
    for file in ["program.bpf.c", "gadget.yaml"] {
        fs::copy(mine.join(file), other.home.path().join(file)).unwrap();
    }
    fs::create_dir(other.home.path().join("tests")).unwrap();
    fs::copy(mine.join("tests/exec.yaml"), other.home.path().join("tests/exec.yaml")).unwrap();
    let printed = follow(&other, &readme, "# trace_mine");
    assert!(printed.contains("2 passed, 0 failed\n"), "{printed}");
}

/// How many processes have this word among their arguments.
fn running(word: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().map_while(Result::ok);
    let lines = processes.filter_map(|p| fs::read(p.path().join("cmdline")).ok());
    lines.filter(|line| line.split(|b| *b == 0).any(|arg| arg == word.as_bytes())).count()
}
