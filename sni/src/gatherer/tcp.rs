//! Hellos out of TCP segments.
//!
//! What is kept of a connection begins with the first byte that a hello can begin with; plaintext in front of
//! it is let go as soon as it is in order.

use alloc::vec::Vec;
use core::{mem, time::Duration};

use super::{Gatherer, Given, Key, Reason, Segment, State, Step};
use crate::{
    ClientHello, Error, Flow, Transport,
    record::{self, Beginning},
    stream::{LIMIT, Stream},
};

/// What is kept of one connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// The sequence number that it began with.
    start: u32,
    /// The sequence number of the first byte of `stream`.
    base: u32,
    stream: Stream,
    segments: u32,
    /// Bytes of plaintext that may still be let go before the connection is given up; none if its SYN was not
    /// seen.
    patience: usize,
    begun: bool,
}

impl Connection {
    fn new(base: u32, patience: usize) -> Self {
        Self { start: base, base, stream: Stream::new(), segments: 0, patience, begun: false }
    }

    pub(super) fn memory(&self) -> usize {
        self.stream.memory()
    }

    /// Whether a hello's beginning is at the front.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Takes a segment and gives what is at the front then. Nothing if it goes too far to be
    /// kept, and completes no hello.
    fn take(&mut self, sequence: u32, payload: &[u8], joined: &mut Vec<u8>) -> Option<Located> {
        // Sequence numbers wrap: what is less than half of them ahead comes later.
        let ahead = sequence.wrapping_sub(self.base);
        let (offset, payload) = if ahead < 1 << 31 {
            (ahead, payload)
        } else {
            let old = usize::try_from(ahead.wrapping_neg()).unwrap_or(usize::MAX);
            (0, payload.get(old..).unwrap_or(&[]))
        };
        if !payload.is_empty() {
            self.segments = self.segments.saturating_add(1);
        }
        let kept_all = self.stream.insert(u64::from(offset), payload);
        let located = locate(self.stream.bytes(), joined);
        if !kept_all && !matches!(located, Located::Whole(_) | Located::TooLarge) {
            return None;
        }
        let passed = match located {
            Located::Whole(at) | Located::Begun(at) | Located::Perhaps(at) => at,
            Located::Nowhere { .. } | Located::TooLarge => self.stream.bytes().len(),
        };
        if passed > 0 {
            self.stream.discard(passed);
            self.base = self.base.wrapping_add(u32::try_from(passed).unwrap_or(u32::MAX));
            self.patience = self.patience.saturating_sub(passed);
        }
        self.begun = matches!(located, Located::Whole(_) | Located::Begun(_));
        Some(located)
    }
}

/// What is in some bytes of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Located {
    /// A whole hello that can be read, from this byte on.
    Whole(usize),
    /// The beginning of a hello, from this byte on.
    Begun(usize),
    /// What can be such a beginning.
    Perhaps(usize),
    /// None; `malformed`: though something began like one.
    Nowhere { malformed: bool },
    /// A hello that is longer than what is kept.
    TooLarge,
}

/// Looks for a hello. What only begins like one hides none behind it.
fn locate(bytes: &[u8], joined: &mut Vec<u8>) -> Located {
    let mut from = 0;
    let mut malformed = false;
    loop {
        let at = match record::find(&bytes[from..]) {
            Beginning::At(at) => from + at,
            Beginning::Perhaps(at) => return Located::Perhaps(from + at),
            Beginning::Nowhere => return Located::Nowhere { malformed },
        };
        let message = record::message(&bytes[at..], joined);
        match message.and_then(|message| ClientHello::parse(message, Transport::Tcp)) {
            Ok(_) => return Located::Whole(at),
            Err(Error::NeedMore { .. }) => return Located::Begun(at),
            Err(Error::TooLarge) => return Located::TooLarge,
            Err(_) => malformed = true,
        }
        from = at + 1;
    }
}

impl Gatherer {
    pub(super) fn tcp_step<'a>(&mut self, flow: Flow, segment: Segment<'a>, now: Duration) -> Step<'a> {
        let key = Key::Tcp(flow);
        let Segment { mut sequence, syn, payload } = segment;
        if syn {
            // It takes a number; data in it, as with TCP Fast Open, has the ones behind.
            sequence = sequence.wrapping_add(1);
            // The same SYN may come again, also after plaintext that was let go.
            if !matches!(self.flows.get(&key), Some(State::Tcp(known)) if known.start == sequence) {
                self.flows.insert(key, State::Tcp(Connection::new(sequence, LIMIT)), now);
            }
        }
        match self.flows.get(&key) {
            Some(State::Tcp(_)) => self.known(key, sequence, payload, now),
            Some(State::Given(Given::UpTo(end))) if sequence.wrapping_sub(*end) >= 1 << 31 => Step::Nothing,
            _ => self.unknown(key, sequence, payload, now),
        }
    }

    /// A segment of a connection of which nothing is kept.
    fn unknown<'a>(&mut self, key: Key, sequence: u32, payload: &'a [u8], now: Duration) -> Step<'a> {
        match locate(payload, &mut self.joined) {
            Located::Whole(at) => Step::Records(&payload[at..]),
            Located::Begun(at) | Located::Perhaps(at) => {
                let offset = u32::try_from(at).unwrap_or(u32::MAX);
                let mut connection = Connection::new(sequence.wrapping_add(offset), 0);
                if connection.take(connection.base, &payload[at..], &mut self.joined).is_none() {
                    return Step::Failed(Reason::TooLarge);
                }
                self.flows.insert(key, State::Tcp(connection), now);
                Step::Pending
            }
            Located::Nowhere { malformed: true } => Step::Failed(Reason::Malformed),
            Located::Nowhere { malformed: false } => Step::Nothing,
            Located::TooLarge => Step::Failed(Reason::TooLarge),
        }
    }

    /// A segment of a connection of which something is kept.
    fn known<'a>(&mut self, key: Key, sequence: u32, payload: &'a [u8], now: Duration) -> Step<'a> {
        let joined = &mut self.joined;
        let taken = self.flows.update(&key, |state| match state {
            State::Tcp(connection) => {
                let located = connection.take(sequence, payload, joined);
                (located, connection.begun, connection.patience == 0)
            }
            _ => (None, false, true),
        });
        let Some((located, begun, given_up)) = taken else { return Step::Nothing };
        match located {
            Some(Located::Whole(_)) => self.give(key, now),
            Some(Located::Begun(_) | Located::Perhaps(_)) => Step::Pending,
            Some(Located::Nowhere { malformed }) => {
                if given_up {
                    self.flows.remove(&key);
                }
                match malformed {
                    true => Step::Failed(Reason::Malformed),
                    false if given_up => Step::Nothing,
                    false => Step::Pending,
                }
            }
            Some(Located::TooLarge) => {
                self.flows.remove(&key);
                Step::Failed(Reason::TooLarge)
            }
            None => {
                self.flows.remove(&key);
                match self.unknown(key, sequence, payload, now) {
                    Step::Nothing if begun => Step::Failed(Reason::OutOfOrder),
                    other => other,
                }
            }
        }
    }

    /// Hands out the hello at the front of what is kept, and remembers how far it went.
    fn give<'a>(&mut self, key: Key, now: Duration) -> Step<'a> {
        let Some(State::Tcp(mut connection)) = self.flows.remove(&key) else { return Step::Nothing };
        self.kept = mem::take(&mut connection.stream);
        let len = u32::try_from(self.kept.bytes().len()).unwrap_or(0);
        let end = connection.base.wrapping_add(len);
        self.flows.insert(key, State::Given(Given::UpTo(end)), now);
        Step::Kept(Transport::Tcp, connection.segments)
    }
}
