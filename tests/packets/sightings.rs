//! One line for each hello, however often it passes.

use crate::{
    filters, frame,
    hello::Hello,
    tap::{NETNS, Tap, Unread},
};

fn once() -> Tap {
    Tap::with(|open| open.maps.rodata_data.as_mut().unwrap().all = false)
}

fn with_random(name: &[u8], random: u8) -> Vec<u8> {
    let mut hello = Hello::named(name).record();
    hello[11..43].fill(random);
    hello
}

#[test]
fn a_hello_is_shown_once_whole_or_split() {
    let tap = once();
    for (random, name) in [(1, b"one.example"), (2, b"two.example")] {
        let hello = with_random(name, random);
        assert_eq!(tap.names(&frame::over_ipv4(&hello)), [name]);
        assert!(tap.feed(&frame::over_ipv4(&hello)).is_empty());
        assert!(tap.feed(&frame::over_ipv6(&hello)).is_empty());
        let part = |seq, bytes: &[u8]| frame::segment_from(frame::CLIENT4, 9, seq, frame::ACK, bytes);
        assert!(tap.gathered(&[part(0, &hello[..20]), part(20, &hello[20..])]).is_empty());
    }
    let hello = with_random(b"three.example", 3);
    let part = |seq, bytes: &[u8]| frame::segment_from(frame::CLIENT4, 9, seq, frame::ACK, bytes);
    assert_eq!(tap.gathered(&[part(0, &hello[..20]), part(20, &hello[20..])]), [&hello[..]]);
    assert!(tap.feed(&frame::over_ipv4(&hello)).is_empty());
}

#[test]
fn a_sighting_with_an_owner_is_shown_after_one_without() {
    let tap = once();
    let hello = frame::over_ipv4(&with_random(b"owned.example", 1));
    assert_eq!(tap.feed(&hello)[0].pid_tid().0, 0);
    tap.own(&filters::key(NETNS, filters::IPV4, frame::SERVER_PORT), &filters::owner());
    assert_ne!(tap.feed(&hello)[0].pid_tid().0, 0);
    assert!(tap.feed(&hello).is_empty());
}

#[test]
fn what_filters_leave_out_is_no_sighting() {
    let tap = Tap::with(|open| {
        let params = open.maps.rodata_data.as_mut().unwrap();
        params.all = false;
        params.gadget_filter_by_mntns = true;
    });
    let hello = frame::over_ipv4(&with_random(b"filtered.example", 1));
    assert!(tap.feed(&hello).is_empty());
    tap.own(&filters::key(NETNS, filters::IPV4, frame::SERVER_PORT), &filters::owner());
    tap.show_mntns(filters::MNTNS);
    assert_eq!(tap.feed(&hello).len(), 1);
}

#[test]
fn hellos_without_a_name_are_shown_on_request() {
    let tap = Tap::with(|open| open.maps.rodata_data.as_mut().unwrap().no_sni = true);
    let events = tap.feed(&frame::over_ipv4(&Hello::default().record()));
    assert_eq!(
        events.iter().map(|event| (event.name(), event.codes()[3])).collect::<Vec<_>>(),
        [(vec![], 1)]
    );
    assert_eq!(tap.unread_all(), 0, "it was shown");
}

#[test]
fn a_hello_without_a_name_is_counted_once_and_only_if_its_process_is_asked_for() {
    let tap = Tap::with(|open| {
        let params = open.maps.rodata_data.as_mut().unwrap();
        params.all = false;
        params.gadget_filter_by_mntns = true;
    });
    let hello = frame::over_ipv4(&Hello::default().record());
    assert!(tap.feed(&hello).is_empty());
    assert_eq!(tap.unread(Unread::NoName), 0, "of nobody");
    tap.own(&filters::key(NETNS, filters::IPV4, frame::SERVER_PORT), &filters::owner());
    tap.show_mntns(filters::MNTNS);
    for _ in 0..2 {
        assert!(tap.feed(&hello).is_empty());
        assert_eq!(tap.unread(Unread::NoName), 1);
    }
}

#[test]
fn whole_hellos_travel_to_the_guest_for_a_fingerprint() {
    let tap = Tap::with(|open| open.maps.rodata_data.as_mut().unwrap().ja4 = true);
    let hello = Hello::named(b"print.example").record();
    assert_eq!(tap.gathered(&[frame::over_ipv4(&hello)]), [hello]);
}
