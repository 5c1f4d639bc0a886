//! Hellos out of datagrams: QUIC and DTLS.

use core::{mem, time::Duration};

use alloc::{boxed::Box, vec::Vec};

use super::{Gatherer, Given, Key, Reason, State, Step};
use crate::{
    ClientHello, Error, Flow, Transport,
    dtls::{self, Fragment},
    flows, hello,
    quic::{
        self,
        header::{self, ConnectionId, Initial, Initials},
    },
    stream::{LIMIT, Stream},
};

/// How many connections between the same two ports a packet is tried on, when its id tells nothing.
const TRIES: usize = 4;

/// What is kept of a DTLS hello.
#[derive(Debug)]
pub(super) struct Message {
    body: Stream,
    total: usize,
    fragments: u32,
}

impl Message {
    pub(super) fn memory(&self) -> usize {
        self.body.memory()
    }
}

impl Gatherer {
    pub(super) fn udp_step<'a>(
        &mut self,
        flow: Flow,
        payload: &'a [u8],
        gso_size: usize,
        now: Duration,
    ) -> Step<'a> {
        let size = if gso_size == 0 { payload.len().max(1) } else { gso_size };
        let mut last = Step::Nothing;
        for datagram in payload.chunks(size) {
            let step = if header::is_quic(datagram) {
                self.quic(flow, datagram, now)
            } else if dtls::is_dtls(datagram) {
                self.dtls(flow, datagram, now)
            } else {
                Step::Nothing
            };
            if let Some(end) = self.merge(&mut last, step) {
                return end;
            }
        }
        last
    }

    fn quic<'a>(&mut self, flow: Flow, datagram: &'a [u8], now: Duration) -> Step<'a> {
        if let Some(id) = header::retry(datagram) {
            self.retry(flow.reverse(), id, now);
            return Step::Nothing;
        }
        let mut last = Step::Nothing;
        for initial in Initials::of(datagram) {
            let step = self.initial(flow, &initial, now);
            if let Some(end) = self.merge(&mut last, step) {
                return end;
            }
        }
        last
    }

    fn dtls<'a>(&mut self, flow: Flow, datagram: &'a [u8], now: Duration) -> Step<'a> {
        let mut last = Step::Nothing;
        for fragment in dtls::fragments(datagram) {
            let step = self.fragment(flow, &fragment, now);
            if let Some(end) = self.merge(&mut last, step) {
                return end;
            }
        }
        last
    }

    /// Of what the parts of a packet gave, a hello ends it. Otherwise what failed says more than what waits,
    /// and each failure is counted.
    fn merge<'a>(&mut self, last: &mut Step<'a>, step: Step<'a>) -> Option<Step<'a>> {
        match (&*last, step) {
            (_, end @ (Step::Here(_) | Step::Records(_) | Step::Kept(..))) => {
                if let Step::Failed(reason) = *last {
                    self.counters.count(reason);
                }
                return Some(end);
            }
            (_, Step::Nothing) | (Step::Failed(_), Step::Pending) => {}
            (Step::Failed(_), Step::Failed(reason)) => self.counters.count(reason),
            (_, step) => *last = step,
        }
        None
    }

    fn initial<'a>(&mut self, flow: Flow, initial: &Initial, now: Duration) -> Step<'a> {
        let own = Key::Quic(flow, initial.destination);
        match self.flows.get(&own) {
            Some(State::Given(_)) => return Step::Nothing,
            Some(_) => {
                return self.of_connection(own, initial, now).unwrap_or(Step::Failed(Reason::Encrypted));
            }
            None => {}
        }
        // The server replaced the id, or it is another connection.
        let known = self.on_flow(flow);
        for key in &known {
            if let Some(step) = self.of_connection(*key, initial, now) {
                return step;
            }
        }
        let mut connection = match quic::Connection::begun_by(initial) {
            Ok(connection) => connection,
            Err(_) => return Step::Nothing,
        };
        match connection.take(initial, &mut self.frames) {
            // Later packets, and what the server sends, are sealed with keys that follow from another id.
            Err(Error::Encrypted) if !known.is_empty() || !self.on_flow(flow.reverse()).is_empty() => {
                Step::Nothing
            }
            Err(error) => Step::Failed(Reason::of(error)),
            Ok(()) => match connection.hello() {
                Err(Error::NeedMore { .. }) => {
                    self.flows.insert(own, State::Quic(Box::new(connection)), now);
                    Step::Pending
                }
                Err(error) => Step::Failed(Reason::of(error)),
                Ok(_) => self.give_quic(own, connection, now),
            },
        }
    }

    /// The server asks the client of `flow` to begin again, for `id`: what was given already is not to be
    /// given again. Its random should be the same then, but not every client keeps to that.
    fn retry(&mut self, flow: Flow, id: ConnectionId, now: Duration) {
        let given = self.on_flow(flow).into_iter().find_map(|key| match self.flows.get(&key) {
            Some(State::Given(given)) => Some(*given),
            _ => None,
        });
        let key = Key::Quic(flow, id);
        if let Some(given) = given
            && self.flows.get(&key).is_none()
        {
            self.flows.insert(key, State::Given(given), now);
        }
    }

    /// Connections of the flow, of which something is kept.
    fn on_flow(&self, flow: Flow) -> Vec<Key> {
        let all = Key::Quic(flow, ConnectionId::LEAST)..=Key::Quic(flow, ConnectionId::GREATEST);
        self.flows.keys(all).take(TRIES).collect()
    }

    /// What comes of the packet if it is of that connection.
    fn of_connection<'a>(&mut self, key: Key, initial: &Initial, now: Duration) -> Option<Step<'a>> {
        let frames = &mut self.frames;
        let taken = self.flows.update(&key, |state| match state {
            State::Quic(connection) => {
                connection.take(initial, frames).and_then(|()| connection.hello().map(|_| ()))
            }
            _ => Err(Error::Encrypted),
        });
        match taken? {
            Err(Error::Encrypted) => None,
            Err(Error::NeedMore { .. }) => Some(Step::Pending),
            Err(error) => {
                self.flows.remove(&key);
                Some(Step::Failed(Reason::of(error)))
            }
            Ok(()) => match self.flows.remove(&key) {
                Some(State::Quic(connection)) => Some(self.give_quic(key, *connection, now)),
                _ => Some(Step::Nothing),
            },
        }
    }

    /// Hands out the connection's hello, unless it is one that the client sent before, and the server
    /// answered with a Retry.
    fn give_quic<'a>(&mut self, key: Key, connection: quic::Connection, now: Duration) -> Step<'a> {
        let Ok(random) = connection.hello().map(|hello| *hello.random()) else { return Step::Nothing };
        let mut repeated = false;
        for other in self.on_flow(*flows::Key::flow(&key)) {
            let superseded = match self.flows.get(&other) {
                Some(State::Given(Given::Random(given))) => {
                    repeated |= *given == random;
                    false
                }
                Some(State::Quic(waiting)) => {
                    agrees(waiting.handshake().bytes(), connection.handshake().bytes())
                }
                _ => false,
            };
            if superseded {
                self.flows.remove(&other);
            }
        }
        self.flows.insert(key, State::Given(Given::Random(random)), now);
        if repeated {
            return Step::Nothing;
        }
        let (handshake, packets) = connection.into_handshake();
        self.kept = handshake;
        Step::Kept(Transport::Quic, packets)
    }

    fn fragment<'a>(&mut self, flow: Flow, fragment: &Fragment<'a>, now: Duration) -> Step<'a> {
        if fragment.total > LIMIT {
            return Step::Failed(Reason::TooLarge);
        }
        if fragment.is_whole() {
            return match ClientHello::parse_body(fragment.data, Transport::Dtls) {
                Ok(hello) => Step::Here(hello),
                Err(error) => Step::Failed(Reason::of(error)),
            };
        }
        let key = Key::Dtls(flow, fragment.message);
        match self.flows.get(&key) {
            Some(State::Given(_)) => return Step::Nothing,
            // Another connection between the same ports.
            Some(State::Dtls(message)) if message.total == fragment.total => {}
            _ => {
                let message = Message { body: Stream::new(), total: fragment.total, fragments: 0 };
                self.flows.insert(key, State::Dtls(message), now);
            }
        }
        let whole = self.flows.update(&key, |state| match state {
            State::Dtls(message) => {
                message.fragments = message.fragments.saturating_add(1);
                message.body.insert(fragment.offset as u64, fragment.data);
                message.body.bytes().len() == message.total
            }
            _ => false,
        });
        if whole != Some(true) {
            return Step::Pending;
        }
        let Some(State::Dtls(mut message)) = self.flows.remove(&key) else { return Step::Nothing };
        self.kept = mem::take(&mut message.body);
        if let Ok(hello) = ClientHello::parse_body(self.kept.bytes(), Transport::Dtls) {
            self.flows.insert(key, State::Given(Given::Random(*hello.random())), now);
        }
        Step::Kept(Transport::Dtls, message.fragments)
    }
}

/// Whether two handshakes begin with the same hello, as far as the end of its random. Where that has not
/// come, they may not.
fn agrees(one: &[u8], other: &[u8]) -> bool {
    let told = ..hello::HANDSHAKE_HEADER + 2 + 32;
    one.get(told).is_some_and(|one| other.get(told) == Some(one))
}
