//! The ways of the recall test from a client to a server: loopback, and a pair of veth devices with the MTUs and
//! offloads that there are.

use std::{
    fs::File,
    io::Read as _,
    net::{TcpListener, TcpStream, UdpSocket},
    process::Command,
};

use runner::container::namespace;

use crate::{
    recall_cases::{Case, Sent},
    support,
};

/// Where a name is seen.
pub(crate) const COLUMNS: [&str; 3] = ["loopback", "veth, sent", "veth, received"];

/// A network namespace at the other end of a veth pair, whose names begin with `igxc`.
pub(crate) struct Other {
    name: String,
    link: String,
    part: u32,
}

fn run(program: &str, words: &str) {
    let output = Command::new(program).args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "{program} {words}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Other {
    pub(crate) fn new() -> Self {
        let part = std::process::id() % 250 + 1;
        let other = Self { name: format!("igx-recall-{part}"), link: format!("igxc{part}"), part };
        let (name, link) = (&other.name, &other.link);
        run("ip", &format!("netns add {name}"));
        run("ip", &format!("link add {link} type veth peer name eth0 netns {name}"));
        run("ip", &format!("address add 10.252.{part}.1/24 dev {link}"));
        run("ip", &format!("link set {link} up"));
        run("ip", &format!("-n {name} address add 10.252.{part}.2/24 dev eth0"));
        run("ip", &format!("-n {name} link set eth0 up"));
        other
    }

    /// Without offloads the kernel cuts what TCP sends before taps see it.
    fn set(&self, mtu: usize, offloads: bool) {
        let (link, name) = (&self.link, &self.name);
        run("ip", &format!("link set {link} mtu {mtu}"));
        run("ip", &format!("-n {name} link set eth0 mtu {mtu}"));
        let switch = if offloads { "on" } else { "off" };
        let features = format!("tso {switch} gso {switch} gro {switch} tx-udp-segmentation {switch}");
        run("ethtool", &format!("-K {link} {features}"));
        run("ip", &format!("netns exec {name} ethtool -K eth0 {features}"));
    }

    fn open(&self) -> File {
        File::open(format!("/run/netns/{}", self.name)).unwrap()
    }

    /// The way to it or from it, with the devices set up for it.
    pub(crate) fn way(&self, sent: bool, mtu: usize, offloads: bool) -> Way {
        self.set(mtu, offloads);
        let (here, there) = (format!("10.252.{}.1", self.part), format!("10.252.{}.2", self.part));
        let (column, ends, addresses) = if sent {
            (1, [None, Some(self.open())], [here, there])
        } else {
            (2, [Some(self.open()), None], [there, here])
        };
        Way { column, device: self.link.clone(), ends, addresses, mtu, offloads }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).output();
    }
}

/// A way from client to server.
pub(crate) struct Way {
    /// Of [`COLUMNS`].
    pub(crate) column: usize,
    /// The device of this namespace that it leads over.
    pub(crate) device: String,
    /// The namespaces of client and server, where they are not this one.
    ends: [Option<File>; 2],
    addresses: [String; 2],
    pub(crate) mtu: usize,
    pub(crate) offloads: bool,
}

fn at<T: Send>(end: Option<&File>, work: impl FnOnce() -> T + Send) -> T {
    match end {
        Some(namespace) => namespace::in_netns(namespace, work).unwrap(),
        None => work(),
    }
}

impl Way {
    /// Over the loopback device, by one of its addresses.
    pub(crate) fn loopback(address: &str) -> Self {
        let addresses = [address, address].map(str::to_owned);
        Self {
            column: 0,
            device: "lo".to_owned(),
            ends: [None, None],
            addresses,
            mtu: 65_536,
            offloads: true,
        }
    }

    pub(crate) fn carries(&self, case: &Case) -> bool {
        match &case.sent {
            Sent::Stream(_) => true,
            // QUIC goes only where its datagrams are not fragmented.
            Sent::Datagrams(datagrams) => datagrams.iter().all(|(_, bytes)| bytes.len() + 48 <= self.mtu),
        }
    }

    pub(crate) fn play(&self, case: &Case) {
        let [client, server] = [self.ends[0].as_ref(), self.ends[1].as_ref()];
        let [from, to] = self.addresses.each_ref().map(|address| format!("{address}:0"));
        let patience = Some(support::PATIENCE);
        match &case.sent {
            Sent::Stream(writes) => {
                let listener = at(server, || TcpListener::bind(&to).unwrap());
                let client = at(client, || TcpStream::connect(listener.local_addr().unwrap()).unwrap());
                client.set_nodelay(true).unwrap();
                let (mut accepted, _) = listener.accept().unwrap();
                accepted.set_read_timeout(patience).unwrap();
                for bytes in writes {
                    support::send(&client, bytes);
                    accepted.read_exact(&mut vec![0; bytes.len()]).unwrap();
                }
            }
            Sent::Datagrams(datagrams) => {
                let sockets = [at(client, || UdpSocket::bind(&from)), at(server, || UdpSocket::bind(&to))];
                let sockets = sockets.map(|socket| socket.unwrap());
                for (of_client, bytes) in datagrams {
                    let (from, to) = (usize::from(!of_client), usize::from(*of_client));
                    sockets[to].set_read_timeout(patience).unwrap();
                    sockets[from].send_to(bytes, sockets[to].local_addr().unwrap()).unwrap();
                    sockets[to].recv(&mut [0; 4096]).unwrap();
                }
            }
        }
    }
}
