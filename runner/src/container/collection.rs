//! The collection: starts what finds containers, and is what the rest of the program holds.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::hold::{Hold, Unheld};
use super::keeper::Keeper;
use super::runtime::Runtimes;
use super::table::{Lookup, Table};
use super::{Container, Watcher, host, namespace, process};

/// The runtimes that are asked unless others are named: `runc` stands for containers that no daemon knows.
pub const RUNTIMES: [&str; 5] = ["docker", "containerd", "cri-o", "podman", "runc"];

/// How runtimes are spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Each in its own way.
    #[default]
    Internal,
    /// All but podman by the Container Runtime Interface.
    Cri,
}

/// Where runtimes are. Sockets are looked for below `host_root`.
#[derive(Debug, Clone)]
pub struct Config {
    /// The runtimes to ask, some of [`RUNTIMES`].
    pub runtimes: Vec<String>,
    /// docker's socket.
    pub docker_socket: PathBuf,
    /// containerd's socket.
    pub containerd_socket: PathBuf,
    /// CRI-O's socket.
    pub crio_socket: PathBuf,
    /// The socket of root's podman service; users' own are found by themselves.
    pub podman_socket: PathBuf,
    /// The one namespace of containerd's to look at; all where it is empty.
    pub containerd_namespace: String,
    /// How runtimes are spoken to.
    pub protocol: Protocol,
    /// The runtimes that the user named, or whose sockets: one that is missing is an error.
    pub explicit: Vec<String>,
    /// Where the host's file system is mounted; `/` outside a container.
    pub host_root: PathBuf,
    /// The runtime's binary, in place of the places where it usually is.
    pub runtime_path: Option<PathBuf>,
    /// Whether starts are held, so that a container is known before its first instruction runs.
    pub hold: bool,
    /// How long to wait for the lists of running containers at the start.
    pub patience: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            runtimes: RUNTIMES.map(str::to_owned).to_vec(),
            docker_socket: PathBuf::from("/run/docker.sock"),
            containerd_socket: PathBuf::from("/run/containerd/containerd.sock"),
            crio_socket: PathBuf::from("/run/crio/crio.sock"),
            podman_socket: PathBuf::from("/run/podman/podman.sock"),
            containerd_namespace: String::new(),
            protocol: Protocol::default(),
            explicit: Vec::new(),
            host_root: PathBuf::from("/"),
            runtime_path: None,
            hold: true,
            patience: Duration::from_millis(700),
        }
    }
}

impl Config {
    /// Whether each runtime that was named is known, and has a socket.
    fn check(&self) -> Result<(), Error> {
        if let Some(name) = self.runtimes.iter().find(|name| !RUNTIMES.contains(&name.as_str())) {
            return Err(Error::Runtime(name.clone()));
        }
        let sockets = [
            ("docker", &self.docker_socket),
            ("containerd", &self.containerd_socket),
            ("cri-o", &self.crio_socket),
            // Without a service, podman's containers are found by what it writes down.
        ];
        for (runtime, socket) in sockets {
            let wanted = |names: &[String]| names.iter().any(|name| name == runtime);
            let path = under(&self.host_root, socket);
            if wanted(&self.explicit) && wanted(&self.runtimes) && !path.exists() {
                return Err(Error::NoSocket { runtime, path });
            }
        }
        Ok(())
    }
}

/// Why there is no collection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A runtime was asked for whose socket is not there.
    #[error(
        "runtime {runtime:?} with non-existent socketPath {path:?}: is it running? Else give its socket's path"
    )]
    NoSocket {
        /// The runtime's name.
        runtime: &'static str,
        /// Where its socket was looked for.
        path: PathBuf,
    },
    /// There is no such runtime.
    #[error("runtime {0:?} is not supported: give some of docker, containerd, cri-o, podman and runc")]
    Runtime(String),
    /// This process' own namespaces cannot be read.
    #[error(transparent)]
    Namespace(#[from] namespace::Error),
    /// A thread or descriptor that it needs cannot be had.
    #[error("cannot start watching for containers: {0} (see the limits of this process: ulimit -a)")]
    Start(#[from] io::Error),
}

/// The containers of this host, kept up to date until it is dropped.
///
/// Dropping it lets every held start go on. Do not drop it from a [`Watcher`]'s call, nor while holding a lock that a
/// watcher takes.
pub struct Collection {
    table: Arc<Table>,
    notes: Vec<String>,
    unheld: Unheld,
    // In the order in which they end: first nothing is held any more, then nobody asks, then nobody writes.
    _hold: Option<Hold>,
    _runtimes: Arc<Runtimes>,
    _keeper: Keeper,
}

/// The first lists of runtimes, on their way.
pub struct Lists {
    /// Ends when all are there.
    all: Receiver<()>,
    deadline: Instant,
    runtimes: Arc<Runtimes>,
}

impl Lists {
    /// Returns when the lists are there, or when patience is at its end; what is then to be said of runtimes, in
    /// sentences for the user.
    #[must_use]
    pub fn wait(self) -> Vec<String> {
        // One that is not there ends the wait for it at once; each that answers is told by a message.
        let left = || self.deadline.saturating_duration_since(Instant::now());
        while self.all.recv_timeout(left()).is_ok() {}
        self.runtimes.complaints()
    }
}

impl Collection {
    /// Begins to hold starts, and lists what runs already; returns when the list is there, or when the
    /// patience of `config` is at its end.
    ///
    /// What could not be set up, short of an error, is in [`Collection::notes`]. A host without any runtime is no
    /// such thing: the collection is empty then.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub fn start(config: &Config) -> Result<Self, Error> {
        let (mut collection, lists) = Self::begin(config)?;
        collection.notes.extend(lists.wait());
        Ok(collection)
    }

    /// Begins as [`Collection::start`] does, but does not wait: what runs already is entered as it is found, and the
    /// patience of `config` begins now.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub fn begin(config: &Config) -> Result<(Self, Lists), Error> {
        config.check()?;
        if let Err(error) = process::raise_file_limit() {
            tracing::debug!("cannot raise the limit of open files: {error}");
        }
        host::see_control_groups(&config.host_root);
        let host_netns = host::netns()?;
        let table = Arc::new(Table::new(&config.runtimes));
        let keeper = Keeper::start(Arc::clone(&table), host_netns)?;
        let mut notes = host::complaints(&config.host_root);

        let (listed, first_list) = channel();
        let runtimes = Arc::new(Runtimes::start(config, keeper.orders(), listed)?);
        let unheld = Unheld::default();
        let hold = if config.hold {
            let (table, runtimes) = (Arc::clone(&table), Arc::clone(&runtimes));
            Hold::start(config, table, keeper.orders(), runtimes, host_netns, unheld.clone())
        } else {
            Ok(None)
        };
        let hold = hold.unwrap_or_else(|error| {
            notes.push(format!(
                "containers that start from now on are seen a moment late: cannot hold their start: {error}"
            ));
            None
        });
        let deadline = Instant::now() + config.patience;
        let lists = Lists { all: first_list, deadline, runtimes: Arc::clone(&runtimes) };
        Ok((Self { table, notes, unheld, _hold: hold, _runtimes: runtimes, _keeper: keeper }, lists))
    }

    /// Tells `watcher` of every container there is, then of each that comes or goes. It is told of each exactly once.
    pub fn subscribe(&self, watcher: Arc<dyn Watcher>) {
        self.table.subscribe(watcher);
    }

    /// The running containers, ordered by name.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Container>> {
        self.table.list()
    }

    /// For who looks up often, from one thread: costs no lock while no container comes or goes.
    #[must_use]
    pub fn lookup(&self) -> Lookup {
        Lookup::new(Arc::clone(&self.table))
    }

    /// The container whose mount namespace has this inode; one that ended is found for two more seconds.
    #[must_use]
    pub fn by_mntns(&self, mntns: u64) -> Option<Arc<Container>> {
        self.lookup().by_mntns(mntns).cloned()
    }

    /// The containers in the network namespace with this inode, longest running first; none for the host's.
    #[must_use]
    pub fn by_netns(&self, netns: u32) -> Vec<Arc<Container>> {
        self.lookup().by_netns(netns).to_vec()
    }

    /// Moves whenever a container comes, goes or is forgotten.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.table.epoch()
    }

    /// How many times starts were not held that should have been: whoever started then may have been seen a moment late.
    #[must_use]
    pub fn unheld(&self) -> u64 {
        self.unheld.count()
    }

    /// What could not be set up, in sentences for the user.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// `path` as it is called below `root`.
pub(super) fn under(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
