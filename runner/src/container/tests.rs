//! The collection against a real docker: each test starts a daemon of its own and stops it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Collection, Config, Container, Watcher, namespace};

/// Far more than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A docker daemon; dropping it stops it and removes its folder.
struct Docker {
    dir: tempfile::TempDir,
}

impl Docker {
    fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("igx-").tempdir_in("/tmp").unwrap();
        let output = script("start", dir.path());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { dir }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    fn config(&self) -> Config {
        config(self.socket())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.arg("-H").arg(format!("unix://{}", self.socket().display())).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn sleeper(&self, name: &str) -> String {
        self.run(&["run", "-d", "--name", name, "--label", "tier=test", "busybox-test", "sleep", "1000"])
    }

    fn pid_of(&self, name: &str) -> u32 {
        self.run(&["inspect", "-f", "{{.State.Pid}}", name]).parse().unwrap()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let _ = script("stop", self.dir.path());
    }
}

/// docker alone: what else this machine runs is none of these tests' business.
fn config(docker_socket: PathBuf) -> Config {
    let docker = vec!["docker".to_owned()];
    Config { docker_socket, runtimes: docker.clone(), explicit: docker, ..Config::default() }
}

fn script(action: &str, dir: &Path) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/test-docker");
    let log = tempfile::NamedTempFile::new().unwrap();
    // Its output goes to a file: the daemon inherits it, and a pipe would stay open as long as the daemon runs.
    let status = Command::new(script)
        .arg(action)
        .arg(dir)
        .stdout(log.reopen().unwrap())
        .stderr(log.reopen().unwrap())
        .status()
        .unwrap();
    Output { status, stdout: Vec::new(), stderr: fs::read(log.path()).unwrap() }
}

/// Only one of these tests at a time: each holds the starts of all the host's containers.
pub(super) fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

enum Change {
    Added { container: Arc<Container>, returned_at: i128 },
    Removed(Arc<Container>),
}

/// Takes its time over each container, and reports when it was done.
struct Slow {
    delay: Duration,
    changes: Mutex<Sender<Change>>,
}

impl Slow {
    fn subscribed(collection: &Collection, delay: Duration) -> Receiver<Change> {
        let (changes, receiver) = channel();
        collection.subscribe(Arc::new(Self { delay, changes: Mutex::new(changes) }));
        receiver
    }
}

impl Watcher for Slow {
    fn added(&self, container: &Arc<Container>) {
        // All that a watcher relies on is there already.
        assert_eq!(namespace::mntns(container.pid).unwrap(), container.mntns);
        let netns = namespace::open_netns(container.pid).unwrap();
        assert_eq!(namespace::netns_of(&netns).unwrap(), container.netns);
        thread::sleep(self.delay);
        let change = Change::Added { container: Arc::clone(container), returned_at: now() };
        let _ = self.changes.lock().unwrap().send(change);
    }

    fn removed(&self, container: &Arc<Container>) {
        let _ = self.changes.lock().unwrap().send(Change::Removed(Arc::clone(container)));
    }
}

fn now() -> i128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos().cast_signed()
}

fn next_added(changes: &Receiver<Change>, name: &str) -> (Arc<Container>, i128) {
    loop {
        match changes.recv_timeout(PATIENCE) {
            Ok(Change::Added { container, returned_at }) if &*container.name == name => {
                return (container, returned_at);
            }
            Ok(_) => {}
            Err(error) => panic!("{name} was not added: {error}"),
        }
    }
}

fn next_removed(changes: &Receiver<Change>, name: &str) -> Arc<Container> {
    loop {
        match changes.recv_timeout(PATIENCE) {
            Ok(Change::Removed(container)) if &*container.name == name => return container,
            Ok(_) => {}
            Err(error) => panic!("{name} was not removed: {error}"),
        }
    }
}

/// A container's first instruction reads the kernel's clock; seconds since boot in hundredths.
fn uptime() -> f64 {
    let text = fs::read_to_string("/proc/uptime").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// A container that exists only on paper.
pub(super) fn paper(id: &str, pid: u32, mntns: u64) -> Container {
    Container {
        id: id.into(),
        name: format!("name-{id}").into(),
        runtime: "docker".into(),
        image_name: "".into(),
        image_id: "".into(),
        image_digest: "".into(),
        pid,
        mntns,
        netns: pid,
        cgroup: super::Cgroup::default(),
        sandbox_id: "".into(),
        bundle: "".into(),
        host_network: false,
        started_at: 0,
        labels: std::collections::BTreeMap::new(),
        k8s: super::K8s::default(),
    }
}

#[test]
fn first_instruction_runs_after_watchers_return() {
    let _alone = alone();
    let docker = Docker::start();
    let collection = Collection::start(&docker.config()).unwrap();
    assert_eq!(collection.notes(), [""; 0]);
    let delay = Duration::from_millis(300);
    let changes = Slow::subscribed(&collection, delay);
    for round in 0..20 {
        let name = format!("held-{round}");
        let began = docker.run(&["run", "--name", &name, "busybox-test", "cat", "/proc/uptime"]);
        let (container, returned_at) = next_added(&changes, &name);
        let since_return = (now() - returned_at) as f64 / 1e9;
        let returned_uptime = uptime() - since_return;
        let began: f64 = began.split(' ').next().unwrap().parse().unwrap();
        // Hundredths are cut off.
        assert!(
            began + 0.02 >= returned_uptime,
            "{name} began at {began}, watcher returned at {returned_uptime}"
        );
        assert_eq!(&*container.runtime, "docker");
        assert_eq!(&*container.image_name, "busybox-test");
        assert_eq!(container.id.len(), 64);
        assert!(!container.host_network);
        assert_ne!(container.mntns, namespace::own_mntns().unwrap());
        next_removed(&changes, &name);
    }
}

#[test]
fn running_containers_are_listed_and_their_end_is_seen() {
    let _alone = alone();
    let docker = Docker::start();
    let id = docker.sleeper("early");
    docker.run(&["run", "-d", "--name", "on-host", "--network", "host", "busybox-test", "sleep", "1000"]);
    let collection = Collection::start(&docker.config()).unwrap();
    let listed = collection.list();
    let names: Vec<&str> = listed.iter().map(|container| &*container.name).collect();
    assert_eq!(names, ["early", "on-host"]);
    let (early, on_host) = (&listed[0], &listed[1]);
    assert_eq!(&*early.id, id);
    assert_eq!(early.pid, docker.pid_of("early"));
    assert_eq!(early.mntns, namespace::mntns(early.pid).unwrap());
    assert_eq!(early.labels.get("tier").map(String::as_str), Some("test"));
    assert_eq!(&*early.image_name, "busybox-test");
    assert!(early.image_id.starts_with("sha256:"), "{}", early.image_id);
    let age = now() - i128::from(early.started_at);
    assert!((0..i128::from(u32::MAX) * 60).contains(&age), "{age}");
    assert!(!early.host_network && on_host.host_network);

    let mut lookup = collection.lookup();
    assert_eq!(lookup.by_mntns(early.mntns), Some(early));
    assert_eq!(lookup.by_netns(early.netns), [Arc::clone(early)]);
    assert_eq!(lookup.by_netns(on_host.netns), []);

    let changes = Slow::subscribed(&collection, Duration::ZERO);
    next_added(&changes, "early");
    docker.run(&["rename", "early", "late"]);
    assert_eq!(next_removed(&changes, "early").pid, early.pid);
    next_added(&changes, "late");

    docker.run(&["kill", "late"]);
    assert_eq!(next_removed(&changes, "late").id, early.id);
    let ended = Instant::now();
    assert_eq!(lookup.by_mntns(early.mntns).map(|found| &*found.name), Some("late"), "found in its grace");
    assert_eq!(collection.list().len(), 1);
    while lookup.by_mntns(early.mntns).is_some() {
        assert!(ended.elapsed() < PATIENCE, "never forgotten");
        thread::yield_now();
    }
    // The same container, started again, is held again.
    docker.run(&["start", "late"]);
    assert_eq!(next_added(&changes, "late").0.pid, docker.pid_of("late"));
}

#[test]
fn executing_in_a_container_and_restarting_it_at_once_work() {
    let _alone = alone();
    let docker = Docker::start();
    let collection = Collection::start(&docker.config()).unwrap();
    let changes = Slow::subscribed(&collection, Duration::ZERO);
    docker.sleeper("again");
    let (first, _) = next_added(&changes, "again");
    assert_eq!(docker.run(&["exec", "again", "echo", "inside"]), "inside");
    docker.run(&["restart", "-t", "0", "again"]);
    assert_eq!(next_removed(&changes, "again").pid, first.pid);
    let (second, _) = next_added(&changes, "again");
    assert_ne!(first.pid, second.pid);
    assert_eq!(collection.list(), [second]);
}

#[test]
fn dropping_the_collection_lets_a_held_start_go_on() {
    let _alone = alone();
    let docker = Docker::start();
    let collection = Collection::start(&docker.config()).unwrap();
    let changes = Slow::subscribed(&collection, Duration::from_millis(500));
    let mut starts: Vec<_> = (0..3)
        .map(|index| {
            let name = format!("dropped-{index}");
            docker.command(&["run", "--name", &name, "busybox-test", "true"]).spawn().unwrap()
        })
        .collect();
    // One start is in the watcher's hands, and the others are held behind it or on their way.
    assert!(matches!(changes.recv_timeout(PATIENCE), Ok(Change::Added { .. })), "none added");
    drop(collection);
    starts.iter_mut().for_each(|start| assert!(start.wait().unwrap().success()));
    // Nobody is left who could tell of them.
    while changes.try_recv().is_ok() {}
    assert!(matches!(changes.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Disconnected)));
}

#[test]
fn a_killed_holder_does_not_hang_docker() {
    const MARK: &str = "IGX_TEST_HOLD_FOR_EVER";
    if let Some(socket) = std::env::var_os(MARK) {
        // The child: it holds a start and never lets it go.
        let config = config(socket.into());
        let collection = Collection::start(&config).unwrap();
        struct Stuck(PathBuf);
        impl Watcher for Stuck {
            fn added(&self, _: &Arc<Container>) {
                fs::write(&self.0, "held").unwrap();
                loop {
                    thread::park();
                }
            }
            fn removed(&self, _: &Arc<Container>) {}
        }
        fs::write(config.docker_socket.with_extension("ready"), "").unwrap();
        collection.subscribe(Arc::new(Stuck(config.docker_socket.with_extension("held"))));
        loop {
            thread::park();
        }
    }
    let _alone = alone();
    let docker = Docker::start();
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "container::tests::a_killed_holder_does_not_hang_docker", "--test-threads=1"])
        .env(MARK, docker.socket())
        .spawn()
        .unwrap();
    await_file(&docker.socket().with_extension("ready"));
    let mut start = docker.command(&["run", "--name", "stuck", "busybox-test", "true"]).spawn().unwrap();
    await_file(&docker.socket().with_extension("held"));
    assert!(start.try_wait().unwrap().is_none(), "the start is not held");
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(start.wait().unwrap().success());
}

fn await_file(path: &Path) {
    let began = Instant::now();
    while !path.exists() {
        assert!(began.elapsed() < PATIENCE, "{} does not appear", path.display());
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_is_not_held_is_found_by_dockers_events() {
    let _alone = alone();
    let docker = Docker::start();
    let config = Config { runtime_path: Some(PathBuf::from("/nonexistent")), ..docker.config() };
    let collection = Collection::start(&config).unwrap();
    let changes = Slow::subscribed(&collection, Duration::ZERO);
    docker.sleeper("unheld");
    let (container, _) = next_added(&changes, "unheld");
    assert_eq!(container.pid, docker.pid_of("unheld"));
}

/// What stands in for a host's file system.
pub(super) fn host_folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["etc", "proc", "run", "sys/fs/cgroup"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    dir
}

#[test]
fn host_without_a_runtime_is_quiet() {
    let dir = host_folder();
    let config = Config { host_root: dir.path().to_owned(), ..Config::default() };
    let began = Instant::now();
    let collection = Collection::start(&config).unwrap();
    assert_eq!(collection.notes(), [""; 0]);
    assert!(collection.list().is_empty());
    drop(collection);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());

    let error = Collection::start(&Config { explicit: vec!["docker".to_owned()], ..config })
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("non-existent socketPath"), "{error}");
}

#[test]
fn silent_docker_delays_the_start_for_a_bounded_time_and_is_noted() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    // Accepts by its backlog, and never answers.
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let config = Config { runtime_path: Some(PathBuf::from("/nonexistent")), ..config(socket) };
    let began = Instant::now();
    let collection = Collection::start(&config).unwrap();
    assert!(collection.notes()[0].contains("does not answer"), "{:?}", collection.notes());
    drop(collection);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}
