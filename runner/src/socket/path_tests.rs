//! Paths of owners, as real programs on a real kernel find them: these need root.

use std::{
    fs,
    net::{TcpListener, TcpStream, UdpSocket},
    path::Path,
};

use nix::sched::{CloneFlags, unshare};

use super::{
    tests::{TCP, UDP, V4, netns, raw_socket},
    *,
};

/// The paths behind what a value begins with, of 512 and 64 bytes.
fn paths(value: &[u8]) -> (String, String) {
    let text =
        |bytes: &[u8]| String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap()).into_owned();
    (text(&value[96..608]), text(&value[608..]))
}

#[test]
fn paths_are_told_in_values_with_room_for_them() {
    let options = Options { cwd: 512, exepath: 64, kernel_btf: None };
    let exe = fs::read_link("/proc/self/exe").unwrap().to_string_lossy().into_owned();
    // As much of it as there is room for.
    let exe = exe[..exe.len().min(63)].to_owned();
    let here = std::env::current_dir().unwrap().to_string_lossy().into_owned();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let owner = SocketOwner::start(options).unwrap();
    assert_eq!(owner.value_size(), 96 + 512 + 64);
    let value = |proto, port| owner.value(netns(), V4, proto, port).unwrap();
    let port = server.local_addr().unwrap().port();
    assert_eq!(owner.owner(netns(), V4, TCP, port).unwrap().pid, std::process::id());
    assert_eq!(paths(&value(TCP, port)), (here.clone(), exe.clone()));

    let bound = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = bound.local_addr().unwrap().port();
    owner.assert_mine(netns(), V4, UDP, port);
    assert_eq!(paths(&value(UDP, port)), (here, exe));
    drop(bound);
    assert_ne!(owner.owner(netns(), V4, UDP, port).unwrap().deleted, 0);
}

#[test]
fn paths_are_those_of_the_thread_across_mounts_whatever_it_does_with_its_socket() {
    let owner = SocketOwner::start(Options { cwd: 512, exepath: 64, kernel_btf: None }).unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let deep = tempfile::tempdir().unwrap();
    let long = deep.path().join(["x".repeat(200), "y".repeat(200), "z".repeat(200)].join("/"));
    fs::create_dir_all(&long).unwrap();
    let root = Path::new("/");
    for folder in [root, Path::new("/proc/sys/net"), Path::new("/sys/kernel"), deep.path(), &long] {
        let folder = folder.canonicalize().unwrap();
        let cwd = |proto, port| paths(&owner.value(netns(), V4, proto, port).unwrap()).0;
        let told = std::thread::scope(|scope| {
            let own = scope.spawn(|| {
                // Its own folder to be in.
                unshare(CloneFlags::CLONE_FS).unwrap();
                nix::unistd::chdir(&folder).unwrap();
                let connected = TcpStream::connect(address).unwrap();
                let tcp = cwd(TCP, connected.local_addr().unwrap().port());
                let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
                let bound = cwd(UDP, sender.local_addr().unwrap().port());
                // Its port is known only once it sends: what libraries that look names up do.
                let sender = UdpSocket::from(raw_socket(V4, libc::SOCK_DGRAM));
                sender.connect("127.0.0.1:9").unwrap();
                sender.send(b"x").unwrap();
                let sent = cwd(UDP, sender.local_addr().unwrap().port());
                [tcp, bound, sent]
            });
            own.join().unwrap()
        });
        let expected = folder.to_string_lossy();
        let expected = &expected[..expected.len().min(511)];
        assert_eq!(told, [expected; 3]);
    }
}
