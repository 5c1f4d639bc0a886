//! Containers that namespaces do not tell apart: such as share a network, or the host's, and processes that make
//! namespaces of their own or enter those of others. And igx in a container itself.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{
    docker::{Docker, Idle},
    support::{Igx, Running, wait_until},
};

/// How often each container shakes hands while the others do.
const ROUNDS: usize = 5;
const FIELDS: &str = "name,runtime.containerName,runtime.containerSource";

/// A handshake of this host's, by nsenter in namespaces of the container.
fn enter(docker: &Docker, container: &Idle<'_>, namespaces: &[&str], name: &str) {
    let mut command = Command::new("nsenter");
    command.args(["-t", &container.pid()]).args(namespaces).args(docker.handshake(name));
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{name}: {status}");
}

/// The container of the hello for `name`, and how it was found.
fn container_of(run: &mut Running, name: &str) -> (String, String) {
    let event = run.event(|event| event["name"] == name);
    let text = |key: &str| event["runtime"][key].as_str().unwrap().to_owned();
    (text("containerName"), text("containerSource"))
}

fn pair(name: &str, source: &str) -> (String, String) {
    (name.to_owned(), source.to_owned())
}

#[test]
fn containers_in_one_network_and_in_that_of_the_host_are_told_apart() {
    let docker = Docker::start();
    let igx = Igx::new();
    let one = docker.idle("identity-one");
    let sharing = ["--network", "container:identity-one", "--cap-add", "SYS_ADMIN"];
    let other = docker.idle_with("identity-other", &sharing);
    let on_host = docker.idle_with("identity-host", &["--network", "host"]);
    let alone = docker.idle("identity-alone");
    let mut run = igx.run(&[
        "trace_sni",
        "--host",
        "-o",
        "json",
        "--fields",
        FIELDS,
        "--docker-socketpath",
        &docker.socket,
    ]);
    // All at the same time.
    let containers = [(&one, "identity-one"), (&other, "identity-other"), (&on_host, "identity-host")];
    let names: Vec<(&Idle<'_>, &str, String)> = (0..ROUNDS)
        .flat_map(|round| containers.map(|(idle, name)| (idle, name, format!("{name}-{round}.e2e.example"))))
        .collect();
    let all: Vec<_> =
        names.iter().map(|(idle, _, name)| idle.handshake_by(&[], name).spawn().unwrap()).collect();
    all.into_iter().for_each(|mut child| assert!(child.wait().unwrap().success()));
    let is = |name: &String| {
        let name = name.clone();
        move |event: &Value| event["name"] == name.as_str()
    };
    let wanted: Vec<_> = names.iter().map(|(_, _, name)| is(name)).collect();
    let wanted: Vec<&dyn Fn(&Value) -> bool> = wanted.iter().map(|wanted| wanted as _).collect();
    for (event, (_, container, _)) in run.events(&wanted).iter().zip(&names) {
        assert_eq!(event["runtime"]["containerName"], *container, "{event}");
        assert_eq!(event["runtime"]["containerSource"], "cgroup", "{event}");
    }
    // A mount namespace of its own, made within a container.
    let unshare = ["/bin/busybox", "unshare", "-m"];
    assert!(other.handshake_by(&unshare, "unshared.e2e.example").status().unwrap().success());
    assert_eq!(container_of(&mut run, "unshared.e2e.example"), pair("identity-other", "cgroup"));
    // Processes of the host that enter namespaces.
    enter(&docker, &alone, &["-n"], "network.e2e.example");
    assert_eq!(container_of(&mut run, "network.e2e.example"), pair("identity-alone", "netns"));
    enter(&docker, &one, &["-n"], "shared.e2e.example");
    assert_eq!(container_of(&mut run, "shared.e2e.example"), pair("", ""), "of which of the two?");
    enter(&docker, &one, &["-n", "-m"], "mounts.e2e.example");
    assert_eq!(container_of(&mut run, "mounts.e2e.example"), pair("identity-one", "mntns"));
    run.stop();
}

#[test]
fn a_containers_process_is_selected_whatever_namespaces_it_makes() {
    let docker = Docker::start();
    let igx = Igx::new();
    let one = docker.idle_with("identity-one", &["--network", "igx-test", "--cap-add", "SYS_ADMIN"]);
    let sharing = ["--network", "container:identity-one", "--cap-add", "SYS_ADMIN"];
    let other = docker.idle_with("identity-other", &sharing);
    let args = ["trace_sni", "-o", "json", "-c", "identity-other", "--docker-socketpath", &docker.socket];
    let mut run = igx.run(&args);
    let unshare = ["/bin/busybox", "unshare", "-m"];
    assert!(one.handshake_by(&unshare, "not-this.e2e.example").status().unwrap().success());
    one.handshake("nor-this.e2e.example");
    enter(&docker, &one, &["-n"], "nor-the-hosts.e2e.example");
    assert!(other.handshake_by(&unshare, "unshared.e2e.example").status().unwrap().success());
    let event = run.event(|_| true);
    assert_eq!(event["name"], "unshared.e2e.example", "{event}");
    assert_eq!(event["runtime"]["containerName"], "identity-other");
    assert_eq!(event["runtime"].get("containerSource"), None, "only by name");
    // Selected no more, once it is called otherwise; and again.
    docker.ok(&["rename", "identity-other", "identity-renamed"]);
    docker.ok(&["rename", "identity-one", "identity-other"]);
    wait_until("the other one is shown", || {
        one.handshake("renamed.e2e.example");
        run.any_line().is_some_and(|line| line.contains("renamed.e2e.example"))
    });
    other.handshake("gone.e2e.example");
    one.handshake("last.e2e.example");
    run.event(|event| {
        assert_ne!(event["name"], "gone.e2e.example");
        event["name"] == "last.e2e.example"
    });
    run.stop();
}

/// What makes a container privileged as far as this machine allows it: docker cannot give what it does not have.
fn privileges() -> &'static [&'static str] {
    const SYS_RESOURCE: u64 = 1 << 24;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    if u64::from_str_radix(held.trim(), 16).unwrap() & SYS_RESOURCE != 0 {
        return &["--privileged"];
    }
    &["--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--security-opt", "seccomp=unconfined"]
}

#[test]
fn igx_in_a_container_sees_the_host() {
    let docker = Docker::start();
    let binary = format!("{}:/igx:ro", super::support::binary());
    let before = docker.idle("identity-before");
    let observer = [
        &["run", "--rm", "--name", "identity-observer", "--pid=host", "-v", "/:/host", "-v", &binary],
        privileges(),
        &["-e", "HOST_ROOT=/host", "tls-client:1", "/igx", "--auto-mount-filesystems"],
    ]
    .concat();
    let list = ["list-containers", "-o", "json", "--docker-socketpath", &docker.socket];
    let listed: Value = serde_json::from_str(&docker.ok(&[&observer[..], &list].concat())).unwrap();
    let found =
        listed.as_array().unwrap().iter().find(|c| c["runtime"]["containerName"] == "identity-before");
    let found = found.unwrap_or_else(|| panic!("{listed:#}"));
    assert_eq!(found["runtime"]["containerPid"].to_string(), before.pid());
    assert_ne!(found["hostNetwork"], true);
    let cgroup = std::fs::read_to_string(format!("/proc/{}/cgroup", before.pid())).unwrap();
    let path = found["cgroupV2"].as_str().or(found["cgroupV1"].as_str()).unwrap();
    assert!(cgroup.contains(&format!(":{path}\n")), "{path} is not in {cgroup}");

    let run = ["-v", "run", "trace_sni", "--host", "-o", "json", "--docker-socketpath", &docker.socket];
    let mut command = docker.command(&[&observer[..], &run].concat());
    let mut run = Running::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    run.wait_for_said("running...");
    before.handshake("before.e2e.example");
    let event = run.event(|event| event["name"] == "before.e2e.example");
    assert_eq!(event["runtime"]["containerName"], "identity-before");
    assert_eq!(event["proc"]["comm"], "openssl");
    assert_eq!(event["proc"]["creds"]["user"], "root");
    // One that comes later has its first packet seen.
    docker.run("identity-after", "after.e2e.example");
    let event = run.event(|event| event["name"] == "after.e2e.example");
    assert_eq!(event["runtime"]["containerName"], "identity-after");
    // The host's own.
    let mut command = Command::new("openssl");
    let asked = command.args(&docker.handshake("host.e2e.example")[1..]).stdin(Stdio::null());
    assert!(asked.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    let event = run.event(|event| event["name"] == "host.e2e.example");
    assert_eq!((&event["runtime"]["containerName"], &event["proc"]["comm"]), (&"".into(), &"openssl".into()));
    docker.ok(&["kill", "-s", "INT", "identity-observer"]);
    run.ends();

    // What is missing is named.
    let blind = [
        &["run", "--rm", "-v", &binary],
        privileges(),
        &["-e", "HOST_ROOT=/nothing", "tls-client:1", "/igx", "list-containers"],
    ]
    .concat();
    let said = docker.command(&blind).output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("HOST_ROOT=/nothing: it has no etc, proc, run, sys/fs/cgroup"), "{said}");
}
