//! A ClientHello (RFC 8446, section 4.1.2; RFC 5246, section 7.4.1.2; RFC 9147, section 5.3) and what it asks
//! for.
//!
//! What leads to the server name is held against the lengths around it, and the hello is refused where they
//! do not agree: a length that lies must not make a name. The other extensions are read if they can be; one
//! that is damaged takes nothing from the name, which was asked for all the same.

use crate::{
    Error, NameStatus, ServerName,
    reader::{Reader, halves},
};

/// Bytes before a handshake message: its type and its length (RFC 8446, section 4).
pub const HANDSHAKE_HEADER: usize = 4;
/// The handshake type of a ClientHello.
pub const CLIENT_HELLO: u8 = 1;
/// What a hello has at the least: version, random, and three empty vectors.
pub(crate) const MIN_LEN: usize = 2 + 32 + 1 + 2 + 1;

const SERVER_NAME: u16 = 0;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
/// The only type of name that there is (RFC 6066, section 3).
const HOST_NAME: u8 = 0;

/// What a hello travels over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// TLS over a stream.
    Tcp,
    /// QUIC's Initial packets.
    Quic,
    /// DTLS over datagrams.
    Dtls,
}

impl Transport {
    /// The word that users see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
            Self::Dtls => "dtls",
        }
    }
}

/// Whether the hello hides another one (RFC 9849).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ech {
    /// The name is the one that the client wants.
    None,
    /// There is an encrypted hello, or what looks like one: the name is the outer one, and can be a cover.
    Present,
}

impl Ech {
    /// The word that users see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Present => "present",
        }
    }
}

/// A hello whose lengths agree. It borrows the bytes that it was read from.
#[derive(Debug, Clone, Copy)]
pub struct ClientHello<'a> {
    transport: Transport,
    legacy_version: u16,
    random: &'a [u8; 32],
    cipher_suites: &'a [u8],
    extensions: &'a [u8],
    server_name: ServerName<'a>,
}

impl<'a> ClientHello<'a> {
    /// Reads the handshake message at the front of `message`, from its type on. What follows it is not looked
    /// at.
    ///
    /// # Errors
    ///
    /// [`Error::NeedMore`] if the message goes on behind `message`, [`Error::NotAHello`] if it is of another
    /// type, and [`Error::Malformed`] if its lengths do not agree.
    pub fn parse(message: &'a [u8], transport: Transport) -> Result<Self, Error> {
        let mut reader = Reader(message);
        match reader.byte() {
            None => return Err(Error::NeedMore { bytes: HANDSHAKE_HEADER }),
            Some(CLIENT_HELLO) => {}
            Some(_) => return Err(Error::NotAHello),
        }
        let missing = HANDSHAKE_HEADER.saturating_sub(message.len());
        let len = reader.u24().ok_or(Error::NeedMore { bytes: missing })?;
        match reader.take(len) {
            Some(body) => Self::parse_body(body, transport),
            None => Err(Error::NeedMore { bytes: len - reader.len() }),
        }
    }

    /// Reads a hello that has no handshake header: all of `body` is the hello.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] if its lengths do not agree.
    pub fn parse_body(body: &'a [u8], transport: Transport) -> Result<Self, Error> {
        let mut reader = Reader(body);
        let legacy_version = reader.u16().ok_or(Error::Malformed("no version"))?;
        let expected = if transport == Transport::Dtls { 0xfe } else { 0x03 };
        if legacy_version >> 8 != expected {
            return Err(Error::Malformed("a version that is not of this protocol"));
        }
        let random = reader.array().ok_or(Error::Malformed("no random"))?;
        let session_id = reader.vector8().ok_or(Error::Malformed("session id"))?;
        if session_id.len() > 32 {
            return Err(Error::Malformed("a session id of more than 32 bytes"));
        }
        if transport == Transport::Dtls {
            reader.vector8().ok_or(Error::Malformed("cookie"))?;
        }
        let cipher_suites = reader.vector16().ok_or(Error::Malformed("cipher suites"))?;
        if cipher_suites.len() % 2 != 0 {
            return Err(Error::Malformed("half a cipher suite"));
        }
        reader.vector8().ok_or(Error::Malformed("compression methods"))?;
        let extensions: &[u8] =
            if reader.is_empty() { &[] } else { reader.vector16().ok_or(Error::Malformed("extensions"))? };
        if !reader.is_empty() {
            return Err(Error::Malformed("bytes behind the extensions"));
        }
        let server_name = find_server_name(extensions)?;
        Ok(Self { transport, legacy_version, random, cipher_suites, extensions, server_name })
    }

    /// What it travelled over.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The name asked for; empty if there is none.
    #[must_use]
    pub fn server_name(&self) -> ServerName<'a> {
        self.server_name
    }

    /// What is to be said of the name.
    #[must_use]
    pub fn name_status(&self) -> NameStatus {
        self.server_name.status()
    }

    /// The client's random. It is the same in each sighting of a hello, and in its second one after a retry.
    #[must_use]
    pub fn random(&self) -> &'a [u8; 32] {
        self.random
    }

    /// The highest version offered, as it is written on the wire: 0x0304 for TLS 1.3, 0xfefd for DTLS 1.2.
    #[must_use]
    pub fn version(&self) -> u16 {
        let offered =
            self.extension(SUPPORTED_VERSIONS).and_then(|data| Reader(data).vector8()).unwrap_or(&[]);
        let known = halves(offered).filter(|version| !is_grease(*version));
        let highest = if self.transport == Transport::Dtls {
            // DTLS counts down.
            known.filter(|version| version >> 8 == 0xfe).min()
        } else {
            known.max()
        };
        highest.unwrap_or(self.legacy_version)
    }

    /// The first protocol of the ALPN extension (RFC 7301), as it was sent.
    #[must_use]
    pub fn alpn(&self) -> Option<&'a [u8]> {
        let list = Reader(self.extension(ALPN)?).vector16()?;
        Reader(list).vector8().filter(|protocol| !protocol.is_empty())
    }

    /// Whether it hides another hello.
    #[must_use]
    pub fn ech(&self) -> Ech {
        if self.extension(ENCRYPTED_CLIENT_HELLO).is_some() { Ech::Present } else { Ech::None }
    }

    /// The cipher suites in the client's order, with GREASE.
    pub fn cipher_suites(&self) -> impl Iterator<Item = u16> + 'a {
        halves(self.cipher_suites)
    }

    /// Type and data of each extension, in the client's order, with GREASE.
    pub fn extensions(&self) -> impl Iterator<Item = (u16, &'a [u8])> + 'a {
        // That they fill the list was seen when the server name was looked for.
        let mut reader = Reader(self.extensions);
        core::iter::from_fn(move || Some((reader.u16()?, reader.vector16()?)))
    }

    /// The signature algorithms in the client's order, with GREASE.
    pub fn signature_algorithms(&self) -> impl Iterator<Item = u16> + 'a {
        let list = self.extension(SIGNATURE_ALGORITHMS).and_then(|data| Reader(data).vector16());
        halves(list.unwrap_or(&[]))
    }

    fn extension(&self, kind: u16) -> Option<&'a [u8]> {
        self.extensions().find(|(found, _)| *found == kind).map(|(_, data)| data)
    }
}

/// Whether the value is one of those that clients strew in so that servers stay tolerant (RFC 8701).
#[must_use]
pub fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// Walks all extensions, so that none behind the name lies about its length. Of several server names, which
/// no server accepts, the first is the one asked for.
fn find_server_name(extensions: &[u8]) -> Result<ServerName<'_>, Error> {
    let mut reader = Reader(extensions);
    let mut found = None;
    while !reader.is_empty() {
        let kind = reader.u16().ok_or(Error::Malformed("extension"))?;
        let data = reader.vector16().ok_or(Error::Malformed("extension"))?;
        if kind == SERVER_NAME && found.is_none() {
            found = Some(read_server_name(data)?);
        }
    }
    Ok(found.unwrap_or_default())
}

/// The host name in a server_name extension. Names of other types have their length in front, too (RFC 6066,
/// section 3).
fn read_server_name(data: &[u8]) -> Result<ServerName<'_>, Error> {
    let mut reader = Reader(data);
    let mut list = Reader(reader.vector16().ok_or(Error::Malformed("server name list"))?);
    if !reader.is_empty() {
        return Err(Error::Malformed("bytes behind the server names"));
    }
    if list.is_empty() {
        return Err(Error::Malformed("an empty list of server names"));
    }
    let mut found = ServerName::default();
    while !list.is_empty() {
        let kind = list.byte().ok_or(Error::Malformed("server name"))?;
        let name = list.vector16().ok_or(Error::Malformed("server name"))?;
        if kind != HOST_NAME {
            continue;
        }
        if name.is_empty() {
            return Err(Error::Malformed("an empty server name"));
        }
        if !found.0.is_empty() {
            return Err(Error::Malformed("two host names"));
        }
        found = ServerName(name);
    }
    Ok(found)
}
