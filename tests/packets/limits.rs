//! The edges of what is read, and what is said of that which is not.

use crate::{
    frame,
    hello::{Hello, record, server_name},
    tap::{Tap, Unread},
};

#[test]
fn names_up_to_255_bytes() {
    let tap = Tap::new();
    for len in [1, 2, 7, 8, 9, 127, 128, 129, 247, 248, 254, 255] {
        let name = vec![b'a'; len];
        assert_eq!(tap.names(&frame::over_ipv4(&Hello::named(&name).record())), [name]);
    }
    assert_eq!(tap.unread_all(), 0);
}

#[test]
fn of_a_longer_name_the_guest_gets_a_byte_more_than_is_shown() {
    let tap = Tap::new();
    for len in [256, 257, 511, 512, 1000] {
        assert_eq!(tap.names(&frame::over_ipv4(&Hello::named(&vec![b'a'; len]).record())), [[b'a'; 256]]);
    }
    assert_eq!(tap.unread_all(), 0);
}

#[test]
fn a_name_keeps_its_control_bytes() {
    let tap = Tap::new();
    let name = b"\x1b[2Ja\r\n\x07\x7f\xff\x80.example";
    assert_eq!(tap.names(&frame::over_ipv4(&Hello::named(name).record())), [name]);
}

#[test]
fn a_name_is_left_to_the_guest_unless_it_is_plain() {
    let tap = Tap::new();
    let is_left = |name: &[u8]| {
        let events = tap.feed(&frame::over_ipv4(&Hello::named(name).record()));
        assert_eq!(events.len(), 1, "{name:?}");
        assert_eq!(events[0].name(), name);
        events[0].is_unchecked()
    };
    for name in ["a", "example.org", "_a-1.EXAMPLE.org.", "1.2.3.4.example", "1-2", "!~", &"a".repeat(255)] {
        assert!(!is_left(name.as_bytes()), "{name}");
    }
    for name in ["1.2.3.4", "::1", "[2001:db8::1]", "two words", "a\\b", "m\u{fc}ll.de", "\x7f", "seven.b\\"]
    {
        assert!(is_left(name.as_bytes()), "{name}");
    }
    for len in [1, 7, 8, 9, 20, 255] {
        for at in 0..len {
            for byte in [0, b' ', b'\\', b':', 0x7f, 0xff] {
                let mut name = vec![b'a'; len];
                name[at] = byte;
                assert!(is_left(&name), "{byte} at {at} of {len}");
            }
        }
    }
}

#[test]
fn the_name_may_be_in_the_64th_extension_but_not_in_a_later_one() {
    let tap = Tap::new();
    for (before, expected) in [(0, 1), (20, 1), (63, 1), (64, 0), (70, 0)] {
        let mut hello = Hello::default();
        for kind in 0..before {
            hello = hello.with(0x1000 + kind, vec![0; usize::from(kind % 3)]);
        }
        hello = hello.with(0, server_name(b"last.example"));
        assert_eq!(tap.names(&frame::over_ipv4(&hello.record())).len(), expected, "{before} before");
    }
    assert_eq!(tap.unread(Unread::TooManyExtensions), 2);
}

#[test]
fn no_name_is_counted_as_such() {
    let tap = Tap::new();
    assert!(tap.names(&frame::over_ipv4(&Hello::default().record())).is_empty());
    let mut full = Hello::default();
    for kind in 1..=64 {
        full = full.with(kind, vec![]);
    }
    assert!(tap.names(&frame::over_ipv4(&full.record())).is_empty());
    assert_eq!(tap.unread(Unread::NoName), 2);
}

#[test]
fn a_hello_that_goes_on_elsewhere_gives_the_name_if_that_is_whole() {
    let tap = Tap::new();
    let payload = Hello::named(b"early.example").record();
    let name_end = payload.windows(13).position(|part| part == b"early.example").unwrap() + 13;
    for len in name_end..payload.len() {
        assert_eq!(tap.names(&frame::over_ipv4(&payload[..len])), [b"early.example"]);
    }
    assert!(tap.feed(&frame::over_ipv4(&payload[..name_end - 1])).is_empty());
    assert_eq!(tap.unread_all(), 0);
}

#[test]
fn a_record_that_ends_within_the_name_is_put_together_with_the_next() {
    let tap = Tap::new();
    let message = Hello::named(b"split.example").message();
    let name_end = message.windows(13).position(|part| part == b"split.example").unwrap() + 13;
    let two = |cut: usize| [record(&message[..cut]), record(&message[cut..])].concat();
    assert_eq!(tap.names(&frame::over_ipv4(&two(name_end))), [b"split.example"]);
    for cut in 4..name_end {
        assert_eq!(tap.gathered(&[frame::over_ipv4(&two(cut))]), [two(cut)]);
    }
    assert_eq!(tap.unread_all(), 0);
}

#[test]
fn lengths_that_lie_are_malformed() {
    let tap = Tap::new();
    let name = b"liar.example";
    let good = server_name(name);
    let lie = |at: usize, value: u8| {
        let mut data = good.clone();
        data[at] = value;
        Hello::default().with(0, data).with(0x1000, vec![1; 40]).record()
    };
    let liars = [
        lie(1, 14), // list shorter than the extension
        lie(1, 16), // and longer
        lie(2, 1),  // not a host name
        lie(4, 11), // name shorter than the list
        lie(4, 13), // and longer
        lie(4, 0),
        Hello::default().with(0, vec![]).record(),
        Hello::default().with(0, vec![0, 0]).record(),
        Hello::default().with(0, vec![0, 3, 0, 0, 0]).record(),
        record(&[1, 0, 0, 0]),
        record(&[1, 0, 0, 1, 3]),
        record(&[]).into_iter().chain(Hello::named(name).message()).collect(),
    ];
    for (index, payload) in liars.iter().enumerate() {
        assert!(tap.names(&frame::over_ipv4(payload)).is_empty(), "liar {index}");
    }
    assert_eq!(tap.unread(Unread::Malformed), liars.len() as u64);
}

#[test]
fn what_is_no_hello_gives_nothing_and_counts_nothing() {
    let tap = Tap::new();
    let hello = Hello::named(b"never.example").record();
    let changed = |at: usize, value: u8| {
        let mut payload = hello.clone();
        payload[at] = value;
        payload
    };
    let segment = frame::tcp(&hello, &[]);
    let frames = [
        frame::over_ipv4(&[]),
        frame::over_ipv4(b"GET / HTTP/1.1\r\n\r\n"),
        frame::over_ipv4(&changed(0, 0x17)),
        frame::over_ipv4(&changed(1, 2)),
        frame::over_ipv4(&changed(5, 2)), // a ServerHello
        frame::over_ipv6(&[]),
        frame::over_ipv6(&changed(5, 2)),
        frame::over_ipv4_with(&[], 0, &segment, frame::UDP),
        frame::over_ipv4_with(&[], 1, &segment, frame::TCP), // a later fragment
        frame::over_ipv4_with(&[], 0x3fff, &segment, frame::TCP),
        frame::over_ipv6_extended(&hello, Some(8)), // likewise
        frame::ethernet(0x86dd, &frame::ipv6(frame::UDP, &segment)),
        frame::ethernet(0x86dd, &frame::ipv6(59, &segment)), // no next header
        frame::ethernet(0x0806, &segment),
        frame::tagged(&frame::ethernet(0x0806, &segment), 0x8100),
    ];
    for (index, frame) in frames.iter().enumerate() {
        assert!(tap.feed(frame).is_empty(), "frame {index}");
    }
    assert_eq!(tap.unread_all(), 0);
}

#[test]
fn link_padding_is_no_part_of_a_hello() {
    let tap = Tap::new();
    let payload = Hello::default().with(0, server_name(b"padded.example")).record();
    let cut = payload.len() - 4;
    for mut frame in [frame::over_ipv4(&payload[..cut]), frame::over_ipv6(&payload[..cut])] {
        frame.extend(&payload[cut..]);
        assert!(tap.feed(&frame).is_empty());
    }
}

#[test]
fn a_packet_too_long_to_state_its_length_is_read_to_its_end() {
    let tap = Tap::new();
    let payload = Hello::named(b"jumbo.example").record();
    let mut v4 = frame::over_ipv4(&payload);
    v4[16..18].fill(0);
    let mut v6 = frame::over_ipv6(&payload);
    v6[18..20].fill(0);
    assert_eq!(tap.names(&v4), [b"jumbo.example"]);
    assert_eq!(tap.names(&v6), [b"jumbo.example"]);
}
