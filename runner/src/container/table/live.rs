//! The running containers, found by what tells them apart without looking at each: a thousand may come at once.

use std::collections::HashMap;
use std::sync::Arc;

use super::Container;

/// Running containers, one a first process.
#[derive(Default)]
pub(super) struct Live {
    by_pid: HashMap<u32, Arc<Container>>,
    /// To first processes. No two have the same mount namespace.
    by_mntns: HashMap<u64, u32>,
    /// To first processes. Identifiers are unique only to each runtime.
    by_id: HashMap<Arc<str>, Vec<u32>>,
}

impl Live {
    /// Enters a container, in the place of one with the same first process.
    pub(super) fn insert(&mut self, container: Arc<Container>) {
        self.remove(container.pid);
        self.by_mntns.insert(container.mntns, container.pid);
        self.by_id.entry(Arc::clone(&container.id)).or_default().push(container.pid);
        self.by_pid.insert(container.pid, container);
    }

    /// Takes out the container with this first process.
    pub(super) fn remove(&mut self, pid: u32) -> Option<Arc<Container>> {
        let container = self.by_pid.remove(&pid)?;
        if self.by_mntns.get(&container.mntns) == Some(&pid) {
            self.by_mntns.remove(&container.mntns);
        }
        if let Some(pids) = self.by_id.get_mut(&container.id) {
            pids.retain(|known| *known != pid);
            if pids.is_empty() {
                self.by_id.remove(&container.id);
            }
        }
        Some(container)
    }

    pub(super) fn get(&self, pid: u32) -> Option<&Arc<Container>> {
        self.by_pid.get(&pid)
    }

    pub(super) fn with_mntns(&self, mntns: u64) -> Option<&Arc<Container>> {
        self.get(*self.by_mntns.get(&mntns)?)
    }

    pub(super) fn with_id(&self, id: &str) -> impl Iterator<Item = &Arc<Container>> {
        self.by_id.get(id).into_iter().flatten().filter_map(|&pid| self.get(pid))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Container>> {
        self.by_pid.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(pid: u32, mntns: u64, id: &str) -> Arc<Container> {
        Arc::new(Container { pid, mntns, id: id.into(), ..Container::default() })
    }

    fn pids<'a>(found: impl IntoIterator<Item = &'a Arc<Container>>) -> Vec<u32> {
        found.into_iter().map(|container| container.pid).collect()
    }

    #[test]
    fn each_way_leads_to_who_is_there_and_to_nobody_else() {
        let mut live = Live::default();
        for (pid, mntns, id) in [(1, 10, "a"), (2, 20, "b"), (3, 30, "a")] {
            live.insert(container(pid, mntns, id));
        }
        assert_eq!((pids(live.with_mntns(20)), pids(live.with_id("a"))), (vec![2], vec![1, 3]));
        // Another one with the first one's process.
        live.insert(container(1, 11, "c"));
        assert_eq!((pids(live.with_mntns(10)), pids(live.with_mntns(11))), (vec![], vec![1]));
        assert_eq!((pids(live.with_id("a")), pids(live.with_id("c"))), (vec![3], vec![1]));
        assert_eq!(live.remove(3).unwrap().mntns, 30);
        assert!(live.remove(3).is_none() && live.get(3).is_none());
        assert_eq!((pids(live.with_id("a")), pids(live.with_mntns(30))), (vec![], vec![]));
        assert_eq!(live.all().count(), 2);
    }
}
