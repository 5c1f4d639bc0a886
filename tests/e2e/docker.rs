//! Containers of a real docker daemon: known before their first packet, and told apart.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use runner::container::namespace;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    loss,
    support::{Igx, Process, TlsServer, starts, with_trace_files},
};

/// How often a container makes its handshake as its very first act.
const STARTS: usize = 50;

/// A docker daemon of its own, a network between its containers and the host, and an image whose programs are a
/// shell and openssl.
pub(crate) struct Docker {
    dir: PathBuf,
    pub(crate) socket: String,
    gateway: String,
    server: TlsServer,
    _files: TempDir,
}

impl Docker {
    pub(crate) fn start() -> Self {
        // The socket's path has to be short.
        let dir = TempDir::with_prefix_in("igx-d", "/tmp").unwrap().keep();
        let script = script("test-docker");
        let started = Command::new(&script)
            .arg("start")
            .arg(&dir)
            .stderr(Stdio::inherit())
            .output()
            .unwrap_or_else(|e| panic!("{}: {e}", script.display()));
        assert!(started.status.success(), "no docker daemon");
        let socket = String::from_utf8(started.stdout).unwrap().trim().to_owned();
        let files = TempDir::new().unwrap();
        let mut docker = Self {
            dir,
            socket,
            gateway: String::new(),
            server: TlsServer::start(files.path(), "0.0.0.0"),
            _files: files,
        };
        docker.import_openssl();
        docker.ok(&["network", "create", "igx-test"]);
        docker.gateway =
            docker.ok(&["network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "igx-test"]);
        docker
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("-H").arg(format!("unix://{}", self.socket)).args(args).stdin(Stdio::null());
        command
    }

    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.command(args).output().unwrap();
        assert!(status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap().trim().to_owned()
    }

    /// An image of the host's openssl and the libraries that it and igx need.
    fn import_openssl(&self) {
        let build = r#"
            set -e
            root=$(mktemp -d)
            mkdir -p "$root/bin" "$root/etc" "$root/tmp"
            cp -L /bin/busybox "$root/bin/busybox"
            ln -s busybox "$root/bin/sh"; ln -s busybox "$root/bin/sleep"
            for file in $(command -v openssl) $(ldd "$(command -v openssl)" "$IGX" | grep -o '/[^ :]*'); do
                mkdir -p "$root$(dirname "$file")"; cp -L "$file" "$root$file"
            done
            tar -C "$root" -c . ; rm -rf "$root""#;
        let mut tar = Command::new("sh");
        let tar = tar.args(["-c", build]).env("IGX", super::support::binary());
        let mut tar = tar.stdout(Stdio::piped()).spawn().unwrap();
        let mut import = self.command(&["import", "-", "tls-client:1"]);
        let imported = import.stdin(tar.stdout.take().unwrap()).output().unwrap();
        assert!(tar.wait().unwrap().success());
        assert!(imported.status.success(), "{imported:?}");
    }

    /// The arguments of a handshake that asks for `name`.
    pub(crate) fn handshake(&self, name: &str) -> Vec<String> {
        let to = format!("{}:{}", self.gateway, self.server.port);
        ["openssl", "s_client", "-connect", &to, "-servername", name].map(str::to_owned).to_vec()
    }

    /// Runs a container whose very first act is a handshake.
    pub(crate) fn run(&self, container: &str, name: &str) {
        let mut args = vec!["run", "--rm", "--network", "igx-test", "--name", container, "tls-client:1"];
        let handshake = self.handshake(name);
        args.extend(handshake.iter().map(String::as_str));
        self.ok(&args);
    }

    /// Starts a container that does nothing.
    pub(crate) fn idle(&self, container: &str) -> Idle<'_> {
        self.idle_with(container, &["--network", "igx-test"])
    }

    /// The same, with more arguments to docker.
    pub(crate) fn idle_with(&self, container: &str, more: &[&str]) -> Idle<'_> {
        let run = ["run", "-d", "--name", container];
        let id = self.ok(&[&run[..], more, &["tls-client:1", "sleep", "1000"]].concat());
        Idle { docker: self, id }
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let _ = Command::new(script("test-docker")).arg("stop").arg(&self.dir).status();
    }
}

pub(crate) struct Idle<'a> {
    docker: &'a Docker,
    id: String,
}

impl Idle<'_> {
    pub(crate) fn handshake(&self, name: &str) {
        let status = self.handshake_by(&[], name).status().unwrap();
        assert!(status.success(), "{} asks for {name}: {status}", self.id);
    }

    /// A handshake in the container, by way of another program.
    pub(crate) fn handshake_by(&self, program: &[&str], name: &str) -> Command {
        let mut command = self.docker.command(&[&["exec", self.id.as_str()], program].concat());
        command.args(self.docker.handshake(name)).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Its first process.
    pub(crate) fn pid(&self) -> String {
        self.docker.ok(&["inspect", "-f", "{{.State.Pid}}", &self.id])
    }
}

impl Drop for Idle<'_> {
    fn drop(&mut self) {
        let _ = self.docker.command(&["rm", "-f", &self.id]).output();
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts").join(name)
}

#[test]
fn containers_are_known_before_their_first_packet_and_others_are_left_out() {
    let docker = Docker::start();
    let igx = Igx::new();
    let mut run = igx.run(&[
        "trace_sni",
        "-o",
        "json",
        "--containername",
        "test-trace-sni",
        "--docker-socketpath",
        &docker.socket,
    ]);
    let wanted: BTreeSet<String> = (0..starts(STARTS)).map(|i| format!("start-{i}.e2e.example")).collect();
    for (i, name) in wanted.iter().enumerate() {
        if i % 10 == 0 {
            docker.run("somebody-else", "other.e2e.example");
        }
        docker.run("test-trace-sni", name);
    }
    let mut seen = BTreeSet::new();
    while seen.len() < wanted.len() {
        let event = run.event(|_| true);
        check(&event);
        seen.insert(event["name"].as_str().unwrap().to_owned());
    }
    for line in run.stop() {
        let event: Value = serde_json::from_str(&line).unwrap();
        check(&event);
    }
    assert_eq!(seen, wanted);

    fn check(event: &Value) {
        assert_eq!(event["runtime"]["containerName"], "test-trace-sni", "{event}");
        assert_eq!(event["runtime"]["runtimeName"], "docker");
        assert_eq!(event["runtime"]["containerImageName"], "tls-client:1");
        assert_eq!(event["runtime"]["containerId"].as_str().unwrap().len(), 64);
        assert_eq!(event["proc"]["comm"], "openssl");
        assert_ne!(event["name"], "other.e2e.example");
    }
}

#[test]
fn a_container_that_runs_already_reads_like_the_readme() {
    let docker = Docker::start();
    let igx = Igx::new();
    let shown = docker.idle("test-trace-sni");
    let other = docker.idle("somebody-else");
    let mut run = igx.run(&["trace_sni", "-c", "test-trace-sni", "--docker-socketpath", &docker.socket]);
    let header = run.line();
    assert_eq!(
        header.split_whitespace().collect::<Vec<_>>(),
        ["RUNTIME.CONTAINERNAME", "COMM", "PID", "TID", "NAME"]
    );
    other.handshake("other.e2e.example");
    shown.handshake("example.com");
    let line = run.line();
    let cells: Vec<_> = line.split_whitespace().collect();
    assert_eq!((cells[0], cells[1], cells[4]), ("test-trace-sni", "openssl", "example.com"));
    assert_eq!(cells[2], cells[3]);
    assert!(run.stop().is_empty());
}

#[test]
fn with_host_containers_and_processes_are_both_shown() {
    let docker = Docker::start();
    let igx = Igx::new();
    let container = docker.idle("test-trace-sni");
    let args = ["trace_sni", "--host", "--all", "-o", "json", "--docker-socketpath", &docker.socket];
    let mut run = igx.run(&args);
    container.handshake("both.e2e.example");
    let server = docker.server.process.pid();
    run.events(&[
        &|e| e["name"] == "both.e2e.example" && e["runtime"]["containerName"] == "test-trace-sni",
        &|e| e["name"] == "both.e2e.example" && e["proc"]["pid"] == server,
    ]);
    run.stop();
}

#[test]
fn docker_goes_on_when_igx_is_killed() {
    let docker = Docker::start();
    let igx = Igx::new();
    let mut run = igx.run(&["trace_sni", "--docker-socketpath", &docker.socket]);
    run.line();
    let mut started = docker.command(&["run", "--rm", "--network", "none", "tls-client:1", "sleep", "0"]);
    let mut started = Process::start(&mut started);
    drop(run); // by SIGKILL
    assert!(started.0.wait().unwrap().success());
}

#[test]
fn a_gadget_of_another_kind_shows_only_the_containers_asked_for() {
    let docker = Docker::start();
    let igx = with_trace_files();
    let _shown = docker.idle("test-trace-sni");
    let _other = docker.idle("somebody-else");
    let args = ["trace_files", "-o", "json", "-c", "test-trace-sni", "--docker-socketpath", &docker.socket];
    let mut run = igx.run(&args);
    std::fs::read("/etc/hostname").unwrap();
    docker.ok(&["exec", "somebody-else", "sh", "-c", ": < /proc/self/stat"]);
    docker.ok(&["exec", "test-trace-sni", "sh", "-c", ": < /proc/self/comm"]);
    run.event(|event| {
        assert_eq!(event["runtime"]["containerName"], "test-trace-sni", "{event}");
        event["fname"] == "/proc/self/comm"
    });
    run.stop();
}

#[test]
fn what_nobody_owns_belongs_to_the_container_of_its_network() {
    let docker = Docker::start();
    let igx = Igx::new();
    let _shown = docker.idle("test-trace-sni");
    let pid = docker.ok(&["inspect", "-f", "{{.State.Pid}}", "test-trace-sni"]);
    let network = namespace::open_netns(pid.parse().unwrap()).unwrap();
    let args = ["trace_sni", "-o", "json", "-c", "test-trace-sni", "--docker-socketpath", &docker.socket];
    let mut run = igx.run(&args);
    loss::send_from_nobody("host.e2e.example");
    namespace::in_netns(&network, || loss::send_from_nobody("container.e2e.example")).unwrap();
    let event = run.event(|_| true);
    assert_eq!(event["name"], "container.e2e.example");
    assert_eq!(event["runtime"]["containerName"], "test-trace-sni");
    assert_eq!(event["proc"]["pid"], 0);
    run.stop();
}
