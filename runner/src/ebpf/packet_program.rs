//! Programs that see packets: socket filters and traffic control, in the network namespaces that they are attached to.
//!
//! A small dispatcher program notes the namespace and jumps to the gadget's program through a program array. Where the
//! kernel lets a program find a packet's namespace, there is one dispatcher; otherwise each namespace has its own. A
//! socket filter's is on a raw packet socket that nobody reads; one of traffic control is on each interface.

mod dispatcher;
mod hook;
mod path;
mod visitor;

use std::{
    collections::HashMap,
    fs::File,
    mem::size_of,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType};

pub(super) use dispatcher::DISPATCHER;
pub use hook::Place;
pub use path::NetnsPath;

use self::{hook::Hook, visitor::Visitor};
use super::Error;

/// How many threads close sockets at the end.
const MAX_CLOSING: usize = 64;

/// One program of a gadget that sees packets, and the network namespaces that it watches.
pub struct PacketProgram {
    place: Place,
    /// The one interface of the host that is watched, if it was named: then no container is.
    interface: Option<String>,
    tail_call: MapHandle,
    /// The dispatcher for all namespaces, if the kernel lets one be.
    dispatcher: Option<Arc<OwnedFd>>,
    networks: Mutex<HashMap<u32, Network>>,
    visitor: Visitor,
}

/// How programs see packets.
#[derive(Clone, Copy, Debug, Default)]
pub struct PacketOptions<'a> {
    /// The way to a packet's namespace, if this kernel lets programs walk it.
    pub path: Option<&'a NetnsPath>,
    /// The only interface to watch; a socket filter sees all.
    pub interface: Option<&'a str>,
}

struct Network {
    users: usize,
    hooks: Vec<Hook>,
    /// To come back to.
    file: Arc<File>,
}

impl PacketProgram {
    /// Jumps to `program`, from no namespace yet.
    ///
    /// # Errors
    /// When the kernel gives neither map nor thread.
    pub fn new(program: BorrowedFd<'_>, place: Place, options: PacketOptions<'_>) -> Result<Self, Error> {
        let tail_call = program_array()?;
        let fd = program.as_raw_fd().to_ne_bytes();
        tail_call.update(&0u32.to_ne_bytes(), &fd, MapFlags::ANY).map_err(no_array)?;
        let dispatcher = options.path.and_then(|path| {
            let loaded = dispatcher::load_for_all(place, path, tail_call.as_fd());
            loaded
                .inspect_err(|error| tracing::debug!("each network has a dispatcher of its own: {error}"))
                .ok()
        });
        Ok(Self {
            place,
            interface: options.interface.filter(|_| place != Place::Socket).map(str::to_owned),
            tail_call,
            dispatcher: dispatcher.map(Arc::new),
            networks: Mutex::new(HashMap::new()),
            visitor: Visitor::start()?,
        })
    }

    /// Whether it watches one interface of the host, and nothing else.
    pub fn has_interface(&self) -> bool {
        self.interface.is_some()
    }

    /// Watches the network namespace that `file` is, whose inode is `netns`. Each call needs its
    /// [`PacketProgram::detach`].
    ///
    /// # Errors
    /// When the kernel lets nobody in, or knows no such program.
    pub fn attach(&self, netns: u32, file: &File) -> Result<(), Error> {
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(network) = networks.get_mut(&netns) {
            network.users += 1;
            return Ok(());
        }
        let failed = |source| Error::Socket { netns, source };
        let program = match &self.dispatcher {
            Some(program) => Arc::clone(program),
            None => Arc::new(dispatcher::load(self.place, netns, self.tail_call.as_fd()).map_err(failed)?),
        };
        let (place, interface) = (self.place, self.interface.clone());
        let file = Arc::new(file.try_clone().map_err(failed)?);
        let attach = move || hook::attach(place, interface.as_deref(), &program);
        let hooks = self.visitor.visit(Arc::clone(&file), attach).map_err(failed)?;
        networks.insert(netns, Network { users: 1, hooks, file });
        Ok(())
    }

    /// Does what [`PacketProgram::attach`] does for a namespace that is watched already; whether it is.
    pub fn join(&self, netns: u32) -> bool {
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        networks.get_mut(&netns).map(|network| network.users += 1).is_some()
    }

    /// Undoes one [`PacketProgram::attach`] or [`PacketProgram::join`]; the last one stops watching.
    pub fn detach(&self, netns: u32) {
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(network) = networks.get_mut(&netns) else { return };
        network.users -= 1;
        if network.users == 0
            && let Some(network) = networks.remove(&netns)
        {
            let open = self.leave(network);
            // Not here: who waits for a container that ends may be one that starts. Without a thread it is done here.
            let _ = thread::Builder::new().name("closing".to_owned()).spawn(move || drop(open));
        }
    }

    /// Removes what does not go by itself, and gives the rest.
    fn leave(&self, network: Network) -> Vec<Hook> {
        let (staying, open): (Vec<Hook>, _) = network.hooks.into_iter().partition(Hook::stays);
        if staying.is_empty() {
            return open;
        }
        let removed = self.visitor.visit(network.file, move || {
            staying.iter().for_each(Hook::remove);
            Ok(())
        });
        if let Err(error) = removed {
            tracing::warn!("a filter of traffic control stays behind: {error}");
        }
        open
    }
}

/// What dispatchers jump through.
fn program_array() -> Result<MapHandle, Error> {
    let options = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
        ..Default::default()
    };
    MapHandle::create(MapType::ProgArray, Some("tail_call"), 4, 4, 1, &options).map_err(no_array)
}

fn no_array(source: libbpf_rs::Error) -> Error {
    Error::Map { what: "the program array tail_call".into(), source }
}

/// Closes them side by side: for each packet socket the kernel waits until no processor can be using it any more,
/// which takes ten milliseconds or more but is the same wait for all.
fn close(mut open: Vec<Hook>) {
    let share = open.len().div_ceil(MAX_CLOSING);
    thread::scope(|scope| {
        while !open.is_empty() {
            let part = open.split_off(open.len().saturating_sub(share));
            let _ = thread::Builder::new().name("closing".to_owned()).spawn_scoped(scope, move || drop(part));
        }
    });
}

impl Drop for PacketProgram {
    fn drop(&mut self) {
        let networks = std::mem::take(self.networks.get_mut().unwrap_or_else(PoisonError::into_inner));
        close(networks.into_values().flat_map(|network| self.leave(network)).collect());
    }
}

#[cfg(test)]
mod tests;
