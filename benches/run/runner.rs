//! The two programs that are measured, each with a store that has the gadget already.

use std::{
    env,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    load::{self, Burst},
    measure::{self, Cost},
};

/// Stores and outputs; on tmpfs.
pub(crate) struct Setup {
    folder: TempDir,
    peer: Option<PathBuf>,
    image: &'static str,
}

/// One program with its arguments.
pub(crate) struct Runner {
    binary: PathBuf,
    args: Vec<String>,
    /// The peer must be process 1 of its namespace where /proc/1/ns is closed.
    own_pids: bool,
    output: PathBuf,
}

impl Setup {
    pub(crate) fn new() -> Self {
        load::work_if_asked();
        assert!(nix::unistd::geteuid().is_root(), "the benches need root: run 'sudo make bench'");
        mount_what_the_peer_needs();
        let folder = TempDir::with_prefix_in("igx-bench", "/dev/shm").unwrap();
        let peer = env::var_os("IGX_PEER").map(PathBuf::from);
        let store = folder.path().join("store");
        let image = match &peer {
            Some(peer) => {
                fs::create_dir_all(&store).unwrap();
                run(Command::new("tar").arg("xf").arg(peer.join("trace_open.tar")).arg("-C").arg(&store));
                run(Command::new(peer.join("ig")).args(["image", "import"]).arg(peer.join("trace_open.tar")));
                "trace_open"
            }
            None => {
                let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/trace_files");
                let mut build = Command::new(env!("CARGO_BIN_EXE_igx"));
                run(build
                    .arg("--store")
                    .arg(&store)
                    .args(["image", "build"])
                    .arg(example)
                    .args(["-t", "trace_files"]));
                "trace_files"
            }
        };
        Self { folder, peer, image }
    }

    /// `igx`, as built for this bench.
    pub(crate) fn igx(&self) -> Runner {
        let store = self.folder.path().join("store").to_string_lossy().into_owned();
        let args = ["--store", &store, "run", self.image, "--verify-image=false", "--host", "-o", "json"];
        Runner {
            binary: env::var_os("IGX_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_igx").into(), PathBuf::from),
            args: args.map(str::to_owned).to_vec(),
            own_pids: false,
            output: self.folder.path().join("ours"),
        }
    }

    /// `igx` with another gadget.
    pub(crate) fn igx_with(&self, image: &str) -> Runner {
        let mut runner = self.igx();
        runner.args[3] = image.into();
        runner
    }

    /// The peer with another gadget.
    pub(crate) fn peer_with(&self, image: &str) -> Option<Runner> {
        let mut runner = self.peer()?;
        runner.args[1] = image.into();
        Some(runner)
    }

    /// Builds one of the tree's examples for `igx` and the peer.
    pub(crate) fn build_example(&self, name: &str) {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
        run(self.image().arg("build").arg(example).args(["-t", name]));
        if let Some(peer) = &self.peer {
            let tar = self.folder.path().join("example.tar");
            run(self.image().args(["export", name]).arg(&tar));
            run(Command::new(peer.join("ig")).args(["image", "import"]).arg(&tar));
        }
    }

    /// Takes one of the peer's images for both; `false` if it is not there.
    pub(crate) fn import(&self, name: &str) -> bool {
        let tar = self.peer.as_ref().map(|peer| peer.join(format!("{name}.tar")));
        let (Some(peer), Some(tar)) = (&self.peer, tar.filter(|tar| tar.exists())) else { return false };
        run(self.image().arg("import").arg(&tar));
        run(Command::new(peer.join("ig")).args(["image", "import"]).arg(&tar));
        true
    }

    fn image(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_igx"));
        command.arg("--store").arg(self.folder.path().join("store")).arg("image");
        command
    }

    pub(crate) fn peer(&self) -> Option<Runner> {
        let args = ["run", self.image, "--verify-image=false", "--host", "-o", "json"];
        Some(Runner {
            binary: self.peer.as_ref()?.join("ig"),
            args: args.map(str::to_owned).to_vec(),
            own_pids: true,
            output: self.folder.path().join("theirs"),
        })
    }

    /// Makes the next run the first one on this kernel.
    pub(crate) fn forget_kernel_types(&self) {
        let _ = fs::remove_dir_all(self.folder.path().join("kernel-types"));
    }
}

impl Runner {
    /// With the output that the gadget has where none is asked for: not all have JSON.
    pub(crate) fn in_its_own_words(mut self) -> Self {
        let json = self.args.iter().position(|arg| arg == "-o");
        self.args.truncate(json.unwrap_or(self.args.len()));
        self
    }

    /// Milliseconds from exec to the first event of process `pid`.
    pub(crate) fn first_event(&self, pid: u32) -> f64 {
        let started = Instant::now();
        let mut child = self.command(Some(pid)).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let took = started.elapsed();
        assert!(line.starts_with('{'), "no event: {line:?}");
        end(child);
        took.as_secs_f64() * 1e3
    }

    /// Milliseconds from exec until all programs are attached and the guest is ready, as both say it when they are told
    /// to be verbose.
    pub(crate) fn running(&self) -> f64 {
        let started = Instant::now();
        let mut command = self.command(None);
        let mut child =
            command.arg("--verbose").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        let running = said.map_while(Result::ok).any(|line| line.contains("running..."));
        let took = started.elapsed();
        assert!(running, "{:?} does not run", self.args);
        end(child);
        took.as_secs_f64() * 1e3
    }

    /// Runs beside a burst of events, all of them of one process; or beside nothing of ours.
    pub(crate) fn under_load(&self, burst: Option<Burst>) -> Cost {
        let output = File::create(&self.output).unwrap();
        let child = self.command(burst.as_ref().map(Burst::pid)).stdout(output).spawn().unwrap();
        thread::sleep(Duration::from_secs(2));
        let made = burst.map_or(0, Burst::go);
        // What is still on its way has this long to come out.
        thread::sleep(Duration::from_secs(1));
        let pid = self.measured(&child);
        let cost =
            (measure::status_mb(pid, "VmRSS:"), measure::status_mb(pid, "VmHWM:"), measure::maps_mb(pid));
        let cpu = measure::cpu(pid);
        end(child);
        let written = BufReader::new(File::open(&self.output).unwrap()).lines().count() as u64;
        Cost { made, written, cpu, rss: cost.0, peak: cost.1, maps: cost.2 }
    }

    pub(crate) fn binary_size(&self) -> f64 {
        fs::metadata(&self.binary).unwrap().len() as f64 / 1e6
    }

    fn command(&self, pid: Option<u32>) -> Command {
        let mut command = if self.own_pids {
            let mut command = Command::new("unshare");
            command.args(["-p", "-f", "--mount-proc", "--kill-child"]).arg(&self.binary);
            command
        } else {
            Command::new(&self.binary)
        };
        command.args(&self.args).stderr(Stdio::null());
        if let Some(pid) = pid {
            command.arg("--pid").arg(pid.to_string());
        }
        command
    }

    /// The process that does the work: unshare only waits for it.
    fn measured(&self, child: &Child) -> u32 {
        if !self.own_pids {
            return child.id();
        }
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        fs::read_to_string(children)
            .ok()
            .and_then(|c| c.split(' ').next()?.parse().ok())
            .unwrap_or(child.id())
    }
}

/// The peer does not start without debugfs and tracefs. They are mounted for this bench and what it starts only.
fn mount_what_the_peer_needs() {
    use nix::{
        mount::{MsFlags, mount},
        sched::{CloneFlags, unshare},
    };

    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    for (kind, place) in [("debugfs", "/sys/kernel/debug"), ("tracefs", "/sys/kernel/tracing")] {
        if fs::read_dir(place).is_ok_and(|mut entries| entries.next().is_none()) {
            mount(Some(kind), place, Some(kind), MsFlags::empty(), none).unwrap();
        }
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn end(mut child: Child) {
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    let _ = child.wait();
}
