//! Containers of containerd, podman and plain runc: listed as their own tools list them, and known by name before
//! their first packet.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Igx, Process, TlsServer, starts, wait_until};

pub(crate) const IMAGE: &str = "localhost/igx-test:1";
/// How often each runtime's container makes a handshake as its very first act.
const STARTS: usize = 5;
/// Machines that may not raise limits can start containers with less than podman would give them.
pub(crate) const LIMITS: [&str; 4] = ["--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096"];

fn run(program: &str, args: &[&str]) -> String {
    let Output { status, stdout, stderr } = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap().trim().to_owned()
}

/// The image's root file system, and its archive.
pub(crate) struct Image {
    dir: TempDir,
}

impl Image {
    pub(crate) fn new() -> Self {
        let dir = TempDir::with_prefix_in("igx-r", "/tmp").unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/test-image");
        let archive = fs::File::create(dir.path().join("image.tar")).unwrap();
        let made =
            Command::new(script).arg(dir.path().join("root")).arg(IMAGE).stdout(archive).status().unwrap();
        assert!(made.success());
        Self { dir }
    }

    pub(crate) fn archive(&self) -> String {
        self.path("image.tar")
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// The name of a container of ours: other tests run at the same time.
    pub(crate) fn name(&self, name: &str) -> String {
        let own = self.dir.path().file_name().unwrap().to_str().unwrap().replace('.', "");
        format!("{own}-{name}").to_lowercase()
    }
}

/// A containerd of its own.
struct Containerd {
    dir: PathBuf,
    daemon: Process,
}

impl Containerd {
    fn start(image: &Image) -> Self {
        let dir = TempDir::with_prefix_in("igx-c", "/tmp").unwrap().keep();
        let at = |name: &str| dir.join(name).display().to_string();
        let config = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\n[grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n",
            at("root"),
            at("state"),
            at("c.sock"),
            at("t.sock"),
        );
        fs::write(dir.join("config.toml"), config).unwrap();
        let daemon = Process::start(Command::new("containerd").arg("-c").arg(dir.join("config.toml")));
        let containerd = Self { dir, daemon };
        wait_until("containerd answers", || containerd.ctr(&["version"]).output().unwrap().status.success());
        for namespace in ["default", "second"] {
            containerd.ok(&[
                "-n",
                namespace,
                "images",
                "import",
                "--snapshotter",
                "native",
                &image.archive(),
            ]);
        }
        containerd
    }

    fn socket(&self) -> String {
        self.dir.join("c.sock").to_str().unwrap().to_owned()
    }

    fn ctr(&self, args: &[&str]) -> Command {
        let mut command = Command::new("ctr");
        command.arg("-a").arg(self.socket()).args(args).stdin(Stdio::null());
        command
    }

    fn ok(&self, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.ctr(args).output().unwrap();
        assert!(status.success(), "ctr {args:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap().trim().to_owned()
    }

    fn idle(&self, namespace: &str, name: &str, labels: &[&str]) {
        let mut args = vec!["-n", namespace, "run", "-d", "--snapshotter", "native"];
        labels.iter().for_each(|label| args.extend(["--label", label]));
        args.extend([IMAGE, name, "sleep", "1000"]);
        self.ok(&args);
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        for namespace in ["default", "second"] {
            let tasks = self.ctr(&["-n", namespace, "tasks", "ls", "-q"]).output().unwrap().stdout;
            for task in String::from_utf8_lossy(&tasks).lines() {
                let _ = self.ctr(&["-n", namespace, "tasks", "rm", "-f", task]).output();
            }
        }
        let _ = kill(Pid::from_raw(self.daemon.0.id().cast_signed()), Signal::SIGTERM);
        let _ = self.daemon.0.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A podman with folders of its own, and no service.
struct Podman {
    dir: PathBuf,
}

impl Podman {
    fn new(image: &Image) -> Self {
        let podman = Self { dir: TempDir::with_prefix_in("igx-p", "/tmp").unwrap().keep() };
        podman.ok(&["load", "-i", &image.archive()]);
        podman
    }

    fn command(&self, args: &[&str]) -> Command {
        let at = |name: &str| self.dir.join(name).display().to_string();
        let mut command = Command::new("podman");
        command.args(["--root", &at("root"), "--runroot", &at("run"), "--tmpdir", &at("tmp")]);
        command.args(["--storage-driver", "vfs", "--runtime", "runc", "--cgroup-manager", "cgroupfs"]);
        command.args(["--events-backend", "file"]).args(args).stdin(Stdio::null());
        command
    }

    fn ok(&self, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.command(args).output().unwrap();
        assert!(status.success(), "podman {args:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap().trim().to_owned()
    }

    fn idle(&self, name: &str) -> String {
        let run = ["run", "-d", "--name", name, "--label", "tier=test", "--network", "none"];
        self.ok(&[&run[..], &LIMITS, &[IMAGE, "sleep", "1000"]].concat())
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.command(&["rm", "-f", "-t", "0", "-a"]).output();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mut ours: Vec<_> = mounts.lines().filter_map(|line| line.split(' ').nth(1)).collect();
        ours.retain(|path| Path::new(path).starts_with(&self.dir));
        ours.iter().rev().for_each(|path| drop(Command::new("umount").args(["-l", path]).output()));
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A bundle for runc, whose container's first act is `args`, in the network namespace `network` or in one of its own.
fn bundle(image: &Image, folder: &str, network: Option<&str>, args: &[&str]) -> String {
    let folder = image.path(folder);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    run("runc", &["spec", "--bundle", &folder]);
    let path = Path::new(&folder).join("config.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    spec["root"]["path"] = image.path("root").into();
    spec["process"]["terminal"] = false.into();
    spec["process"]["args"] = args.into();
    spec["process"].as_object_mut().unwrap().remove("rlimits");
    for namespace in spec["linux"]["namespaces"].as_array_mut().unwrap() {
        if let Some(network) = network.filter(|_| namespace["type"] == "network") {
            namespace["path"] = network.into();
        }
    }
    fs::write(path, spec.to_string()).unwrap();
    folder
}

/// A container of runc's own, gone with this.
struct Plain(String);

impl Plain {
    fn start(image: &Image, name: &str) -> Self {
        let folder = bundle(image, name, None, &["sleep", "1000"]);
        let mut command = Command::new("runc");
        let status =
            command.args(["run", "-d", "--bundle", &folder, name]).stdin(Stdio::null()).stdout(Stdio::null());
        assert!(status.stderr(Stdio::null()).status().unwrap().success());
        Self(name.to_owned())
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = Command::new("runc").args(["delete", "-f", &self.0]).output();
    }
}

/// A network namespace with a way to this host.
struct Network {
    name: String,
    host: String,
}

impl Network {
    fn new(name: &str) -> Self {
        // The last part of a process' number keeps networks of several runs apart.
        let part = std::process::id() % 250 + 1;
        let link = format!("igxr{part}");
        let network = Self { name: name.to_owned(), host: format!("10.251.{part}.1") };
        run("ip", &["netns", "add", name]);
        run("ip", &["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", name]);
        run("ip", &["address", "add", &format!("{}/24", network.host), "dev", &link]);
        run("ip", &["link", "set", &link, "up"]);
        run("ip", &["-n", name, "address", "add", &format!("10.251.{part}.2/24"), "dev", "eth0"]);
        run("ip", &["-n", name, "link", "set", "eth0", "up"]);
        network
    }

    fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).output();
    }
}

fn list(igx: &Igx, args: &[&str]) -> Vec<Value> {
    let text = igx.ok(&[&["list-containers", "-o", "json"], args].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn ids<'a>(found: impl IntoIterator<Item = &'a Value>, runtime: &str) -> BTreeSet<String> {
    let of = found.into_iter().filter(|entry| entry["runtime"]["runtimeName"] == runtime);
    of.map(|entry| entry["runtime"]["containerId"].as_str().unwrap().to_owned()).collect()
}

fn lines(text: &str) -> BTreeSet<String> {
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_list_is_that_of_each_runtimes_own_tool() {
    let igx = Igx::new();
    let image = Image::new();
    let containerd = Containerd::start(&image);
    let podman = Podman::new(&image);
    let socket = containerd.socket();
    let args = ["--containerd-socketpath", socket.as_str()];

    let (first, pod) = (image.name("ctr"), image.name("pod"));
    containerd.idle("default", &first, &[]);
    containerd.idle(
        "second",
        &pod,
        &[
            "io.kubernetes.pod.name=web-0",
            "io.kubernetes.pod.namespace=prod",
            "io.kubernetes.container.name=web",
        ],
    );
    let named = image.name("podman");
    let id = podman.idle(&named);
    let plain = Plain::start(&image, &image.name("runc"));

    let found = list(&igx, &args);
    let all = [
        containerd.ok(&["-n", "default", "c", "ls", "-q"]),
        containerd.ok(&["-n", "second", "c", "ls", "-q"]),
    ];
    assert_eq!(ids(&found, "containerd"), lines(&all.join("\n")));
    // Those of tests beside this one, in other folders, are not in this podman's list.
    let ours =
        |entry: &&Value| entry["bundle"].as_str().is_some_and(|at| Path::new(at).starts_with(&podman.dir));
    assert_eq!(ids(found.iter().filter(ours), "podman"), lines(&podman.ok(&["ps", "-q", "--no-trunc"])));
    assert!(ids(&found, "runc").contains(&plain.0), "{found:#?}");

    let get = |id: &str| found.iter().find(|entry| entry["runtime"]["containerId"] == id).unwrap();
    let by_containerd = get(&first);
    assert_eq!(by_containerd["runtime"]["containerName"], first.as_str());
    assert_eq!(by_containerd["runtime"]["containerImageName"], IMAGE);
    let digest = by_containerd["runtime"]["containerImageDigest"].as_str().unwrap();
    assert!(containerd.ok(&["images", "ls"]).contains(digest), "{digest}");
    // The id is the digest of the configuration, by whoever it is told.
    assert_eq!(by_containerd["runtime"]["containerImageId"], get(&id)["runtime"]["containerImageId"]);
    let in_pod = get(&pod);
    assert_eq!(in_pod["runtime"]["containerName"], "web");
    assert_eq!((&in_pod["k8s"]["podName"], &in_pod["k8s"]["namespace"]), (&"web-0".into(), &"prod".into()));
    let by_podman = get(&id);
    assert_eq!(by_podman["runtime"]["containerName"], named.as_str());
    assert_eq!(by_podman["runtime"]["containerImageName"], IMAGE);
    let pid: u64 = podman.ok(&["inspect", "-f", "{{.State.Pid}}", &named]).parse().unwrap();
    assert_eq!(by_podman["runtime"]["containerPid"], pid);
    assert!(by_podman["cgroupV1"].as_str().or(by_podman["cgroupV2"].as_str()).unwrap().contains(&id));

    // Selection, by what only this list knows.
    let select = |more: &[&str]| list(&igx, &[&args[..], more].concat());
    assert_eq!(ids(&select(&["--k8s-podname", "web-0"]), "containerd"), [pod.clone()].into());
    assert_eq!(ids(&select(&["-c", &format!("{first},{named}")]), "podman"), [id.clone()].into());
    let without = select(&["--containername", &format!("!{first}")]);
    assert!(!ids(&without, "containerd").contains(&first) && ids(&without, "podman").contains(&id));
    assert_eq!(
        ids(&select(&["--containerimage-digest", digest]), "containerd"),
        [first.clone(), pod.clone()].into()
    );
    assert!(ids(&select(&["-r", "containerd"]), "podman").is_empty());
    assert_eq!(ids(&select(&["--containerd-namespace", "second"]), "containerd"), [pod].into());

    // The service of podman tells labels, too.
    let service = podman.dir.join("p.sock").display().to_string();
    let mut command = podman.command(&["system", "service", "--time=0", &format!("unix://{service}")]);
    let _service = Process::start(&mut command);
    wait_until("podman's service listens", || Path::new(&service).exists());
    wait_until("podman's labels are told", || {
        let found = list(&igx, &["-r", "podman", "--podman-socketpath", &service]);
        found.iter().any(|entry| {
            entry["runtime"]["containerId"] == id.as_str()
                && entry["runtime"]["containerLabels"]["tier"] == "test"
        })
    });
}

#[test]
fn the_first_packet_has_the_containers_name_whatever_runs_it() {
    let igx = Igx::new();
    let image = Image::new();
    let containerd = Containerd::start(&image);
    let podman = Podman::new(&image);
    let network = Network::new(&image.name("net"));
    let files = TempDir::new().unwrap();
    let server = TlsServer::start(files.path(), "0.0.0.0");
    let to = format!("{}:{}", network.host, server.port);
    let socket = containerd.socket();
    let own = network.path();
    let mut events = igx.run(&["trace_sni", "-o", "json", "--containerd-socketpath", &socket]);
    let mut wanted = BTreeSet::new();
    for round in 0..starts(STARTS) {
        for runtime in ["containerd", "podman", "runc", "runc-run"] {
            let name = image.name(runtime);
            let host = format!("{name}-{round}.example");
            let act = ["openssl", "s_client", "-connect", &to, "-servername", &host];
            match runtime {
                "containerd" => {
                    let namespace = format!("network:{own}");
                    let run =
                        ["run", "--rm", "--snapshotter", "native", "--with-ns", &namespace, IMAGE, &name];
                    containerd.ok(&[&run[..], &act].concat());
                }
                "podman" => {
                    let namespace = format!("ns:{own}");
                    let run = ["run", "--rm", "--name", &name, "--network", &namespace];
                    podman.ok(&[&run[..], &LIMITS, &[IMAGE], &act].concat());
                }
                "runc-run" => {
                    let folder = bundle(&image, "first", Some(&own), &act);
                    run("runc", &["run", "--bundle", &folder, &name]);
                }
                _ => {
                    let folder = bundle(&image, "first", Some(&own), &act);
                    let pid_file = format!("{folder}/pid");
                    let mut create = Command::new("runc");
                    create.args(["create", "--bundle", &folder, "--pid-file", &pid_file, &name]);
                    // The container has what its creator has: a pipe would stay open as long as it lives.
                    assert!(
                        create
                            .stdin(Stdio::null())
                            .stdout(Stdio::null())
                            .stderr(Stdio::null())
                            .status()
                            .unwrap()
                            .success()
                    );
                    fs::read(&pid_file).unwrap();
                    run("runc", &["start", &name]);
                    wait_until("the container ends", || run("runc", &["state", &name]).contains("stopped"));
                    run("runc", &["delete", &name]);
                }
            }
            wanted.insert((name, runtime.trim_end_matches("-run").to_owned(), host));
        }
    }
    let hosts: BTreeSet<&str> = wanted.iter().map(|(_, _, host)| host.as_str()).collect();
    let mut seen = BTreeSet::new();
    while seen.len() < wanted.len() {
        let event = events.event(|event| hosts.contains(event["name"].as_str().unwrap_or_default()));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let runtime = &event["runtime"];
        if runtime["runtimeName"] != "runc" {
            assert_eq!(runtime["containerImageName"], IMAGE, "{event}");
        }
        seen.insert((text(&runtime["containerName"]), text(&runtime["runtimeName"]), text(&event["name"])));
        assert!(seen.is_subset(&wanted), "{event}");
    }
    events.stop();
}

#[test]
fn a_start_and_an_end_are_told_as_they_come() {
    let igx = Igx::new();
    let image = Image::new();
    let name = image.name("watched");
    let mut watch = igx.command(&["list-containers", "--watch", "-o", "json", "-c", &name]);
    let mut child = Process(watch.stdout(Stdio::piped()).spawn().unwrap());
    let mut told = BufReader::new(child.0.stdout.take().unwrap()).lines().map(|line| {
        let line = line.unwrap();
        serde_json::from_str::<Value>(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    let plain = Plain::start(&image, &name);
    let created = told.next().unwrap();
    assert_eq!(
        (&created["event"], &created["container"]["runtime"]["containerName"]),
        (&"CREATED".into(), &name.as_str().into())
    );
    assert_eq!(created["container"]["runtime"]["runtimeName"], "runc");
    drop(plain);
    assert_eq!(told.next().unwrap()["event"], "DELETED");
    kill(Pid::from_raw(child.0.id().cast_signed()), Signal::SIGINT).unwrap();
    assert!(child.0.wait().unwrap().success());
}

#[test]
fn a_runtime_that_hangs_is_named_and_the_others_are_listed() {
    let igx = Igx::new();
    let image = Image::new();
    let plain = Plain::start(&image, &image.name("beside"));
    let socket = image.path("d.sock");
    let _never_answers = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let began = Instant::now();
    let output = igx.output(&["list-containers", "--docker-socketpath", &socket]);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let (told, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && told.contains(&plain.0), "{told}{said}");
    assert_eq!(said.matches("docker at ").count(), 1, "{said}");

    let missing = image.path("none.sock");
    let said = igx.fails(&["list-containers", "--docker-socketpath", &missing]);
    assert!(said.contains("non-existent socketPath") && said.contains(&missing), "{said}");
    let said = igx.fails(&["list-containers", "-r", "nosuch"]);
    assert!(said.contains("runtime \"nosuch\" is not supported"), "{said}");
}

#[test]
fn a_selection_of_what_is_not_there_yet_is_said_to_be_one() {
    let (igx, image) = (Igx::new(), Image::new());
    let name = image.name("selected");
    let _plain = Plain::start(&image, &name);
    let advice = "no container matches the selection yet: those that start later are shown";
    let said = |selection: &str| {
        let output = igx.output(&["run", "trace_sni", "-t", "1", "-r", "runc", "-c", selection]);
        String::from_utf8(output.stderr).unwrap()
    };
    let text = said("not-there");
    assert_eq!(text.matches(advice).count(), 1, "{text}");
    let text = said(&name);
    assert!(!text.contains(advice), "{text}");
}
