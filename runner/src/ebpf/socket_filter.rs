//! Socket filters: a gadget's program sees every packet of the network namespaces it is attached to.
//!
//! In each namespace a raw packet socket carries a small dispatcher program, which notes the namespace and jumps to
//! the gadget's program through a program array that all dispatchers share. Nobody reads the sockets.

#![allow(unsafe_code, reason = "SO_ATTACH_BPF and binding a packet socket have no safe wrapper")]

use std::{
    collections::HashMap,
    fs::File,
    io,
    mem::size_of,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::Mutex,
};

use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType, ObjectBuilder};

use super::Error;
use crate::container::namespace;

/// The dispatcher's object.
pub(super) const DISPATCHER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dispatcher.bpf.o"));

/// One socket-filter program of a gadget, and the network namespaces that it watches.
pub struct SocketFilter {
    tail_call: MapHandle,
    networks: Mutex<HashMap<u32, Network>>,
}

struct Network {
    users: usize,
    // Dropping the socket detaches the dispatcher.
    _socket: OwnedFd,
}

impl SocketFilter {
    /// A filter that jumps to `program`, in no namespace yet.
    pub fn new(program: BorrowedFd<'_>) -> Result<Self, Error> {
        let map = |source| Error::Map { what: "the program array tail_call".into(), source };
        let options = libbpf_sys::bpf_map_create_opts {
            sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
            ..Default::default()
        };
        let tail_call =
            MapHandle::create(MapType::ProgArray, Some("tail_call"), 4, 4, 1, &options).map_err(map)?;
        let fd = program.as_raw_fd().to_ne_bytes();
        tail_call.update(&0u32.to_ne_bytes(), &fd, MapFlags::ANY).map_err(map)?;
        Ok(Self { tail_call, networks: Mutex::new(HashMap::new()) })
    }

    /// Watches the network namespace that `file` is, whose inode is `netns`. Each call needs its
    /// [`SocketFilter::detach`].
    pub fn attach(&self, netns: u32, file: &File) -> Result<(), Error> {
        let mut networks = self.networks.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(network) = networks.get_mut(&netns) {
            network.users += 1;
            return Ok(());
        }
        let dispatcher = self.load_dispatcher(netns)?;
        let program = dispatcher
            .progs()
            .next()
            .map(|p| p.as_fd().try_clone_to_owned())
            .ok_or_else(|| Error::NoMap("ig_net_disp".into()))?
            .map_err(|source| Error::Socket { netns, source })?;
        let socket = namespace::in_netns(file, || packet_socket(program.as_fd()))?
            .map_err(|source| Error::Socket { netns, source })?;
        networks.insert(netns, Network { users: 1, _socket: socket });
        Ok(())
    }

    /// Undoes one [`SocketFilter::attach`]; the last one stops watching.
    pub fn detach(&self, netns: u32) {
        let mut networks = self.networks.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(network) = networks.get_mut(&netns) {
            network.users -= 1;
            if network.users == 0 {
                networks.remove(&netns);
            }
        }
    }

    fn load_dispatcher(&self, netns: u32) -> Result<libbpf_rs::Object, Error> {
        let mut builder = ObjectBuilder::default();
        let mut open = builder.open_memory(DISPATCHER).map_err(|error| Error::Open { error })?;
        for mut map in open.maps_mut() {
            let name = map.name().to_string_lossy().into_owned();
            if name.ends_with(".rodata") {
                // current_netns is the only constant.
                if let Some(value) = map.initial_value_mut().and_then(|v| v.get_mut(..4)) {
                    value.copy_from_slice(&netns.to_ne_bytes());
                }
            } else if name == "tail_call" {
                map.reuse_fd(self.tail_call.as_fd()).map_err(|source| Error::Map { what: name, source })?;
            }
        }
        open.load().map_err(|error| Error::Load { error })
    }
}

/// A packet socket of the calling thread's network namespace that runs `program` on every packet.
fn packet_socket(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

    // Without a protocol the socket receives nothing until it is bound: no packet is queued before the filter stands.
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
    let fd = program.as_raw_fd();
    // SAFETY: the option's value is an int that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_BPF,
            (&raw const fd).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    nix::errno::Errno::result(result)?;
    // SAFETY: sockaddr_ll is plain data, for which all-zero is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: the address is a sockaddr_ll, and its length is passed.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    nix::errno::Errno::result(result)?;
    Ok(socket)
}
