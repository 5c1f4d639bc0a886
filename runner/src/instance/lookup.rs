//! What the enrichment of events knows of containers: the collection's table, in the shape that events need.

use std::sync::Arc;

use crate::{
    container::{Container, Lookup},
    operator::enrich::{ContainerFields, ContainerLookup},
};

/// The collection, for one data source.
pub(super) struct Containers {
    lookup: Lookup,
    found: ContainerFields,
}

impl Containers {
    pub(super) fn new(lookup: Lookup) -> Self {
        Self { lookup, found: ContainerFields::default() }
    }
}

impl ContainerLookup for Containers {
    fn generation(&self) -> u64 {
        self.lookup.epoch()
    }

    fn by_mntns(&mut self, inode: u64) -> Option<&ContainerFields> {
        self.found = fields(self.lookup.by_mntns(inode)?);
        Some(&self.found)
    }

    fn by_netns(&mut self, inode: u32) -> Option<&ContainerFields> {
        self.found = fields(self.lookup.by_netns(inode).first()?);
        Some(&self.found)
    }
}

fn fields(container: &Container) -> ContainerFields {
    let labels: Vec<String> = container.k8s.pod_labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
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
        k8s_pod_labels: labels.join(",").into(),
        k8s_owner_kind: Arc::clone(&container.k8s.owner_kind),
        k8s_owner_name: Arc::clone(&container.k8s.owner_name),
        host_network: container.host_network,
    }
}
