//! Whose events are shown: filters by process and container, with an owner and without one.

use crate::{
    frame,
    hello::Hello,
    tap::{EVENT_LEN, Event, NETNS, Tap},
};

pub(crate) const IPV4: u16 = 2;
const IPV6: u16 = 10;
pub(crate) const MNTNS: u64 = 4_026_530_001;
const PID: u32 = 4711;
const TID: u32 = 4712;
const UID: u32 = 1000;
const GID: u32 = 1111;

/// `struct gadget_socket_key` of the server's socket: a packet that comes in belongs to its destination.
pub(crate) fn key(netns: u32, family: u16, port: u16) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&netns.to_ne_bytes());
    key[4..6].copy_from_slice(&family.to_ne_bytes());
    key[6] = frame::TCP;
    key[8..10].copy_from_slice(&port.to_ne_bytes());
    key
}

/// The fixed part of `struct gadget_socket_value`.
pub(crate) fn owner() -> [u8; 88] {
    let mut value = [0; 88];
    value[..8].copy_from_slice(&MNTNS.to_ne_bytes());
    value[8..16].copy_from_slice(&(u64::from(PID) << 32 | u64::from(TID)).to_ne_bytes());
    value[16..24].copy_from_slice(&(u64::from(GID) << 32 | u64::from(UID)).to_ne_bytes());
    value[24..29].copy_from_slice(b"nginx");
    value[40..44].copy_from_slice(b"init");
    value[72..76].copy_from_slice(&1u32.to_ne_bytes());
    value[76..80].copy_from_slice(&2u32.to_ne_bytes());
    value
}

fn hello4() -> Vec<u8> {
    frame::over_ipv4(&Hello::named(b"owned.example").record())
}

fn owned(tap: Tap) -> Tap {
    tap.own(&key(NETNS, IPV4, frame::SERVER_PORT), &owner());
    tap
}

fn comm(name: &[u8]) -> [i8; 16] {
    let mut comm = [0; 16];
    for (to, from) in comm.iter_mut().zip(name) {
        *to = *from as i8;
    }
    comm
}

#[test]
fn an_event_tells_its_owner_and_both_ends() {
    let tap = owned(Tap::new());
    let before = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).unwrap();
    let events = tap.feed(&hello4());
    let [event] = &events[..] else { panic!("{events:?}") };
    assert_eq!(event.len(), EVENT_LEN);
    assert!(event.timestamp() >= std::time::Duration::from(before).as_nanos() as u64);
    assert_eq!(event.netns(), NETNS);
    assert_eq!(event.name(), b"owned.example");
    assert_eq!(event.comm(), b"nginx");
    assert_eq!(event.pid_tid(), (PID, TID));
    assert_eq!(event.mntns(), MNTNS);
    assert_eq!(event.creds(), (UID, GID));
    assert_eq!(event.parent(), (b"init".to_vec(), 1, 2));
    let padded = |address: [u8; 4]| std::array::from_fn(|at| *address.get(at).unwrap_or(&0));
    let client = (padded(frame::CLIENT4), frame::CLIENT_PORT, 6, 4);
    let server = (padded(frame::SERVER4), frame::SERVER_PORT, 6, 4);
    assert_eq!(event.endpoints(), [client, server]);
}

#[test]
fn an_ipv6_event_tells_its_owner_and_both_ends() {
    let tap = Tap::new();
    tap.own(&key(NETNS, IPV6, frame::SERVER_PORT), &owner());
    let events = tap.feed(&frame::over_ipv6(&Hello::named(b"six.example").record()));
    let [event] = &events[..] else { panic!("{events:?}") };
    assert_eq!(event.pid_tid(), (PID, TID));
    let client = (frame::CLIENT6, frame::CLIENT_PORT, 6, 6);
    let server = (frame::SERVER6, frame::SERVER_PORT, 6, 6);
    assert_eq!(event.endpoints(), [client, server]);
}

#[test]
fn a_socket_for_both_families_owns_ipv4_packets_unless_it_is_for_ipv6_only() {
    let pid = |ipv6only: u8| {
        let tap = Tap::new();
        let mut value = owner();
        value[80] = ipv6only;
        tap.own(&key(NETNS, IPV6, frame::SERVER_PORT), &value);
        tap.feed(&hello4())[0].pid_tid().0
    };
    assert_eq!((pid(0), pid(1)), (PID, 0));
}

#[test]
fn an_open_socket_for_both_families_comes_before_a_closed_one() {
    let tap = Tap::new();
    let (mut closed, mut open) = (owner(), owner());
    closed[64..72].copy_from_slice(&1u64.to_ne_bytes());
    open[8..16].copy_from_slice(&(u64::from(PID + 1) << 32).to_ne_bytes());
    tap.own(&key(NETNS, IPV4, frame::SERVER_PORT), &closed);
    assert_eq!(tap.feed(&hello4())[0].pid_tid().0, PID, "a closed one is better than none");
    tap.own(&key(NETNS, IPV6, frame::SERVER_PORT), &open);
    assert_eq!(tap.feed(&hello4())[0].pid_tid().0, PID + 1);
}

#[test]
fn an_owner_is_of_one_network_namespace_and_port() {
    let tap = Tap::new();
    tap.own(&key(NETNS + 1, IPV4, frame::SERVER_PORT), &owner());
    tap.own(&key(NETNS, IPV4, frame::CLIENT_PORT), &owner());
    assert_eq!(tap.feed(&hello4())[0].pid_tid(), (0, 0));
}

#[test]
fn a_packet_for_another_host_has_no_owner() {
    let tap = owned(Tap::new());
    tap.own(&key(NETNS, IPV4, frame::CLIENT_PORT), &owner());
    let events = tap.feed(&frame::for_another_host(hello4()));
    assert_eq!(events.iter().map(Event::pid_tid).collect::<Vec<_>>(), [(0, 0)]);
}

/// Loads once with each filter; says whether an event with an owner, and one without, is shown, and what was counted.
macro_rules! shown {
    ($field:ident = $value:expr) => {{
        let tap = || Tap::with(|open| open.maps.rodata_data.as_mut().unwrap().$field = $value);
        let (with, without) = (owned(tap()), tap());
        let shown = (!with.feed(&hello4()).is_empty(), !without.feed(&hello4()).is_empty());
        assert_eq!(with.unowned(), 0);
        (shown.0, shown.1, without.unowned())
    }};
}

#[test]
fn process_filters_show_what_matches_and_count_what_nobody_owns() {
    const MATCH: (bool, bool, u64) = (true, false, 1);
    const OTHER: (bool, bool, u64) = (false, false, 1);
    assert_eq!(shown!(targ_pid = PID), MATCH);
    assert_eq!(shown!(targ_pid = TID), OTHER);
    assert_eq!(shown!(targ_tid = TID), MATCH);
    assert_eq!(shown!(targ_tid = PID), OTHER);
    assert_eq!(shown!(targ_uid = UID), MATCH);
    assert_eq!(shown!(targ_uid = 0), OTHER);
    assert_eq!(shown!(targ_gid = GID), MATCH);
    assert_eq!(shown!(targ_gid = 0), OTHER);
    assert_eq!(shown!(targ_comm = comm(b"nginx")), MATCH);
    assert_eq!(shown!(targ_comm = comm(b"ngin")), OTHER);
    assert_eq!(shown!(targ_comm = comm(b"nginx2")), OTHER);
    assert_eq!(shown!(targ_pid = 0), (true, true, 0));
}

/// The container filter with the host's network namespace, which may be unknown (0).
fn by_container(host_netns: u32, target_pid: u32) -> Tap {
    Tap::with(|open| {
        let params = open.maps.rodata_data.as_mut().unwrap();
        params.gadget_filter_by_mntns = true;
        params.igx_host_netns = host_netns;
        params.targ_pid = target_pid;
    })
}

#[test]
fn the_container_filter_shows_the_containers_in_its_map() {
    let tap = owned(by_container(0, 0));
    assert!(tap.feed(&hello4()).is_empty());
    tap.show_mntns(MNTNS);
    assert_eq!(tap.feed(&hello4()).len(), 1);
    assert_eq!(tap.unowned(), 0, "an owner that is not wanted is no unknown one");
}

#[test]
fn without_an_owner_the_network_namespace_decides() {
    let shown = |host_netns, target_pid| {
        let tap = by_container(host_netns, target_pid);
        (tap.feed(&hello4()).len(), tap.unowned())
    };
    assert_eq!(shown(NETNS + 1, 0), (1, 0), "not the host's");
    assert_eq!(shown(NETNS, 0), (0, 1), "the host's");
    assert_eq!(shown(0, 0), (0, 1), "the host's is not known");
    assert_eq!(shown(NETNS + 1, PID), (0, 1), "a process was asked for");
}
