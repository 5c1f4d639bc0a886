//! Hellos split over segments and records: whatever the order, the program hands out the bytes that were sent. The
//! oracle is the hello itself.

use crate::{
    corpus, frame,
    hello::{Hello, record, server_name},
    tap::{Tap, Unread},
};

/// A connection with its own port; the stream begins one past `isn`.
#[derive(Clone, Copy)]
struct Stream {
    port: u16,
    isn: u32,
}

impl Stream {
    /// Different from those of other numbers.
    fn number(number: u32) -> Self {
        Self { port: number as u16, isn: number.wrapping_mul(0x9e37_79b1) }
    }

    fn syn(self) -> Vec<u8> {
        frame::segment_from(frame::CLIENT4, self.port, self.isn, frame::SYN, &[])
    }

    /// A segment with what the stream has from `at` on.
    fn part(self, at: usize, payload: &[u8]) -> Vec<u8> {
        let seq = self.isn.wrapping_add(1 + at as u32);
        frame::segment_from(frame::CLIENT4, self.port, seq, frame::ACK, payload)
    }
}

/// A small generator: tests that fail must fail again.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % limit
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

/// Whether the program needs no more than `first` to read the name.
fn names_early(tap: &Tap, stream: Stream, first: &[u8]) -> bool {
    !tap.names(&stream.part(0, first)).is_empty()
}

#[test]
fn split_in_two_at_every_byte_in_both_orders() {
    let tap = Tap::new();
    let mut number = 0;
    for sample in corpus::samples() {
        let whole = &sample.payload;
        for cut in 1..whole.len() {
            let (head, tail) = whole.split_at(cut);
            number += 1;
            let stream = Stream::number(number);
            if names_early(&tap, stream, head) {
                continue;
            }
            assert_eq!(tap.gathered(&[stream.part(cut, tail)]), [&whole[..]], "{} at {cut}", sample.file);
            number += 1;
            let stream = Stream::number(number);
            let frames = [stream.syn(), stream.part(cut, tail), stream.part(0, head)];
            assert_eq!(tap.gathered(&frames), [&whole[..]], "{} at {cut}, swapped", sample.file);
        }
    }
    assert_eq!(tap.unread_all(), 0);
}

/// The hello in records of random lengths.
fn in_records(random: &mut Random, payload: &[u8]) -> Vec<u8> {
    let mut message = &payload[5..];
    let mut records = Vec::new();
    while !message.is_empty() {
        let (fragment, rest) = message.split_at(1 + random.below(message.len().min(600)));
        records.extend(record(fragment));
        message = rest;
    }
    records
}

#[test]
fn split_into_many_in_random_order_with_overlaps_over_records() {
    let tap = Tap::new();
    let mut random = Random(42);
    let samples = corpus::samples();
    for number in 0..1000 {
        let sample = &samples[random.below(samples.len())];
        let records = random.below(2) == 1;
        let whole = if records { in_records(&mut random, &sample.payload) } else { sample.payload.clone() };
        let mut cuts = vec![0, whole.len()];
        cuts.extend((0..1 + random.below(20)).map(|_| 1 + random.below(whole.len() - 1)));
        cuts.sort_unstable();
        cuts.dedup();
        let stream = Stream::number(number);
        let mut parts = Vec::new();
        for pair in cuts.windows(2) {
            // Some begin before where the last one ended, or end behind where the next one begins.
            let start = pair[0].saturating_sub(random.below(2) * random.below(50));
            let end = (pair[1] + random.below(2) * random.below(50)).min(whole.len());
            parts.push((start, end));
            if random.below(8) == 0 {
                parts.push((pair[0], pair[1]));
            }
        }
        random.shuffle(&mut parts);
        let mut frames = vec![stream.syn()];
        frames.extend(parts.iter().map(|(start, end)| stream.part(*start, &whole[*start..*end])));
        let events: Vec<_> = frames.iter().flat_map(|frame| tap.feed(frame)).collect();
        // A first segment with the name in it is enough, if nothing is waited for yet.
        let found = events.iter().any(|event| match event.rest() {
            [] => event.name() == sample.name,
            rest => rest == whole,
        });
        let seen: Vec<_> = events.iter().map(|event| (event.name(), event.rest().len())).collect();
        assert!(found, "{number}: {} {parts:?}, over records: {records}, seen {seen:?}", sample.file);
    }
}

#[test]
fn a_first_record_too_short_for_the_hellos_length() {
    let tap = Tap::new();
    let message = Hello::named(b"short.example").message();
    for len in 1..5 {
        let whole = [record(&message[..len]), record(&message[len..])].concat();
        let stream = Stream::number(len as u32);
        for frames in
            [vec![stream.part(0, &whole)], vec![stream.part(0, &whole[..50]), stream.part(50, &whole[50..])]]
        {
            assert_eq!(tap.gathered(&frames), [&whole[..]], "{len}");
        }
    }
    assert_eq!(tap.unread_all(), 0);
}

#[test]
fn one_byte_at_a_time() {
    let tap = Tap::new();
    let whole = Hello::named(b"slow.example").record();
    let stream = Stream::number(1);
    let frames: Vec<_> = (0..whole.len()).map(|at| stream.part(at, &whole[at..=at])).collect();
    assert_eq!(tap.gathered(&frames), [whole]);
    assert_eq!(tap.unread_all(), 0);
}

#[test]
fn sequence_numbers_wrap() {
    let tap = Tap::new();
    let whole = Hello::named(b"wrapped.example").record();
    for before in 0..whole.len() as u32 {
        let stream = Stream { port: 7, isn: 0u32.wrapping_sub(before) };
        let frames = [stream.part(0, &whole[..20]), stream.part(20, &whole[20..])];
        assert_eq!(tap.gathered(&frames), [&whole[..]], "{before} before 0");
    }
}

#[test]
fn large_hellos_up_to_16_kb() {
    let tap = Tap::new();
    for (number, size) in [1500, 2000, 2048, 2500, 9_000, 16_000].into_iter().enumerate() {
        let whole =
            Hello::default().with(0x15, vec![0xa5; size]).with(0, server_name(b"big.example")).record();
        let stream = Stream::number(number as u32);
        let mut frames: Vec<_> =
            whole.chunks(1448).enumerate().map(|(at, part)| stream.part(at * 1448, part)).collect();
        assert_eq!(tap.gathered(&frames), [&whole[..]], "{size} in order");
        frames[1..].reverse();
        assert_eq!(tap.gathered(&frames), [&whole[..]], "{size} backwards");
    }
    assert_eq!(tap.unread_all(), 0);
    let message =
        Hello::default().with(0x15, vec![0; 16_400]).with(0, server_name(b"huge.example")).message();
    let first = record(&message[..8_000]);
    assert!(tap.gathered(&[Stream::number(9).part(0, &first[..1000])]).is_empty());
    assert_eq!(tap.unread(Unread::TooLarge), 1);
}

#[test]
fn a_hello_over_ipv6() {
    let tap = Tap::new();
    let whole = Hello::named(b"six.example").record();
    let part = |at: usize, bytes: &[u8]| {
        let segment = frame::segment(7, 100 + at as u32, frame::ACK, bytes, &[]);
        frame::ethernet(0x86dd, &frame::ipv6(frame::TCP, &segment))
    };
    assert_eq!(tap.gathered(&[part(0, &whole[..50]), part(50, &whole[50..])]), [whole]);
}

#[test]
fn an_event_counts_its_segments() {
    let tap = Tap::new();
    let whole = Hello::named(b"three.example").record();
    let stream = Stream::number(1);
    assert!(tap.feed(&stream.part(0, &whole[..10])).is_empty());
    assert!(tap.feed(&stream.part(10, &whole[10..20])).is_empty());
    let events = tap.feed(&stream.part(20, &whole[20..]));
    assert_eq!(events[0].codes(), [1, 0, 2, 0, 0, 3]);
    assert_eq!(events[0].endpoints()[0].1, stream.port);
}

#[test]
fn what_comes_behind_the_hello_is_left_out() {
    let tap = Tap::new();
    let whole = Hello::named(b"early.example").record();
    let sent = [&whole[..], &[0x17, 3, 3, 0, 9], &[1; 9]].concat();
    let stream = Stream::number(1);
    assert_eq!(tap.gathered(&[stream.part(0, &sent[..30]), stream.part(30, &sent[30..])]), [whole]);
}

#[test]
fn a_hello_behind_plain_text_in_the_same_segment() {
    let tap = Tap::new();
    let hello = Hello::named(b"behind.example").record();
    let ssl_request = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];
    let proxy2 = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(), &[0x16; 12]].concat();
    let ldap = [b"\x30\x1d\x02\x01\x01\x77\x18\x80\x16".as_slice(), b"1.3.6.1.4.1.1466.20037"].concat();
    let openings: [&[u8]; 11] = [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 45678 443\r\n",
        &proxy2,
        b"CONNECT behind.example:443 HTTP/1.1\r\nHost: behind.example:443\r\nUser-Agent: curl/8.5.0\r\n\r\n",
        b"STARTTLS\r\n",
        b"STLS\r\n",
        b"AUTH TLS\r\n",
        b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        &ldap,
        &ssl_request,
        &[5, 1, 0, 1, 192, 0, 2, 1, 1, 0xbb],
        &[4, 1, 1, 0xbb, 192, 0, 2, 1, 0],
    ];
    for (number, opening) in openings.into_iter().enumerate() {
        let sent = [opening, &hello].concat();
        let stream = Stream::number(number as u32);
        assert_eq!(tap.names(&stream.part(0, &sent)), [b"behind.example"], "{opening:?}");
        let cut = opening.len() + 40;
        let frames = [stream.part(0, &sent[..cut]), stream.part(cut, &sent[cut..])];
        assert_eq!(tap.gathered(&frames), [&hello[..]], "{opening:?}, split");
    }
    assert_eq!(tap.unread_all(), 0);
}

#[test]
fn a_hello_behind_plain_text_in_segments_before_it() {
    let tap = Tap::new();
    let hello = Hello::named(b"later.example").record();
    let stream = Stream::number(1);
    let at = b"STARTTLS\r\n".len();
    let frames = [
        stream.syn(),
        stream.part(0, b"STARTTLS\r\n"),
        stream.part(at, &hello[..30]),
        stream.part(at + 30, &hello[30..]),
    ];
    assert_eq!(tap.gathered(&frames), [hello]);
}

#[test]
fn without_its_syn_a_segment_that_overtook_the_first_is_not_kept() {
    let tap = Tap::new();
    let whole = Hello::named(b"lost.example").record();
    let stream = Stream::number(1);
    assert!(tap.gathered(&[stream.part(30, &whole[30..]), stream.part(0, &whole[..30])]).is_empty());
    // It is sent again, because nobody acknowledged it.
    assert_eq!(tap.gathered(&[stream.part(30, &whole[30..])]), [whole]);
}

#[test]
fn what_begins_like_a_hello_and_is_none_is_counted_if_it_claimed_to_be_one() {
    let tap = Tap::new();
    let whole = Hello::named(b"none.example").record();
    let mut encrypted = whole.clone();
    encrypted[9] = 0x5c;
    assert!(tap.gathered(&[Stream::number(1).part(0, &encrypted[..20])]).is_empty());
    assert_eq!(tap.unread(Unread::Encrypted), 1);
    // The next record is no handshake.
    let message = Hello::named(b"none.example").message();
    let broken = [record(&message[..50]), vec![0x17, 3, 3, 0, 9]].concat();
    assert!(tap.gathered(&[Stream::number(2).part(0, &broken)]).is_empty());
    assert_eq!(tap.unread(Unread::Malformed), 1);
    // Another handshake message, whose header came alone.
    let stream = Stream::number(3);
    assert!(tap.gathered(&[stream.part(0, &whole[..5]), stream.part(5, &[2, 0, 0])]).is_empty());
    assert_eq!(tap.unread_all(), 2);
}

#[test]
fn too_many_gaps_are_given_up_and_counted() {
    let tap = Tap::new();
    let whole = Hello::default().with(0x15, vec![0; 1000]).with(0, server_name(b"holes.example")).record();
    let stream = Stream::number(1);
    let mut frames = vec![stream.part(0, &whole[..9])];
    frames.extend((1..=17).map(|hole| stream.part(hole * 20, &whole[hole * 20..hole * 20 + 5])));
    assert!(tap.gathered(&frames).is_empty());
    assert_eq!(tap.unread(Unread::OutOfOrder), 1);
}

#[test]
fn a_later_record_that_overtook_the_first_and_looks_like_one() {
    let tap = Tap::new();
    let message = Hello::default().with(0x15, vec![1, 3, 2, 4]).with(0, server_name(b"x.example")).message();
    let cut = message.windows(4).position(|part| part == [1, 3, 2, 4]).unwrap();
    let whole =
        [record(&message[..cut]), record(&message[cut..cut + 4]), record(&message[cut + 4..])].concat();
    let stream = Stream::number(1);
    let at = 5 + cut;
    let frames = [stream.syn(), stream.part(at, &whole[at..]), stream.part(0, &whole[..at])];
    let got = tap.gathered(&frames);
    assert_eq!((got, tap.unread_all()), (vec![whole], 0));
}

#[test]
fn a_half_hello_whose_ports_are_used_again_is_counted_as_one_that_timed_out() {
    let tap = Tap::new();
    let whole = Hello::named(b"again.example").record();
    let (old, new) = (Stream { port: 7, isn: 0 }, Stream { port: 7, isn: 1 << 20 });
    assert!(tap.gathered(&[old.part(0, &whole[..30]), new.part(0, &whole[..30])]).is_empty());
    assert_eq!(tap.unread(Unread::TimedOut), 1);
    assert_eq!(tap.gathered(&[new.part(30, &whole[30..])]), [whole]);
    assert_eq!(tap.unread_all(), 1);
}
