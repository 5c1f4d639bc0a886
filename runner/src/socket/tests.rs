//! Real sockets against the real kernel: these need root.
#![allow(unsafe_code, reason = "sockets in states that the standard library does not offer")]

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsRawFd as _, FromRawFd as _},
    process::{Command, Stdio},
    sync::LazyLock,
    time::Instant,
};

use libbpf_rs::{MapCore as _, MapFlags};
use nix::sched::{CloneFlags, unshare};

use super::*;

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const V4: u16 = 2;
const V6: u16 = 10;

/// What a value begins with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Owner {
    mntns: u64,
    pub(super) pid: u32,
    tid: u32,
    uid: u32,
    gid: u32,
    comm: String,
    parent_comm: String,
    pub(super) deleted: u64,
    parent_pid: u32,
    ipv6only: bool,
}

impl SocketOwner {
    pub(super) fn value(&self, netns: u32, family: u16, proto: u8, port: u16) -> Option<Vec<u8>> {
        let mut key = [0; 12];
        key[..4].copy_from_slice(&netns.to_ne_bytes());
        key[4..6].copy_from_slice(&family.to_ne_bytes());
        key[6] = proto;
        key[8..10].copy_from_slice(&port.to_ne_bytes());
        let value = self.maps.sockets.lookup(&key, MapFlags::ANY).unwrap()?;
        assert_eq!(value.len(), self.value_size() as usize);
        Some(value)
    }

    pub(super) fn owner(&self, netns: u32, family: u16, proto: u8, port: u16) -> Option<Owner> {
        let value = self.value(netns, family, proto, port)?;
        let word = |at: usize| u64::from_ne_bytes(value[at..at + 8].try_into().unwrap());
        let half = |at: usize| u32::from_ne_bytes(value[at..at + 4].try_into().unwrap());
        let text = |at: usize| {
            // What is behind the end is anything.
            let name = value[at..at + 16].split(|byte| *byte == 0).next().unwrap();
            String::from_utf8_lossy(name).into_owned()
        };
        Some(Owner {
            mntns: word(0),
            pid: (word(8) >> 32) as u32,
            tid: word(8) as u32,
            uid: word(16) as u32,
            gid: (word(16) >> 32) as u32,
            comm: text(24),
            parent_comm: text(40),
            deleted: word(64),
            parent_pid: half(72),
            ipv6only: value[80] != 0,
        })
    }

    /// Asserts that this thread is the owner.
    #[track_caller]
    pub(super) fn assert_mine(&self, netns: u32, family: u16, proto: u8, port: u16) -> Owner {
        let owner = self.owner(netns, family, proto, port);
        let owner = owner.unwrap_or_else(|| panic!("no owner of {family}/{proto}/{port}"));
        assert_eq!(owner, Owner { deleted: 0, ipv6only: owner.ipv6only, ..me() });
        owner
    }
}

fn me() -> Owner {
    let comm = |path: String| fs::read_to_string(path).unwrap().trim_end().to_owned();
    let parent = nix::unistd::getppid();
    Owner {
        mntns: inode("mnt").into(),
        pid: std::process::id(),
        tid: nix::unistd::gettid().as_raw() as u32,
        uid: 0,
        gid: 0,
        comm: comm("/proc/thread-self/comm".to_owned()),
        parent_comm: comm(format!("/proc/{parent}/comm")),
        deleted: 0,
        parent_pid: parent.as_raw() as u32,
        ipv6only: false,
    }
}

/// The inode number of a namespace of this thread.
fn inode(kind: &str) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(format!("/proc/thread-self/ns/{kind}")).unwrap().ino() as u32
}

pub(super) fn netns() -> u32 {
    inode("net")
}

/// One for the tests that need nothing special of it.
fn shared() -> &'static SocketOwner {
    static SHARED: LazyLock<SocketOwner> = LazyLock::new(|| {
        let owner = SocketOwner::start(Options::default()).unwrap();
        assert_eq!(owner.notes(), [""; 0]);
        owner
    });
    &SHARED
}

/// Waits for something that another process or the kernel does in its own time.
#[track_caller]
fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if let Some(found) = found() {
            return found;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("{what}: not within 20 s")
}

/// A socket of its own kind, where the standard library does too much at once.
pub(super) fn raw_socket(family: u16, kind: libc::c_int) -> std::os::fd::OwnedFd {
    // SAFETY: takes no pointers; the descriptor is checked and is nobody else's.
    unsafe {
        let fd = libc::socket(family.into(), kind | libc::SOCK_CLOEXEC, 0);
        assert!(fd >= 0);
        std::os::fd::OwnedFd::from_raw_fd(fd)
    }
}

fn boot_time() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).unwrap();
    Duration::from(now).as_nanos() as u64
}

#[test]
fn tcp_server_and_client_have_owners() {
    let live = shared();
    for (address, family) in [("127.0.0.1:0", V4), ("[::1]:0", V6)] {
        let server = TcpListener::bind(address).unwrap();
        let port = server.local_addr().unwrap().port();
        live.assert_mine(netns(), family, TCP, port);
        let client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
        live.assert_mine(netns(), family, TCP, client.local_addr().unwrap().port());
    }
}

#[test]
fn a_refused_client_has_an_owner_too() {
    let live = shared();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = raw_socket(V4, libc::SOCK_STREAM);
    let address = nix::sys::socket::SockaddrIn::new(127, 0, 0, 1, free.port());
    nix::sys::socket::connect(client.as_raw_fd(), &address).unwrap_err();
    // The failed connection gave the port back; its entry is found by the owner alone.
    let mine = live.maps.sockets.keys().any(|key| {
        let value = live.maps.sockets.lookup(&key, MapFlags::ANY).unwrap().unwrap_or_default();
        key[6] == TCP && value.get(8..12) == Some(&(nix::unistd::gettid().as_raw() as u32).to_ne_bytes()[..])
    });
    assert!(mine);
}

#[test]
fn a_listener_that_never_bound_has_an_owner() {
    let live = shared();
    let fd = raw_socket(V4, libc::SOCK_STREAM);
    nix::sys::socket::listen(&fd, nix::sys::socket::Backlog::new(1).unwrap()).unwrap();
    let server = TcpListener::from(fd);
    live.assert_mine(netns(), V4, TCP, server.local_addr().unwrap().port());
}

#[test]
fn mapped_addresses_are_under_the_family_of_the_socket() {
    let live = shared();
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    let server = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    let port = server.local_addr().unwrap().port();
    let owner = live.assert_mine(netns(), V6, TCP, port);
    assert!(!owner.ipv6only);
    let client = TcpStream::connect(SocketAddr::from((mapped, port))).unwrap();
    live.assert_mine(netns(), V6, TCP, client.local_addr().unwrap().port());

    let udp = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    udp.send_to(b"x", (mapped, port)).unwrap();
    live.assert_mine(netns(), V6, UDP, udp.local_addr().unwrap().port());
}

#[test]
fn ipv6only_is_known() {
    let live = shared();
    let fd = raw_socket(V6, libc::SOCK_STREAM);
    nix::sys::socket::setsockopt(&fd, nix::sys::socket::sockopt::Ipv6V6Only, &true).unwrap();
    let any =
        nix::sys::socket::SockaddrIn6::from(std::net::SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0));
    nix::sys::socket::bind(fd.as_raw_fd(), &any).unwrap();
    let port = TcpListener::from(fd.try_clone().unwrap()).local_addr().unwrap().port();
    assert!(live.assert_mine(netns(), V6, TCP, port).ipv6only);
}

#[test]
fn udp_has_an_owner_once_bound_sent_to_or_connected_and_sent_from() {
    let live = shared();
    for (any, family) in
        [(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), V4), (SocketAddr::from((Ipv6Addr::LOCALHOST, 0)), V6)]
    {
        let server = UdpSocket::bind(any).unwrap();
        let to = server.local_addr().unwrap();
        live.assert_mine(netns(), family, UDP, to.port());

        let unconnected = UdpSocket::from(raw_socket(family, libc::SOCK_DGRAM));
        unconnected.send_to(b"x", to).unwrap();
        live.assert_mine(netns(), family, UDP, unconnected.local_addr().unwrap().port());

        let connected = UdpSocket::from(raw_socket(family, libc::SOCK_DGRAM));
        connected.connect(to).unwrap();
        connected.send(b"x").unwrap();
        live.assert_mine(netns(), family, UDP, connected.local_addr().unwrap().port());
    }
}

#[test]
fn a_udp_socket_that_changes_its_port_leaves_the_old_one() {
    let live = shared();
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = nix::sys::socket::SockaddrIn::from(match server.local_addr().unwrap() {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(_) => unreachable!(),
    });
    let client = UdpSocket::from(raw_socket(V4, libc::SOCK_DGRAM));
    let reconnect = || {
        // SAFETY: the address is read within its length.
        unsafe {
            let nowhere = libc::sockaddr { sa_family: libc::AF_UNSPEC as u16, sa_data: [0; 14] };
            assert_eq!(libc::connect(client.as_raw_fd(), &nowhere, size_of_val(&nowhere) as u32), 0);
        }
        nix::sys::socket::connect(client.as_raw_fd(), &to).unwrap();
        client.send(b"x").unwrap();
        client.local_addr().unwrap().port()
    };
    let first = reconnect();
    // The kernel chooses at random, and may choose the same.
    let second = std::iter::repeat_with(reconnect).find(|port| *port != first).unwrap();
    live.assert_mine(netns(), V4, UDP, second);
    assert_ne!(live.owner(netns(), V4, UDP, first).unwrap().deleted, 0);
}

#[test]
fn the_owner_is_who_uses_the_socket_last() {
    let live = shared();
    let socket = UdpSocket::from(raw_socket(V4, libc::SOCK_DGRAM));
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = server.local_addr().unwrap();
    socket.send_to(b"x", to).unwrap();
    let port = socket.local_addr().unwrap().port();
    live.assert_mine(netns(), V4, UDP, port);
    let (socket, tid) = std::thread::spawn(move || {
        socket.send_to(b"x", to).unwrap();
        (socket, live.assert_mine(netns(), V4, UDP, port).tid)
    })
    .join()
    .unwrap();
    assert_ne!(tid, nix::unistd::gettid().as_raw() as u32);
    // The same thread under another name, as after an exec.
    std::thread::spawn(move || {
        socket.send_to(b"x", to).unwrap();
        fs::write("/proc/thread-self/comm", "renamed").unwrap();
        socket.send_to(b"x", to).unwrap();
        assert_eq!(live.assert_mine(netns(), V4, UDP, port).comm, "renamed");
    })
    .join()
    .unwrap();
}

#[test]
fn an_accepted_connection_resolves_to_the_listener_even_after_it_is_closed() {
    let live = shared();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let _client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
    drop(server.accept().unwrap());
    live.assert_mine(netns(), V4, TCP, port);
}

/// Runs `program` and gives it back with the port that it prints.
fn child(program: &str) -> (std::process::Child, u16) {
    use std::io::BufRead as _;
    let mut child = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().parse().unwrap())
}

#[test]
fn a_child_is_named_by_the_program_that_it_runs() {
    let live = shared();
    let (mut child, port) = child(
        "import socket,sys\ns=socket.create_server(('127.0.0.1',0))\nprint(s.getsockname()[1],flush=True)\nsys.stdin.read()",
    );
    let owner = live.owner(netns(), V4, TCP, port).unwrap();
    drop(child.stdin.take());
    assert_eq!((owner.pid, owner.comm.as_str()), (child.id(), "python3"));
    assert_eq!((owner.parent_pid, owner.deleted), (std::process::id(), 0));
    child.wait().unwrap();
}

#[test]
fn sockets_that_are_older_are_found() {
    let tcp = TcpListener::bind("[::1]:0").unwrap();
    let client = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (mut child, port) = child(
        "import socket,sys\ns=socket.create_server(('127.0.0.1',0))\nprint(s.getsockname()[1],flush=True)\nsys.stdin.read()",
    );
    let owner = SocketOwner::start(Options::default()).unwrap();
    // Files belong to the process: its first thread stands for it.
    let found = |family, proto, port| {
        let found = owner.owner(netns(), family, proto, port).unwrap();
        assert_eq!((found.pid, found.tid), (std::process::id(), std::process::id()));
        assert_eq!(found.mntns, me().mntns);
        found
    };
    found(V6, TCP, tcp.local_addr().unwrap().port());
    found(V6, TCP, client.local_addr().unwrap().port());
    let udp_port = udp.local_addr().unwrap().port();
    found(V4, UDP, udp_port);
    let theirs = owner.owner(netns(), V4, TCP, port).unwrap();
    assert_eq!((theirs.pid, theirs.comm.as_str()), (child.id(), "python3"));
    // They are followed from now on like any other.
    drop(udp);
    assert_ne!(owner.owner(netns(), V4, UDP, udp_port).unwrap().deleted, 0);
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn an_older_listener_wins_over_its_connections() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let client = TcpStream::connect(address).unwrap();
    let (accepted, _) = server.accept().unwrap();
    let moved = fs::File::from(std::os::fd::OwnedFd::from(accepted));
    let owner = SocketOwner::start(Options::default()).unwrap();
    drop(moved);
    // Had the connection been entered, closing it would have marked the entry.
    assert_eq!(owner.owner(netns(), V4, TCP, address.port()).unwrap().deleted, 0);
    drop(client);
    drop(server);
    assert_ne!(owner.owner(netns(), V4, TCP, address.port()).unwrap().deleted, 0);
}

#[test]
fn the_network_namespace_is_that_of_the_socket() {
    let live = shared();
    let host = netns();
    let (older, newer) = std::thread::spawn(move || {
        let server = UdpSocket::from(raw_socket(V4, libc::SOCK_DGRAM));
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let inside = netns();
        assert_ne!(inside, host);
        // Made outside, used inside.
        let any = nix::sys::socket::SockaddrIn::new(127, 0, 0, 1, 0);
        nix::sys::socket::bind(server.as_raw_fd(), &any).unwrap();
        let outer = server.local_addr().unwrap().port();
        live.assert_mine(host, V4, UDP, outer);

        let listener = TcpListener::bind("0.0.0.0:4433").unwrap();
        live.assert_mine(inside, V4, TCP, 4433);
        let later = SocketOwner::start(Options::default()).unwrap();
        let older = later.owner(inside, V4, TCP, 4433).unwrap();
        drop(listener);
        (older, live.owner(inside, V4, TCP, 4433).unwrap())
    })
    .join()
    .unwrap();
    assert_eq!(older.pid, std::process::id());
    assert_ne!(newer.deleted, 0);
}

#[test]
fn a_closed_socket_stays_five_seconds_and_is_then_removed() {
    let owner = shared();
    std::thread::spawn(move || {
        // Where no other test is given the port.
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let before = boot_time();
        drop(socket);
        let closed = owner.owner(netns(), V4, UDP, port).unwrap().deleted;
        assert!((before..=boot_time()).contains(&closed));
        eventually("removal", || owner.owner(netns(), V4, UDP, port).is_none().then_some(()));
        assert!(boot_time() - closed >= 5_000_000_000);
    })
    .join()
    .unwrap();
}

#[test]
fn a_live_socket_survives_the_sweep() {
    let maps = SocketMaps::new(&Options::default()).unwrap();
    let owner = SocketOwner::on(&maps, None, Duration::ZERO, Duration::from_millis(10)).unwrap();
    let stays = TcpListener::bind("127.0.0.1:0").unwrap();
    let goes = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    eventually("removal", || owner.owner(netns(), V4, TCP, goes).is_none().then_some(()));
    owner.assert_mine(netns(), V4, TCP, stays.local_addr().unwrap().port());
}

#[test]
fn a_field_larger_than_gadgets_declare_is_refused() {
    let error = SocketOwner::start(Options { cwd: 8192, ..Options::default() }).unwrap_err();
    insta::assert_snapshot!(error, @"socket owner: field cwd of 8192 bytes: use at most 4096");
}

#[test]
fn sockets_that_find_no_room_are_counted() {
    let owner = SocketOwner::start(Options::default()).unwrap();
    assert_eq!(owner.lost(), 0);
    for netns in 0..20_000_u32 {
        let mut key = [0; 12];
        key[..4].copy_from_slice(&netns.to_ne_bytes());
        if owner.maps.sockets.update(&key, &[0; 96], MapFlags::ANY).is_err() {
            break;
        }
    }
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(owner.owner(netns(), V4, TCP, server.local_addr().unwrap().port()), None);
    assert_ne!(owner.lost(), 0);
}

#[test]
fn btf_comes_from_the_provider() {
    let seen = std::cell::Cell::new(0);
    let provide: BtfProvider<'_> = &|elf| {
        assert_eq!(&elf[..4], b"\x7fELF");
        seen.set(seen.get() + 1);
        Ok(PathBuf::from("/sys/kernel/btf/vmlinux"))
    };
    SocketOwner::start(Options { kernel_btf: Some(provide), ..Options::default() }).unwrap();
    assert_eq!(seen.get(), 2);

    let error =
        SocketOwner::start(Options { kernel_btf: Some(&|_| Err("no types".into())), ..Options::default() });
    insta::assert_snapshot!(
        error.unwrap_err(),
        @"socket owner: cannot prepare kernel types for socket_owner: no types; check that /sys/kernel/btf/vmlinux is readable"
    );
}

#[test]
fn nothing_stays_attached() {
    let owner = SocketOwner::start(Options::default()).unwrap();
    let map = MapHandle::from_map_id(owner.maps.sockets.info().unwrap().info.id).unwrap();
    drop(owner);
    let id = map.info().unwrap().info.id;
    let uses = || {
        libbpf_rs::query::ProgInfoIter::with_query_opts(
            libbpf_rs::query::ProgInfoQueryOptions::default().include_map_ids(true),
        )
        .filter(|program| program.map_ids.contains(&id))
        .count()
    };
    eventually("detaching", || (uses() == 0).then_some(()));
}
