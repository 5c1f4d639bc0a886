use alloc::vec::Vec;
use core::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use proptest::prelude::*;

use super::{AGE, FLOW_COST, Flow, Flows, Key, MEMORY, State};

impl Key for Flow {
    fn flow(&self) -> &Flow {
        self
    }
}

struct Bytes(usize);

impl State for Bytes {
    fn memory(&self) -> usize {
        self.0
    }

    fn waits(&self) -> bool {
        self.0 > 0
    }
}

fn flow(address: u32, port: u16) -> Flow {
    let source = SocketAddr::from((Ipv4Addr::from_bits(address), port));
    Flow { namespace: 1, source, destination: SocketAddr::from(([192, 0, 2, 1], 443)) }
}

/// What the indices say is what the entries add up to.
fn check(flows: &Flows<Flow, Bytes>) {
    let costs: Vec<usize> = flows.entries.values().map(|entry| FLOW_COST + entry.state.0).collect();
    assert_eq!(costs.iter().sum::<usize>(), flows.memory());
    assert_eq!(flows.peers.values().sum::<usize>(), flows.memory());
    assert!(flows.memory() <= MEMORY);
    assert_eq!((flows.oldest.len(), flows.oldest_by_peer.len()), (flows.len(), flows.len()));
    assert_eq!(flows.heaviest.len(), flows.peers.len());
}

#[test]
fn a_flood_from_one_peer_evicts_its_own_flows() {
    let mut flows = Flows::new();
    let others: Vec<Flow> = (1..=500).map(|address| flow(address, 1)).collect();
    for other in &others {
        flows.insert(*other, Bytes(1500), Duration::ZERO);
    }
    for port in 0..u16::MAX {
        flows.insert(flow(0x0a00_0001, port), Bytes(700), Duration::ZERO);
    }
    check(&flows);
    assert!(others.iter().all(|other| flows.get(other).is_some()));
    assert_eq!(flows.evicted() + flows.len() as u64, 500 + u64::from(u16::MAX));
}

#[test]
fn one_network_of_ipv6_is_one_peer() {
    let mut flows = Flows::new();
    let other = flow(1, 1);
    flows.insert(other, Bytes(1500), Duration::ZERO);
    for host in 0..20_000 {
        let source = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 1, host], 5));
        flows.insert(Flow { source, ..other }, Bytes(700), Duration::ZERO);
    }
    assert!(flows.get(&other).is_some());
    assert_eq!(flows.peers.len(), 2);
}

#[test]
fn a_flood_from_everywhere_takes_the_oldest() {
    let mut flows = Flows::new();
    for address in 0..20_000 {
        flows.insert(flow(address, 1), Bytes(0), Duration::ZERO);
    }
    check(&flows);
    assert!(flows.get(&flow(0, 1)).is_none());
    assert!(flows.get(&flow(19_999, 1)).is_some());
    // Flows that wait for nothing are no loss.
    assert_eq!(flows.evicted(), 0);
}

#[test]
fn flows_go_when_their_time_is_over() {
    let mut flows = Flows::new();
    flows.insert(flow(1, 1), Bytes(1), Duration::from_secs(10));
    flows.insert(flow(2, 1), Bytes(0), Duration::from_secs(10));
    // The clocks of two processors need not agree.
    flows.insert(flow(3, 1), Bytes(1), Duration::from_secs(9));
    flows.expire(Duration::from_secs(10) + AGE - Duration::from_nanos(1));
    assert_eq!((flows.len(), flows.timed_out()), (3, 0));
    flows.expire(Duration::from_secs(10) + AGE);
    assert_eq!((flows.len(), flows.timed_out(), flows.memory()), (0, 2, 0));
    check(&flows);
}

#[test]
fn what_grows_is_charged() {
    let mut flows = Flows::new();
    flows.insert(flow(1, 1), Bytes(1), Duration::ZERO);
    assert_eq!(flows.update(&flow(1, 1), |bytes| core::mem::replace(&mut bytes.0, 5000)), Some(1));
    assert_eq!(flows.update(&flow(2, 1), |_| ()), None);
    check(&flows);
    assert_eq!(flows.remove(&flow(1, 1)).map(|bytes| bytes.0), Some(5000));
    assert_eq!((flows.memory(), flows.peers.len()), (0, 0));
}

#[test]
fn addresses_are_peers_whatever_their_ports() {
    assert_eq!(flow(7, 1).peer(), IpAddr::V4(Ipv4Addr::from_bits(7)));
    assert_eq!(flow(7, 1).reverse().reverse(), flow(7, 1));
}

proptest! {
    #[test]
    fn the_books_balance(steps in prop::collection::vec((0u32..40, 0u16..20, 0usize..40_000, 0u8..4), 0..400)) {
        let mut flows = Flows::new();
        for (at, (address, port, bytes, what)) in steps.into_iter().enumerate() {
            let key = flow(address, port);
            match what {
                0 | 1 => flows.insert(key, Bytes(bytes), Duration::from_millis(at as u64 * 50)),
                2 => drop(flows.update(&key, |state| state.0 = bytes)),
                _ => drop(flows.remove(&key)),
            }
            flows.expire(Duration::from_millis(at as u64 * 50));
            check(&flows);
        }
    }
}
