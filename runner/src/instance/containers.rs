//! Which containers a run shows: as they come and go, the kernel's filter map and the watched network namespaces
//! follow.

use std::{
    collections::HashSet,
    fs::File,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType};

use crate::{
    container::{Container, Selector, Watcher, host, namespace},
    ebpf::{self, PacketProgram, attach::UserProbe},
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
    pub(crate) packet_programs: Vec<PacketProgram>,
    pub(crate) user_probes: Vec<UserProbe>,
    /// The containers, by first process, whose network namespaces are watched on their account.
    pub(crate) watched: Mutex<HashSet<u32>>,
}

impl Follower {
    /// Watches this host's own network namespace, programs and libraries.
    pub(crate) fn watch_host(&self) -> Result<(), ebpf::Error> {
        let file = host::open_netns()?;
        self.watch_network(&file, |_| true)?;
        self.probe_here()
    }

    /// Watches the one interface that was named, if one was.
    pub(crate) fn watch_interface(&self) -> Result<(), ebpf::Error> {
        if !self.packet_programs.iter().any(PacketProgram::has_interface) {
            return Ok(());
        }
        let file = host::open_netns()?;
        self.watch_network(&file, PacketProgram::has_interface)
    }

    /// Shows one mount namespace, that of a command started in our own network namespace.
    pub(crate) fn watch_command(&self, mntns: u64) -> Result<(), ebpf::Error> {
        if let Some(map) = &self.filter_map {
            map.update(&mntns.to_ne_bytes(), &1u32.to_ne_bytes(), MapFlags::ANY)
                .map_err(|source| ebpf::Error::Map { what: format!("the map {FILTER_MAP}"), source })?;
        }
        self.watch_network(&namespace::open_netns(std::process::id())?, |_| true)?;
        self.probe_here()
    }

    fn watch_network(&self, file: &File, which: fn(&PacketProgram) -> bool) -> Result<(), ebpf::Error> {
        let netns = namespace::netns_of(file).map_err(|source| ebpf::Error::Socket { netns: 0, source })?;
        let mut programs = self.packet_programs.iter().filter(|program| which(program));
        programs.try_for_each(|program| program.attach(netns, file))
    }

    /// Attaches to this host's own programs and libraries.
    fn probe_here(&self) -> Result<(), ebpf::Error> {
        for probe in &self.user_probes {
            if !probe.attach(None)? {
                tracing::warn!(
                    "this host has no {}: nothing is seen of its own processes there",
                    probe.target()
                );
            }
        }
        Ok(())
    }

    /// Attaches to a container's programs and libraries.
    fn probe(&self, container: &Container) {
        for probe in &self.user_probes {
            match probe.attach(Some(container.pid)) {
                Ok(true) => {}
                Ok(false) => tracing::debug!("container {} has no {}", container.name, probe.target()),
                Err(error) => tracing::warn!("container {}: {error}", container.name),
            }
        }
    }

    /// Watches a container's network namespace with every program that may, or with none.
    fn watch(&self, container: &Container) -> Result<(), ebpf::Error> {
        let netns = container.netns;
        let programs: Vec<_> = self.of_containers().collect();
        // What is watched is alive, and so is its number.
        if programs.iter().all(|program| program.join(netns)) {
            return Ok(());
        }
        let socket = |source| ebpf::Error::Socket { netns, source };
        let file = namespace::open_netns(container.pid)?;
        if namespace::netns_of(&file).map_err(socket)? != netns {
            return Err(socket(io::Error::other("the container has ended")));
        }
        for (done, program) in programs.iter().enumerate() {
            if let Err(error) = program.attach(netns, &file) {
                programs[..done].iter().for_each(|program| program.detach(netns));
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

    /// The programs that see containers' packets.
    fn of_containers(&self) -> impl Iterator<Item = &PacketProgram> {
        self.packet_programs.iter().filter(|program| !program.has_interface())
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
        self.probe(container);
        if self.of_containers().next().is_none() {
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
        self.user_probes.iter().for_each(|probe| probe.detach(container.pid));
        // One that could not be watched must not take the namespace from others that share it.
        if self.watched().remove(&container.pid) {
            self.of_containers().for_each(|program| program.detach(container.netns));
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
