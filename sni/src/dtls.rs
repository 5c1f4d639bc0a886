//! The fragments of a hello in DTLS records (RFC 6347, section 4; RFC 9147, sections 4 and 5).
//!
//! Each record says which epoch it is of, and each fragment which message it is of and where in it it
//! belongs. Only what comes before encryption is of interest: epoch 0.

use crate::{hello::CLIENT_HELLO, reader::Reader};

const HANDSHAKE: u8 = 22;

/// A piece of a ClientHello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// Which of the client's handshake messages: 0, or 1 for the hello that answers a HelloVerifyRequest.
    pub message: u16,
    /// Length of the whole hello, without a handshake header.
    pub total: usize,
    /// Where in the hello this piece belongs.
    pub offset: usize,
    /// The piece.
    pub data: &'a [u8],
}

impl Fragment<'_> {
    /// Whether it is the whole hello.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.offset == 0 && self.data.len() == self.total
    }
}

/// Whether the datagram begins with a handshake record of DTLS 1.0 to 1.3, before encryption.
#[must_use]
pub fn is_dtls(datagram: &[u8]) -> bool {
    matches!(datagram, [HANDSHAKE, 0xfe, 0xfd..=0xff, 0, 0, ..])
}

/// The pieces of hellos in a datagram, up to the first bytes that are no record.
pub fn fragments(datagram: &[u8]) -> impl Iterator<Item = Fragment<'_>> {
    let mut records = Reader(datagram);
    let mut content = Reader(&[]);
    core::iter::from_fn(move || {
        loop {
            while let Some((kind, fragment)) = next_fragment(&mut content) {
                if kind == CLIENT_HELLO {
                    return Some(fragment);
                }
            }
            content = Reader(next_handshake(&mut records)?);
        }
    })
}

/// The content of the next handshake record that is not encrypted; other records are left out.
fn next_handshake<'a>(records: &mut Reader<'a>) -> Option<&'a [u8]> {
    loop {
        let kind = records.byte()?;
        let version = records.u16()?;
        let epoch = records.u16()?;
        records.take(6)?; // sequence number
        let content = records.vector16()?;
        if version >> 8 != 0xfe {
            return None;
        }
        if kind == HANDSHAKE && epoch == 0 {
            return Some(content);
        }
    }
}

/// Type and content of the next fragment; nothing if what is there does not agree with itself.
fn next_fragment<'a>(content: &mut Reader<'a>) -> Option<(u8, Fragment<'a>)> {
    let kind = content.byte()?;
    let total = content.u24()?;
    let message = content.u16()?;
    let offset = content.u24()?;
    let len = content.u24()?;
    let data = content.take(len)?;
    (offset + len <= total).then_some((kind, Fragment { message, total, offset, data }))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::{Fragment, fragments, is_dtls};

    fn record(kind: u8, epoch: u8, content: &[u8]) -> Vec<u8> {
        [&[kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 1, 0, content.len() as u8][..], content].concat()
    }

    #[test]
    fn only_pieces_of_hellos_in_the_clear() {
        let hello = [1, 0, 0, 9, 0, 1, 0, 0, 4, 0, 0, 2, b'a', b'b'];
        let other = [2, 0, 0, 2, 0, 1, 0, 0, 0, 0, 0, 2, b'a', b'b'];
        let datagram = [
            record(22, 0, &[&other[..], &hello].concat()),
            record(21, 0, &[1, 0]),
            record(22, 1, &hello),
            record(22, 0, &hello),
        ]
        .concat();
        assert!(is_dtls(&datagram));
        let expected = Fragment { message: 1, total: 9, offset: 4, data: b"ab" };
        assert_eq!(fragments(&datagram).collect::<Vec<_>>(), [expected, expected]);
        assert!(!expected.is_whole());
    }

    #[test]
    fn a_fragment_past_its_message_is_none() {
        let lying = record(22, 0, &[1, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 2, b'a', b'b']);
        assert_eq!(fragments(&lying).count(), 0);
        for len in 0..lying.len() {
            assert_eq!(fragments(&lying[..len]).count(), 0);
        }
    }
}
