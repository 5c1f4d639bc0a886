//! Which containers a run shows: as they come and go, the kernel's filter map and the watched network namespaces
//! follow.

use std::{
    collections::HashSet,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType};

use crate::{
    container::{Container, Selector, Watcher, host, namespace},
    ebpf::{self, SocketFilter},
};

/// The map that gadgets look a mount namespace up in.
pub(crate) const FILTER_MAP: &str = "gadget_mntns_filter_map";

/// The map of all containers' control groups, and whether each is shown.
pub(crate) const CONTAINERS_MAP: &str = "igx_containers";

/// Containers shown at once.
const FILTER_ENTRIES: u32 = 4096;

/// Makes the map of shown mount namespaces.
pub(crate) fn filter_map() -> Result<MapHandle, ebpf::Error> {
    let options = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
        ..Default::default()
    };
    MapHandle::create(MapType::Hash, Some(FILTER_MAP), 8, 4, FILTER_ENTRIES, &options)
        .map_err(|source| ebpf::Error::Map { what: format!("the map {FILTER_MAP}"), source })
}

/// Follows the containers that a selector picks.
pub(crate) struct Follower {
    pub(crate) selector: Selector,
    pub(crate) filter_map: Option<MapHandle>,
    /// The map [`CONTAINERS_MAP`], if anybody asks it.
    pub(crate) containers: Option<MapHandle>,
    pub(crate) socket_filters: Vec<SocketFilter>,
    /// The containers, by first process, whose network namespaces are watched on their account.
    pub(crate) watched: Mutex<HashSet<u32>>,
}

impl Follower {
    /// Watches this host's own network namespace.
    pub(crate) fn watch_host(&self) -> Result<(), ebpf::Error> {
        let file = host::open_netns()?;
        let netns = namespace::netns_of(&file).map_err(|source| ebpf::Error::Socket { netns: 0, source })?;
        self.socket_filters.iter().try_for_each(|filter| filter.attach(netns, &file))
    }

    /// Shows one mount namespace, that of a command started in our own network namespace.
    pub(crate) fn watch_command(&self, mntns: u64) -> Result<(), ebpf::Error> {
        if let Some(map) = &self.filter_map {
            map.update(&mntns.to_ne_bytes(), &1u32.to_ne_bytes(), MapFlags::ANY)
                .map_err(|source| ebpf::Error::Map { what: format!("the map {FILTER_MAP}"), source })?;
        }
        let file = namespace::open_netns(std::process::id())?;
        let netns = namespace::netns_of(&file).map_err(|source| ebpf::Error::Socket { netns: 0, source })?;
        self.socket_filters.iter().try_for_each(|filter| filter.attach(netns, &file))
    }

    /// Watches a container's network namespace with every filter, or with none.
    fn watch(&self, container: &Container) -> Result<(), ebpf::Error> {
        let netns = container.netns;
        let socket = |source| ebpf::Error::Socket { netns, source };
        let file = namespace::open_netns(container.pid)?;
        if namespace::netns_of(&file).map_err(socket)? != netns {
            return Err(socket(io::Error::other("the container has ended")));
        }
        for (done, filter) in self.socket_filters.iter().enumerate() {
            if let Err(error) = filter.attach(netns, &file) {
                self.socket_filters[..done].iter().for_each(|filter| filter.detach(netns));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Says whether processes in the container's control group are shown.
    fn tell(&self, container: &Container, shown: bool) {
        let Some(map) = self.containers.as_ref().filter(|_| container.cgroup.key != 0) else { return };
        let (key, shown) = (container.cgroup.key.to_ne_bytes(), u32::from(shown).to_ne_bytes());
        if let Err(error) = map.update(&key, &shown, MapFlags::ANY) {
            tracing::warn!("container {}: known by its mount namespace only: {error}", container.name);
        }
    }

    fn watched(&self) -> MutexGuard<'_, HashSet<u32>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher for Follower {
    fn added(&self, container: &Arc<Container>) {
        let is_shown = self.selector.matches(container);
        self.tell(container, is_shown);
        if !is_shown {
            return;
        }
        if let Some(map) = &self.filter_map {
            let result = map.update(&container.mntns.to_ne_bytes(), &1u32.to_ne_bytes(), MapFlags::ANY);
            if let Err(error) = result {
                tracing::warn!("container {}: its events are not shown: {error}", container.name);
            }
        }
        if self.socket_filters.is_empty() {
            return;
        }
        match self.watch(container) {
            Ok(()) => {
                self.watched().insert(container.pid);
            }
            Err(error) => tracing::warn!("container {}: {error}", container.name),
        }
    }

    fn removed(&self, container: &Arc<Container>) {
        if let Some(map) = self.containers.as_ref().filter(|_| container.cgroup.key != 0) {
            // It is not there if there was no room for it.
            let _ = map.delete(&container.cgroup.key.to_ne_bytes());
        }
        if !self.selector.matches(container) {
            return;
        }
        if let Some(map) = &self.filter_map
            && let Err(error) = map.delete(&container.mntns.to_ne_bytes())
        {
            tracing::debug!("container {}: not in the filter map: {error}", container.name);
        }
        // One that could not be watched must not take the namespace from others that share it.
        if self.watched().remove(&container.pid) {
            self.socket_filters.iter().for_each(|filter| filter.detach(container.netns));
        }
    }

    /// Only a selection that decides otherwise than before is acted on: what is watched stays so without a gap.
    fn changed(&self, known: &Arc<Container>, container: &Arc<Container>) {
        match (self.selector.matches(known), self.selector.matches(container)) {
            (true, false) => {
                self.removed(known);
                self.tell(container, false);
            }
            (false, true) => self.added(container),
            _ => {}
        }
    }
}
