//! Starts of containers that no daemon knows: runc, called by hand in every way that it can be.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::super::tests::alone;
use super::super::{Collection, Config, Container, Watcher};

const PATIENCE: Duration = Duration::from_secs(20);

/// A bundle whose container prints the time since boot, and a state folder of its own.
struct Runc {
    dir: tempfile::TempDir,
}

impl Runc {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("starts-runc-").tempdir().unwrap();
        let bin = dir.path().join("bundle/rootfs/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(dir.path().join("bundle/rootfs/proc")).unwrap();
        // By another process: a child of another thread would hold the copy open for writing, and nobody could run it.
        assert!(Command::new("cp").arg("/bin/busybox").arg(&bin).status().unwrap().success());
        let runc = Self { dir };
        runc.configure(&["/bin/busybox", "cat", "/proc/uptime"]);
        runc
    }

    fn bundle(&self) -> PathBuf {
        self.dir.path().join("bundle")
    }

    fn configure(&self, arguments: &[&str]) {
        let namespaces: Vec<_> =
            ["pid", "network", "ipc", "uts", "mount"].map(|kind| serde_json::json!({ "type": kind })).into();
        let config = serde_json::json!({
            "ociVersion": "1.0.2",
            "process": { "user": { "uid": 0, "gid": 0 }, "args": arguments, "cwd": "/", "env": ["PATH=/bin"] },
            "root": { "path": "rootfs", "readonly": true },
            "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
            "linux": { "namespaces": namespaces },
        });
        fs::write(self.bundle().join("config.json"), config.to_string()).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("runc");
        command.arg("--root").arg(self.dir.path().join("state")).args(arguments);
        command.current_dir(self.bundle()).stdin(Stdio::null());
        command
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        assert!(status.success(), "runc {arguments:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }
}

/// Takes its time over each container, and says when it was done.
struct Slow(Mutex<Sender<(Arc<Container>, f64)>>);

const DELAY: Duration = Duration::from_millis(200);

impl Watcher for Slow {
    fn added(&self, container: &Arc<Container>) {
        thread::sleep(DELAY);
        let _ = self.0.lock().unwrap().send((Arc::clone(container), uptime(&read_uptime())));
    }

    fn removed(&self, _: &Arc<Container>) {}
}

fn read_uptime() -> String {
    fs::read_to_string("/proc/uptime").unwrap()
}

fn uptime(text: &str) -> f64 {
    text.split(' ').next().unwrap().parse().unwrap()
}

fn watched() -> (Collection, Receiver<(Arc<Container>, f64)>) {
    let config = Config { docker_socket: "/nonexistent".into(), ..Config::default() };
    let collection = Collection::start(&config).unwrap();
    let (sender, added) = channel();
    collection.subscribe(Arc::new(Slow(Mutex::new(sender))));
    (collection, added)
}

fn next(added: &Receiver<(Arc<Container>, f64)>, id: &str) -> (Arc<Container>, f64) {
    let began = Instant::now();
    loop {
        let (container, at) = added.recv_timeout(PATIENCE).unwrap();
        if &*container.id == id {
            return (container, at);
        }
        assert!(began.elapsed() < PATIENCE);
    }
}

#[test]
fn runc_run_without_a_pid_file_is_held() {
    let _alone = alone();
    let runc = Runc::new();
    let (_collection, added) = watched();
    for round in 0..20 {
        let id = format!("starts-run-{round}");
        let first_act = uptime(&runc.ok(&["run", &id]));
        let (container, told) = next(&added, &id);
        // Hundredths are cut off.
        assert!(first_act + 0.02 >= told, "{id} began at {first_act}, the watcher was done at {told}");
        assert_ne!(container.netns, super::namespace::own_netns().unwrap());
    }
}

#[test]
fn runc_create_and_start_are_held_with_and_without_a_pid_file() {
    let _alone = alone();
    let runc = Runc::new();
    let (_collection, added) = watched();
    let out = |path: &Path| fs::File::create(path).unwrap();
    for (id, pid_file) in [("starts-plain", None), ("starts-pid", Some("pid"))] {
        let printed = runc.dir.path().join(id);
        let mut create = vec!["create"];
        if let Some(file) = pid_file {
            create.extend(["--pid-file", file]);
        }
        create.push(id);
        assert!(runc.command(&create).stdout(out(&printed)).status().unwrap().success());
        let (_, told) = next(&added, id);
        runc.ok(&["start", id]);
        let began = Instant::now();
        let text = loop {
            let text = fs::read_to_string(&printed).unwrap();
            if text.ends_with('\n') {
                break text;
            }
            assert!(began.elapsed() < PATIENCE);
            thread::yield_now();
        };
        assert!(uptime(&text) + 0.02 >= told);
        runc.ok(&["delete", "--force", id]);
    }
}

#[test]
fn executing_in_a_container_is_no_start() {
    let _alone = alone();
    let runc = Runc::new();
    runc.configure(&["/bin/busybox", "sleep", "100"]);
    let (collection, added) = watched();
    let mut run = runc.command(&["run", "--detach", "starts-exec"]);
    // It would inherit a pipe, and keep it open.
    assert!(run.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    next(&added, "starts-exec");
    assert_eq!(runc.ok(&["exec", "starts-exec", "/bin/busybox", "echo", "inside"]), "inside\n");
    assert_eq!(collection.list().iter().filter(|c| &*c.id == "starts-exec").count(), 1);
    assert!(added.try_iter().all(|(container, _)| &*container.id != "starts-exec"));
    runc.ok(&["delete", "--force", "starts-exec"]);
}
