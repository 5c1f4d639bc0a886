//! Who it was, where it is hard to tell: ports that processes share, traffic that the host forwards, and a stopped igx.

use std::{
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::support::{Igx, PATIENCE, Process, Running, client_hello, copy_program, send, wait_until};

/// Listens on a port that it shares, says which and then each peer's port whose connection it accepted.
const SHARER: &str = "
import socket,sys
s=socket.socket()
s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEPORT,1)
s.bind(('127.0.0.1',int(sys.argv[1])))
s.listen()
print(s.getsockname()[1],flush=True)
kept=[]
while True:
    c,peer=s.accept()
    kept.append(c)
    print(peer[1],flush=True)
";

struct Sharer {
    process: Process,
    lines: std::sync::mpsc::Receiver<u16>,
}

impl Sharer {
    fn start(port: u16) -> Self {
        let mut command = Command::new("python3");
        command.args(["-c", SHARER, &port.to_string()]).stdout(Stdio::piped());
        let mut process = Process(command.spawn().unwrap());
        let out = BufReader::new(process.0.stdout.take().unwrap());
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let _ = sender.send(line.parse().unwrap());
            }
        });
        Self { process, lines }
    }
}

#[test]
fn processes_that_share_a_port_are_told_apart() {
    let igx = Igx::new();
    let mut run = igx.run(&["trace_sni", "--host", "--all", "-o", "json"]);
    let first = Sharer::start(0);
    let port = first.lines.recv_timeout(PATIENCE).unwrap();
    let second = Sharer::start(port);
    assert_eq!(second.lines.recv_timeout(PATIENCE).unwrap(), port);
    let mut owners = std::collections::BTreeSet::new();
    for round in 0..40 {
        let name = format!("shared-{round}.e2e.example");
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let local = client.local_addr().unwrap().port();
        // Which of them has it is known before the hello: it has been accepted.
        let began = Instant::now();
        let owner = loop {
            let took = [&first, &second].into_iter().find(|sharer| sharer.lines.try_recv() == Ok(local));
            if let Some(sharer) = took {
                break sharer.process.pid();
            }
            assert!(began.elapsed() < PATIENCE);
            std::thread::yield_now();
        };
        send(&client, &client_hello(&name));
        let event = run.event(|e| e["name"] == name.as_str() && e["direction"] == "ingress");
        assert_eq!(event["proc"]["pid"], owner, "{event}");
        assert_eq!(event["owner_source"], "connection");
        owners.insert(owner);
    }
    assert_eq!(owners.len(), 2, "the kernel gave all connections to one of them");
    run.stop();
}

#[test]
fn listeners_of_one_port_on_two_addresses_are_told_apart() {
    let igx = Igx::new();
    let older = Sharer::start(0);
    let port = older.lines.recv_timeout(PATIENCE).unwrap();
    let mut run = igx.run(&["trace_sni", "--host", "--all", "-o", "json"]);
    let other = TcpListener::bind(("127.0.0.2", port)).unwrap();
    for (address, owner) in [("127.0.0.1", older.process.pid()), ("127.0.0.2", std::process::id().into())] {
        let name = format!("listener-{address}.e2e.example");
        let client = TcpStream::connect((address, port)).unwrap();
        send(&client, &client_hello(&name));
        let event = run.event(|e| e["name"] == name.as_str() && e["direction"] == "ingress");
        assert_eq!(event["proc"]["pid"], owner, "{event}");
    }
    drop(other);
    run.stop();
}

/// Two network namespaces joined by the host, which forwards between them; dropping it takes them down.
struct Forwarded;

impl Forwarded {
    const SETUP: &str = r"
        set -e
        for side in a b; do
          ip netns add starts-$side
          ip link add starts-$side type veth peer name eth0 netns starts-$side
          ip link set starts-$side up
          ip -n starts-$side link set eth0 up
          ip -n starts-$side link set lo up
        done
        ip addr add 10.213.7.1/30 dev starts-a; ip -n starts-a addr add 10.213.7.2/30 dev eth0
        ip addr add 10.213.7.5/30 dev starts-b; ip -n starts-b addr add 10.213.7.6/30 dev eth0
        ip -n starts-a route add default via 10.213.7.1; ip -n starts-b route add default via 10.213.7.5
        echo 1 > /proc/sys/net/ipv4/conf/starts-a/forwarding; echo 1 > /proc/sys/net/ipv4/conf/starts-b/forwarding
    ";

    fn start() -> Self {
        drop(Self);
        let made = Command::new("sh").args(["-c", Self::SETUP]).output().unwrap();
        let forwarded = Self;
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        forwarded
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        for side in ["starts-a", "starts-b"] {
            let _ = Command::new("ip").args(["link", "del", side]).output();
            let _ = Command::new("ip").args(["netns", "del", side]).output();
        }
    }
}

#[test]
fn what_the_host_forwards_is_nobodys_though_a_process_has_the_port() {
    let _forwarded = Forwarded::start();
    let igx = Igx::new();
    let mut run = igx.run(&["trace_sni", "--host", "--all", "-o", "json"]);
    // This very process listens on the port that the other one is asked at.
    let here = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = here.local_addr().unwrap().port();
    let serve =
        format!("import socket;s=socket.create_server(('0.0.0.0',{port}));c=s.accept();c[0].recv(9999)");
    let mut server = Command::new("ip");
    let server = Process::start(server.args(["netns", "exec", "starts-b", "python3", "-c", &serve]));
    wait_until("a listener", || {
        let args = ["netns", "exec", "starts-b", "ss", "-Hltn", &format!("sport = :{port}")];
        !Command::new("ip").args(args).output().unwrap().stdout.is_empty()
    });
    let netns = std::fs::File::open("/run/netns/starts-a").unwrap();
    runner::container::namespace::in_netns(&netns, || {
        let client = TcpStream::connect(("10.213.7.6", port)).unwrap();
        send(&client, &client_hello("forwarded.e2e.example"));
        std::thread::sleep(Duration::from_millis(10));
    })
    .unwrap();
    let event = run.event(|e| e["name"] == "forwarded.e2e.example" && e["direction"] == "ingress");
    assert_eq!(event["proc"]["pid"], 0, "{event}");
    assert_eq!(event["owner_source"], "unknown");
    // What is for this host is this process', by the same port.
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    send(&client, &client_hello("own.e2e.example"));
    let event = run.event(|e| e["name"] == "own.e2e.example" && e["direction"] == "ingress");
    assert_eq!(event["proc"]["pid"], std::process::id());
    run.stop();
    drop(server);
}

/// A bundle of busybox whose container ends at once.
fn bundle() -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("starts-e2e-").tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("rootfs/bin")).unwrap();
    std::fs::create_dir(dir.path().join("rootfs/proc")).unwrap();
    copy_program("/bin/busybox", dir.path().join("rootfs/bin/busybox"));
    let config = serde_json::json!({
        "ociVersion": "1.0.2",
        "process": { "user": { "uid": 0, "gid": 0 }, "args": ["/bin/busybox", "true"], "cwd": "/" },
        "root": { "path": "rootfs", "readonly": true },
        "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }],
        "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "network" }] },
    });
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    dir
}

fn runc(bundle: &std::path::Path, id: &str) -> Process {
    let mut command = Command::new("runc");
    command.arg("--root").arg(bundle.join("state")).args(["run", id]).current_dir(bundle);
    Process::start(command.stdin(Stdio::null()))
}

/// Waits for the end of a start, and says how long that took.
fn ends(mut start: Process) -> Duration {
    let began = Instant::now();
    assert!(start.0.wait().unwrap().success());
    began.elapsed()
}

#[test]
fn a_stopped_igx_delays_starts_for_its_deadline_and_goes_on_after() {
    let bundle = bundle();
    let igx = Igx::new();
    for signal in [Signal::SIGSTOP, Signal::SIGTSTP] {
        let mut command = igx.command(&["-v", "run", "trace_sni", "--host", "-o", "json"]);
        // As a shell does: a group that no parent of its session watches is deaf to Ctrl-Z.
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut run = Running::start(&mut command);
        run.wait_for_said("running...");
        run.signal(signal);
        wait_until("stop", || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", run.pid())).unwrap();
            stat.rsplit_once(')').unwrap().1.starts_with(" T")
        });
        let first = ends(runc(bundle.path(), "starts-stopped"));
        assert!(first < Duration::from_secs(8), "{first:?}");
        // The watchdog is in its place now: it does not wait once more.
        let second = ends(runc(bundle.path(), "starts-stopped"));
        assert!(second < Duration::from_secs(2), "{second:?}");
        run.signal(Signal::SIGCONT);
        let (_, said) = run.finish();
        assert!(said.iter().any(|line| line.contains("container starts were not held")), "{said:#?}");
    }
}

#[test]
fn a_killed_igx_delays_no_start() {
    let bundle = bundle();
    let igx = Igx::new();
    let run = igx.run(&["trace_sni", "--host", "-o", "json"]);
    let start = runc(bundle.path(), "starts-killed");
    drop(run); // by SIGKILL
    let took = ends(start);
    assert!(took < Duration::from_secs(2), "{took:?}");
}
