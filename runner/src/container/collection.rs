//! The collection: starts what finds containers, and is what the rest of the program holds.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::docker::Docker;
use super::hold::{Hold, Unheld};
use super::keeper::Keeper;
use super::table::{Lookup, Table};
use super::{Container, Watcher, namespace};

/// How long the start of the collection waits for the runtime's list of running containers.
const FIRST_LIST: Duration = Duration::from_secs(2);

/// Where runtimes are.
#[derive(Debug, Clone)]
pub struct Config {
    /// The runtimes to ask, by name. Today `docker` is known; others are not an error.
    pub runtimes: Vec<String>,
    /// docker's socket. It is looked for below `host_root`.
    pub docker_socket: PathBuf,
    /// Whether the user named the runtime or its socket, so that a socket that is missing is an error.
    pub explicit: bool,
    /// Where the host's file system is mounted; `/` outside a container.
    pub host_root: PathBuf,
    /// The runtime's binary, in place of the places where it usually is.
    pub runtime_path: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            runtimes: ["docker", "containerd", "cri-o", "podman"].map(str::to_owned).to_vec(),
            docker_socket: PathBuf::from("/run/docker.sock"),
            explicit: false,
            host_root: PathBuf::from("/"),
            runtime_path: None,
        }
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
    _docker: Option<Arc<Docker>>,
    _keeper: Keeper,
}

impl Collection {
    /// Begins to hold starts, and lists what runs already; returns when the list is there, or after two seconds.
    ///
    /// What could not be set up, short of an error, is in [`Collection::notes`]. A host without any runtime is no
    /// such thing: the collection is empty then.
    ///
    /// # Errors
    /// See [`enum@Error`].
    pub fn start(config: &Config) -> Result<Self, Error> {
        let host_netns = namespace::host_netns()?;
        let table = Arc::new(Table::default());
        let keeper = Keeper::start(Arc::clone(&table), host_netns)?;
        let mut notes = Vec::new();

        let (listed, first_list) = channel();
        let docker = if config.runtimes.iter().any(|name| name == "docker") {
            let path = under(&config.host_root, &config.docker_socket);
            if config.explicit && !path.exists() {
                return Err(Error::NoSocket { runtime: "docker", path });
            }
            Some(Arc::new(Docker::start(path, keeper.orders(), listed)?))
        } else {
            drop(listed);
            None
        };

        let unheld = Unheld::default();
        let hold = match Hold::start(
            config,
            Arc::clone(&table),
            keeper.orders(),
            docker.clone(),
            host_netns,
            unheld.clone(),
        ) {
            Ok(hold) => hold,
            Err(error) => {
                notes.push(format!(
                    "containers that start from now on are seen a moment late: cannot hold their start: {error}"
                ));
                None
            }
        };
        // A runtime that is not there ends the wait at once.
        if first_list.recv_timeout(FIRST_LIST).is_err()
            && docker.as_ref().is_some_and(|docker| docker.exists())
        {
            notes.push(format!(
                "docker does not answer at {}: its containers are shown by id until it does",
                config.docker_socket.display()
            ));
        }
        Ok(Self { table, notes, unheld, _hold: hold, _docker: docker, _keeper: keeper })
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
