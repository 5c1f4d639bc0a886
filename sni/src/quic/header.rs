//! Long headers of QUIC, as they are on the wire: most of it protected (RFC 9000, section 17.2; RFC 9369,
//! section 3.2).

use crate::reader::Reader;

/// A version whose Initial packets anybody can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// RFC 9000.
    V1,
    /// RFC 9369.
    V2,
}

impl Version {
    fn from_wire(version: u32) -> Option<Self> {
        match version {
            0x0000_0001 => Some(Self::V1),
            0x6b33_43cf => Some(Self::V2),
            _ => None,
        }
    }

    /// The packet type, of two bits, that is Initial in this version.
    fn initial(self) -> u8 {
        match self {
            Self::V1 => 0,
            Self::V2 => 1,
        }
    }

    /// The packet type that is Retry, which has no length.
    fn retry(self) -> u8 {
        match self {
            Self::V1 => 3,
            Self::V2 => 0,
        }
    }
}

/// The bit of the first byte that tells a long header. The one after it need not be set (RFC 9287).
const LONG: u8 = 0x80;
/// The longest connection id (RFC 9000, section 17.2).
pub const MAX_ID: usize = 20;

/// A connection id: 0 to 20 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    len: u8,
    bytes: [u8; MAX_ID],
}

impl ConnectionId {
    /// The least of all ids, in their order.
    pub const LEAST: Self = Self { len: 0, bytes: [0; MAX_ID] };
    /// An id that no other one comes after.
    pub const GREATEST: Self = Self { len: u8::MAX, bytes: [u8::MAX; MAX_ID] };

    /// The id of these bytes; nothing if they are too many.
    #[must_use]
    pub fn new(id: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_ID];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        Some(Self { len: u8::try_from(id.len()).ok()?, bytes })
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }
}

/// An Initial packet, still protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Initial<'a> {
    /// The version that its header states.
    pub version: Version,
    /// Whom it is for: in a client's first packets an id of its own choice, that the keys are made of.
    pub destination: ConnectionId,
    /// The whole packet, without what is coalesced behind it.
    pub packet: &'a [u8],
    /// Where in `packet` the protected packet number begins.
    pub number_at: usize,
}

/// The Initial packets of a datagram, which can have several packets one behind the other (RFC 9000, section
/// 12.2).
#[derive(Debug, Clone, Copy)]
pub struct Initials<'a> {
    rest: &'a [u8],
}

impl<'a> Initials<'a> {
    /// Those of the datagram with this payload.
    #[must_use]
    pub fn of(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl<'a> Iterator for Initials<'a> {
    type Item = Initial<'a>;

    fn next(&mut self) -> Option<Initial<'a>> {
        loop {
            // Some stacks fill a datagram up with zeros, which begin no packet.
            let start = self.rest.iter().position(|byte| *byte != 0).unwrap_or(self.rest.len());
            let (packet, rest) = long_packet(&self.rest[start..])?;
            self.rest = rest;
            if let Packet::Initial(initial) = packet {
                return Some(initial);
            }
        }
    }
}

enum Packet<'a> {
    Initial(Initial<'a>),
    Other,
}

/// The packet with a long header at the front, and what is behind it. Nothing if there is none, or none whose
/// end can be told.
fn long_packet(bytes: &[u8]) -> Option<(Packet<'_>, &[u8])> {
    let mut reader = Reader(bytes);
    let first = reader.byte()?;
    if first & LONG == 0 {
        return None;
    }
    let version = Version::from_wire(reader.u32()?)?;
    let destination = ConnectionId::new(reader.vector8()?)?;
    ConnectionId::new(reader.vector8()?)?;
    let kind = first >> 4 & 3;
    if kind == version.retry() {
        return None;
    }
    if kind == version.initial() {
        let token = usize::try_from(reader.varint()?).ok()?;
        reader.take(token)?;
    }
    let len = usize::try_from(reader.varint()?).ok()?;
    let number_at = bytes.len() - reader.len();
    reader.take(len)?;
    let packet = &bytes[..number_at + len];
    if kind != version.initial() {
        return Some((Packet::Other, reader.0));
    }
    Some((Packet::Initial(Initial { version, destination, packet, number_at }), reader.0))
}

/// The id that a Retry packet gives to the client, for which its next packets will be (RFC 9000, section
/// 17.2.5). Nothing if the datagram is no Retry.
#[must_use]
pub fn retry(datagram: &[u8]) -> Option<ConnectionId> {
    let mut reader = Reader(datagram);
    let first = reader.byte()?;
    let version = Version::from_wire(reader.u32()?)?;
    if first & LONG == 0 || first >> 4 & 3 != version.retry() {
        return None;
    }
    reader.vector8()?;
    ConnectionId::new(reader.vector8()?)
}

/// Whether the datagram begins with a packet of a version that is read here.
#[must_use]
pub fn is_quic(datagram: &[u8]) -> bool {
    let mut reader = Reader(datagram);
    reader.byte().is_some_and(|first| first & LONG != 0)
        && reader.u32().and_then(Version::from_wire).is_some()
}
