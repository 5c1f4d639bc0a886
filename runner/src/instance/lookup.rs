//! What the enrichment of events knows of containers: the collection's table, in the shape that events need.

use std::collections::{HashMap, hash_map::Entry};
use std::sync::Arc;

use crate::{
    container::{Container, Lookup},
    operator::enrich::{ContainerFields, ContainerLookup, Gone},
};

/// How many mount namespaces are remembered that are no container's.
const MAX_STRANGERS: usize = 4096;

/// The collection, for one data source.
pub(super) struct Containers {
    lookup: Lookup,
    found: ContainerFields,
    /// Mount namespaces that are no container's, and the containers that they were made in, as far as there are any: to
    /// find that out is a matter of reading files.
    strangers: HashMap<u64, Option<ContainerFields>>,
    /// What the table was when they were found.
    epoch: u64,
}

impl Containers {
    pub(super) fn new(lookup: Lookup) -> Self {
        Self { lookup, found: ContainerFields::default(), strangers: HashMap::new(), epoch: 0 }
    }
}

impl ContainerLookup for Containers {
    fn generation(&self) -> u64 {
        self.lookup.epoch()
    }

    fn by_cgroup(&mut self, id: u64) -> Option<&ContainerFields> {
        self.found = fields(self.lookup.by_cgroup(id)?);
        Some(&self.found)
    }

    fn by_mntns(&mut self, inode: u64) -> Option<&ContainerFields> {
        self.found = fields(self.lookup.by_mntns(inode)?);
        Some(&self.found)
    }

    fn by_process(&mut self, pid: u32, mntns: u64) -> Result<Option<&ContainerFields>, Gone> {
        let epoch = self.lookup.epoch();
        if epoch != self.epoch || self.strangers.len() >= MAX_STRANGERS {
            self.strangers.clear();
            self.epoch = epoch;
        }
        let Self { lookup, strangers, .. } = self;
        if let Entry::Vacant(unknown) = strangers.entry(mntns) {
            unknown.insert(lookup.by_process(pid).map_err(|_| Gone)?.map(|container| fields(container)));
        }
        Ok(strangers.get(&mntns).and_then(Option::as_ref))
    }

    fn by_netns(&mut self, inode: u32) -> Option<&ContainerFields> {
        let sharing = self.lookup.by_netns(inode);
        let first = sharing.first()?;
        self.found = match sharing {
            [one] => fields(one),
            // Which of them it is cannot be told, but the pod can.
            _ if !first.k8s.pod_name.is_empty() && sharing.iter().all(|other| is_of_pod(other, first)) => {
                ContainerFields {
                    host_network: first.host_network,
                    k8s_namespace: Arc::clone(&first.k8s.namespace),
                    k8s_pod_name: Arc::clone(&first.k8s.pod_name),
                    k8s_pod_labels: labels(first),
                    k8s_owner_kind: Arc::clone(&first.k8s.owner_kind),
                    k8s_owner_name: Arc::clone(&first.k8s.owner_name),
                    ..ContainerFields::default()
                }
            }
            _ => return None,
        };
        Some(&self.found)
    }
}

fn is_of_pod(container: &Container, other: &Container) -> bool {
    let pod = |container: &Container| (container.k8s.namespace.clone(), container.k8s.pod_name.clone());
    pod(container) == pod(other)
}

fn labels(container: &Container) -> Arc<str> {
    let labels: Vec<String> = container.k8s.pod_labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    labels.join(",").into()
}

fn fields(container: &Container) -> ContainerFields {
    ContainerFields {
        runtime_name: Arc::clone(&container.runtime),
        container_id: Arc::clone(&container.id),
        container_name: Arc::clone(&container.name),
        image_name: Arc::clone(&container.image_name),
        image_digest: Arc::clone(&container.image_digest),
        pid: container.pid,
        started_at: container.started_at,
        k8s_namespace: Arc::clone(&container.k8s.namespace),
        k8s_pod_name: Arc::clone(&container.k8s.pod_name),
        k8s_container_name: Arc::clone(&container.k8s.container_name),
        k8s_pod_labels: labels(container),
        k8s_owner_kind: Arc::clone(&container.k8s.owner_kind),
        k8s_owner_name: Arc::clone(&container.k8s.owner_name),
        host_network: container.host_network,
    }
}
