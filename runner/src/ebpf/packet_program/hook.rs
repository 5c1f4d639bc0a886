//! Where in a network namespace a program sees packets.

#![allow(
    unsafe_code,
    reason = "SO_ATTACH_BPF, binding a packet socket and attaching to interfaces have no safe wrapper"
)]

use std::{
    io,
    mem::size_of,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use nix::net::if_::{if_nameindex, if_nametoindex};

/// Where a program sees packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On a packet socket: all packets of the namespace.
    Socket,
    /// What interfaces receive.
    Ingress,
    /// What interfaces send.
    Egress,
}

/// What keeps a program attached.
pub(super) enum Hook {
    /// Until it is closed: a socket, or a link.
    Open { _descriptor: OwnedFd },
    /// Until it is removed: a filter of traffic control.
    Filter { interface: u32, place: Place, handle: u32, priority: u32 },
}

/// Attaches `program` in the calling thread's network namespace: to the interface that is named, or to all.
pub(super) fn attach(place: Place, interface: Option<&str>, program: &OwnedFd) -> io::Result<Vec<Hook>> {
    let program = program.as_fd();
    if place == Place::Socket {
        return Ok(vec![Hook::Open { _descriptor: packet_socket(program)? }]);
    }
    if let Some(name) = interface {
        let index =
            if_nametoindex(name).map_err(|error| io::Error::other(format!("interface {name}: {error}")))?;
        return Ok(vec![attach_to(index, place, program)?]);
    }
    let mut hooks: Vec<Hook> = Vec::new();
    for found in &if_nameindex()? {
        match attach_to(found.index(), place, program) {
            Ok(hook) => hooks.push(hook),
            Err(error) if is_there(found.index()) => {
                hooks.iter().for_each(Hook::remove);
                return Err(error);
            }
            // It went away meanwhile.
            Err(_) => {}
        }
    }
    Ok(hooks)
}

fn is_there(index: u32) -> bool {
    if_nameindex().is_ok_and(|all| all.iter().any(|found| found.index() == index))
}

/// Attaches to one interface: by a link, which goes with this process, or where the kernel has none (before Linux 6.6)
/// by a filter of traffic control.
fn attach_to(interface: u32, place: Place, program: BorrowedFd<'_>) -> io::Result<Hook> {
    let kind = if place == Place::Egress { libbpf_sys::BPF_TCX_EGRESS } else { libbpf_sys::BPF_TCX_INGRESS };
    let index = i32::try_from(interface).map_err(io::Error::other)?;
    // SAFETY: takes numbers only; without options there is nothing to point to.
    let link = unsafe { libbpf_sys::bpf_link_create(program.as_raw_fd(), index, kind, std::ptr::null()) };
    if link >= 0 {
        // SAFETY: the kernel has just made this descriptor and nobody else knows of it.
        return Ok(Hook::Open { _descriptor: unsafe { OwnedFd::from_raw_fd(link) } });
    }
    let error = io::Error::from_raw_os_error(-link);
    if error.raw_os_error() != Some(libc::EINVAL) {
        return Err(error);
    }
    add_filter(index, place, program)
}

fn hook_of(interface: i32, place: Place) -> libbpf_sys::bpf_tc_hook {
    libbpf_sys::bpf_tc_hook {
        sz: size_of::<libbpf_sys::bpf_tc_hook>() as libbpf_sys::size_t,
        ifindex: interface,
        attach_point: if place == Place::Egress {
            libbpf_sys::BPF_TC_EGRESS
        } else {
            libbpf_sys::BPF_TC_INGRESS
        },
        ..Default::default()
    }
}

fn add_filter(interface: i32, place: Place, program: BorrowedFd<'_>) -> io::Result<Hook> {
    let mut hook = hook_of(interface, place);
    // SAFETY: the hook lives through the call and says how large it is.
    let made = unsafe { libbpf_sys::bpf_tc_hook_create(&raw mut hook) };
    if made < 0 && made != -libc::EEXIST {
        return Err(io::Error::from_raw_os_error(-made));
    }
    let mut options = libbpf_sys::bpf_tc_opts {
        sz: size_of::<libbpf_sys::bpf_tc_opts>() as libbpf_sys::size_t,
        prog_fd: program.as_raw_fd(),
        ..Default::default()
    };
    // SAFETY: as above; what was chosen is written to the options.
    let result = unsafe { libbpf_sys::bpf_tc_attach(&raw const hook, &raw mut options) };
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    let interface = u32::try_from(interface).unwrap_or_default();
    Ok(Hook::Filter { interface, place, handle: options.handle, priority: options.priority })
}

impl Hook {
    /// Whether it stays until it is removed.
    pub(super) fn stays(&self) -> bool {
        matches!(self, Self::Filter { .. })
    }

    /// Removes it, in the namespace that it is in. The queueing discipline that it needed stays: another program may
    /// use it by now.
    pub(super) fn remove(&self) {
        let Self::Filter { interface, place, handle, priority } = *self else { return };
        let hook = hook_of(interface.cast_signed(), place);
        let options = libbpf_sys::bpf_tc_opts {
            sz: size_of::<libbpf_sys::bpf_tc_opts>() as libbpf_sys::size_t,
            handle,
            priority,
            ..Default::default()
        };
        // SAFETY: both live through the call and say how large they are. An interface that is gone took it along.
        unsafe { libbpf_sys::bpf_tc_detach(&raw const hook, &raw const options) };
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
