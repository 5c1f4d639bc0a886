//! One face for whoever taps packets: bytes in, hellos out.
//!
//! A gatherer takes TCP segments and UDP datagrams as they pass, in any order, and gives each hello once all
//! of it has passed. It keeps the half-seen ones in bounded room ([`crate::flows`]) and counts by reason what
//! it could not read. A hello that passes whole is read where it lies, without a copy.

mod tcp;
mod udp;

use alloc::{boxed::Box, vec::Vec};
use core::time::Duration;

use crate::{
    ClientHello, Error, Flow, Transport,
    flows::{self, Flows},
    quic::{self, header::ConnectionId},
    record,
    stream::Stream,
};

/// Puts hellos together from what passes.
#[derive(Debug, Default)]
pub struct Gatherer {
    flows: Flows<Key, State>,
    counters: Counters,
    /// Where the bytes of a hello stay that was put together, until the next call.
    kept: Stream,
    joined: Vec<u8>,
    frames: Vec<u8>,
}

/// A TCP segment of one direction.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// The sequence number in its header.
    pub sequence: u32,
    /// Whether it opens the connection: only then what comes out of order before a hello's beginning can be
    /// kept.
    pub syn: bool,
    /// What it carries.
    pub payload: &'a [u8],
}

/// A hello, and what it came in.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// The hello.
    pub hello: ClientHello<'a>,
    /// How many segments of TCP, packets of QUIC or fragments of DTLS passed while it was put together.
    pub segments: u32,
}

/// What came of some bytes.
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'a> {
    /// They complete a hello.
    Hello(Found<'a>),
    /// They are kept, or belong to what is waited for.
    Pending,
    /// They are of no hello, or of one that was given before.
    Nothing,
    /// They are, or end, a hello that cannot be read.
    Unreadable(Reason),
}

/// Why a hello could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Its lengths do not agree.
    Malformed,
    /// It does not decrypt with the keys of its connection.
    Encrypted,
    /// A part of it is missing, and what came after it went too far.
    OutOfOrder,
    /// It is longer than what is kept of a flow.
    TooLarge,
}

/// How many hellos could not be read, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// There was no room to wait for the rest.
    pub evicted: u64,
    /// The rest did not come within [`flows::AGE`].
    pub timed_out: u64,
    /// Lengths did not agree.
    pub malformed: u64,
    /// A packet did not decrypt.
    pub encrypted: u64,
    /// A part was missing, and what came after it went past what is kept.
    pub out_of_order: u64,
    /// It was longer than what is kept of a flow.
    pub too_large: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Tcp(Flow),
    Quic(Flow, ConnectionId),
    Dtls(Flow, u16),
}

impl flows::Key for Key {
    fn flow(&self) -> &Flow {
        match self {
            Self::Tcp(flow) | Self::Quic(flow, _) | Self::Dtls(flow, _) => flow,
        }
    }
}

#[derive(Debug)]
enum State {
    Tcp(tcp::Connection),
    /// In a box, for its keys are large and most states have none.
    Quic(Box<quic::Connection>),
    Dtls(udp::Message),
    /// All of its hello was given: what comes again begins no other one.
    Given(Given),
}

#[derive(Debug, Clone, Copy)]
enum Given {
    /// The sequence number behind the hello.
    UpTo(u32),
    /// The hello's random.
    Random([u8; 32]),
}

impl flows::State for State {
    fn memory(&self) -> usize {
        match self {
            Self::Tcp(connection) => connection.memory(),
            Self::Quic(connection) => size_of::<quic::Connection>() + connection.handshake().memory(),
            Self::Dtls(message) => message.memory(),
            Self::Given(_) => 0,
        }
    }

    fn waits(&self) -> bool {
        match self {
            Self::Tcp(connection) => connection.has_begun(),
            Self::Quic(_) | Self::Dtls(_) => true,
            Self::Given(_) => false,
        }
    }
}

/// The entries of the ordered maps, each of which may be half empty.
const _: () = assert!(2 * (2 * size_of::<Key>() + size_of::<State>() + 200) <= flows::FLOW_COST);

/// What came of some bytes, before the hello is borrowed from where it is.
#[derive(Clone, Copy)]
enum Step<'a> {
    Nothing,
    Pending,
    Failed(Reason),
    /// Whole in what was handed in.
    Here(ClientHello<'a>),
    /// Whole in the record or records at the front of this.
    Records(&'a [u8]),
    /// Put together in `kept`, from this many pieces.
    Kept(Transport, u32),
}

impl Gatherer {
    /// A gatherer that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            flows: Flows::new(),
            counters: Counters {
                evicted: 0,
                timed_out: 0,
                malformed: 0,
                encrypted: 0,
                out_of_order: 0,
                too_large: 0,
            },
            kept: Stream::new(),
            joined: Vec::new(),
            frames: Vec::new(),
        }
    }

    /// Takes a TCP segment that passed at `now`, on any clock that goes forward.
    ///
    /// A hello may begin anywhere in it. What comes out of order is kept once the hello's beginning was seen,
    /// or if the SYN was; before that, nobody can tell which bytes to keep.
    pub fn tcp<'a>(&'a mut self, flow: Flow, segment: Segment<'a>, now: Duration) -> Outcome<'a> {
        self.flows.expire(now);
        let step = self.tcp_step(flow, segment, now);
        self.outcome(step)
    }

    /// Takes the payload of a UDP packet that passed at `now`. `gso_size`: the length of the datagrams that
    /// the packet will be cut into (UDP_SEGMENT), 0 if it is one.
    pub fn udp<'a>(
        &'a mut self,
        flow: Flow,
        payload: &'a [u8],
        gso_size: usize,
        now: Duration,
    ) -> Outcome<'a> {
        self.flows.expire(now);
        let step = self.udp_step(flow, payload, gso_size, now);
        self.outcome(step)
    }

    /// Forgets what was waited for too long. Every other call does so as well.
    pub fn expire(&mut self, now: Duration) {
        self.flows.expire(now);
    }

    /// How many hellos could not be read so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters { evicted: self.flows.evicted(), timed_out: self.flows.timed_out(), ..self.counters }
    }

    /// Bytes that the half-seen hellos are charged for: [`flows::MEMORY`] at the most.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.flows.memory()
    }

    fn outcome<'a>(&'a mut self, step: Step<'a>) -> Outcome<'a> {
        let (hello, segments) = match step {
            Step::Nothing => return Outcome::Nothing,
            Step::Pending => return Outcome::Pending,
            Step::Failed(reason) => {
                self.counters.count(reason);
                return Outcome::Unreadable(reason);
            }
            Step::Here(hello) => (Ok(hello), 1),
            Step::Records(records) => (record::parse(records, &mut self.joined), 1),
            Step::Kept(Transport::Tcp, segments) => {
                (record::parse(self.kept.bytes(), &mut self.joined), segments)
            }
            Step::Kept(Transport::Quic, segments) => (quic::hello(&self.kept), segments),
            Step::Kept(Transport::Dtls, segments) => {
                (ClientHello::parse_body(self.kept.bytes(), Transport::Dtls), segments)
            }
        };
        match hello {
            Ok(hello) => Outcome::Hello(Found { hello, segments }),
            Err(error) => {
                let reason = Reason::of(error);
                self.counters.count(reason);
                Outcome::Unreadable(reason)
            }
        }
    }
}

impl Reason {
    /// Why bytes that began like a hello gave none.
    fn of(error: Error) -> Self {
        match error {
            Error::Encrypted => Self::Encrypted,
            Error::TooLarge => Self::TooLarge,
            Error::Malformed(_) | Error::NotAHello | Error::NeedMore { .. } => Self::Malformed,
        }
    }
}

impl Counters {
    fn count(&mut self, reason: Reason) {
        *match reason {
            Reason::Malformed => &mut self.malformed,
            Reason::Encrypted => &mut self.encrypted,
            Reason::OutOfOrder => &mut self.out_of_order,
            Reason::TooLarge => &mut self.too_large,
        } += 1;
    }
}
