//! The conversation with container runtimes: which containers run, what they are called, and which have just started.
//!
//! A [`Runtime`] is one place to ask, with one file each: `docker`, `podman`, `containerd` and `cri` speak to a daemon
//! over its Unix socket, `oci` reads what runc and crun write down themselves. [`Runtimes`] drives them all from one
//! thread, so that none of them can delay another, and nothing here waits for an answer for longer than it says.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use super::process::Process;
use super::{Container, K8s};

mod cache;
mod containerd;
mod cri;
mod docker;
mod files;
mod grpc;
mod http;
mod kubernetes;
mod notify;
mod oci;
mod peer;
mod places;
mod podman;
mod storage;
mod talk;

pub(super) use http::Failure;
pub(super) use talk::{Runtimes, Start};

/// The longest name or image name that is kept, in bytes: more than any runtime allows.
const MAX_NAME: usize = 4096;

/// What a runtime says of a container. What it does not say is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Details {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) runtime: &'static str,
    pub(super) image_name: String,
    pub(super) image_id: String,
    pub(super) image_digest: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) pod: kubernetes::Pod,
    /// The first process, once there is one.
    pub(super) pid: Option<u32>,
    /// When that process began, where it is told: the number may be another's by now. In the kernel's ticks since the
    /// machine started.
    pub(super) start_ticks: Option<i64>,
    pub(super) bundle: String,
    /// The user whose word this is. Only root is believed whatever it says.
    pub(super) owner: u32,
}

impl Details {
    /// Whether it is the container that holds a pod's namespaces open, which is nobody's workload.
    pub(super) fn is_sandbox(&self) -> bool {
        self.pod.is_sandbox
    }

    /// Whether what came from outside can be used at all.
    fn is_sound(&self) -> bool {
        super::hold::is_container_id(&self.id)
            && [&self.name, &self.image_name, &self.image_id, &self.image_digest]
                .iter()
                .all(|text| text.len() <= MAX_NAME)
    }

    /// Whether this is of the process, and who says it may speak for that: users only for what they run themselves.
    pub(super) fn may_claim(&self, process: &Process) -> bool {
        if self.start_ticks.is_some_and(|ticks| ticks != process.start_ticks) {
            return false;
        }
        self.owner == 0 || process.user_namespace_owner() == Some(self.owner)
    }

    /// Joins it with what the kernel says of its first process.
    pub(super) fn into_container(self, process: &Process, host_netns: u32) -> Container {
        let pod = self.pod;
        Container {
            k8s: K8s {
                namespace: pod.namespace.into(),
                pod_name: pod.name.into(),
                pod_labels: pod.labels,
                container_name: pod.container_name.into(),
                pod_uid: pod.uid.into(),
                owner_kind: pod.owner.as_ref().map_or("", |(kind, _)| *kind).into(),
                owner_name: pod.owner.map_or_else(String::new, |(_, name)| name).into(),
            },
            sandbox_id: pod.sandbox_id.into(),
            bundle: self.bundle.into(),
            name: if self.name.is_empty() { self.id.as_str().into() } else { self.name.into() },
            id: self.id.into(),
            runtime: self.runtime.into(),
            image_name: self.image_name.into(),
            image_id: self.image_id.into(),
            image_digest: self.image_digest.into(),
            pid: process.pid,
            mntns: process.mntns,
            netns: process.netns,
            cgroup: process.cgroup.clone(),
            host_network: process.netns == host_netns,
            started_at: process.started_at,
            labels: self.labels,
        }
    }
}

/// An answer that is on its way.
type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// What has changed at a runtime.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// The container with this key, as [`Runtime::details`] takes it.
    One(String),
    /// Nobody knows what: list them all.
    All,
}

/// One place to ask for containers.
///
/// Answers may take as long as they like, and be as wrong as they like: whoever asks sets the limit and checks.
trait Runtime: Send + Sync {
    /// The running containers. Where their first process is not told, more has to be asked for by id.
    fn list(&self) -> Answer<'_, Vec<Details>>;

    /// The container `id` whose start is held, as far as this can be told without waiting for that very start.
    fn starting<'a>(&'a self, start: &'a Start) -> Answer<'a, Option<Details>>;

    /// All about one container: `key` is its id, or what [`Change::One`] holds.
    fn details<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Details>>;

    /// Begins to tell of changes.
    fn changes(&self) -> Answer<'_, Box<dyn Changes>>;
}

/// Changes as they come.
trait Changes: Send {
    /// The next one; `None` when there will be no more, and it is to be asked anew.
    fn next(&mut self) -> Answer<'_, Option<Change>>;
}

/// A runtime and where it is.
struct Place {
    /// The name people know it by.
    name: &'static str,
    path: PathBuf,
    runtime: Box<dyn Runtime>,
    /// Where else its containers are written down, for as long as it does not tell of them.
    states: Option<Box<Self>>,
}

impl Place {
    fn new(name: &'static str, path: &Path, runtime: impl Runtime + 'static) -> Self {
        Self { name, path: path.to_owned(), runtime: Box::new(runtime), states: None }
    }

    fn or_states(self, states: Self) -> Self {
        Self { states: Some(Box::new(states)), ..self }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.path.display())
    }
}
