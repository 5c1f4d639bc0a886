//! Which containers run on this host, and which one a mount or network namespace belongs to.
//!
//! Events carry namespace inodes, people think in names: this module keeps the table between them. A [`Collection`]
//! finds the containers that run already, holds each new one's start until every [`Watcher`] has made its
//! arrangements (so that not even the first packet is missed), and tells when one ends.
//!
//! Who does what: `hold` holds starts (fanotify), `watchdog` lets them go when we do not, `runtime` asks the runtimes
//! for names, `keeper` sees the ends, and
//! `table` is what they all write to. [`Selector`] says which containers a user asked for, and [`namespace`] is the
//! little that is needed of Linux namespaces.

use std::collections::BTreeMap;
use std::sync::Arc;

mod cgroup;
mod collection;
mod hold;
pub mod host;
mod keeper;
pub mod namespace;
mod process;
mod runtime;
mod selector;
mod table;
#[cfg(test)]
mod tests;
mod watchdog;

pub use cgroup::Cgroup;
pub use collection::{Collection, Config, Error, Lists, Protocol, RUNTIMES};
pub use process::reserve_descriptors;
pub use selector::{Filters, Selector, SelectorError};
pub use table::Lookup;

/// One running container.
///
/// The strings that go into events are shared, so that to enrich an event copies no text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Container {
    /// The runtime's identifier, for docker 64 hexadecimal digits.
    pub id: Arc<str>,
    /// The name as people give it, without docker's leading slash; the identifier where no name could be learned.
    pub name: Arc<str>,
    /// Who runs it: `docker`, `containerd`, `cri-o` or `podman`; `runc` or `crun` if no daemon does; `unknown`.
    pub runtime: Arc<str>,
    /// The image's name as the container was created with, tag included.
    pub image_name: Arc<str>,
    /// The image's identifier, `sha256:` and hexadecimal digits; empty where the runtime does not say it.
    pub image_id: Arc<str>,
    /// The digest of the image in its registry; empty where the runtime does not say it.
    pub image_digest: Arc<str>,
    /// The process identifier of the container's first process, in this host's process namespace.
    pub pid: u32,
    /// Inode of the mount namespace.
    pub mntns: u64,
    /// Inode of the network namespace.
    pub netns: u32,
    /// Its control groups.
    pub cgroup: Cgroup,
    /// Whether it shares the host's network namespace.
    pub host_network: bool,
    /// When the first process began, in nanoseconds since the epoch.
    pub started_at: i64,
    /// The runtime's labels.
    pub labels: BTreeMap<String, String>,
    /// The container that holds the pod's namespaces open; empty outside a cluster.
    pub sandbox_id: Arc<str>,
    /// The folder of its OCI configuration, as far as it is known.
    pub bundle: Arc<str>,
    /// What Kubernetes calls it; all empty outside a cluster.
    pub k8s: K8s,
}

/// What Kubernetes calls a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct K8s {
    /// The pod's namespace.
    pub namespace: Arc<str>,
    /// The pod's name.
    pub pod_name: Arc<str>,
    /// The pod's labels.
    pub pod_labels: BTreeMap<String, String>,
    /// The container's name in the pod.
    pub container_name: Arc<str>,
    /// The pod's unique identifier.
    pub pod_uid: Arc<str>,
    /// The kind of what made the pod, such as `ReplicaSet`.
    pub owner_kind: Arc<str>,
    /// The name of what made the pod.
    pub owner_name: Arc<str>,
}

/// Is told of containers as they come and go.
///
/// Calls come one at a time, and from threads of the collection. In a call it may look containers up, but must not
/// subscribe or drop the collection, nor read files in a container's bundle folder.
pub trait Watcher: Send + Sync {
    /// A container is there. For one whose start is held, its namespaces and interfaces exist and its first
    /// instruction runs only after this returns.
    fn added(&self, container: &Arc<Container>);
    /// A container has ended. Look-ups by its namespaces still find it for two seconds.
    fn removed(&self, container: &Arc<Container>);
    /// A container that is there got another name, or more became known of it. Processes and namespaces are the same.
    fn changed(&self, known: &Arc<Container>, container: &Arc<Container>) {
        self.removed(known);
        self.added(container);
    }
}
