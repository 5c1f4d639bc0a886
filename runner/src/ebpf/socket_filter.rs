//! Socket filters: a gadget's program sees every packet of the network namespaces it is attached to.
//!
//! In each namespace a raw packet socket carries a small dispatcher program, which notes the namespace and jumps to
//! the gadget's program through a program array that all dispatchers share. Nobody reads the sockets.

#![allow(
    unsafe_code,
    reason = "loading instructions, SO_ATTACH_BPF and binding a packet socket have no safe wrapper"
)]

use std::{
    collections::HashMap,
    fs::File,
    io,
    mem::size_of,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    sync::{
        Mutex,
        mpsc::{Sender, channel},
    },
    thread,
};

use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType};
use nix::sched::{CloneFlags, setns};

use super::Error;
use crate::container::namespace;

/// The dispatcher as libbpf would load it. One is loaded for each namespace, and to have libbpf read and relocate an
/// object each time would take most of the time: [`load_dispatcher`] gives the kernel the same instructions.
pub(super) const DISPATCHER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/dispatcher.bpf.o"));

/// One socket-filter program of a gadget, and the network namespaces that it watches.
pub struct SocketFilter {
    tail_call: MapHandle,
    networks: Mutex<HashMap<u32, Network>>,
    visitor: Visitor,
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
        Ok(Self { tail_call, networks: Mutex::new(HashMap::new()), visitor: Visitor::start()? })
    }

    /// Watches the network namespace that `file` is, whose inode is `netns`. Each call needs its
    /// [`SocketFilter::detach`].
    pub fn attach(&self, netns: u32, file: &File) -> Result<(), Error> {
        let mut networks = self.networks.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(network) = networks.get_mut(&netns) {
            network.users += 1;
            return Ok(());
        }
        let program = load_dispatcher(netns, self.tail_call.as_fd())
            .map_err(|source| Error::Socket { netns, source })?;
        let socket =
            self.visitor.packet_socket(file, program).map_err(|source| Error::Socket { netns, source })?;
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
}

/// A thread that enters network namespaces and makes sockets there. One for all: a thread that ends inside another
/// namespace takes the kernel a hundred times as long as to enter it.
struct Visitor {
    visits: Sender<Visit>,
}

struct Visit {
    file: File,
    program: OwnedFd,
    socket: Sender<io::Result<OwnedFd>>,
}

impl Visitor {
    /// It ends when it is dropped.
    fn start() -> Result<Self, Error> {
        let (visits, inbox) = channel::<Visit>();
        let home = namespace::open_netns(std::process::id())?;
        thread::Builder::new()
            .name("netns".to_owned())
            .spawn(move || {
                while let Ok(visit) = inbox.recv() {
                    let made = enter(&visit.file).and_then(|()| packet_socket(visit.program.as_fd()));
                    // To stay would keep the namespace alive.
                    let returned = enter(&home);
                    let _ = visit.socket.send(returned.and(made));
                }
            })
            .map_err(namespace::Error::Thread)?;
        Ok(Self { visits })
    }

    fn packet_socket(&self, file: &File, program: OwnedFd) -> io::Result<OwnedFd> {
        let ended = || io::Error::other("the thread that enters namespaces has ended");
        let (socket, made) = channel();
        self.visits.send(Visit { file: file.try_clone()?, program, socket }).map_err(|_| ended())?;
        made.recv().map_err(|_| ended())?
    }
}

fn enter(netns: &File) -> io::Result<()> {
    Ok(setns(netns, CloneFlags::CLONE_NEWNET)?)
}

/// Loads `bpf/dispatcher.bpf.c` for the namespace `netns`, to jump through `tail_call`.
fn load_dispatcher(netns: u32, tail_call: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    use libbpf_sys::{BPF_ALU64, BPF_K, BPF_MOV, BPF_PSEUDO_MAP_FD, BPF_STX, BPF_W};
    use libbpf_sys::{BPF_CALL, BPF_DW, BPF_EXIT, BPF_FUNC_tail_call, BPF_IMM, BPF_JMP, BPF_LD, BPF_MEM};

    /// Offset of `cb` in `struct __sk_buff` of linux/bpf.h.
    const CB: i16 = 48;
    let set = |register, value: i32| instruction(BPF_ALU64 | BPF_MOV | BPF_K, register, 0, 0, value);
    let code = [
        set(2, netns.cast_signed()),
        // skb->cb[0] = netns; the context is in register 1, where the jump wants it.
        instruction(BPF_STX | BPF_MEM | BPF_W, 1, 2, CB, 0),
        instruction(BPF_LD | BPF_DW | BPF_IMM, 2, BPF_PSEUDO_MAP_FD as u8, 0, tail_call.as_raw_fd()),
        instruction(0, 0, 0, 0, 0),
        set(3, 0),
        instruction(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_tail_call as i32),
        // Nobody reads the socket: keep no packet.
        set(0, 0),
        instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
    ];
    // SAFETY: name, licence and code live through the call, and the code has the length that is given.
    let fd = unsafe {
        libbpf_sys::bpf_prog_load(
            libbpf_sys::BPF_PROG_TYPE_SOCKET_FILTER,
            c"ig_net_disp".as_ptr(),
            c"GPL".as_ptr(),
            code.as_ptr(),
            code.len() as libbpf_sys::size_t,
            std::ptr::null_mut(),
        )
    };
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(-fd));
    }
    // SAFETY: the kernel has just made this descriptor and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn instruction(code: u32, to: u8, from: u8, off: i16, imm: i32) -> libbpf_sys::bpf_insn {
    let mut instruction = libbpf_sys::bpf_insn { code: code as u8, off, imm, ..Default::default() };
    instruction.set_dst_reg(to);
    instruction.set_src_reg(from);
    instruction
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

#[cfg(test)]
mod tests;
