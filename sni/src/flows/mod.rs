//! Room for many half-seen hellos, with bounds that one sender cannot use up for everybody.
//!
//! All of it takes at most [`MEMORY`] bytes, and nothing stays longer than [`AGE`]. When the room is full,
//! the peer that takes the most loses its oldest flow, if it takes more than its share; if nobody does, the
//! oldest flow of all goes. So a flood from one address evicts its own flows, and one from many addresses
//! only shortens how long each may wait. Every operation costs a few look-ups in ordered maps, however full
//! the room is.

use alloc::collections::{BTreeMap, BTreeSet};
use core::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};

/// The most bytes that all flows take together.
pub const MEMORY: usize = 4 << 20;
/// How long a flow is waited for.
pub const AGE: Duration = Duration::from_secs(5);
/// What a flow is charged beside the bytes that it holds: its places in the four maps, with their slack.
pub const FLOW_COST: usize = 1024;
/// A peer that takes more than this is the first to lose flows.
const SHARE: usize = MEMORY / 8;

/// One direction of a connection, from the client to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// What keeps equal addresses of different networks apart, such as the inode of the network namespace.
    pub namespace: u64,
    /// Who sends.
    pub source: SocketAddr,
    /// Who receives.
    pub destination: SocketAddr,
}

impl Flow {
    /// The other direction of the same connection.
    #[must_use]
    pub fn reverse(self) -> Self {
        Self { source: self.destination, destination: self.source, ..self }
    }

    /// Whom the flow is charged to: its source. An IPv6 network of 64 bits belongs to one peer.
    fn peer(&self) -> IpAddr {
        match self.source.ip() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
            address @ IpAddr::V4(_) => address,
        }
    }
}

/// What names a flow in a table.
pub trait Key: Copy + Ord {
    /// The flow that it is of.
    fn flow(&self) -> &Flow;
}

/// What a table keeps of a flow.
pub trait State {
    /// Bytes of memory that it holds, beside its own size.
    fn memory(&self) -> usize;
    /// Whether a hello is lost if it goes now.
    fn waits(&self) -> bool;
}

/// Flows by key, in bounded room.
#[derive(Debug)]
pub struct Flows<K, S> {
    entries: BTreeMap<K, Entry<S>>,
    /// By age: numbers are given in the order of arrival.
    oldest: BTreeMap<u64, K>,
    oldest_by_peer: BTreeSet<(IpAddr, u64)>,
    peers: BTreeMap<IpAddr, usize>,
    heaviest: BTreeSet<(usize, IpAddr)>,
    used: usize,
    next: u64,
    evicted: u64,
    timed_out: u64,
}

#[derive(Debug)]
struct Entry<S> {
    number: u64,
    born: Duration,
    cost: usize,
    state: S,
}

impl<K: Key, S: State> Default for Flows<K, S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Key, S: State> Flows<K, S> {
    /// A table without flows.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
            oldest: BTreeMap::new(),
            oldest_by_peer: BTreeSet::new(),
            peers: BTreeMap::new(),
            heaviest: BTreeSet::new(),
            used: 0,
            next: 0,
            evicted: 0,
            timed_out: 0,
        }
    }

    /// Keeps `state` under `key` from now on, instead of what was there.
    pub fn insert(&mut self, key: K, state: S, now: Duration) {
        self.remove(&key);
        let number = self.next;
        self.next += 1;
        self.oldest.insert(number, key);
        self.oldest_by_peer.insert((key.flow().peer(), number));
        let cost = FLOW_COST + state.memory();
        self.charge(key.flow().peer(), 0, cost);
        self.entries.insert(key, Entry { number, born: now, cost, state });
        self.make_room();
    }

    /// What is kept under `key`.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&S> {
        self.entries.get(key).map(|entry| &entry.state)
    }

    /// The keys in a range.
    pub fn keys(&self, range: RangeInclusive<K>) -> impl Iterator<Item = K> + '_ {
        self.entries.range(range).map(|(key, _)| *key)
    }

    /// Lets `change` change what is kept under `key`, and gives its answer; nothing if there is no such flow.
    /// Another flow, or this one, may have to go for it.
    pub fn update<R>(&mut self, key: &K, change: impl FnOnce(&mut S) -> R) -> Option<R> {
        let entry = self.entries.get_mut(key)?;
        let answer = change(&mut entry.state);
        let before = entry.cost;
        entry.cost = FLOW_COST + entry.state.memory();
        let after = entry.cost;
        if before != after {
            self.charge(key.flow().peer(), before, after);
            self.make_room();
        }
        Some(answer)
    }

    /// Takes out what is kept under `key`.
    pub fn remove(&mut self, key: &K) -> Option<S> {
        let entry = self.entries.remove(key)?;
        self.oldest.remove(&entry.number);
        self.oldest_by_peer.remove(&(key.flow().peer(), entry.number));
        self.charge(key.flow().peer(), entry.cost, 0);
        Some(entry.state)
    }

    /// Forgets the flows that came [`AGE`] or more before `now`.
    pub fn expire(&mut self, now: Duration) {
        while let Some((_, &key)) = self.oldest.first_key_value() {
            let old = self.entries.get(&key).is_none_or(|entry| now.saturating_sub(entry.born) >= AGE);
            if !old {
                break;
            }
            match self.remove(&key) {
                Some(state) if state.waits() => self.timed_out += 1,
                _ => {}
            }
        }
    }

    /// How many flows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of memory that are charged for.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.used
    }

    /// How many hellos were lost because there was no room.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// How many hellos were lost because the rest did not come in time.
    #[must_use]
    pub fn timed_out(&self) -> u64 {
        self.timed_out
    }

    /// Moves what `peer` is charged for one flow.
    fn charge(&mut self, peer: IpAddr, before: usize, after: usize) {
        let old = self.peers.get(&peer).copied().unwrap_or(0);
        let new = old - before + after;
        self.heaviest.remove(&(old, peer));
        if new == 0 {
            self.peers.remove(&peer);
        } else {
            self.peers.insert(peer, new);
            self.heaviest.insert((new, peer));
        }
        self.used = self.used - before + after;
    }

    fn make_room(&mut self) {
        while self.used > MEMORY {
            let Some(key) = self.next_to_go() else { break };
            match self.remove(&key) {
                Some(state) if state.waits() => self.evicted += 1,
                _ => {}
            }
        }
    }

    fn next_to_go(&self) -> Option<K> {
        let oldest_of = |peer: IpAddr| self.oldest_by_peer.range((peer, 0)..=(peer, u64::MAX)).next();
        let greedy = self.heaviest.last().filter(|(cost, _)| *cost > SHARE);
        let number = match greedy.and_then(|(_, peer)| oldest_of(*peer)) {
            Some((_, number)) => number,
            None => self.oldest.first_key_value()?.0,
        };
        self.oldest.get(number).copied()
    }
}

#[cfg(test)]
mod tests;
