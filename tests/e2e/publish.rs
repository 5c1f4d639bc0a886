//! `make image runner-image push sign`, as a person or a job calls it, into a real registry.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::{
    peers::{Registry, ok, peer},
    support::Igx,
};

/// The static binary that stands for igx: building the real one takes minutes, and nothing here runs it.
const STATIC: &str = "/bin/busybox";

fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// `make` with the `igx` under test, its store, and a folder of its own for what is handed out.
fn make(igx: &Igx, arguments: &[&str]) -> Command {
    let mut make = Command::new("make");
    let binary = format!("IGX={} --store {}", super::support::binary(), igx.store().display());
    let dist = format!("DIST={}", igx.home.path().join("dist").display());
    make.arg("-C").arg(tree()).args([&binary, &dist]).args(arguments).stdin(Stdio::null());
    // Run by `make test`, it is not that make's child.
    make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").env_remove("MFLAGS");
    make
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn json(command: &mut Command) -> Value {
    serde_json::from_str(&ok(command)).unwrap()
}

#[test]
fn both_images_are_pushed_and_signed() {
    let registry = Registry::plain();
    let igx = Igx::new();
    let home = igx.home.path();
    let to = format!("REGISTRY={}/tools", registry.host);
    let flags = format!("PUSH_ARGS=--insecure-registries {}", registry.host);
    let binaries = format!("BINARIES={STATIC}");
    let goals = ["image", "runner-image", "push", "TAG=v1", &to, &flags, &binaries];
    let pushed = said(&make(&igx, &goals).output().unwrap());

    let (gadget, runner) = (registry.image("tools/trace_sni:v1"), registry.image("tools/igx:v1"));
    let manifest = |image: &str| json(peer("crane").args(["manifest", "--insecure", image]));
    let index = manifest(&gadget);
    assert_eq!(index["manifests"].as_array().map(Vec::len), Some(2), "{pushed}");
    let index = manifest(&runner);
    assert_eq!(index["manifests"].as_array().map(Vec::len), Some(1), "{pushed}");
    let config = json(peer("crane").args(["config", "--insecure", &runner]));
    assert_eq!(config["config"]["Entrypoint"][0], "/usr/bin/igx");
    assert_eq!(config["architecture"], index["manifests"][0]["platform"]["architecture"]);
    // crane checks every digest, that of the unpacked layer among them.
    ok(peer("crane").args(["validate", "--insecure", "--remote", &runner]));

    let export = home.join("root.tar");
    ok(peer("crane").args(["export", "--insecure", &runner]).arg(&export));
    let listed = ok(Command::new("tar").args(["--numeric-owner", "-tvf"]).arg(&export));
    assert!(listed.lines().all(|line| line.contains(" 0/0 ")), "{listed}");
    let files: Vec<_> = listed.lines().filter(|line| !line.starts_with('d')).collect();
    assert_eq!(files.len(), 2, "{listed}");
    ok(Command::new("tar").args(["--same-permissions", "-xf"]).arg(&export).arg("-C").arg(home));
    let binary = home.join("usr/bin/igx");
    assert_eq!(fs::read(&binary).unwrap(), fs::read(STATIC).unwrap());
    assert_eq!(fs::metadata(&binary).unwrap().permissions().mode() & 0o7777, 0o755);
    let certificates = fs::read_to_string(home.join("etc/ssl/certs/ca-certificates.crt")).unwrap();
    assert!(certificates.starts_with("-----BEGIN CERTIFICATE-----"));

    ok(peer("cosign").arg("generate-key-pair").env("COSIGN_PASSWORD", "").current_dir(home));
    let tools = peer("cosign").get_program().to_owned();
    let path = format!("{}:{}", Path::new(&tools).parent().unwrap().display(), env::var("PATH").unwrap());
    let mut sign = make(&igx, &["sign", "SIGN_ARGS=--allow-http-registry"]);
    ok(sign.env("PATH", path).env("COSIGN_KEY", home.join("cosign.key")).env("COSIGN_PASSWORD", ""));
    for image in [gadget, runner] {
        let mut verify = peer("cosign");
        verify.args(["verify", "--insecure-ignore-tlog=true", "--allow-http-registry", "--key"]);
        ok(verify.arg(home.join("cosign.pub")).arg(image));
    }
}

#[test]
fn the_same_binary_gives_the_same_runner_image() {
    let digest = |igx: &Igx| {
        let binaries = format!("BINARIES={STATIC}");
        let text = ok(&mut make(igx, &["runner-image", &binaries]));
        text.split_once("@sha256:").unwrap().1.to_owned()
    };
    assert_eq!(digest(&Igx::new()), digest(&Igx::new()));
}

#[test]
fn what_cannot_be_published_is_told() {
    let igx = Igx::new();
    let fails = |goals: &[&str]| {
        let output = make(&igx, goals).output().unwrap();
        assert!(!output.status.success(), "{goals:?}");
        said(&output)
    };
    let dynamic = format!("BINARIES={}", env!("CARGO_BIN_EXE_igx"));
    assert!(fails(&["runner-image", &dynamic]).contains("is not static: build it with 'make dist'"));
    assert!(fails(&["runner-image", "BINARIES=/bin/busybox /bin/busybox"]).contains("are both for"));
    assert!(fails(&["runner-image", "BINARIES=Makefile"]).contains("is no 64-bit little-endian ELF"));
    assert!(fails(&["push"]).contains("make push REGISTRY="));
    assert!(fails(&["sign"]).contains("run 'make push' first"));
    assert!(fails(&["push", "REGISTRY=127.0.0.1:1/x"]).contains("trace_sni"));
}
