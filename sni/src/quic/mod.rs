//! The hello in the Initial packets that begin a QUIC connection (RFC 9000 and 9001; version 2: RFC 9369).
//!
//! These packets are encrypted with keys that everybody can derive from the connection id that the client
//! chose for its first packet. The hello is in CRYPTO frames, which clients cut up and shuffle on purpose,
//! over several packets and datagrams. The keys stay those of the first id when the server replaces it, and
//! change only with a Retry.

pub mod frame;
pub mod header;
pub mod keys;

use alloc::vec::Vec;

use crate::{
    ClientHello, Error, Transport,
    stream::{LIMIT, Stream},
};
use header::Initial;
use keys::Keys;

/// The least length of an id that a client chooses for its first packet (RFC 9000, section 7.2).
pub const MIN_FIRST_ID: usize = 8;

/// What has come of one connection's hello.
#[derive(Debug, Clone)]
pub struct Connection {
    keys: Keys,
    handshake: Stream,
    largest: Option<u64>,
    packets: u32,
}

impl Connection {
    /// The connection that `initial` begins, if it begins one. Nothing is read yet.
    ///
    /// # Errors
    ///
    /// [`Error::NotAHello`] if it is for an id that no client begins with.
    pub fn begun_by(initial: &Initial) -> Result<Self, Error> {
        if initial.destination.as_bytes().len() < MIN_FIRST_ID {
            return Err(Error::NotAHello);
        }
        let keys = Keys::client(initial.version, &initial.destination);
        Ok(Self { keys, handshake: Stream::new(), largest: None, packets: 0 })
    }

    /// Takes what `initial` has of the hello. `frames` is room to decrypt in.
    ///
    /// # Errors
    ///
    /// [`Error::Encrypted`] if the packet is not of this connection, or not of its client;
    /// [`Error::Malformed`] if it has frames that it must not have; [`Error::TooLarge`] if the handshake goes
    /// past what is kept.
    pub fn take(&mut self, initial: &Initial, frames: &mut Vec<u8>) -> Result<(), Error> {
        let number = self.keys.open(initial, self.largest, frames)?;
        self.largest = self.largest.max(Some(number));
        self.packets = self.packets.saturating_add(1);
        for crypto in frame::crypto(frames) {
            let crypto = crypto?;
            if !self.handshake.insert(crypto.offset, crypto.data) {
                return Err(Error::TooLarge);
            }
        }
        Ok(())
    }

    /// The hello, once all of it has come.
    ///
    /// # Errors
    ///
    /// As [`ClientHello::parse`], and [`Error::TooLarge`] if it goes past what is kept.
    pub fn hello(&self) -> Result<ClientHello<'_>, Error> {
        hello(&self.handshake)
    }

    /// What has come of the handshake.
    #[must_use]
    pub fn handshake(&self) -> &Stream {
        &self.handshake
    }

    /// The handshake, for which nothing else is needed once the hello has come, and how many packets it came
    /// in.
    #[must_use]
    pub fn into_handshake(self) -> (Stream, u32) {
        (self.handshake, self.packets)
    }
}

/// The hello at the front of a handshake.
///
/// # Errors
///
/// As [`Connection::hello`].
pub(crate) fn hello(handshake: &Stream) -> Result<ClientHello<'_>, Error> {
    match ClientHello::parse(handshake.bytes(), Transport::Quic) {
        Err(Error::NeedMore { bytes }) if handshake.bytes().len() + bytes > LIMIT => Err(Error::TooLarge),
        other => other,
    }
}
