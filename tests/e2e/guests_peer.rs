//! The peer's own images with guests, unchanged: run here and by the peer at the same time, beside one workload, both
//! tell the same of it, key by key.
//!
//! `IGX_PEER` names a folder with the peer's binary `ig` and its exported images `trace_mount.tar` and so on. What is
//! not there, or does not start on this kernel, is left out, and said; with `IGX_PEER_WHOLE`, that is an error.
//! `scripts/guests-peer` runs this in a machine whose kernel has all that the images need.

use std::{
    collections::BTreeSet,
    env, fs,
    net::UdpSocket,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    mount::{MsFlags, mount},
    sys::signal::{Signal, killpg},
};
use serde_json::Value;

use crate::support::{Igx, Running};

/// Until the peer runs: in an emulated machine, it takes its time.
const START: Duration = Duration::from_secs(240);

/// What no two runs agree on: when, and how long by a clock of one's own.
const VOLATILE: [&str; 6] =
    ["timestamp", "timestamp_raw", "delta", "delta_raw", "latency_ns", "latency_ns_raw"];

/// An event by the texts at some of its keys.
type Wanted<'a> = &'a [(&'a str, &'a str)];

/// One image, run twice; once where only the peer cannot run it.
struct Pair {
    ours: Running,
    theirs: Option<Running>,
    _igx: Igx,
}

fn left_out(image: &str, why: &str) {
    assert!(env::var_os("IGX_PEER_WHOLE").is_none(), "{image}: {why}");
    eprintln!("left out: {image}: {why}");
}

impl Pair {
    fn start(image: &str, args: &[&str]) -> Option<Self> {
        let Some(peer) = env::var_os("IGX_PEER").map(PathBuf::from).filter(|p| p.join("ig").exists()) else {
            left_out(image, "IGX_PEER names no folder with the peer's binary ig");
            return None;
        };
        let tar = peer.join(format!("{image}.tar"));
        if !tar.exists() {
            left_out(image, "IGX_PEER has no such image");
            return None;
        }
        let igx = Igx::new();
        igx.ok(&["image", "import", tar.to_str().unwrap()]);
        let args = [&["run", image, "--host", "--verify-image=false", "--verbose"], args].concat();
        let ours = start(&mut igx.command(&args));
        let theirs = start(&mut by_peer(&peer, &tar, &igx.home.path().join("peer"), &args));
        let runs = |whose: &str, mut running: Running| {
            if running.says("running...", START) {
                return Some(running);
            }
            left_out(image, &format!("{whose} does not run it here: {:?}", running.everything_said().last()));
            None
        };
        let (ours, theirs) = (runs("igx", ours), runs("ig", theirs));
        Some(Self { ours: ours?, theirs, _igx: igx })
    }

    /// Waits for these events, and compares them with those of the peer.
    fn agree_on(mut self, wanted: &[Wanted<'_>]) {
        let is = |event: &Value, wanted: Wanted<'_>| wanted.iter().all(|(key, text)| event[key] == **text);
        let wanted: Vec<_> = wanted.iter().map(|wanted| move |event: &Value| is(event, wanted)).collect();
        let wanted: Vec<_> = wanted.iter().map(|wanted| wanted as &dyn Fn(&Value) -> bool).collect();
        let ours = self.ours.events(&wanted);
        let Some(theirs) = self.theirs.map(|mut theirs| theirs.events(&wanted)) else { return };
        for (mut ours, mut theirs) in ours.into_iter().zip(theirs) {
            for key in VOLATILE {
                // Whether there is such a key must be the same.
                for event in [&mut ours, &mut theirs] {
                    event.get_mut(key).map(Value::take);
                }
            }
            assert_eq!(ours, theirs);
        }
    }
}

/// Starts it as the leader of a group, whose members can be told to stop together.
fn start(command: &mut Command) -> Running {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running::start(command.process_group(0))
}

/// The peer, with a state of its own, as the first process among its own.
fn by_peer(peer: &Path, tar: &Path, state: &Path, args: &[&str]) -> Command {
    fs::create_dir(state).unwrap();
    fs::create_dir_all("/var/lib/ig").unwrap();
    let script =
        "mount --bind \"$0\" /var/lib/ig && \"$1\" image import \"$2\" >&2 && shift 2 && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "-p", "-f", "--kill-child", "--mount-proc", "sh", "-c", script]);
    command.args([state, &peer.join("ig"), tar, &peer.join("ig")]);
    command.args(args).arg("--auto-mount-filesystems");
    command
}

#[test]
fn trace_mount_tells_what_it_tells_the_peer() {
    let Some(pair) = Pair::start("trace_mount", &["-o", "json"]) else { return };
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_RDONLY;
    mount(Some("igx-source"), "/igx-nowhere", Some("igxfs"), flags, Some("key=value")).unwrap_err();
    nix::mount::umount("/igx-nowhere").unwrap_err();
    pair.agree_on(&[
        &[("src", "igx-source"), ("fs", "igxfs"), ("data", "key=value"), ("op", "MOUNT")],
        &[("dest", "/igx-nowhere"), ("op", "UMOUNT")],
    ]);
}

/// The names of system calls in that block of a profile that has `chroot`, and the lines of the block without names.
fn profile(lines: &[String]) -> Option<(BTreeSet<String>, Value)> {
    let text: String =
        lines.iter().filter(|line| !line.starts_with("//")).map(|line| format!("{line}\n")).collect();
    let blocks = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    blocks.map(Result::unwrap).find_map(|mut block| {
        let names = block["syscalls"][0]["names"].take();
        let names: BTreeSet<String> = serde_json::from_value(names).unwrap();
        names.contains("chroot").then_some((names, block))
    })
}

#[test]
fn advise_seccomp_advises_what_it_advises_the_peer() {
    let Some(pair) = Pair::start("advise_seccomp", &[]) else { return };
    // In a mount namespace of its own, which is what profiles are told apart by.
    let script = "ls / > /dev/null; exec chroot / true";
    assert!(Command::new("unshare").args(["-m", "sh", "-c", script]).status().unwrap().success());
    let of = |running: Running| profile(&running.finish().0).expect("a profile of what was done");
    let ours = of(pair.ours);
    assert!(ours.0.contains("execve") && ours.0.contains("getdents64"), "{ours:#?}");
    if let Some(theirs) = pair.theirs {
        // Who started the peer waits for it, whatever it is told itself.
        let _ = killpg(theirs.pid(), Signal::SIGINT);
        assert_eq!(ours, of(theirs));
    }
}

#[test]
fn trace_dns_tells_what_it_tells_the_peer() {
    let Some(pair) = Pair::start("trace_dns", &["-o", "json"]) else { return };
    const NAME: &str = "igx-guest.example.";
    let question = b"\x09igx-guest\x07example\x00\x00\x01\x00\x01";
    let query = [b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", &question[..]].concat();
    let answer = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01";
    let reply = [b"\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00", &question[..], answer].concat();
    // An address of its own: something may answer at the usual one.
    let server = UdpSocket::bind("127.0.0.9:53").unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(&query, "127.0.0.9:53").unwrap();
    let (_, from) = server.recv_from(&mut [0; 512]).unwrap();
    server.send_to(&reply, from).unwrap();
    client.recv_from(&mut [0; 512]).unwrap();
    pair.agree_on(&[
        &[("name", NAME), ("qr", "Q"), ("pkt_type", "OUTGOING")],
        &[("name", NAME), ("qr", "Q"), ("pkt_type", "HOST")],
        &[("name", NAME), ("qr", "R"), ("pkt_type", "OUTGOING")],
        &[("name", NAME), ("qr", "R"), ("pkt_type", "HOST"), ("addresses", "192.0.2.1")],
    ]);
}

#[test]
fn trace_exec_tells_what_it_tells_the_peer() {
    let Some(pair) = Pair::start("trace_exec", &["-o", "json", "--paths", "--ignore-failed=false"]) else {
        return;
    };
    let (run, missing) = ("exec /bin/true igx-run 'of two words'", "exec /igx-nowhere/true");
    assert!(Command::new("sh").args(["-c", run]).status().unwrap().success());
    assert!(!Command::new("sh").args(["-c", missing]).status().unwrap().success());
    pair.agree_on(&[
        &[("args", "/bin/true\u{a0}igx-run\u{a0}of two words"), ("error", "")],
        &[("args", "/igx-nowhere/true"), ("error", "ENOENT")],
    ]);
}
