//! Holds each new container's start until its watchers are ready.
//!
//! Two permission events of fanotify(7) stand in the way of a start, and no probe in the kernel is needed:
//!
//! 1. the runtime's binary is executed: the process that asks is in the container's bundle folder, or its arguments
//!    name it. The folder is marked and the runtime asked for the container's name, and the binary runs;
//! 2. the file with the first process' number is read: `create` is over and `start` has not begun, the process and its
//!    namespaces exist, and it waits. The watchers are called, and then the read goes on.
//!
//! Every event is answered, also when anything fails; the kernel answers by itself when this process dies. Nothing here
//! reads a file in a marked folder, which would raise an event that waits for this very thread.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::fanotify::{
    EventFFlags, Fanotify, FanotifyEvent, FanotifyResponse, InitFlags, MarkFlags, MaskFlags, Response,
};

use super::collection::{Config, under};
use super::keeper::Orders;
use super::namespace;
use super::process::Process;
use super::runtime::{Details, Runtimes, Start};
use super::table::Table;

mod bundle;

use bundle::Bundle;
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
        let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let groups = Groups { runtimes, folders: group()?, stop: Arc::clone(&stop) };
        let own_mntns = namespace::own_mntns().map_err(io::Error::other)?;
        let starts = Starts { pending: Vec::new(), own_mntns, host_netns, table, orders, runtimes: names };
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

fn group() -> io::Result<Fanotify> {
    let flags = InitFlags::FAN_CLASS_CONTENT
        | InitFlags::FAN_CLOEXEC
        | InitFlags::FAN_NONBLOCK
        | InitFlags::FAN_UNLIMITED_QUEUE
        | InitFlags::FAN_UNLIMITED_MARKS;
    // Non-blocking for the pipes in a bundle folder: the kernel opens what an event is about on our behalf.
    let files =
        EventFFlags::O_RDONLY | EventFFlags::O_LARGEFILE | EventFFlags::O_CLOEXEC | EventFFlags::O_NONBLOCK;
    Ok(Fanotify::init(flags, files)?)
}

/// A start between its first hold and its second.
struct Pending {
    bundle: Bundle,
    since: Instant,
    /// What the runtimes say of it.
    answer: Receiver<Option<Details>>,
}

/// A process that waits for our answer. It gets it when this is dropped, however that comes about.
struct Held<'a> {
    group: &'a Fanotify,
    event: FanotifyEvent,
}

impl Held<'_> {
    fn file(&self) -> Option<BorrowedFd<'_>> {
        self.event.fd()
    }

    fn pid(&self) -> Option<u32> {
        u32::try_from(self.event.pid()).ok().filter(|pid| *pid != 0)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let asks = self.event.mask().intersects(MaskFlags::FAN_OPEN_EXEC_PERM | MaskFlags::FAN_ACCESS_PERM);
        if let Some(fd) = self.event.fd().filter(|_| asks)
            && let Err(error) = self.group.write_response(FanotifyResponse::new(fd, Response::FAN_ALLOW))
        {
            tracing::warn!("cannot let a container's start go on: {error}");
        }
    }
}

/// The two groups of fanotify: executions of runtimes, and reads in bundle folders.
struct Groups {
    runtimes: Fanotify,
    folders: Fanotify,
    stop: Arc<EventFd>,
}

impl Groups {
    /// Answers until it is told to stop, or cannot any more.
    fn run(&self, mut starts: Starts) -> io::Result<()> {
        loop {
            let timeout = match starts.expire(&self.folders) {
                None => PollTimeout::NONE,
                Some(wait) => PollTimeout::try_from(wait.as_millis() + 1).unwrap_or(PollTimeout::MAX),
            };
            let mut fds = [self.stop.as_fd(), self.runtimes.as_fd(), self.folders.as_fd()]
                .map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            match poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            for held in take(&self.folders)? {
                if self.is_stopping() {
                    return Ok(());
                }
                starts.read(&self.folders, &held);
            }
            for held in take(&self.runtimes)? {
                starts.executed(&self.folders, &held);
            }
            if self.is_stopping() {
                return Ok(());
            }
        }
    }

    fn is_stopping(&self) -> bool {
        let mut fds = [PollFd::new(self.stop.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO) != Ok(0)
    }
}

/// The events that wait in a group. Those of this very process are answered at once.
fn take(group: &Fanotify) -> io::Result<Vec<Held<'_>>> {
    let events = match group.read_events() {
        Ok(events) => events,
        Err(Errno::EAGAIN | Errno::EINTR) => return Ok(Vec::new()),
        // The kernel could not open the file for us, has answered by itself, and goes on.
        Err(error @ (Errno::EMFILE | Errno::ENFILE | Errno::ENXIO | Errno::ETXTBSY | Errno::EPERM)) => {
            tracing::warn!("a process could not be held: {error}");
            return Ok(Vec::new());
        }
        Err(error) => return Err(error.into()),
    };
    let mut held: Vec<_> = events.into_iter().map(|event| Held { group, event }).collect();
    let own_pid = nix::unistd::getpid().as_raw();
    held.retain(|held| held.event.pid() != own_pid);
    Ok(held)
}

/// The starts under way.
struct Starts {
    pending: Vec<Pending>,
    own_mntns: u64,
    host_netns: u32,
    table: Arc<Table>,
    orders: Orders,
    runtimes: Arc<Runtimes>,
}

impl Starts {
    /// A runtime is about to be executed: if it creates a container, its folder is marked.
    fn executed(&mut self, folders: &Fanotify, held: &Held<'_>) {
        let Some(bundle) = held.pid().and_then(Bundle::of_caller) else { return };
        if self.pending.iter().any(|pending| pending.bundle.is_same(&bundle)) {
            return;
        }
        // The runtime is executed for much else: to start, to execute in, to kill, to delete.
        let known = self.table.get(&bundle.id);
        if known.is_some_and(|known| namespace::mntns(known.pid).is_ok_and(|mntns| mntns == known.mntns)) {
            return;
        }
        if self.pending.len() >= MAX_PENDING {
            tracing::warn!(id = %bundle.id, "too many containers start at once: this one is not held");
            return;
        }
        if let Err(error) =
            folders.mark(MarkFlags::FAN_MARK_ADD, FOLDER_EVENTS, &bundle.folder, None::<&Path>)
        {
            tracing::debug!(id = %bundle.id, "cannot watch the bundle's folder: {error}");
            return;
        }
        tracing::debug!(id = %bundle.id, folder = %bundle.path.display(), "container is being created");
        let answer = self.runtimes.ask(Start { id: bundle.id.clone(), bundle: bundle.place.clone() });
        self.pending.push(Pending { bundle, since: Instant::now(), answer });
    }

    /// A file in a marked folder is about to be read: if it is the one with the process' number, the container is
    /// made, and its start waits.
    fn read(&mut self, folders: &Fanotify, held: &Held<'_>) {
        let Some(file) = held.file() else { return };
        let Some(path) = bundle::path_of(file) else { return };
        let Some(index) = self.pending.iter().position(|pending| pending.bundle.is_pid_file(&path)) else {
            return;
        };
        let Some(pid) = read_pid(file) else { return };
        let pending = self.pending.swap_remove(index);
        // First of all, so that a watcher cannot wait for this thread by reading there.
        unmark(folders, &pending.bundle);
        self.created(pending, pid);
    }

    /// Enters a container whose start is held.
    fn created(&self, pending: Pending, pid: u32) {
        let process = match Process::open(pid) {
            Ok(process) => process,
            Err(error) => {
                // So it is when the runtime reads the file once more to delete the container.
                tracing::debug!(id = %pending.bundle.id, pid, "no such process: {error}");
                return;
            }
        };
        if process.mntns == self.own_mntns {
            tracing::debug!(id = %pending.bundle.id, pid, "process has no mount namespace of its own");
            return;
        }
        let Bundle { id, runtime, place, .. } = pending.bundle;
        // The runtimes answer within their own time, and silent ones are not waited for.
        let told = pending.answer.recv_timeout(NAME).ok().flatten().filter(|told| told.may_claim(&process));
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
    fn expire(&mut self, folders: &Fanotify) -> Option<Duration> {
        self.pending.retain(|pending| {
            let wait = pending.since.elapsed() < PENDING;
            if !wait {
                unmark(folders, &pending.bundle);
            }
            wait
        });
        self.pending.iter().map(|pending| PENDING.saturating_sub(pending.since.elapsed())).min()
    }
}

fn unmark(folders: &Fanotify, bundle: &Bundle) {
    // The mark is gone already if the folder is.
    let _ = folders.mark(MarkFlags::FAN_MARK_REMOVE, FOLDER_EVENTS, &bundle.folder, None::<&Path>);
}

/// Reads a process' number by the descriptor that came with the event: reads through it raise no events.
fn read_pid(file: BorrowedFd<'_>) -> Option<u32> {
    let mut text = [0; 32];
    let length = File::from(file.try_clone_to_owned().ok()?).read_at(&mut text, 0).ok()?;
    std::str::from_utf8(&text[..length]).ok()?.trim().parse().ok().filter(|pid| *pid != 0)
}
