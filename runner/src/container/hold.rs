//! Holds each new container's start until its watchers are ready.
//!
//! Permission events of fanotify(7) stand in the way of a start, and no probe in the kernel is needed:
//!
//! 1. the runtime's binary is executed. Where the process that asks is in the container's bundle folder, or its
//!    arguments name it, the folder is marked and the runtime asked for the container's name. Where it is about to
//!    become the container's first process, the folder of its state is marked (`state`);
//! 2. the state is written there, or the file with the first process' number is read: the process and its namespaces
//!    exist, and it waits. The watchers are called, and then it goes on. The state serves any call of runc, the number
//!    runtimes that work otherwise.
//!
//! Every event is answered, also when anything fails; the kernel answers by itself when this process dies, and the
//! watchdog when it is stopped. Nothing here reads a file in a marked folder, which would raise an event that waits for
//! this very thread.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::fanotify::{MarkFlags, MaskFlags};

use super::collection::{Config, under};
use super::keeper::Orders;
use super::process::Process;
use super::runtime::{Details, Runtimes, Start};
use super::table::Table;
use super::watchdog::Watchdog;
use super::{Container, host, namespace};

mod bundle;
mod groups;
mod state;
#[cfg(test)]
mod tests;

use bundle::Bundle;
use groups::{Groups, Held, group};
use state::State;

pub(super) use bundle::is_container_id;

/// Where runtimes are installed, by the distributions and by Kubernetes' distributions.
const RUNTIMES: [&str; 16] = [
    "/bin/runc",
    "/usr/bin/runc",
    "/usr/sbin/runc",
    "/usr/local/bin/runc",
    "/usr/local/sbin/runc",
    "/usr/lib/cri-o-runc/sbin/runc",
    "/usr/bin/crun",
    "/var/lib/rancher/k3s/data/current/bin/runc",
    "/var/lib/rancher/rke2/bin/runc",
    "/usr/libexec/crio/runc",
    "/usr/libexec/crio/crun",
    "/var/lib/k0s/bin/runc",
    "/aarch64-bottlerocket-linux-gnu/sys-root/usr/bin/runc",
    "/x86_64-bottlerocket-linux-gnu/sys-root/usr/bin/runc",
    "/snap/microk8s/current/bin/runc",
    "/usr/bin/conmon",
];

/// How long a start is held for want of a name. It was asked for at the first hold, some 150 ms earlier.
const NAME: Duration = Duration::from_millis(700);
/// How long a marked folder waits for its start to go on.
const PENDING: Duration = Duration::from_secs(15);
/// More starts at once than this are not held: each costs a mark and a descriptor.
const MAX_PENDING: usize = 1024;

const FOLDER_EVENTS: MaskFlags = MaskFlags::FAN_ACCESS_PERM.union(MaskFlags::FAN_EVENT_ON_CHILD);

/// The thread that holds; dropping it ends it, and lets everything go on.
pub(super) struct Hold {
    stop: Arc<EventFd>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Hold {
    /// Starts to hold; `None` if there is no runtime on this host.
    pub(super) fn start(
        config: &Config,
        table: Arc<Table>,
        orders: Orders,
        names: Arc<Runtimes>,
        host_netns: u32,
        unheld: Unheld,
    ) -> io::Result<Option<Self>> {
        let binaries: Vec<_> = match &config.runtime_path {
            Some(path) => vec![under(&config.host_root, path)],
            None => RUNTIMES.iter().map(|path| under(&config.host_root, Path::new(path))).collect(),
        };
        let binaries: Vec<_> = binaries.into_iter().filter(|path| path.is_file()).collect();
        if binaries.is_empty() {
            return Ok(None);
        }
        let runtimes = group()?;
        for path in &binaries {
            runtimes.mark(
                MarkFlags::FAN_MARK_ADD,
                MaskFlags::FAN_OPEN_EXEC_PERM,
                nix::fcntl::AT_FDCWD,
                Some(path.as_path()),
            )?;
        }
        let folders = group()?;
        let watchdog = Watchdog::start([runtimes.as_fd(), folders.as_fd()])?;
        let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let groups = Groups { runtimes, folders, stop: Arc::clone(&stop), watchdog };
        let host_mntns = host::mntns().map_err(io::Error::other)?;
        let starts = Starts {
            only: config.containerd_namespace.clone(),
            pending: Vec::new(),
            host_mntns,
            host_netns,
            table,
            orders,
            runtimes: names,
            unheld,
        };
        let thread = thread::Builder::new().name("hold".to_owned()).spawn(move || {
            if let Err(error) = groups.run(starts) {
                // Both groups close now, and the kernel lets go of whatever they held.
                tracing::error!("container starts are no longer held: {error}");
            }
        })?;
        Ok(Some(Self { stop, thread: Some(thread) }))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How many starts may not have been held, for whatever reason.
#[derive(Clone, Default)]
pub(super) struct Unheld(Arc<AtomicU64>);

impl Unheld {
    fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A start between its first hold and its second.
struct Pending {
    start: Start,
    /// The runtime's name when it cannot be asked.
    runtime: &'static str,
    /// Whose file with the process' number will be read, where the caller says it.
    bundle: Option<Bundle>,
    /// Where its state will be written, once that is known.
    state: Option<State>,
    since: Instant,
    /// What the runtimes say of it.
    answer: Receiver<Option<Details>>,
}

impl Pending {
    fn unmark(&self, groups: &Groups) {
        if let Some(bundle) = &self.bundle {
            // The mark is gone already if the folder is.
            let _ =
                groups.folders.mark(MarkFlags::FAN_MARK_REMOVE, FOLDER_EVENTS, &bundle.folder, None::<&Path>);
        }
        if let Some(state) = &self.state {
            state.unmark(&groups.folders);
        }
    }
}

/// The starts under way.
struct Starts {
    /// Only this one of containerd's namespaces is of interest; all where it is empty.
    only: String,
    pending: Vec<Pending>,
    host_mntns: u64,
    host_netns: u32,
    table: Arc<Table>,
    orders: Orders,
    runtimes: Arc<Runtimes>,
    unheld: Unheld,
}

impl Starts {
    /// A runtime is about to be executed: if it creates a container, its second hold is prepared.
    fn executed(&mut self, groups: &Groups, held: &Held<'_>) {
        let Some(pid) = held.pid() else { return };
        let is_ours = |runtime: &str, namespace: &Option<String>| {
            let is_other = |namespace: &String| *namespace != self.only;
            runtime != "containerd" || self.only.is_empty() || !namespace.as_ref().is_some_and(is_other)
        };
        if let Some(state) = State::of_caller(pid) {
            if !is_ours(state.runtime, &state.namespace) {
                return;
            }
            self.becomes_first(groups, state);
        } else if let Some(bundle) = Bundle::of_caller(pid) {
            if !is_ours(bundle.runtime, &bundle.namespace) {
                return;
            }
            self.creates(groups, bundle);
        }
    }

    /// The runtime is called with a bundle.
    fn creates(&mut self, groups: &Groups, bundle: Bundle) {
        let same = |pending: &Pending| pending.bundle.as_ref().is_some_and(|known| known.is_same(&bundle));
        if self.pending.iter().any(same) {
            return;
        }
        // The runtime is executed for much else: to start, to execute in, to kill, to delete.
        // Another of containerd's namespaces may have the same identifier.
        let is_it = |known: &Arc<Container>| {
            (known.bundle.is_empty() || Path::new(&*known.bundle) == bundle.place)
                && namespace::mntns(known.pid).is_ok_and(|mntns| mntns == known.mntns)
        };
        if self.table.with_id(&bundle.id).iter().any(is_it) {
            return;
        }
        if self.is_full(&bundle.id) {
            return;
        }
        let marked =
            groups.folders.mark(MarkFlags::FAN_MARK_ADD, FOLDER_EVENTS, &bundle.folder, None::<&Path>);
        if let Err(error) = marked {
            tracing::debug!(id = %bundle.id, "cannot watch the bundle's folder: {error}");
            return;
        }
        tracing::debug!(id = %bundle.id, folder = %bundle.path.display(), "container is being created");
        let place = bundle.place.clone();
        let start = Start { id: bundle.id.clone(), bundle: place, namespace: bundle.namespace.clone() };
        self.expect(start, bundle.runtime, Some(bundle), None);
    }

    /// The runtime executes itself as a container's first process.
    fn becomes_first(&mut self, groups: &Groups, state: State) {
        if self
            .pending
            .iter()
            .any(|pending| pending.state.as_ref().is_some_and(|known| known.is_same(&state)))
        {
            return;
        }
        if self.is_full(&state.id) {
            return;
        }
        if let Err(error) = state.mark(&groups.folders) {
            tracing::debug!(id = %state.id, "cannot watch the folder of its state: {error}");
            return;
        }
        let is_same = |pending: &&mut Pending| {
            let names = (&pending.start.namespace, &state.namespace);
            let is_other = matches!(names, (Some(one), Some(other)) if one != other);
            pending.start.id == state.id && pending.state.is_none() && !is_other
        };
        match self.pending.iter_mut().find(is_same) {
            Some(pending) => pending.state = Some(state),
            None => {
                let namespace = state.namespace.clone();
                let start = Start { id: state.id.clone(), bundle: PathBuf::new(), namespace };
                self.expect(start, state.runtime, None, Some(state));
            }
        }
    }

    fn is_full(&self, id: &str) -> bool {
        let full = self.pending.len() >= MAX_PENDING;
        if full {
            if self.unheld.count() == 0 {
                tracing::warn!("too many containers start at once: not all of them are held");
            }
            tracing::debug!(id, "not held");
            self.unheld.add(1);
        }
        full
    }

    fn expect(&mut self, start: Start, runtime: &'static str, bundle: Option<Bundle>, state: Option<State>) {
        let answer = self.runtimes.ask(start.clone());
        self.pending.push(Pending { start, runtime, bundle, state, since: Instant::now(), answer });
    }

    /// A file in a marked folder is about to be read: if it is the one with the process' number, the container is
    /// made, and its start waits.
    fn read(&mut self, groups: &Groups, held: &Held<'_>) {
        let Some(file) = held.file() else { return };
        let Some(path) = bundle::path_of(file) else { return };
        let is_its =
            |pending: &Pending| pending.bundle.as_ref().is_some_and(|bundle| bundle.is_pid_file(&path));
        let Some(index) = self.pending.iter().position(is_its) else { return };
        let Some(pid) = read_pid(file) else { return };
        let pending = self.pending.swap_remove(index);
        // First of all, so that a watcher cannot wait for this thread by reading there.
        pending.unmark(groups);
        self.created(pending, pid);
    }

    /// A file in a marked folder is about to be opened: if it is the state of a container whose first process waits,
    /// its start waits.
    fn opened(&mut self, groups: &Groups, held: &Held<'_>) {
        let Some(path) = held.file().and_then(bundle::path_of) else { return };
        let is_its =
            |pending: &Pending| pending.state.as_ref().is_some_and(|state| state.is_new_state(&path));
        let Some(index) = self.pending.iter().position(is_its) else { return };
        // It is also written before there is such a process.
        let Some(pid) = held.pid().and_then(state::first_process) else { return };
        let pending = self.pending.swap_remove(index);
        pending.unmark(groups);
        self.created(pending, pid);
    }

    /// The watchdog let starts go on in our place; `events` is how many times it answered so far.
    fn relieved(&self, events: u64) {
        tracing::warn!(
            events,
            "container starts were not held for a while: this process was stopped, or too busy to answer"
        );
        self.unheld.add(1);
    }

    /// Enters a container whose start is held.
    fn created(&self, pending: Pending, pid: u32) {
        let process = match Process::open(pid) {
            Ok(process) => process,
            Err(error) => {
                // So it is when the runtime reads the file once more to delete the container.
                tracing::debug!(id = %pending.start.id, pid, "no such process: {error}");
                return;
            }
        };
        if process.mntns == self.host_mntns {
            tracing::debug!(id = %pending.start.id, pid, "process has no mount namespace of its own");
            return;
        }
        let Pending { start: Start { id, bundle: place, .. }, runtime, answer, .. } = pending;
        // The runtimes answer within their own time, and silent ones are not waited for.
        let told = answer.recv_timeout(NAME).ok().flatten().filter(|told| told.may_claim(&process));
        let details = Details {
            bundle: place.to_string_lossy().into_owned(),
            ..told.unwrap_or_else(|| Details { id, runtime, ..Details::default() })
        };
        if details.is_sandbox() {
            return;
        }
        let held_for = Instant::now();
        if let Some(container) = self.table.add(details.into_container(&process, self.host_netns)) {
            self.orders.watch(Arc::clone(&container.id), process);
            tracing::debug!(id = %container.id, name = %container.name, pid, took = ?held_for.elapsed(), "container starts");
        }
    }

    /// Gives up the starts that did not go on; says how long until the next is due.
    fn expire(&mut self, groups: &Groups) -> Option<Duration> {
        self.pending.retain(|pending| {
            let wait = pending.since.elapsed() < PENDING;
            if !wait {
                pending.unmark(groups);
            }
            wait
        });
        self.pending.iter().map(|pending| PENDING.saturating_sub(pending.since.elapsed())).min()
    }
}

/// Reads a process' number by the descriptor that came with the event: reads through it raise no events.
fn read_pid(file: BorrowedFd<'_>) -> Option<u32> {
    let mut text = [0; 32];
    let length = File::from(file.try_clone_to_owned().ok()?).read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..length]).ok()?.trim().parse().ok().filter(|pid| *pid != 0)
}
