//! What the tests share: running `igx` and reading what it prints, and TLS peers to watch.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A user, and a group, without rights: nobody's.
pub(crate) const NOBODY: u32 = 65534;

/// How many containers of a kind are started: `IGX_TEST_STARTS`, else `usual`.
pub(crate) fn starts(usual: usize) -> usize {
    std::env::var("IGX_TEST_STARTS").map_or(usual, |number| number.parse().unwrap())
}

/// `igx` with a store of its own.
pub(crate) struct Igx {
    pub(crate) home: TempDir,
}

/// The program that is tested: what was built with the tests, or what `IGX_BINARY` names.
pub(crate) fn binary() -> &'static str {
    static BINARY: LazyLock<String> = LazyLock::new(|| {
        std::env::var("IGX_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_igx").to_owned())
    });
    &BINARY
}

impl Igx {
    pub(crate) fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "end-to-end tests need root: run 'sudo make test'");
        Self { home: TempDir::new().unwrap() }
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.home.path().join("store")
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.arg("--store").arg(self.store()).args(args).stdin(Stdio::null());
        command
    }

    /// `igx` as a user without rights, who may write to `self.theirs()` and nowhere else.
    pub(crate) fn as_nobody(&self) -> Command {
        let (home, theirs) = (self.home.path(), self.theirs());
        let binary = home.join("igx");
        if !binary.exists() {
            copy_program(self::binary(), &binary);
            fs::set_permissions(home, fs::Permissions::from_mode(0o755)).unwrap();
            fs::create_dir(&theirs).unwrap();
            chown(&theirs, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={NOBODY}")).arg(format!("--regid={NOBODY}")).arg("--clear-groups");
        command.arg(binary).env("HOME", &theirs).env("XDG_DATA_HOME", &theirs).current_dir(&theirs);
        command.stdin(Stdio::null());
        command
    }

    /// The home folder of [`Igx::as_nobody`].
    pub(crate) fn theirs(&self) -> PathBuf {
        self.home.path().join("theirs")
    }

    /// Runs to the end.
    pub(crate) fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs to the end, which must be a good one; returns what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// Runs to the end, which must be exit code 1; returns what it said on stderr.
    pub(crate) fn fails(&self, args: &[&str]) -> String {
        let output = self.output(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Starts `igx run` and waits until all its programs are attached.
    pub(crate) fn run(&self, args: &[&str]) -> Running {
        let mut arguments = vec!["-v", "run"];
        arguments.extend_from_slice(args);
        let mut running =
            Running::start(self.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()));
        running.wait_for_said("running...");
        running
    }
}

/// A store with the example gadget `trace_files` in it.
pub(crate) fn with_trace_files() -> Igx {
    with_gadget("examples/trace_files")
}

/// A store with a gadget of this tree in it, named after its folder. Where nothing can be built, `IGX_TEST_BUILT` is a
/// folder with a store that has it, and beside it what else a build leaves.
pub(crate) fn with_gadget(folder: &str) -> Igx {
    let igx = Igx::new();
    if let Some(built) = std::env::var_os("IGX_TEST_BUILT") {
        let copied =
            Command::new("cp").arg("-r").arg(Path::new(&built).join(".")).arg(igx.home.path()).status();
        assert!(copied.unwrap().success());
    } else {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
        let name = source.file_name().unwrap().to_str().unwrap();
        igx.ok(&["image", "build", source.to_str().unwrap(), "-t", name]);
    }
    igx
}

/// A running `igx`.
pub(crate) struct Running {
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
    said: Vec<String>,
}

impl Running {
    /// Starts it. What does not come through a pipe is not read.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let out = child.stdout.take().map_or_else(|| channel().1, lines);
        let err = child.stderr.take().map_or_else(|| channel().1, lines);
        Self { child, out, err, said: Vec::new() }
    }

    /// The next line of output.
    pub(crate) fn line(&mut self) -> String {
        match self.out.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(error) => panic!("no line came ({error}); stderr: {:#?}", self.everything_said()),
        }
    }

    /// A line that is there already.
    pub(crate) fn any_line(&mut self) -> Option<String> {
        self.out.try_recv().ok()
    }

    /// Waits until it ends by itself.
    pub(crate) fn ends(mut self) {
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {:#?}", self.everything_said());
    }

    /// Waits until it ends, however it does.
    pub(crate) fn status(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// The next line of output, if it comes in time.
    pub(crate) fn line_within(&mut self, time: Duration) -> Option<String> {
        self.out.recv_timeout(time).ok()
    }

    /// The first JSON event for which `wanted` holds.
    pub(crate) fn event(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.events(&[&wanted]).remove(0)
    }

    /// For each predicate the first JSON event for which it holds, whatever their order.
    pub(crate) fn events(&mut self, wanted: &[&dyn Fn(&Value) -> bool]) -> Vec<Value> {
        let mut found: Vec<Option<Value>> = vec![None; wanted.len()];
        let mut seen = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while found.iter().any(Option::is_none) {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.out.recv_timeout(left) else {
                panic!("missing events {found:#?}; seen: {seen:#?}; stderr: {:#?}", self.everything_said())
            };
            let event: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
            for (slot, wanted) in found.iter_mut().zip(wanted) {
                if slot.is_none() && wanted(&event) {
                    *slot = Some(event.clone());
                }
            }
            seen.push(line);
        }
        found.into_iter().flatten().collect()
    }

    /// Asks it to stop, and returns all that it still printed.
    pub(crate) fn stop(self) -> Vec<String> {
        self.finish().0
    }

    /// Asks it to stop, and returns all that it still printed and all that it said on stderr.
    pub(crate) fn finish(mut self) -> (Vec<String>, Vec<String>) {
        self.signal(Signal::SIGINT);
        let status = self.child.wait().unwrap();
        self.said.extend(self.err.iter());
        assert!(status.success(), "{status}: {:#?}", self.said);
        (self.out.iter().collect(), std::mem::take(&mut self.said))
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    pub(crate) fn wait_for_said(&mut self, what: &str) {
        assert!(self.says(what, PATIENCE), "{what:?} was not said: {:#?}", self.said);
    }

    /// Whether it says this in time.
    pub(crate) fn says(&mut self, what: &str, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        while let Ok(line) = self.err.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            let found = line.contains(what);
            self.said.push(line);
            if found {
                return true;
            }
        }
        false
    }

    pub(crate) fn everything_said(&mut self) -> Vec<String> {
        self.said.extend(self.err.try_iter());
        self.said.clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A process that ends with the test.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> u64 {
        self.0.id().into()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `openssl s_server`, listening.
pub(crate) struct TlsServer {
    pub(crate) process: Process,
    pub(crate) port: u16,
}

impl TlsServer {
    /// Listens on `address` (such as `127.0.0.1` or `[::1]`).
    pub(crate) fn start(folder: &Path, address: &str) -> Self {
        let (certificate, key) = certificate(folder);
        let port = free_port(address);
        let accept = format!("{address}:{port}");
        let mut command = Command::new("openssl");
        command
            .args(["s_server", "-quiet", "-accept", &accept, "-cert"])
            .arg(certificate)
            .arg("-key")
            .arg(key);
        let process = Process::start(&mut command);
        wait_until(&format!("openssl s_server listens on {accept}"), || listens(port));
        Self { process, port }
    }
}

/// Connects with `openssl s_client`, asks for `name`, and waits for the handshake's end.
pub(crate) fn handshake(address: &str, port: u16, name: &str) -> u64 {
    let child = Command::new("openssl")
        .args(["s_client", "-connect", &format!("{address}:{port}"), "-servername", name])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = child.id().into();
    assert!(child.wait_with_output().unwrap().status.success());
    pid
}

fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    if !certificate.exists() {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
            .args(["-subj", "/CN=igx.example", "-days", "2", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
    }
    (certificate, key)
}

/// Copies a program that is to be run. Another process does it: what a thread of this one starts meanwhile would hold the
/// copy open for writing for a moment, and what is being written cannot be run.
pub(crate) fn copy_program(from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) {
    assert!(Command::new("cp").arg("--").arg(from).arg(to).status().unwrap().success());
}

/// A port that was free a moment ago.
pub(crate) fn free_port(address: &str) -> u16 {
    TcpListener::bind(format!("{address}:0")).unwrap().local_addr().unwrap().port()
}

/// Whether somebody listens on this TCP port, told without connecting.
pub(crate) fn listens(port: u16) -> bool {
    let wanted = format!(":{port:04X} ");
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|table| {
        let table = fs::read_to_string(table).unwrap_or_default();
        table.lines().any(|l| {
            let mut columns = l.split_whitespace().skip(1);
            let (local, state) = (columns.next(), columns.nth(1));
            local.is_some_and(|a| format!("{a} ").contains(&wanted)) && state == Some("0A")
        })
    })
}

/// Waits for a condition that nothing announces.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "gave up waiting: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a ClientHello on a connection that exists already.
pub(crate) fn send(mut stream: &TcpStream, hello: &[u8]) {
    stream.write_all(hello).unwrap();
}

/// A listener of our own, and a client connected to it.
pub(crate) fn connected(address: &str) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(format!("{address}:0")).unwrap();
    let to: SocketAddr = listener.local_addr().unwrap();
    let client = TcpStream::connect(to).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Bytes that no other hello has: hellos with the same ones are one to the gadget.
fn random() -> [u8; 32] {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut random = [7; 32];
    random[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_ne_bytes());
    random[8..12].copy_from_slice(&std::process::id().to_ne_bytes());
    random
}

/// A TLS 1.2-style ClientHello record that asks for `name`.
pub(crate) fn client_hello(name: &str) -> Vec<u8> {
    let u16be = |n: usize| u16::try_from(n).unwrap().to_be_bytes();
    let mut server_name = Vec::new();
    server_name.extend(u16be(name.len() + 3));
    server_name.push(0);
    server_name.extend(u16be(name.len()));
    server_name.extend(name.as_bytes());
    let mut extensions = vec![0, 0];
    extensions.extend(u16be(server_name.len()));
    extensions.extend(server_name);
    let mut body = vec![3, 3];
    body.extend(random());
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    body.extend(u16be(extensions.len()));
    body.extend(extensions);
    let mut record = vec![0x16, 3, 1];
    record.extend(u16be(body.len() + 4));
    record.extend([1, 0]);
    record.extend(u16be(body.len()));
    record.extend(body);
    record
}
