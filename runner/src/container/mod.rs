//! Which containers run on this host, and which one a mount or network namespace belongs to.
//!
//! Events carry namespace inodes, people think in names: this module keeps the table between them. A [`Collection`]
//! finds the containers that run already, holds each new one's start until every [`Watcher`] has made its
//! arrangements (so that not even the first packet is missed), and tells when one ends.
//!
//! Who does what: `hold` holds starts (fanotify), `watchdog` lets them go when we do not, `docker` asks the runtime for names, `keeper` sees the ends, and
//! `table` is what they all write to. [`Selector`] says which containers a user asked for, and [`namespace`] is the
//! little that is needed of Linux namespaces.

use std::collections::BTreeMap;
use std::sync::Arc;

mod collection;
mod docker;
mod hold;
mod keeper;
pub mod namespace;
mod process;
mod selector;
mod table;
#[cfg(test)]
mod tests;
mod watchdog;

pub use collection::{Collection, Config, Error};
pub use selector::{Filters, Selector, SelectorError};
pub use table::Lookup;

/// One running container.
///
/// The strings that go into events are shared, so that to enrich an event copies no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The runtime's identifier, for docker 64 hexadecimal digits.
    pub id: Arc<str>,
    /// The name as people give it, without docker's leading slash; the identifier where no name could be learned.
    pub name: Arc<str>,
    /// Who runs it: `docker`, `containerd`, or `unknown`.
    pub runtime: Arc<str>,
    /// The image's name as the container was created with, tag included.
    pub image_name: Arc<str>,
    /// The image's identifier, `sha256:` and hexadecimal digits.
    pub image_id: Arc<str>,
    /// The digest of the image in its registry; empty where the runtime does not say it.
    pub image_digest: Arc<str>,
    /// The process identifier of the container's first process, in this host's process namespace.
    pub pid: u32,
    /// Inode of the mount namespace.
    pub mntns: u64,
    /// Inode of the network namespace.
    pub netns: u32,
    /// Whether it shares the host's network namespace.
    pub host_network: bool,
    /// When the first process began, in nanoseconds since the epoch.
    pub started_at: i64,
    /// The runtime's labels.
    pub labels: BTreeMap<String, String>,
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
}

/// Is told of containers as they come and go.
///
/// Calls come one at a time, and from threads of the collection. In a call it may look containers up, but must not
/// subscribe or drop the collection, nor read files in a container's bundle folder.
pub trait Watcher: Send + Sync {
    /// A container is there. For one whose start is held, its namespaces and interfaces exist and its first
    /// instruction runs only after this returns. It is called again with the same id, after [`Watcher::removed`],
    /// if the container's name changes.
    fn added(&self, container: &Arc<Container>);
    /// A container has ended. Look-ups by its namespaces still find it for two seconds.
    fn removed(&self, container: &Arc<Container>);
}
