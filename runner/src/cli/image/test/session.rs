//! One test on its way: the gadget in a process of its own, the workload beside it, and what both say.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::{
        signal::{Signal, kill, killpg},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};

use super::{
    case::Case,
    checks::{Check, Checks},
    interrupt::Interrupt,
};
use crate::cli::run::RUNNING;

/// Messages that may wait; the gadget is slowed down by its pipe when there are more.
const QUEUE: usize = 1024;
/// Lines of what somebody said that are shown when a test fails.
const SHOWN: usize = 10;
/// Bytes of a workload's output that are looked at.
const MAX_OUTPUT: u64 = 64 << 10;
/// How long a gadget may take to be attached: its image may have to be pulled.
const ATTACH: Duration = Duration::from_secs(120);
/// How long a gadget may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(10);

/// What may happen while a test runs.
pub(super) enum Message {
    /// A line from the gadget's output: an event.
    Event(String),
    /// A line that `igx run` said.
    Said(String),
    /// The gadget's output or what it says has come to its end.
    Closed,
    /// The workload has ended.
    WorkloadEnded,
    /// Somebody asked to stop.
    Interrupted,
}

/// How gadgets are run for tests.
pub(super) struct Session<'a> {
    /// `igx` itself.
    pub(super) program: PathBuf,
    /// The store, if it is not the user's own.
    pub(super) store: Option<PathBuf>,
    /// The gadget's image.
    pub(super) image: String,
    /// Tells when to give up.
    pub(super) interrupt: &'a Interrupt,
}

impl Session<'_> {
    /// Runs one test to its end.
    pub(super) fn run(&self, case: &Case) -> Result<Vec<Check>> {
        let (sender, receiver) = sync_channel(QUEUE);
        self.interrupt.tell(sender.clone());
        let mut gadget = Gadget::start(self, case, sender.clone(), receiver)?;
        let mut checks = Checks::new(case);
        let deadline = Instant::now() + ATTACH;
        loop {
            match gadget.next(deadline, &mut checks)? {
                Next::Running => break,
                Next::Ended => return Ok(vec![Check::failed("igx run: it ended", gadget.said())]),
                Next::TimeUp => {
                    let what = format!("igx run: nothing is attached after {} s", ATTACH.as_secs());
                    return Ok(vec![Check::failed(what, gadget.said())]);
                }
                Next::WorkloadEnded | Next::Nothing => {}
            }
        }
        let mut workload = self.interrupt.unblocked(|| Workload::start(case, sender))??;
        let deadline = Instant::now() + case.timeout;
        let mut ended = false;
        let mut whole = true;
        while !(ended && checks.complete()) {
            match gadget.next(deadline, &mut checks)? {
                Next::WorkloadEnded => ended = true,
                Next::Running | Next::Nothing => {}
                Next::TimeUp => break,
                Next::Ended => {
                    whole = false;
                    break;
                }
            }
        }
        let mut extra = Vec::new();
        let status = workload.end()?;
        if !ended {
            let what = format!("workload: it ran on after {} s, the test's timeout", case.timeout.as_secs());
            extra.push(Check::failed(what, workload.output()));
        } else if !status.success() {
            extra.push(Check::failed(format!("workload: {status}"), workload.output()));
        }
        if whole {
            gadget.stop(&mut checks)?;
        }
        let status = gadget.child.wait()?;
        if !whole || !status.success() {
            extra.push(Check::failed(format!("igx run: {status}"), gadget.said()));
        }
        let mut all = checks.finish();
        // What the gadget told, such as events that were lost, may be why.
        if extra.is_empty()
            && let Some(failed) = all.iter_mut().rfind(|check| !check.passed)
        {
            failed.why.extend(gadget.said().into_iter().map(|line| format!("igx run: {line}")));
        }
        extra.append(&mut all);
        Ok(extra)
    }
}

enum Next {
    Running,
    WorkloadEnded,
    /// The gadget ended by itself.
    Ended,
    TimeUp,
    Nothing,
}

/// `igx run`, ended when dropped.
struct Gadget {
    child: Child,
    messages: Receiver<Message>,
    said: Vec<String>,
    /// Of its output and what it says.
    open: usize,
}

impl Gadget {
    fn start(
        session: &Session<'_>,
        case: &Case,
        sender: SyncSender<Message>,
        messages: Receiver<Message>,
    ) -> Result<Self> {
        let mut command = Command::new(&session.program);
        if let Some(store) = &session.store {
            command.arg("--store").arg(store);
        }
        command.args(["-v", "run", &session.image, "-o", "json"]).args(&case.run);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start igx run")?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let gadget = Self { child, messages, said: Vec::new(), open: 2 };
        if let (Some(out), Some(err)) = (out, err) {
            forward(out, sender.clone(), Message::Event);
            forward(err, sender, Message::Said);
        }
        Ok(gadget)
    }

    /// Takes what comes next.
    fn next(&mut self, deadline: Instant, checks: &mut Checks<'_>) -> Result<Next> {
        let left = deadline.saturating_duration_since(Instant::now());
        // The clock is asked first: a gadget that always has an event must not outrun it.
        let message = match left {
            Duration::ZERO => Err(RecvTimeoutError::Timeout),
            left => self.messages.recv_timeout(left),
        };
        Ok(match message {
            Ok(Message::Event(line)) => {
                let event = serde_json::from_str(&line);
                checks.push(&event.with_context(|| format!("igx run printed what is no JSON: {line}"))?);
                Next::Nothing
            }
            Ok(Message::Said(line)) => match line.strip_prefix("DEBUG") {
                Some(debug) if debug.trim() == RUNNING => Next::Running,
                Some(_) => Next::Nothing,
                None => {
                    self.said.push(line);
                    Next::Nothing
                }
            },
            Ok(Message::WorkloadEnded) => Next::WorkloadEnded,
            Ok(Message::Closed) => {
                self.open -= 1;
                if self.open == 0 { Next::Ended } else { Next::Nothing }
            }
            Ok(Message::Interrupted) => bail!("interrupted"),
            Err(RecvTimeoutError::Timeout) => Next::TimeUp,
            Err(RecvTimeoutError::Disconnected) => Next::Ended,
        })
    }

    /// Asks it to end, and takes all that the kernel still has for it.
    fn stop(&mut self, checks: &mut Checks<'_>) -> Result<()> {
        // It has not been waited for, so the pid is still its own.
        kill(pid(&self.child), Signal::SIGINT).context("cannot stop igx run")?;
        let deadline = Instant::now() + GRACE;
        loop {
            match self.next(deadline, checks)? {
                Next::Ended => return Ok(()),
                Next::TimeUp => bail!("igx run did not end within {} s of being asked to", GRACE.as_secs()),
                Next::Running | Next::WorkloadEnded | Next::Nothing => {}
            }
        }
    }

    /// The last lines that it said.
    fn said(&self) -> Vec<String> {
        self.said[self.said.len().saturating_sub(SHOWN)..].to_vec()
    }
}

impl Drop for Gadget {
    fn drop(&mut self) {
        // Neither does anything to a process that was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The workload and all that it started, ended when dropped.
struct Workload {
    child: Child,
    output: File,
    status: Option<ExitStatus>,
    /// Where it may leave files.
    _scratch: tempfile::TempDir,
}

impl Workload {
    fn start(case: &Case, sender: SyncSender<Message>) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("igx-workload-").tempdir()?;
        let output = tempfile::tempfile()?;
        let folder = case.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let child = Command::new("/bin/sh")
            .arg("-c")
            .arg(&case.workload)
            .current_dir(folder)
            .env("TMPDIR", scratch.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output.try_clone()?)
            // So that what it leaves behind can be ended with it.
            .process_group(0)
            .spawn()
            .context("cannot start the workload with /bin/sh")?;
        let id = pid(&child);
        thread::spawn(move || {
            // Its pid stays taken until `end`, which ends the group of that name.
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
            while waitid(Id::Pid(id), flags) == Err(nix::Error::EINTR) {}
            let _ = sender.send(Message::WorkloadEnded);
        });
        Ok(Self { child, output, status: None, _scratch: scratch })
    }

    /// Ends what is left of it; says how its shell ended.
    fn end(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        // The shell has not been waited for, so the group is still its own.
        let _ = killpg(pid(&self.child), Signal::SIGKILL);
        let status = self.child.wait()?;
        self.status = Some(status);
        Ok(status)
    }

    /// The last lines of its output.
    fn output(&mut self) -> Vec<String> {
        let mut text = Vec::new();
        let size = self.output.metadata().map_or(0, |found| found.len());
        let from = SeekFrom::Start(size.saturating_sub(MAX_OUTPUT));
        if self.output.seek(from).is_ok() {
            let _ = (&self.output).take(MAX_OUTPUT).read_to_end(&mut text);
        }
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines[lines.len().saturating_sub(SHOWN)..].to_vec()
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}

/// Sends each line of a pipe on, and then that it was closed.
fn forward(pipe: impl Read + Send + 'static, sender: SyncSender<Message>, kind: fn(String) -> Message) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(kind(line)).is_err() {
                return;
            }
        }
        let _ = sender.send(Message::Closed);
    });
}
