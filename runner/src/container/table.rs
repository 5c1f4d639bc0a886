//! The table of containers: written by those who find them, read once per event.
//!
//! Readers keep a [`Lookup`], a picture of the table that is replaced only when the table's epoch moves: an event
//! costs one atomic load and one hash look-up, and no lock. Watchers are called under one lock, so that whoever
//! subscribes is told of each container exactly once and in order.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::{Container, K8s, Watcher, cgroup, namespace};

mod live;
use live::Live;

/// How long an ended container is still found: its last events are read after its end.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// What is known, and who wants to know.
#[derive(Default)]
pub(super) struct Table {
    /// Containers of other runtimes are left out; none are where this is empty.
    runtimes: Vec<String>,
    state: RwLock<State>,
    epoch: AtomicU64,
    /// Held while watchers are called. Never taken with `state` held.
    watchers: Mutex<Vec<Arc<dyn Watcher>>>,
}

#[derive(Default)]
struct State {
    live: Live,
    /// Ended ones and when they ended, oldest first.
    gone: Vec<(Instant, Arc<Container>)>,
    /// Made when somebody asks: a thousand containers come one by one.
    view: Option<Arc<View>>,
}

/// The table by namespace, never changed once made.
#[derive(Default)]
struct View {
    by_mntns: HashMap<u64, Arc<Container>>,
    by_netns: HashMap<u32, Vec<Arc<Container>>>,
    by_cgroup: HashMap<u64, Arc<Container>>,
    /// By the path of the group that `by_cgroup` has.
    by_path: HashMap<Arc<str>, Arc<Container>>,
}

impl Table {
    /// An empty one, for the containers of these runtimes; `runc` stands for those that no daemon knows.
    pub(super) fn new(runtimes: &[String]) -> Self {
        let table = Self::default();
        Self { runtimes: runtimes.to_vec(), ..table }
    }

    /// Enters a container and tells the watchers; gives it back unless its process was known already.
    ///
    /// One with a mount namespace of the same number (numbers are soon used again), or with the same id if its own
    /// process is no more, has ended: watchers are told first that it is removed. What is told of a known one is added
    /// to what is known.
    pub(super) fn add(&self, container: Container) -> Option<Arc<Container>> {
        if !self.is_wanted(&container) {
            return None;
        }
        let watchers = lock(&self.watchers);
        let mut state = self.write();
        if let Some(known) = state.live.get(container.pid).filter(|known| known.is_same_process(&container)) {
            let known = Arc::clone(known);
            let merged = Arc::new(merge(&known, container));
            if merged != known {
                state.live.insert(Arc::clone(&merged));
                self.publish(&mut state);
                drop(state);
                watchers.iter().for_each(|watcher| watcher.changed(&known, &merged));
            }
            return None;
        }
        let container = Arc::new(container);
        let replaced = state.replaced_by(&container);
        for known in &replaced {
            state.live.remove(known.pid);
            state.gone.push((Instant::now(), Arc::clone(known)));
        }
        state.live.insert(Arc::clone(&container));
        self.publish(&mut state);
        drop(state);
        for known in &replaced {
            watchers.iter().for_each(|watcher| watcher.removed(known));
        }
        watchers.iter().for_each(|watcher| watcher.added(&container));
        Some(container)
    }

    fn is_wanted(&self, container: &Container) -> bool {
        let runtime = if is_daemons(&container.runtime) { &*container.runtime } else { "runc" };
        self.runtimes.is_empty() || self.runtimes.iter().any(|wanted| wanted == runtime)
    }

    /// Takes out the container `id` whose first process was `pid`, and tells the watchers.
    pub(super) fn remove(&self, id: &str, pid: u32) {
        let watchers = lock(&self.watchers);
        let container = {
            let mut state = self.write();
            if state.live.get(pid).is_none_or(|known| &*known.id != id) {
                return;
            }
            let Some(container) = state.live.remove(pid) else { return };
            state.gone.push((Instant::now(), Arc::clone(&container)));
            self.publish(&mut state);
            container
        };
        watchers.iter().for_each(|watcher| watcher.removed(&container));
    }

    /// Forgets the ones that ended [`GRACE`] before `now`; says when the next is due.
    pub(super) fn purge(&self, now: Instant) -> Option<Instant> {
        let mut state = self.write();
        let before = state.gone.len();
        state.gone.retain(|(ended, _)| now.saturating_duration_since(*ended) < GRACE);
        if state.gone.len() != before {
            self.publish(&mut state);
        }
        state.gone.first().map(|(ended, _)| *ended + GRACE)
    }

    /// Tells `watcher` of all there are, and from now on of each change.
    pub(super) fn subscribe(&self, watcher: Arc<dyn Watcher>) {
        let mut watchers = lock(&self.watchers);
        self.list().iter().for_each(|container| watcher.added(container));
        watchers.push(watcher);
    }

    /// The running ones, by name.
    pub(super) fn list(&self) -> Vec<Arc<Container>> {
        let mut all: Vec<_> = self.read(|state| state.live.all().cloned().collect());
        all.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        all
    }

    /// The running containers `id`: more than one if several of containerd's namespaces have it.
    pub(super) fn with_id(&self, id: &str) -> Vec<Arc<Container>> {
        self.read(|state| state.live.with_id(id).cloned().collect())
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    fn view(&self) -> Arc<View> {
        if let Some(view) = self.read(|state| state.view.clone()) {
            return view;
        }
        let mut state = self.write();
        let view = state.view.take().unwrap_or_else(|| Arc::new(View::of(&state)));
        state.view = Some(Arc::clone(&view));
        view
    }

    /// Has the view made anew, under the state's lock so that epochs and views move together.
    fn publish(&self, state: &mut State) {
        state.view = None;
        self.epoch.fetch_add(1, Ordering::Release);
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Those that have ended if `container` is there now.
    fn replaced_by(&self, container: &Container) -> Vec<Arc<Container>> {
        let is_gone = |known: &&Arc<Container>| {
            namespace::mntns(known.pid).ok().is_none_or(|mntns| mntns != known.mntns)
        };
        let of_process = self.live.get(container.pid);
        let of_namespace = self.live.with_mntns(container.mntns).filter(|known| known.pid != container.pid);
        let of_id = self
            .live
            .with_id(&container.id)
            .filter(|known| known.pid != container.pid && known.mntns != container.mntns);
        of_process.into_iter().chain(of_namespace).chain(of_id.filter(is_gone)).cloned().collect()
    }
}

impl View {
    fn of(state: &State) -> Self {
        let mut view = Self::default();
        for container in state.gone.iter().map(|(_, container)| container).chain(state.live.all()) {
            view.by_mntns.insert(container.mntns, Arc::clone(container));
            if container.cgroup.key != 0 {
                view.by_cgroup.insert(container.cgroup.key, Arc::clone(container));
                view.by_path.insert(Arc::clone(&container.cgroup.own), Arc::clone(container));
            }
        }
        for container in state.live.all() {
            if !container.host_network {
                view.by_netns.entry(container.netns).or_default().push(Arc::clone(container));
            }
        }
        for sharing in view.by_netns.values_mut() {
            sharing.sort_by(|a, b| (a.started_at, &a.id).cmp(&(b.started_at, &b.id)));
        }
        for (_, container) in state.gone.iter().rev().filter(|(_, container)| !container.host_network) {
            view.by_netns.entry(container.netns).or_insert_with(|| vec![Arc::clone(container)]);
        }
        view
    }
}

/// A reader's own picture of the table, brought up to date when the table has changed. For one thread.
pub struct Lookup {
    table: Arc<Table>,
    epoch: u64,
    view: Arc<View>,
}

impl Lookup {
    pub(super) fn new(table: Arc<Table>) -> Self {
        let epoch = table.epoch();
        let view = table.view();
        Self { table, epoch, view }
    }

    /// The container whose mount namespace has this inode; one that ended is found for two more seconds.
    pub fn by_mntns(&mut self, mntns: u64) -> Option<&Arc<Container>> {
        self.refresh();
        self.view.by_mntns.get(&mntns)
    }

    /// The containers whose network namespace has this inode and is not the host's, longest running first.
    pub fn by_netns(&mut self, netns: u32) -> &[Arc<Container>] {
        self.refresh();
        self.view.by_netns.get(&netns).map_or(&[], Vec::as_slice)
    }

    /// The container whose own control group has this [`Cgroup::key`](super::Cgroup::key), under the same terms.
    pub fn by_cgroup(&mut self, key: u64) -> Option<&Arc<Container>> {
        self.refresh();
        self.view.by_cgroup.get(&key)
    }

    /// The container in whose control groups process `pid` is, or in groups made within. Reads a file.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn by_process(&mut self, pid: u32) -> io::Result<Option<&Arc<Container>>> {
        self.refresh();
        let text = cgroup::text_of(pid)?;
        let ancestors = cgroup::paths_of(&text).flat_map(|path| Path::new(path).ancestors());
        let mut found = ancestors.filter_map(|path| self.view.by_path.get(path.to_str()?));
        Ok(found.next())
    }

    /// Moves whenever an answer may have changed.
    pub fn epoch(&self) -> u64 {
        self.table.epoch()
    }

    fn refresh(&mut self) {
        // The epoch is read first: a view that is newer than its epoch is only fetched once more.
        let epoch = self.table.epoch();
        if epoch != self.epoch {
            self.view = self.table.view();
            self.epoch = epoch;
        }
    }
}

impl Container {
    fn is_same_process(&self, other: &Self) -> bool {
        self.pid == other.pid && self.mntns == other.mntns && self.id == other.id
    }
}

/// Whether the name is that of a daemon, which knows more of a container than who only runs it.
fn is_daemons(runtime: &str) -> bool {
    !matches!(runtime, "" | "unknown" | "runc" | "crun")
}

/// What is known of a container, with what is told of it now. Who only runs it cannot say more than a daemon; and a
/// name that is only the identifier is none.
fn merge(known: &Container, told: Container) -> Container {
    let is_better = is_daemons(&told.runtime) || !is_daemons(&known.runtime);
    let text = |known: &Arc<str>, told: Arc<str>| {
        if told.is_empty() || !(is_better || known.is_empty()) { Arc::clone(known) } else { told }
    };
    let labels = |known: &BTreeMap<String, String>, told: BTreeMap<String, String>| {
        if told.is_empty() { known.clone() } else { told }
    };
    let is_nameless = told.name == told.id || (!is_better && known.name != known.id);
    Container {
        name: if is_nameless { Arc::clone(&known.name) } else { told.name },
        runtime: if is_better && &*told.runtime != "unknown" {
            told.runtime
        } else {
            Arc::clone(&known.runtime)
        },
        image_name: text(&known.image_name, told.image_name),
        image_id: text(&known.image_id, told.image_id),
        image_digest: text(&known.image_digest, told.image_digest),
        labels: labels(&known.labels, told.labels),
        sandbox_id: text(&known.sandbox_id, told.sandbox_id),
        bundle: text(&known.bundle, told.bundle),
        k8s: K8s {
            namespace: text(&known.k8s.namespace, told.k8s.namespace),
            pod_name: text(&known.k8s.pod_name, told.k8s.pod_name),
            pod_labels: labels(&known.k8s.pod_labels, told.k8s.pod_labels),
            container_name: text(&known.k8s.container_name, told.k8s.container_name),
            pod_uid: text(&known.k8s.pod_uid, told.k8s.pod_uid),
            owner_kind: text(&known.k8s.owner_kind, told.k8s.owner_kind),
            owner_name: text(&known.k8s.owner_name, told.k8s.owner_name),
        },
        ..known.clone()
    }
}

/// A watcher that panicked has done no harm to the list itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
