//! The table of containers: written by those who find them, read once per event.
//!
//! Readers keep a [`Lookup`], a picture of the table that is replaced only when the table's epoch moves: an event
//! costs one atomic load and one hash look-up, and no lock. Watchers are called under one lock, so that whoever
//! subscribes is told of each container exactly once and in order.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::{Container, Watcher};

/// How long an ended container is still found: its last events are read after its end.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// What is known, and who wants to know.
#[derive(Default)]
pub(super) struct Table {
    state: RwLock<State>,
    epoch: AtomicU64,
    /// Held while watchers are called. Never taken with `state` held.
    watchers: Mutex<Vec<Arc<dyn Watcher>>>,
}

#[derive(Default)]
struct State {
    live: HashMap<Arc<str>, Arc<Container>>,
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
}

impl Table {
    /// Enters a container and tells the watchers; gives it back unless it was known already.
    ///
    /// One with the same id, or with a mount namespace of the same number (numbers are soon used again), has ended or
    /// got another name: watchers are told first that it is removed.
    pub(super) fn add(&self, container: Container) -> Option<Arc<Container>> {
        let watchers = lock(&self.watchers);
        let container = Arc::new(container);
        let replaced = {
            let mut state = self.write();
            if state.live.get(&container.id).is_some_and(|known| says_as_much(known, &container)) {
                return None;
            }
            let old: Vec<_> = state
                .live
                .values()
                .filter(|known| known.id == container.id || known.mntns == container.mntns)
                .cloned()
                .collect();
            for known in &old {
                state.live.remove(&known.id);
                if known.pid != container.pid {
                    state.gone.push((Instant::now(), Arc::clone(known)));
                }
            }
            state.live.insert(Arc::clone(&container.id), Arc::clone(&container));
            self.publish(&mut state);
            old
        };
        for known in &replaced {
            watchers.iter().for_each(|watcher| watcher.removed(known));
        }
        watchers.iter().for_each(|watcher| watcher.added(&container));
        Some(container)
    }

    /// Takes out the container `id` whose first process was `pid`, and tells the watchers.
    pub(super) fn remove(&self, id: &str, pid: u32) {
        let watchers = lock(&self.watchers);
        let container = {
            let mut state = self.write();
            if state.live.get(id).is_none_or(|known| known.pid != pid) {
                return;
            }
            let Some(container) = state.live.remove(id) else { return };
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
        let mut all: Vec<_> = self.read(|state| state.live.values().cloned().collect());
        all.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        all
    }

    /// The running container `id`.
    pub(super) fn get(&self, id: &str) -> Option<Arc<Container>> {
        self.read(|state| state.live.get(id).cloned())
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

impl View {
    fn of(state: &State) -> Self {
        let mut view = Self::default();
        for (_, container) in &state.gone {
            view.by_mntns.insert(container.mntns, Arc::clone(container));
        }
        for container in state.live.values() {
            view.by_mntns.insert(container.mntns, Arc::clone(container));
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

/// Whether `known` tells all that `other` does: the same process, and no name where `known` has none.
fn says_as_much(known: &Container, other: &Container) -> bool {
    known.pid == other.pid
        && known.mntns == other.mntns
        && (known.name == other.name || other.name == other.id)
        && (known.runtime == other.runtime || other.name == other.id)
}

/// A watcher that panicked has done no harm to the list itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::tests::paper;
    use super::*;

    #[derive(Default)]
    struct Diary(Mutex<Vec<String>>);

    impl Diary {
        fn entries(&self) -> Vec<String> {
            std::mem::take(&mut lock(&self.0))
        }
    }

    impl Watcher for Diary {
        fn added(&self, container: &Arc<Container>) {
            lock(&self.0).push(format!("+{}", container.id));
        }

        fn removed(&self, container: &Arc<Container>) {
            lock(&self.0).push(format!("-{}", container.id));
        }
    }

    #[test]
    fn a_watcher_is_told_once_of_each() {
        let (table, diary) = (Table::default(), Arc::new(Diary::default()));
        table.add(paper("a", 1, 10));
        table.subscribe(Arc::clone(&diary) as Arc<dyn Watcher>);
        assert_eq!(diary.entries(), ["+a"]);
        assert!(table.add(paper("a", 1, 10)).is_none());
        assert_eq!(diary.entries(), [""; 0]);
        table.remove("a", 2);
        assert_eq!(diary.entries(), [""; 0], "another process ended");
        table.remove("a", 1);
        assert_eq!(diary.entries(), ["-a"]);
    }

    #[test]
    fn a_name_learned_late_replaces_an_id() {
        let table = Table::default();
        let nameless = Container { name: "a".into(), ..paper("a", 1, 10) };
        table.add(nameless.clone());
        assert!(table.add(paper("a", 1, 10)).is_some());
        assert!(table.add(nameless).is_none());
        assert_eq!(&*table.list()[0].name, "name-a");
    }

    #[test]
    fn a_reused_inode_is_the_new_containers() {
        let (table, diary) = (Arc::new(Table::default()), Arc::new(Diary::default()));
        table.subscribe(Arc::clone(&diary) as Arc<dyn Watcher>);
        let mut lookup = Lookup::new(Arc::clone(&table));
        table.add(paper("old", 1, 10));
        assert_eq!(lookup.by_mntns(10).map(|found| &*found.id), Some("old"));
        table.add(paper("new", 2, 10));
        // Removed first: whoever keeps inodes must not lose the new one's.
        assert_eq!(diary.entries(), ["+old", "-old", "+new"]);
        table.remove("old", 1);
        assert_eq!(diary.entries(), [""; 0]);
        assert_eq!(lookup.by_mntns(10).map(|found| &*found.id), Some("new"));
    }

    #[test]
    fn an_ended_one_is_found_for_its_grace() {
        let table = Arc::new(Table::default());
        let mut lookup = Lookup::new(Arc::clone(&table));
        table.add(paper("a", 1, 10));
        table.remove("a", 1);
        assert!(table.list().is_empty());
        assert!(lookup.by_mntns(10).is_some() && lookup.by_netns(1).len() == 1);
        let due = table.purge(Instant::now()).unwrap();
        assert!(lookup.by_mntns(10).is_some());
        assert_eq!(table.purge(due), None);
        assert!(lookup.by_mntns(10).is_none() && lookup.by_netns(1).is_empty());
    }

    #[test]
    fn a_thousand_containers_are_entered_in_a_moment() {
        let table = Arc::new(Table::default());
        let began = Instant::now();
        (1..=1000).for_each(|n| drop(table.add(paper(&format!("c{n}"), n, u64::from(n)))));
        let mut lookup = Lookup::new(Arc::clone(&table));
        assert!((1..=1000).all(|n| lookup.by_mntns(n).is_some()));
        println!("1000 containers: {:?}", began.elapsed());
        // Some 20 ms without optimisation; a view for each would take a hundred times as long.
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[test]
    fn the_hosts_network_belongs_to_no_container() {
        let table = Arc::new(Table::default());
        table.add(Container { host_network: true, ..paper("a", 1, 10) });
        assert!(Lookup::new(table).by_netns(1).is_empty());
    }
}
