//! A command that is watched from its first moment to its end, and what tells its events from those of others.
//!
//! It runs in a mount namespace of its own, with the same mounts: its children are born in it, however quick they are,
//! and nobody else is in it. Gadgets already tell containers apart by this in the kernel. The namespace is made by a
//! thread, which then waits; once everything is attached it starts the command.

use std::{
    ffi::OsString,
    io,
    os::{
        fd::AsFd,
        unix::{fs::MetadataExt, process::ExitStatusExt},
    },
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use nix::{
    sched::{CloneFlags, unshare},
    sys::{
        eventfd::{EfdFlags, EventFd},
        signal::{SigSet, SigmaskHow, Signal, kill},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};

use super::watched::Watched;
use crate::{
    datasource::{Accessor, DataSource, Event},
    operator::{Operator, Verdict},
};

/// Why a command cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It has no mount namespace of its own.
    #[error("cannot give {program} a mount namespace, by which its events are told: {source} (run as root)")]
    Namespace {
        /// The command.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It cannot be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The command.
        program: String,
        /// Why.
        source: io::Error,
    },
}

/// A command that waits to be started.
pub(super) struct Held {
    program: String,
    /// Inode of its mount namespace.
    pub(super) mntns: u64,
    go: SyncSender<()>,
    started: Receiver<io::Result<Child>>,
    ended: Arc<EventFd>,
}

/// A command that was started.
pub(super) struct Started {
    child: Child,
    watched: Watched,
}

impl Held {
    /// Holds `line`, program and arguments; its output goes to stderr, because stdout is that of events.
    pub(super) fn new(line: &[OsString]) -> Result<Self, Error> {
        let program = line.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let failed = |source| Error::Namespace { program: program.clone(), source };
        let ended = EventFd::from_flags(EfdFlags::EFD_CLOEXEC).map_err(|error| failed(error.into()))?;
        let ended = Arc::new(ended);
        let mut command = Command::new(line.first().cloned().unwrap_or_default());
        command.args(line.iter().skip(1));
        command.stdout(Stdio::from(io::stderr().as_fd().try_clone_to_owned().map_err(failed)?));
        let (ready, is_ready) = sync_channel(1);
        let (go, may_go) = sync_channel(1);
        let (start, started) = sync_channel(1);
        let tell = Arc::clone(&ended);
        thread::Builder::new()
            .name("command".to_owned())
            .spawn(move || {
                let namespace = own_namespace();
                let failed = namespace.is_err();
                if ready.send(namespace).is_err() || failed || may_go.recv().is_err() {
                    return;
                }
                // A child inherits what its parent blocks, and has to be stopped as if it had been started without us.
                let blocked = SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK);
                let child = command.spawn();
                let _ = blocked.map(|blocked| blocked.thread_set_mask());
                let pid = child.as_ref().ok().and_then(|child| i32::try_from(child.id()).ok());
                let sent = start.send(child).is_ok();
                if let (Some(pid), true) = (pid, sent) {
                    // It is left to be waited for: until then its number is nobody else's.
                    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
                    while waitid(Id::Pid(Pid::from_raw(pid)), flags) == Err(nix::Error::EINTR) {}
                }
                let _ = tell.write(1);
            })
            .map_err(failed)?;
        let mntns = is_ready.recv().map_err(io::Error::other).and_then(|made| made).map_err(failed)?;
        Ok(Self { program, mntns, go, started, ended })
    }

    /// Becomes readable when the command has ended.
    pub(super) fn ended(&self) -> Arc<EventFd> {
        Arc::clone(&self.ended)
    }

    /// Lets it go. Until it is to end, `watched` is this one.
    pub(super) fn start(self, watched: &Watched) -> Result<Started, Error> {
        let Self { program, go, started, .. } = self;
        let child = watched.start(|| {
            go.send(()).map_err(io::Error::other)?;
            started.recv().map_err(io::Error::other)?
        });
        let child = child.map_err(|source| Error::Start { program, source })?;
        Ok(Started { child, watched: watched.clone() })
    }
}

/// Moves this thread into a mount namespace of its own, and gives its inode.
fn own_namespace() -> io::Result<u64> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    Ok(std::fs::metadata("/proc/thread-self/ns/mnt")?.ino())
}

impl Started {
    /// Waits for its end; asks it to end if it still runs.
    pub(super) fn finish(mut self) -> io::Result<ExitStatus> {
        self.watched.forget();
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        self.child.wait()
    }
}

/// The exit code that a shell would give for this status.
pub fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| signal.saturating_add(128)));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// Drops the events of everybody else, of data sources that say whose their events are.
pub(super) struct Own {
    mntns: u64,
    field: Accessor,
}

impl Own {
    /// `None` if the data source does not say whose its events are.
    pub(super) fn attach(data: &DataSource, mntns: u64) -> Option<Box<dyn Operator>> {
        let field = data.fields.iter().position(|field| field.has_tag("type:gadget_mntns_id"))?;
        Some(Box::new(Self { mntns, field: data.accessor(field) }))
    }
}

impl Operator for Own {
    fn name(&self) -> &'static str {
        "command"
    }

    fn process(&mut self, event: &mut Event<'_>) -> Verdict {
        if self.field.u64(event) == self.mntns { Verdict::Pass } else { Verdict::Drop }
    }
}

/// What is told of data sources that show more than the command.
pub(super) fn warning(others: &[String]) -> Option<String> {
    let say = "do not say whose they are: those of all processes are shown";
    (!others.is_empty()).then(|| format!("events of {} {say}", others.join(", ")))
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;
    use crate::container::namespace;

    fn held(line: &[&str]) -> Held {
        Held::new(&line.iter().map(OsString::from).collect::<Vec<_>>()).unwrap()
    }

    fn wait(ended: &EventFd) {
        let timeout = PollTimeout::from(20_000u16);
        assert_eq!(poll(&mut [PollFd::new(ended.as_fd(), PollFlags::POLLIN)], timeout), Ok(1));
    }

    #[test]
    fn a_command_and_its_children_are_in_a_namespace_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("inode");
        let script = format!("(stat -Lc %i /proc/self/ns/mnt > {}); exit 7", file.display());
        let held = held(&["sh", "-c", &script]);
        let mntns = held.mntns;
        assert_ne!(mntns, namespace::own_mntns().unwrap());
        assert!(!file.exists());
        let ended = held.ended();
        let started = held.start(&Watched::default()).unwrap();
        wait(&ended);
        assert_eq!(exit_code(started.finish().unwrap()), 7);
        assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), mntns.to_string());
    }

    #[test]
    fn one_that_still_runs_is_asked_to_end() {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGTERM);
        mask.thread_block().unwrap();
        let started = held(&["sleep", "1000"]).start(&Watched::default()).unwrap();
        assert_eq!(exit_code(started.finish().unwrap()), 128 + 15);
    }

    #[test]
    fn an_interrupt_is_the_affair_of_a_command_that_runs() {
        let watched = Watched::default();
        assert!(!watched.interrupt(false));
        let held = held(&["sleep", "1000"]);
        let ended = held.ended();
        let started = held.start(&watched).unwrap();
        // One that it has already is not passed on: this would end it otherwise, before it is asked to.
        assert!(watched.interrupt(true));
        assert!(started.child.id() > 0 && watched.interrupt(false));
        wait(&ended);
        assert_eq!(exit_code(started.finish().unwrap()), 128 + 2);
        assert!(!watched.interrupt(false));
    }

    #[test]
    fn one_that_is_not_there_is_named() {
        let error = held(&["/nonexistent/x"]).start(&Watched::default()).err().unwrap().to_string();
        assert_eq!(error, "cannot start /nonexistent/x: No such file or directory (os error 2)");
        // One that is never started holds nothing up.
        drop(held(&["true"]));
    }

    #[test]
    fn only_events_of_the_namespace_pass() {
        use crate::datasource::{Scalar, Slots, sample};
        let mut source = sample::sni();
        assert!(Own::attach(&DataSource::new("x", crate::datasource::SourceKind::Single), 7).is_none());
        let id = source.field("proc.mntns_id").unwrap();
        source.fields[id].tags.push("type:gadget_mntns_id".into());
        assert_eq!(source.fields[id].kind.scalar, Scalar::Uint64);
        let data = sample::data(b"x", b"y");
        let mut own = Own::attach(&source, 4_026_532_002).unwrap();
        let mut other = Own::attach(&source, 1).unwrap();
        let mut slots = Slots::new(source.slots);
        let mut event = Event { data: &data, slots: &mut slots };
        assert_eq!(own.process(&mut event), Verdict::Pass);
        assert_eq!(other.process(&mut event), Verdict::Drop);
    }
}
