//! What containers cost: until `igx` is ready where there are many, an event's enrichment, and a start that is held.
//!
//! Many are 1,000 containers in 200 network namespaces, each a real process with a mount namespace of its own, which
//! `igx` knows by states such as runc writes. Starts are those of a docker daemon that scripts/test-docker starts,
//! with `igx` and without in turns.
//!
//! [`Crowd::attaching`] tells how much of the time goes to programs and sockets, with one dispatcher and with many.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot go on stops")]

#[path = "../../benches/run/measure.rs"]
#[allow(dead_code, reason = "the other bench reads more")]
mod measure;

use std::{
    collections::HashMap,
    env, fs,
    hint::black_box,
    io::{BufRead, BufReader},
    os::fd::{AsFd, FromRawFd, OwnedFd},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Instant,
};

use measure::median;
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use runner::{
    container::namespace,
    datasource::{DataSource, Event, Field, Scalar, Slots, SourceKind},
    ebpf::{KernelBtf, NetnsPath, PacketOptions, PacketProgram, Place},
    operator::{
        Verdict,
        enrich::{self, ContainerFields, ContainerLookup, Enrich, Gone},
    },
};
use tempfile::TempDir;

const NETWORKS: usize = 200;
const CONTAINERS: usize = 1000;
/// How often each thing is measured.
const RUNS: usize = 9;
const STARTS: usize = 15;
const EVENTS: u64 = 4_000_000;

fn main() {
    assert!(nix::unistd::geteuid().is_root(), "the benches need root: run 'sudo make bench'");
    enrichment();
    let few = ready(None);
    let crowd = Crowd::new();
    println!("| what | figure |\n|---|---|");
    let many = ready(Some(&crowd));
    let row = |what: &str, (time, memory, own): (f64, f64, f64)| {
        println!("| {what}: ready after, ms | {time:.0} |\n| {what}: memory (VmHWM), MB | {memory:.1} |");
        // The rest is the binary, of which as much counts as the page cache has in one piece, and the rings.
        println!("| {what}: of that, its own (RssAnon), MB | {own:.1} |");
    };
    row("no containers", few);
    row(&format!("{CONTAINERS} containers in {NETWORKS} networks"), many);
    if let Some(path) = NetnsPath::find(&KernelBtf::new(None)) {
        println!("| attaching to {NETWORKS} networks, ms | {:.0} |", crowd.attaching(Some(&path)));
    }
    println!(
        "| the same as before Linux 6.2, with a dispatcher for each, ms | {:.0} |",
        crowd.attaching(None)
    );
    drop(crowd);
    docker();
}

/// Processes in namespaces of their own, and states that say that they are containers.
struct Crowd {
    folder: TempDir,
    shells: Vec<Child>,
    networks: Vec<u32>,
}

impl Crowd {
    fn new() -> Self {
        let folder = TempDir::with_prefix_in("igx-bench", "/dev/shm").unwrap();
        let each = CONTAINERS / NETWORKS;
        // The shell of each network says the numbers of its containers.
        let script = format!(
            "for i in $(seq {each}); do unshare -m sleep 100000 >/dev/null & echo $!; done; exec >&-; wait"
        );
        let mut crowd = Self { folder, shells: Vec::new(), networks: Vec::new() };
        let mut containers = Vec::new();
        for _ in 0..NETWORKS {
            let mut command = Command::new("unshare");
            command.args(["-n", "sh", "-c", &script]).stdout(Stdio::piped()).process_group(0);
            let mut shell = command.spawn().unwrap();
            let numbers = BufReader::new(shell.stdout.take().unwrap()).lines();
            let numbers: Vec<u32> = numbers.map(|line| line.unwrap().parse().unwrap()).collect();
            crowd.networks.push(numbers[0]);
            containers.extend(numbers);
            crowd.shells.push(shell);
        }
        let own = namespace::own_mntns().unwrap();
        for (index, pid) in containers.iter().enumerate() {
            while namespace::mntns(*pid).unwrap() == own {
                std::thread::yield_now();
            }
            let state = crowd.folder.path().join(format!("runc/bench-{index}"));
            fs::create_dir_all(&state).unwrap();
            let text = format!(r#"{{"init_process_pid":{pid},"config":{{"labels":["bundle=/bench"]}}}}"#);
            fs::write(state.join("state.json"), text).unwrap();
        }
        crowd
    }

    /// Milliseconds for attaching a program in each network namespace, one after the other.
    fn attaching(&self, path: Option<&NetnsPath>) -> f64 {
        let gadget = program();
        let files: Vec<_> = self.networks.iter().map(|pid| namespace::open_netns(*pid).unwrap()).collect();
        let options = PacketOptions { path, interface: None };
        let times = (0..RUNS).map(|_| {
            let program = PacketProgram::new(gadget.as_fd(), Place::Socket, options).unwrap();
            let began = Instant::now();
            for file in &files {
                program.attach(namespace::netns_of(file).unwrap(), file).unwrap();
            }
            began.elapsed().as_secs_f64() * 1e3
        });
        median(times.collect())
    }
}

/// A socket filter that keeps nothing.
#[allow(unsafe_code, reason = "loading instructions has no safe wrapper")]
fn program() -> OwnedFd {
    let instruction = |code: u32| libbpf_sys::bpf_insn { code: code as u8, ..Default::default() };
    let code = [
        instruction(libbpf_sys::BPF_ALU64 | libbpf_sys::BPF_MOV | libbpf_sys::BPF_K),
        instruction(libbpf_sys::BPF_JMP | libbpf_sys::BPF_EXIT),
    ];
    let kind = libbpf_sys::BPF_PROG_TYPE_SOCKET_FILTER;
    // SAFETY: name, licence and code live through the call, and the code has the length that is given.
    let fd = unsafe {
        libbpf_sys::bpf_prog_load(
            kind,
            c"nothing".as_ptr(),
            c"GPL".as_ptr(),
            code.as_ptr(),
            code.len() as libbpf_sys::size_t,
            std::ptr::null_mut(),
        )
    };
    assert!(fd >= 0, "the kernel refuses a program: {fd}");
    // SAFETY: the kernel has just made this descriptor and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for shell in &mut self.shells {
            let _ = killpg(Pid::from_raw(shell.id().cast_signed()), Signal::SIGKILL);
            let _ = shell.wait();
        }
    }
}

fn igx(store: &Path) -> Command {
    let binary = env::var_os("IGX_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_igx").into(), PathBuf::from);
    let mut command = Command::new(binary);
    command.arg("-v").arg("--store").arg(store).args(["run", "trace_sni", "-o", "json"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Starts it, and waits until all is attached.
fn start(mut command: Command) -> (Child, f64) {
    let began = Instant::now();
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut all = Vec::new();
    loop {
        let Some(line) = said.next() else { panic!("it ended, {:?}: {all:#?}", child.wait()) };
        let line = line.unwrap();
        if line.contains("running...") {
            let took = began.elapsed().as_secs_f64() * 1e3;
            // Nobody may stop reading, or it would have to wait.
            std::thread::spawn(move || said.for_each(drop));
            return (child, took);
        }
        all.push(line);
    }
}

fn stop(mut child: Child) {
    let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT);
    let _ = child.wait();
}

/// Milliseconds until `igx` is ready, megabytes that it has had at most, and those of them that no file backs.
fn ready(crowd: Option<&Crowd>) -> (f64, f64, f64) {
    let store = TempDir::with_prefix_in("igx-bench", "/dev/shm").unwrap();
    let (mut times, mut memory, mut own) = (Vec::new(), Vec::new(), Vec::new());
    // The first run learns the kernel's types.
    for run in 0..=RUNS {
        let mut command = igx(store.path());
        match crowd {
            Some(crowd) => command.args(["-r", "runc"]).env("XDG_RUNTIME_DIR", crowd.folder.path()),
            None => command.args(["-r", "runc"]),
        };
        let (child, took) = start(command);
        if run > 0 {
            times.push(took);
            memory.push(measure::status_mb(child.id(), "VmHWM:"));
            own.push(measure::status_mb(child.id(), "RssAnon:"));
        }
        stop(child);
    }
    (median(times), median(memory), median(own))
}

/// Milliseconds that `docker run` takes, without `igx` and with it.
fn docker() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/test-docker");
    let dir = TempDir::with_prefix_in("igx-b", "/tmp").unwrap().keep();
    let started = Command::new(&script).arg("start").arg(&dir).stderr(Stdio::inherit()).output().unwrap();
    if !started.status.success() {
        println!("| docker run | not measured: no docker |");
        return;
    }
    let socket = dir.join("docker.sock").to_str().unwrap().to_owned();
    let run = || {
        let mut command = Command::new("docker");
        command.arg("-H").arg(format!("unix://{socket}"));
        command.args(["run", "--rm", "--network", "none", "busybox-test", "true"]);
        let began = Instant::now();
        assert!(command.status().unwrap().success());
        began.elapsed().as_secs_f64() * 1e3
    };
    run();
    let store = TempDir::new().unwrap();
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        without.push(run());
        let mut command = igx(store.path());
        command.args(["-r", "docker", "--docker-socketpath", &socket]);
        let (child, _) = start(command);
        with.push(run());
        stop(child);
    }
    let _ = Command::new(&script).arg("stop").arg(&dir).status();
    let delays = without.iter().zip(&with).map(|(without, with)| with - without).collect();
    println!("| docker run, ms | {:.0} |", median(without));
    println!("| docker run beside igx, ms | {:.0} |", median(with));
    println!("| longer by (median of the pairs), ms | {:.0} |", median(delays));
}

struct Known(HashMap<u64, ContainerFields>);

impl ContainerLookup for Known {
    fn generation(&self) -> u64 {
        0
    }

    fn by_cgroup(&mut self, _: u64) -> Option<&ContainerFields> {
        None
    }

    fn by_mntns(&mut self, inode: u64) -> Option<&ContainerFields> {
        self.0.get(&inode)
    }

    fn by_process(&mut self, _: u32, _: u64) -> Result<Option<&ContainerFields>, Gone> {
        Ok(None)
    }

    fn by_netns(&mut self, _: u32) -> Option<&ContainerFields> {
        None
    }
}

/// Nanoseconds for an event's container and pod, where each event is of another container, and where events come in
/// runs of sixteen.
fn enrichment() {
    let mut source = DataSource::new("bench", SourceKind::Single);
    source.static_size = 8;
    let tags = vec!["type:gadget_mntns_id".to_owned()];
    source.fields.push(Field { tags, ..Field::at("mntns_id", Scalar::Uint64, 0, 8) });
    let text = |text: &str| -> Arc<str> { text.into() };
    let container = ContainerFields {
        runtime_name: text("containerd"),
        container_id: text("8d6ac32ff3bc5b3f4b6e3a2a27e7d3c9"),
        container_name: text("web"),
        image_name: text("registry.example/shop:1"),
        image_digest: text("sha256:0011"),
        pid: 4242,
        started_at: 1,
        k8s_namespace: text("shop"),
        k8s_pod_name: text("shop-0"),
        k8s_container_name: text("web"),
        k8s_pod_labels: text("app=shop"),
        k8s_owner_kind: text("StatefulSet"),
        k8s_owner_name: text("shop"),
        host_network: false,
    };
    let known = (0..CONTAINERS as u64).map(|mntns| (4_026_532_000 + mntns, container.clone())).collect();
    let mut enrich = Enrich::attach(&mut source, &enrich::Place::Host, Box::new(Known(known))).unwrap();
    let mut slots = Slots::new(source.slots);
    for (what, run) in [("each of another container", 1), ("in runs of 16", 16)] {
        let mut measured = |work: &mut dyn FnMut(&mut Event<'_>)| {
            let began = Instant::now();
            for event in 0..EVENTS {
                let data = (4_026_532_000 + event / run * 7 % CONTAINERS as u64).to_ne_bytes();
                slots.clear();
                work(&mut Event { data: black_box(&data), slots: &mut slots });
            }
            began.elapsed().as_nanos() as f64 / EVENTS as f64
        };
        let with = measured(&mut |event| assert_eq!(enrich.process(event), Verdict::Pass));
        let without = measured(&mut |event| assert_ne!(black_box(event.data)[3], 0));
        println!("enrichment of an event, {what}: {:.0} ns", with - without);
    }
}
