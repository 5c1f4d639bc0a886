//! The frames that an Initial packet may have (RFC 9000, sections 12.4 and 19).

use crate::{Error, reader::Reader};

const PADDING: u64 = 0x00;
const PING: u64 = 0x01;
const ACK: u64 = 0x02;
const ACK_ECN: u64 = 0x03;
const CRYPTO: u64 = 0x06;
const CONNECTION_CLOSE: u64 = 0x1c;

/// A piece of the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crypto<'a> {
    /// Where in the handshake it belongs.
    pub offset: u64,
    /// Its bytes.
    pub data: &'a [u8],
}

/// The CRYPTO frames of an opened packet, in the packet's order; an error ends it.
pub fn crypto(frames: &[u8]) -> impl Iterator<Item = Result<Crypto<'_>, Error>> {
    let mut reader = Some(Reader(frames));
    core::iter::from_fn(move || {
        let mut rest = reader.take()?;
        while !rest.is_empty() {
            match next(&mut rest) {
                Ok(None) => {}
                Ok(Some(crypto)) => {
                    reader = Some(rest);
                    return Some(Ok(crypto));
                }
                Err(what) => return Some(Err(Error::Malformed(what))),
            }
        }
        None
    })
}

fn next<'a>(reader: &mut Reader<'a>) -> Result<Option<Crypto<'a>>, &'static str> {
    match reader.varint().ok_or("a frame without a type")? {
        PADDING => {
            let padding = reader.0.iter().take_while(|byte| **byte == 0).count();
            reader.take(padding);
            Ok(None)
        }
        PING => Ok(None),
        kind @ (ACK | ACK_ECN) => skip_ack(reader, kind).map(|()| None).ok_or("ACK frame"),
        CRYPTO => read_crypto(reader).map(Some).ok_or("CRYPTO frame"),
        CONNECTION_CLOSE => {
            // Nothing of a handshake follows the end of its connection.
            reader.0 = &[];
            Ok(None)
        }
        _ => Err("a frame that an Initial packet must not have"),
    }
}

fn skip_ack(reader: &mut Reader, kind: u64) -> Option<()> {
    let (_largest, _delay, ranges, _first) =
        (reader.varint()?, reader.varint()?, reader.varint()?, reader.varint()?);
    for _ in 0..ranges {
        let (_gap, _len) = (reader.varint()?, reader.varint()?);
    }
    if kind == ACK_ECN {
        let (_ect0, _ect1, _ce) = (reader.varint()?, reader.varint()?, reader.varint()?);
    }
    Some(())
}

fn read_crypto<'a>(reader: &mut Reader<'a>) -> Option<Crypto<'a>> {
    let offset = reader.varint()?;
    let len = usize::try_from(reader.varint()?).ok()?;
    Some(Crypto { offset, data: reader.take(len)? })
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::{Crypto, crypto};
    use crate::Error;

    #[test]
    fn only_crypto_frames_are_of_interest() {
        let frames = [
            &[1, 0, 0, 0][..],
            &[6, 3, 2, b'd', b'e'],
            &[2, 9, 0x40, 25, 1, 0, 1, 2],
            &[3, 9, 0, 0, 0, 1, 2, 3],
            &[6, 0, 0x40, 3, b'a', b'b', b'c', 1],
            &[0x1c, 0, 0, 0, 99, 99],
        ]
        .concat();
        let expected = [Crypto { offset: 3, data: b"de" }, Crypto { offset: 0, data: b"abc" }];
        assert_eq!(crypto(&frames).collect::<Result<Vec<_>, _>>(), Ok(expected.to_vec()));
    }

    #[test]
    fn a_frame_that_is_cut_or_out_of_place_ends_it() {
        let cases: [&[u8]; 6] = [&[6, 0, 2, 1], &[6, 0], &[2, 9, 0, 5, 0, 1], &[8, 0], &[0x40], &[0x1d]];
        for frames in cases {
            assert!(matches!(crypto(frames).next(), Some(Err(Error::Malformed(_)))), "{frames:?}");
            assert_eq!(crypto(frames).count(), 1);
        }
    }
}
