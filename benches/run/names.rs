//! Host names at speed: hellos by the thousand, half of them split, beside tshark on the same packets; how long a split
//! one takes to its line; what floods cost; and what bulk traffic pays for being looked at.
//!
//! tcpreplay, tshark and iperf3 make and compare: what needs one that is not there is left out, and said.

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use libbpf_rs::query::{ProgInfoIter, ProgramInfo};
use tempfile::TempDir;

use crate::{
    measure::{self, median},
    replay::{self, Link},
    row,
};

const RATE: u32 = 20_000;
const SECONDS: u32 = 10;
const FLOOD: u32 = 200_000;
const PAIRS: usize = 10;
const SPLITS: u32 = 200;

/// Takes the parts that are named after `--names`, or all.
pub(crate) fn measure() {
    let named = env::args().skip_while(|arg| arg != "--names").skip(1);
    // Cargo adds a flag of its own.
    let named: Vec<String> = named.filter(|arg| arg != "--bench").collect();
    let wanted = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    let folder = TempDir::with_prefix_in("igx-names", "/dev/shm").unwrap();
    let folder = folder.path();
    let link = Link::new();
    println!("| what | igx | tshark | ratio |\n|---|---|---|---|");
    if wanted("start") {
        start(folder);
    }
    if wanted("latency") {
        latency(folder);
    }
    let replay = there("tcpreplay");
    if wanted("throughput") && replay {
        throughput(&link, folder);
    }
    if wanted("floods") && replay {
        floods(&link, folder);
    }
    if wanted("bulk") && there("iperf3") {
        bulk(&link, folder);
    }
}

fn there(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        println!("| not measured: {program} is not there | | | |");
    }
    there
}

/// Programs that lead to the gadget's, and are charged with its time: one a network namespace, of all who run it.
fn programs() -> impl Iterator<Item = ProgramInfo> {
    ProgInfoIter::default().filter(|info| info.name == "ig_net_disp")
}

/// `igx run trace_sni`, with its programs attached.
struct Igx {
    child: Child,
    /// Whatever it says until it ends.
    said: JoinHandle<String>,
    /// Its program, by number.
    program: u32,
}

impl Igx {
    /// `store` may be empty: the gadget is the one that it is born with.
    fn start(store: &Path, output: Stdio, args: &[&str]) -> Self {
        let binary =
            env::var_os("IGX_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_igx").into(), PathBuf::from);
        let mut command = Command::new(binary);
        command.arg("--store").arg(store.join("store")).args(["-v", "run", "trace_sni", "--host"]);
        command.args(["-o", "json"]).args(args).stdout(output).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("running...") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "igx ended");
        }
        let said = thread::spawn(move || {
            let mut text = String::new();
            said.read_to_string(&mut text).unwrap();
            text
        });
        let program = programs().map(|info| info.id).max().unwrap_or(0);
        Self { child, said, program }
    }

    fn lines(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.child.stdout.take().unwrap())
    }

    /// Nanoseconds that its program took, and how often it ran; with `kernel.bpf_stats_enabled`.
    fn program(&self) -> (u64, u64) {
        programs()
            .find(|info| info.id == self.program)
            .map_or((0, 0), |info| (info.run_time_ns, info.run_cnt))
    }

    /// Ends it; returns its last words.
    fn end(mut self) -> String {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        self.child.wait().unwrap();
        self.said.join().unwrap()
    }
}

/// From exec until every program is attached.
fn start(folder: &Path) {
    let times = (0..9).map(|_| {
        let started = Instant::now();
        let igx = Igx::start(folder, Stdio::null(), &[]);
        let took = started.elapsed();
        igx.end();
        took.as_secs_f64() * 1e3
    });
    row("from exec until all programs are attached (ms)", median(times.collect()), None);
}

/// From the last packet of a post-quantum hello to its line in a pipe.
fn latency(folder: &Path) {
    let mut igx = Igx::start(folder, Stdio::piped(), &["--pid", &std::process::id().to_string()]);
    let mut lines = igx.lines();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut times = Vec::new();
    for number in 0..SPLITS {
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nodelay(true).unwrap();
        let _accepted = listener.accept().unwrap();
        let hello = replay::browser(number);
        let (one, two) = hello.split_at(1_448);
        client.write_all(one).unwrap();
        thread::sleep(Duration::from_millis(5));
        let sent = Instant::now();
        client.write_all(two).unwrap();
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        times.push(sent.elapsed().as_secs_f64() * 1e3);
        assert!(line.contains(&format!("{number:08}")), "{line}");
    }
    igx.end();
    times.sort_by(f64::total_cmp);
    row("split post-quantum hello, last packet to line, median of 200 (ms)", times[times.len() / 2], None);
    row("the same, 95th of 100 (ms)", times[times.len() * 95 / 100], None);
}

/// The names in what was written so far.
fn names(output: &Path) -> usize {
    let text = fs::read(output).unwrap();
    let digits = |bytes: &[u8]| bytes.len() == 8 && bytes.iter().all(u8::is_ascii_digit);
    let mut names = BTreeSet::new();
    for line in text.split(|byte| *byte == b'\n') {
        // Both hosts keep their ends: "mple" of curl.example and "chrome131.example" of the browser's.
        for end in [&b"mple"[..], b"chrome131.example"] {
            let found = line.windows(end.len()).position(|bytes| bytes == end);
            if let Some(name) =
                found.and_then(|at| line.get(at.checked_sub(8)?..at)).filter(|name| digits(name))
            {
                names.insert(name.to_vec());
            }
        }
    }
    names.len()
}

/// Waits until nothing is added to a file any more.
fn settle(output: &Path) {
    let mut before = u64::MAX;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let size = fs::metadata(output).unwrap().len();
        if size == before || Instant::now() > deadline {
            return;
        }
        before = size;
        thread::sleep(Duration::from_secs(2));
    }
}

fn throughput(link: &Link, folder: &Path) {
    let capture = folder.join("hellos.pcap");
    let count = RATE * SECONDS;
    let packets = replay::hellos(&capture, count);
    let rate = packets / SECONDS;
    let output = folder.join("names");

    let igx = Igx::start(folder, File::create(&output).unwrap().into(), &[]);
    fs::write("/proc/sys/kernel/bpf_stats_enabled", "1").unwrap();
    let began = measure::cpu(igx.child.id());
    let took = link.replay(&capture, rate, 1);
    settle(&output);
    let cpu = (measure::cpu(igx.child.id()) - began).as_secs_f64();
    let kernel = igx.program().0 as f64 / 1e9;
    fs::write("/proc/sys/kernel/bpf_stats_enabled", "0").unwrap();
    let peak = measure::status_mb(igx.child.id(), "VmHWM:");
    let said = igx.end();
    let found = names(&output);

    let tshark = there("tshark").then(|| tshark(link, &capture, rate, &output));
    let theirs = |pick: fn(&(usize, f64, f64)) -> f64| tshark.as_ref().map(pick);
    row("hellos sent, every other one in two segments", count.into(), Some(count.into()));
    row("seconds that the sender took", took.as_secs_f64(), None);
    row("names found", found as f64, theirs(|t| t.0 as f64));
    row("CPU of its processes (s)", cpu, theirs(|t| t.1));
    row("CPU of its programs in the kernel (s)", kernel, None);
    row("peak resident memory, VmHWM (MB)", peak, theirs(|t| t.2));
    last_words(&said);
}

/// Names, CPU seconds and megabytes of tshark with the same packets.
fn tshark(link: &Link, capture: &Path, rate: u32, output: &Path) -> (usize, f64, f64) {
    let field = "tls.handshake.extensions_server_name";
    let mut child = Command::new("tshark")
        .args(["-i", &link.device, "-B", "256", "-l", "-n", "-T", "fields", "-Y", field, "-e", field])
        .stdout(File::create(output).unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("Capturing on") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "tshark ended");
    }
    thread::sleep(Duration::from_secs(2));
    link.replay(capture, rate, 1);
    settle(output);
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap_or_default();
    let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok()).chain([child.id()]);
    let cpu = pids.map(|pid| measure::cpu(pid).as_secs_f64()).sum();
    let peak = measure::status_mb(child.id(), "VmHWM:");
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT);
    child.wait().unwrap();
    (names(output), cpu, peak)
}

/// While a flood goes on, connections of others ask for names in two segments each.
fn floods(link: &Link, folder: &Path) {
    for (what, halves, sources) in [
        ("SYN flood of many", false, 1 << 20),
        ("half hellos of one", true, 1),
        ("half hellos of many", true, 1 << 20),
    ] {
        let capture = folder.join("flood.pcap");
        let per_port = if sources == 1 { 60_000 } else { FLOOD };
        let packets = replay::flood(&capture, per_port, halves, sources);
        let output = folder.join("names");
        let igx = Igx::start(folder, File::create(&output).unwrap().into(), &[]);
        fs::write("/proc/sys/kernel/bpf_stats_enabled", "1").unwrap();
        let before = measure::cpu(igx.child.id());
        let memory = measure::maps_mb(igx.child.id());
        let times = FLOOD * 5 / packets;
        let (took, sent) = thread::scope(|scope| {
            let flood = scope.spawn(|| link.replay(&capture, FLOOD, times));
            let mut sent = 0;
            while !flood.is_finished() {
                ask(sent);
                sent += 1;
            }
            (flood.join().unwrap(), sent)
        });
        settle(&output);
        let (time, runs) = igx.program();
        let cpu = (measure::cpu(igx.child.id()) - before).as_secs_f64();
        fs::write("/proc/sys/kernel/bpf_stats_enabled", "0").unwrap();
        row(&format!("{what}: packets/s"), f64::from(packets * times) / took.as_secs_f64(), None);
        row(&format!("{what}: programs, ns a packet"), time as f64 / runs.max(1) as f64, None);
        row(&format!("{what}: CPU of igx (s of {:.1})", took.as_secs_f64()), cpu, None);
        row(&format!("{what}: peak memory (MB)"), measure::status_mb(igx.child.id(), "VmHWM:"), None);
        row(&format!("{what}: memory of kernel maps (MB)"), memory, None);
        let said = igx.end();
        row(&format!("{what}: names of others, of {sent}"), names(&output) as f64, None);
        last_words(&said);
    }
}

/// What `igx` counted.
fn last_words(said: &str) {
    for line in
        said.lines().filter(|line| line.contains(" shown, ") || line.contains("hellos without a name"))
    {
        println!("| igx: {line} | | | |");
    }
}

/// A connection over loopback with a browser's hello in two segments.
fn ask(number: u32) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nodelay(true).unwrap();
    let _accepted = listener.accept().unwrap();
    for part in replay::browser(number).chunks(1_448) {
        client.write_all(part).unwrap();
        thread::sleep(Duration::from_millis(2));
    }
}

/// iperf3 over veth, with and without the gadget in turns.
fn bulk(link: &Link, folder: &Path) {
    let mut server = Command::new("ip")
        .args(["netns", "exec", &link.namespace, "iperf3", "-s"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_secs(1));
    let speed = || {
        let output = Command::new("iperf3").args(["-c", &link.address, "-t", "1", "-J"]).output().unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        report["end"]["sum_received"]["bits_per_second"].as_f64().unwrap() / 1e9
    };
    let (mut with, mut without, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    speed();
    for pair in 0..PAIRS {
        let watched = || {
            let igx = Igx::start(folder, Stdio::null(), &[]);
            let speed = speed();
            igx.end();
            speed
        };
        // Either comes first as often.
        let (on, off) = if pair % 2 == 0 {
            let on = watched();
            (on, speed())
        } else {
            let off = speed();
            (watched(), off)
        };
        with.push(on);
        without.push(off);
        ratios.push(on / off);
    }
    let _ = server.kill();
    let _ = server.wait();
    println!(
        "| iperf3 over veth, median of {PAIRS} pairs (Gbit/s): watched {:.1}, not watched {:.1} | {:.3} of it | | |",
        median(with),
        median(without),
        median(ratios)
    );
}
