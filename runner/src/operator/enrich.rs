//! Which container and pod an event belongs to: the `k8s` and `runtime` fields.
//!
//! Events name a control group, a mount namespace or a network namespace; a [`ContainerLookup`] knows whose they are.
//! A process keeps its control group whatever namespaces it makes or enters, so that is asked first. A mount namespace
//! belongs to one container, but others may enter it. A network namespace may be shared with the host or with a whole
//! pod, so it is asked only when all else tells nothing. Which of them told is in the hidden field
//! `runtime.containerSource`.

use std::collections::HashMap;
use std::sync::Arc;

use crate::datasource::{Accessor, Annotations, DataSource, Event, FieldId, Row, Scalar, Slot};

use super::{Operator, Verdict, tagged};

/// What is known of a container. What is not known is empty.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)] // the fields of the data source, under their names there
pub struct ContainerFields {
    pub runtime_name: Arc<str>,
    pub container_id: Arc<str>,
    pub container_name: Arc<str>,
    pub image_name: Arc<str>,
    pub image_digest: Arc<str>,
    /// In the host's PID namespace.
    pub pid: u32,
    /// Nanoseconds since the Unix epoch.
    pub started_at: i64,
    pub k8s_namespace: Arc<str>,
    pub k8s_pod_name: Arc<str>,
    pub k8s_container_name: Arc<str>,
    /// `key=value` pairs, joined by commas.
    pub k8s_pod_labels: Arc<str>,
    pub k8s_owner_kind: Arc<str>,
    pub k8s_owner_name: Arc<str>,
    /// Whether it shares the host's network namespace.
    pub host_network: bool,
}

/// Finds containers by the numbers of their namespaces.
pub trait ContainerLookup: Send {
    /// A number that changes whenever an answer may have changed: a container came, went, or became better known.
    /// Asked for each event.
    fn generation(&self) -> u64;

    /// The container with this control group: the inode of its folder, and the number of its hierarchy in the highest
    /// 16 bits.
    fn by_cgroup(&mut self, id: u64) -> Option<&ContainerFields>;

    /// The container with this mount namespace.
    fn by_mntns(&mut self, inode: u64) -> Option<&ContainerFields>;

    /// The container that processes in `mntns` are in, which is no container's own mount namespace. `pid` is one of them.
    ///
    /// # Errors
    /// If that process has ended: another one has to be asked about.
    fn by_process(&mut self, pid: u32, mntns: u64) -> Result<Option<&ContainerFields>, Gone>;

    /// What all containers with this network namespace have in common, if that is anything.
    fn by_netns(&mut self, inode: u32) -> Option<&ContainerFields>;
}

/// The process has ended.
#[derive(Clone, Copy, Debug)]
pub struct Gone;

/// Knows no container.
pub struct NoContainers;

impl ContainerLookup for NoContainers {
    fn generation(&self) -> u64 {
        0
    }

    fn by_cgroup(&mut self, _: u64) -> Option<&ContainerFields> {
        None
    }

    fn by_mntns(&mut self, _: u64) -> Option<&ContainerFields> {
        None
    }

    fn by_process(&mut self, _: u32, _: u64) -> Result<Option<&ContainerFields>, Gone> {
        Ok(None)
    }

    fn by_netns(&mut self, _: u32) -> Option<&ContainerFields> {
        None
    }
}

/// Where events come from, and so which fields are worth a column.
#[derive(Clone, Debug)]
pub enum Place {
    /// A host: the `k8s` fields are hidden.
    Host,
    /// A Kubernetes node of this name: the `runtime` fields are hidden.
    Node(Arc<str>),
}

/// The operator that fills the `k8s` and `runtime` fields.
pub struct Enrich {
    cgroup: Option<Accessor>,
    mntns: Option<Accessor>,
    pid: Option<Accessor>,
    netns: Option<Accessor>,
    lookup: Box<dyn ContainerLookup>,
    fields: Fields,
    node: Option<Arc<str>>,
    last: Option<Key>,
    /// What the slots of an event with the last key are filled with.
    filling: Row,
    /// The same for other keys of the last one's generation.
    known: HashMap<Key, Row>,
}

/// How many fillings are kept.
const MAX_KNOWN: usize = 4096;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    generation: u64,
    cgroup: u64,
    mntns: u64,
    netns: u32,
}

impl Enrich {
    /// Adds the fields to a data source that tells a namespace; `None` for any other.
    pub fn attach(
        ds: &mut DataSource,
        place: &Place,
        lookup: Box<dyn ContainerLookup>,
    ) -> Option<Box<dyn Operator>> {
        let first = |tag| tagged(ds, tag).first().map(|&id| ds.accessor(id));
        let (mntns, netns) = (first("type:gadget_mntns_id"), first("type:gadget_netns_id"));
        let cgroup = first("type:igx_cgroup_id");
        let pid = first("type:gadget_pid").filter(|_| cgroup.is_none());
        if mntns.is_none() && netns.is_none() {
            return None;
        }
        let fields = Fields::add(ds, place);
        let node = match place {
            Place::Host => None,
            Place::Node(name) => Some(name.clone()),
        };
        let known = HashMap::new();
        Some(Box::new(Self {
            cgroup,
            mntns,
            pid,
            netns,
            lookup,
            fields,
            node,
            last: None,
            filling: [].into(),
            known,
        }))
    }

    /// Finds what to fill the slots with; whether that is so for all events with this key. `pid` is asked for only where
    /// the rest tells nothing, and what is found is that of its mount namespace.
    fn look_up(&mut self, key: Key, pid: u32) -> bool {
        if self.last.is_some_and(|last| last.generation != key.generation) || self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        if let Some(known) = self.known.get(&key) {
            self.filling = Arc::clone(known);
            return true;
        }
        let Self { lookup, fields, node, .. } = self;
        let mut filling: Vec<(usize, Slot)> = Vec::new();
        filling.extend(node.as_ref().map(|node| (fields.node, Slot::Shared(node.clone()))));
        let mut fill = |found: Option<&ContainerFields>, source| {
            found.map(|container| fields.fill(container, source, &mut filling)).is_some()
        };
        let mut is_known = true;
        let found = (key.cgroup != 0 && fill(lookup.by_cgroup(key.cgroup), CGROUP))
            || (key.mntns != 0 && fill(lookup.by_mntns(key.mntns), MNTNS));
        let found = found
            || (key.mntns != 0 && pid != 0) && {
                let told = lookup.by_process(pid, key.mntns);
                is_known = told.is_ok();
                fill(told.ok().flatten(), CGROUP)
            };
        if !found && key.netns != 0 {
            fill(lookup.by_netns(key.netns).filter(|c| !c.host_network), NETNS);
        }
        self.filling = filling.into();
        if is_known {
            self.known.insert(key, Arc::clone(&self.filling));
        }
        is_known
    }
}

impl Operator for Enrich {
    fn name(&self) -> &'static str {
        "enrich"
    }

    fn process(&mut self, event: &mut Event<'_>) -> Verdict {
        let key = Key {
            generation: self.lookup.generation(),
            cgroup: self.cgroup.map_or(0, |field| field.u64(event)),
            mntns: self.mntns.map_or(0, |field| field.u64(event)),
            netns: self.netns.map_or(0, |field| field.u64(event) as u32),
        };
        // Events come in runs of one container.
        if self.last != Some(key) {
            let pid = self.pid.map_or(0, |field| field.u64(event) as u32);
            let is_known = self.look_up(key, pid);
            self.last = Some(key).filter(|_| is_known);
        }
        event.slots.fill(&self.filling);
        Verdict::Pass
    }
}

/// The slots of the fields.
struct Fields {
    node: usize,
    namespace: usize,
    pod_name: usize,
    k8s_container_name: usize,
    host_network: usize,
    pod_labels: usize,
    owner_kind: usize,
    owner_name: usize,
    container_name: usize,
    runtime_name: usize,
    container_id: usize,
    pid: usize,
    image_name: usize,
    image_digest: usize,
    started_at: usize,
    source: usize,
}

impl Fields {
    /// Adds all fields, in the order of upstream's, which a client sees as their indices.
    fn add(ds: &mut DataSource, place: &Place) -> Self {
        let on_host = matches!(place, Place::Host);

        let mut k8s = Group::add(ds, None, "k8s", on_host, &["kubernetes"]);
        let node = k8s.text("node", -31, &[T_NODE]);
        let namespace = k8s.text("namespace", -30, &[T_NAMESPACE]);
        let pod_name = k8s.text("podName", -29, &[T_POD]);
        let k8s_container_name = k8s.text("containerName", -28, &[T_CONTAINER]);
        let host_network = k8s.field("hostnetwork", Scalar::Bool, -27, &[HIDDEN]);
        let pod_labels = k8s.text("podLabels", -26, &[HIDDEN]);
        let k8s = k8s.id;
        let mut owner = Group::add(ds, Some(k8s), "owner", on_host, &["kubernetes"]);
        let owner_kind = owner.text("kind", 0, &[HIDDEN]);
        let owner_name = owner.text("name", 0, &[HIDDEN]);

        let mut runtime = Group::add(ds, None, "runtime", !on_host, &[]);
        Self {
            node,
            namespace,
            pod_name,
            k8s_container_name,
            host_network,
            pod_labels,
            owner_kind,
            owner_name,
            container_name: runtime.text("containerName", -27, &[T_CONTAINER]),
            runtime_name: runtime.text("runtimeName", -26, &[WIDTH_19, FIXED, HIDDEN]),
            container_id: runtime.text("containerId", -25, &[WIDTH_13, MAX_64, HIDDEN]),
            pid: runtime.field("containerPid", Scalar::Uint32, -24, &[T_PID]),
            image_name: runtime.text("containerImageName", -23, &[HIDDEN]),
            image_digest: runtime.text("containerImageDigest", -22, &[HIDDEN]),
            started_at: runtime.field("containerStartedAt", Scalar::Int64, -21, &[HIDDEN]),
            // Upstream has no such field: last, so that its fields keep their places.
            source: runtime.text("containerSource", -20, &[HIDDEN, SKIPPED, SOURCE_HELP]),
        }
    }

    fn fill(&self, container: &ContainerFields, source: &'static str, filling: &mut Vec<(usize, Slot)>) {
        let texts = [
            (self.namespace, &container.k8s_namespace),
            (self.pod_name, &container.k8s_pod_name),
            (self.k8s_container_name, &container.k8s_container_name),
            (self.pod_labels, &container.k8s_pod_labels),
            (self.owner_kind, &container.k8s_owner_kind),
            (self.owner_name, &container.k8s_owner_name),
            (self.container_name, &container.container_name),
            (self.runtime_name, &container.runtime_name),
            (self.container_id, &container.container_id),
            (self.image_name, &container.image_name),
            (self.image_digest, &container.image_digest),
        ];
        // An empty text reads like an unset one, which costs nothing.
        let texts = texts.into_iter().filter(|(_, text)| !text.is_empty());
        filling.extend(texts.map(|(slot, text)| (slot, Slot::Shared(text.clone()))));
        filling.push((self.host_network, Slot::Bool(container.host_network)));
        filling.push((self.pid, Slot::Unsigned(u64::from(container.pid))));
        filling.push((self.started_at, Slot::Signed(container.started_at)));
        filling.push((self.source, Slot::Static(source)));
    }
}

/// What tells a container: the control group of the process; its mount namespace, for one that entered it or whose
/// group is not known; the network namespace that the event was seen in.
const CGROUP: &str = "cgroup";
const MNTNS: &str = "mntns";
const NETNS: &str = "netns";

type Annotation = (&'static str, &'static str);

const T_NODE: Annotation = ("template", "node");
const T_NAMESPACE: Annotation = ("template", "namespace");
const T_POD: Annotation = ("template", "pod");
const T_CONTAINER: Annotation = ("template", "container");
const T_PID: Annotation = ("template", "containerPid");
/// Hides the field, but is none of its annotations: clients see it as a flag.
const HIDDEN: Annotation = ("columns.hidden", "true");
/// Only by name, as upstream has no such field.
const SKIPPED: Annotation = ("json.skip", "true");
const SOURCE_HELP: Annotation = ("description", "How the container was found: cgroup, mntns or netns");
const FIXED: Annotation = ("columns.fixed", "true");
const WIDTH_13: Annotation = ("columns.width", "13");
const WIDTH_19: Annotation = ("columns.width", "19");
const MAX_64: Annotation = ("columns.maxwidth", "64");

/// A group of fields that are tagged alike and hidden together.
struct Group<'a> {
    ds: &'a mut DataSource,
    id: FieldId,
    hidden: bool,
    tags: &'static [&'static str],
}

impl<'a> Group<'a> {
    fn add(
        ds: &'a mut DataSource,
        parent: Option<FieldId>,
        name: &str,
        hidden: bool,
        tags: &'static [&'static str],
    ) -> Self {
        let id = ds.add_group(parent, name);
        let mut group = Self { ds, id, hidden, tags };
        group.describe(id, &[]);
        group
    }

    fn text(&mut self, name: &str, order: i32, annotations: &[Annotation]) -> usize {
        self.field(name, Scalar::String, order, annotations)
    }

    fn field(&mut self, name: &str, scalar: Scalar, order: i32, annotations: &[Annotation]) -> usize {
        let slot = self.ds.slots;
        let id = self.ds.add_slot_field(Some(self.id), name, scalar, order);
        self.describe(id, annotations);
        slot
    }

    fn describe(&mut self, id: FieldId, annotations: &[Annotation]) {
        let field = &mut self.ds.fields[id];
        let mut all = Annotations::default();
        for &(key, value) in annotations.iter().filter(|&&said| said != HIDDEN) {
            all.set(key, value);
            if key == "template" {
                all.expand(value);
            }
        }
        field.hidden = self.hidden || annotations.contains(&HIDDEN) || all.is_true("columns.hidden");
        if all != Annotations::default() {
            field.annotations = all;
        }
        field.tags = self.tags.iter().map(|&tag| tag.to_owned()).collect();
    }
}

#[cfg(test)]
#[path = "enrich_tests.rs"]
mod tests;
