//! Images to and from real registries: with a password over TLS, with tokens, and another implementation; and what
//! the tools of others make of them.

use std::{
    fs,
    io::Write,
    net::TcpStream,
    path::Path,
    process::{Output, Stdio},
};

use tempfile::TempDir;

use crate::{
    peers::{PASSWORD, Registry, USER, ok, peer},
    support::{Igx, Process, free_port, wait_until, with_trace_files},
};

/// Logs in with a password on standard input.
fn login(igx: &Igx, password: &str, args: &[&str]) -> Output {
    let mut command = igx.command(&[&["login", "-u", USER, "--password-stdin"], args].concat());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    assert!(!String::from_utf8_lossy(&said).contains(PASSWORD));
    output
}

/// Pushes `trace_files` under a name, and pulls it into another store; both with these flags.
fn there_and_back(image: &str, flags: &[&str]) {
    let (igx, other) = (with_trace_files(), Igx::new());
    igx.ok(&["image", "tag", "trace_files", image]);
    let said = igx.output(&[&["image", "push", image], flags].concat());
    let said = String::from_utf8(said.stderr).unwrap();
    let digest = said.trim().rsplit_once('@').unwrap_or_else(|| panic!("{said}")).1.to_owned();
    assert_eq!(said, format!("Pushing {image}...\nSuccessfully pushed {image}@{digest}\n"));
    let pulled = other.output(&[&["image", "pull", image], flags].concat());
    assert_eq!(
        String::from_utf8(pulled.stderr).unwrap(),
        format!("Pulling {image}...\nSuccessfully pulled {image}@{digest}\n")
    );
    let only = Igx::new();
    only.ok(&[&["image", "pull", "--platform", "host", image], flags].concat());
    assert!(only.ok(&["image", "list", "-o", "json"]).contains(&digest));
}

#[test]
fn a_password_over_tls() {
    let (registry, home) = (Registry::with_password(), TempDir::new().unwrap());
    let authfile = home.path().join("auth.json");
    let certificate = registry.certificate.as_ref().unwrap().to_str().unwrap();
    let flags = ["--authfile", authfile.to_str().unwrap(), "--ca-file", certificate];
    let host = registry.host.as_str();
    let igx = Igx::new();
    let said = |output: Output| String::from_utf8(output.stderr).unwrap();

    let unknown = said(login(&igx, PASSWORD, &["--authfile", flags[1], host]));
    assert!(unknown.contains("name its file with --ca-file"), "{unknown}");
    let wrong = said(login(&igx, "wrong", &[&flags[..], &[host]].concat()));
    assert!(wrong.contains("registry answered 401"), "{wrong}");
    assert!(!authfile.exists());

    let output = login(&igx, PASSWORD, &[&flags[..], &[host]].concat());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "Login Succeeded\n");
    there_and_back(&registry.image("team/trace_files:v1"), &flags);

    assert_eq!(igx.ok(&["logout", "--authfile", flags[1], host]), "Logout Succeeded\n");
    let image = registry.image("team/trace_files:v1");
    let refused = igx.fails(&[&["image", "pull", &image], &flags[..]].concat());
    assert!(refused.contains(&format!("; run 'igx login {host}'")), "{refused}");
    let again = igx.fails(&["logout", "--authfile", flags[1], host]);
    assert!(again.contains(&format!("not logged in to {host}")), "{again}");
}

#[test]
fn tokens_over_plain_http() {
    let (registry, home) = (Registry::with_tokens(), TempDir::new().unwrap());
    let authfile = home.path().join("auth.json");
    let authfile = authfile.to_str().unwrap();
    let igx = Igx::new();
    let output = login(&igx, PASSWORD, &["--authfile", authfile, "--plain-http", &registry.host]);
    assert!(output.status.success(), "{output:?}");
    let flags = ["--authfile", authfile, "--insecure-registries", &registry.host];
    there_and_back(&registry.image("team/trace_files:v1"), &flags);
}

#[test]
fn another_implementation() {
    let (folder, host) = (TempDir::new().unwrap(), format!("127.0.0.1:{}", free_port("127.0.0.1")));
    let mut crane = peer("crane");
    let _registry =
        Process::start(crane.args(["registry", "serve", "--address", &host, "--disk"]).arg(folder.path()));
    wait_until("crane's registry listens", || TcpStream::connect(&host).is_ok());
    there_and_back(&format!("{host}/team/trace_files:v1"), &["--insecure-registries", &host]);
}

#[test]
fn others_read_what_we_push_and_we_what_they_push() {
    let (registry, folder) = (Registry::plain(), TempDir::new().unwrap());
    let igx = with_trace_files();
    let (ours, theirs) = (registry.image("ours:v1"), registry.image("theirs:v1"));
    igx.ok(&["image", "tag", "trace_files", &ours]);
    igx.ok(&["image", "push", &ours, "--insecure-registries", &registry.host]);
    let layout = folder.path().join("layout");
    let mut oras = peer("oras");
    ok(oras.args(["copy", "--from-plain-http", &ours, "--to-oci-layout"]).arg(at(&layout)));
    let mut oras = peer("oras");
    ok(oras.arg("copy").arg("--from-oci-layout").arg(at(&layout)).args(["--to-plain-http", &theirs]));
    let other = Igx::new();
    other.ok(&["image", "pull", &theirs, "--insecure-registries", &registry.host]);
    let mut crane = peer("crane");
    let digest = ok(crane.args(["digest", "--insecure", &ours]));
    assert!(other.ok(&["image", "list", "-o", "json"]).contains(digest.trim()));
}

fn at(layout: &Path) -> String {
    format!("{}:v1", layout.display())
}

#[test]
fn a_damaged_image_is_pulled_again() {
    let registry = Registry::plain();
    let igx = with_trace_files();
    let image = registry.image("files:v1");
    let host = registry.host.clone();
    let insecure = ["--insecure-registries", &host];
    igx.ok(&["image", "tag", "trace_files", &image]);
    igx.ok(&[&["image", "push", &image], &insecure[..]].concat());

    let other = Igx::new();
    other.ok(&[&["image", "pull", &image], &insecure[..]].concat());
    let blobs = fs::read_dir(other.store().join("blobs/sha256")).unwrap();
    let largest = blobs.map(|blob| blob.unwrap().path()).max_by_key(|blob| fs::metadata(blob).unwrap().len());
    let whole = fs::read(largest.as_ref().unwrap()).unwrap();
    fs::write(largest.as_ref().unwrap(), &whole[1..]).unwrap();
    assert!(other.fails(&["image", "check"]).contains("1 image is damaged"));
    let said = other.ok(&[&["image", "check", "--repair"], &insecure[..]].concat());
    assert!(said.contains("After the repair:") && said.contains("0 damaged"), "{said}");
    assert_eq!(fs::read(largest.unwrap()).unwrap(), whole);
    other.ok(&["image", "check"]);

    // What the registry does not have any more stays damaged, and is told of.
    fs::remove_dir_all(other.store().join("blobs/sha256")).unwrap();
    drop(registry);
    let said = other.fails(&[&["image", "check", "--repair"], &insecure[..]].concat());
    assert!(said.contains("1 image is damaged"), "{said}");
}
