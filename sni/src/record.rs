//! The TLS records that a hello lies in (RFC 8446, section 5.1).
//!
//! A hello can be spread over records, and its first record need not be the first bytes of a connection:
//! STARTTLS, a proxy's CONNECT or a PROXY header come before it, also in the same segment. So a beginning is
//! looked for at every byte, and told by all that is fixed there.

use alloc::vec::Vec;

use crate::{
    ClientHello, Error, Transport,
    hello::{CLIENT_HELLO, HANDSHAKE_HEADER, MIN_LEN},
    reader::Reader,
    stream::LIMIT,
};

/// Bytes before a record's content: type, version, length.
pub const HEADER: usize = 5;
/// The most that a plaintext record holds.
pub const MAX_CONTENT: usize = 1 << 14;

const HANDSHAKE: u8 = 22;
/// TLS 1.0 to 1.3 write 3, 1 or 3, 3; no version of TLS has more than 4 there.
const MAX_MINOR: u8 = 4;
/// Type and length of the handshake message, then the hello's version: what tells a beginning.
const TELLING: usize = HANDSHAKE_HEADER + 2;

/// Where in some bytes a hello begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// At this byte begins a record that holds a hello's beginning.
    At(usize),
    /// From this byte on, all that is there can be such a beginning, and it is too short to tell.
    Perhaps(usize),
    /// Nowhere.
    Nowhere,
}

/// Finds the first beginning of a hello in `bytes`.
#[must_use]
pub fn find(bytes: &[u8]) -> Beginning {
    let mut from = 0;
    while let Some(step) = bytes.get(from..).and_then(|rest| rest.iter().position(|byte| *byte == HANDSHAKE))
    {
        let at = from + step;
        match begins(&bytes[at..]) {
            Ok(()) => return Beginning::At(at),
            Err(Error::NeedMore { .. }) => return Beginning::Perhaps(at),
            Err(_) => from = at + 1,
        }
    }
    Beginning::Nowhere
}

/// Whether a record that holds a hello's beginning is at the front.
fn begins(bytes: &[u8]) -> Result<(), Error> {
    let mut telling = [0; TELLING];
    let mut len = 0;
    let mut first_record = 0;
    for fragment in fragments(bytes) {
        let fragment = fragment?;
        if first_record == 0 {
            first_record = fragment.stated;
        }
        for byte in fragment.content.iter().take(TELLING - len) {
            telling[len] = *byte;
            len += 1;
        }
        check(&telling[..len], first_record)?;
        if len == TELLING {
            return Ok(());
        }
        if fragment.content.len() < fragment.stated {
            break;
        }
    }
    Err(Error::NeedMore { bytes: 1 })
}

/// Whether the first bytes of a handshake message, as far as they are there, can be a hello's.
fn check(telling: &[u8], first_record: usize) -> Result<(), Error> {
    let fixed = |at: usize, fine: fn(u8) -> bool| telling.get(at).is_none_or(|byte| fine(*byte));
    let fits = telling.get(2..4).is_none_or(|low| {
        let len = usize::from(low[0]) << 8 | usize::from(low[1]);
        // A client has nothing else to say in the record that ends its hello.
        len >= MIN_LEN && first_record <= HANDSHAKE_HEADER + len
    });
    let hello = fixed(0, |kind| kind == CLIENT_HELLO)
        && fixed(1, |high| high == 0)
        && fixed(4, |major| major == 3)
        && fixed(5, |minor| minor <= MAX_MINOR);
    if hello && fits { Ok(()) } else { Err(Error::NotAHello) }
}

/// The handshake message whose records are at the front of `bytes`: a part of `bytes` if it lies in one
/// record, and otherwise put together in `joined`.
///
/// # Errors
///
/// [`Error::NeedMore`] if it goes on behind `bytes`, [`Error::TooLarge`] if it does so past what is kept of a
/// flow, [`Error::Malformed`] if something else comes between its records, [`Error::NotAHello`] if no such
/// record is there.
pub fn message<'a>(bytes: &'a [u8], joined: &'a mut Vec<u8>) -> Result<&'a [u8], Error> {
    let total = message_len(bytes)?;
    joined.clear();
    for fragment in fragments(bytes) {
        let content = fragment?.content;
        if joined.is_empty() && content.len() >= total {
            return Ok(&content[..total]);
        }
        let missing = total - joined.len();
        joined.extend_from_slice(&content[..content.len().min(missing)]);
        if joined.len() == total {
            break;
        }
    }
    Ok(joined)
}

/// Length of the handshake message at the front, with its header, once all of it is there.
///
/// # Errors
///
/// As [`message`].
pub fn message_len(bytes: &[u8]) -> Result<usize, Error> {
    let mut header = [0; HANDSHAKE_HEADER];
    let (mut seen, mut records) = (0, 0);
    let mut total = None;
    for fragment in fragments(bytes) {
        let fragment = match fragment {
            // A record of another kind is one thing in front of a message and another in its middle.
            Err(Error::NotAHello) if seen > 0 => {
                return Err(Error::Malformed("another record inside the hello"));
            }
            other => other?,
        };
        records += 1;
        for (to, from) in header.iter_mut().skip(seen).zip(fragment.content) {
            *to = *from;
        }
        seen += fragment.content.len();
        if seen >= HANDSHAKE_HEADER && total.is_none() {
            let len = Reader(&header[1..]).u24().unwrap_or(0) + HANDSHAKE_HEADER;
            if len + records * HEADER > LIMIT {
                return Err(Error::TooLarge);
            }
            total = Some(len);
        }
        match total {
            Some(total) if seen >= total => return Ok(total),
            _ if fragment.content.len() < fragment.stated => break,
            _ => {}
        }
    }
    let missing = total.unwrap_or(HANDSHAKE_HEADER).saturating_sub(seen).max(1);
    if bytes.len() + missing > LIMIT {
        return Err(Error::TooLarge);
    }
    Err(Error::NeedMore { bytes: missing })
}

/// Reads the hello whose records are at the front of `bytes`; a hello in several records is put together in
/// `joined`.
///
/// # Errors
///
/// As [`message`] and [`ClientHello::parse`].
pub fn parse<'a>(bytes: &'a [u8], joined: &'a mut Vec<u8>) -> Result<ClientHello<'a>, Error> {
    ClientHello::parse(message(bytes, joined)?, Transport::Tcp)
}

/// The content of one record, as far as it is there.
struct Fragment<'a> {
    content: &'a [u8],
    stated: usize,
}

/// The handshake records at the front, up to where the bytes end, even in the middle of a record; an error
/// ends it.
fn fragments(bytes: &[u8]) -> impl Iterator<Item = Result<Fragment<'_>, Error>> {
    let mut rest = Some(bytes);
    core::iter::from_fn(move || {
        let bytes = rest.take()?;
        let fine = |at: usize, fine: fn(u8) -> bool| bytes.get(at).is_none_or(|byte| fine(*byte));
        if !fine(0, |kind| kind == HANDSHAKE)
            || !fine(1, |major| major == 3)
            || !fine(2, |minor| minor <= MAX_MINOR)
        {
            return Some(Err(Error::NotAHello));
        }
        let Some((header, content)) = bytes.split_first_chunk::<HEADER>() else {
            return Some(Err(Error::NeedMore { bytes: HEADER - bytes.len() }));
        };
        let stated = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if stated == 0 || stated > MAX_CONTENT {
            return Some(Err(Error::NotAHello));
        }
        let (content, next) = content.split_at(content.len().min(stated));
        rest = Some(next);
        Some(Ok(Fragment { content, stated }))
    })
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use super::{Beginning, find, message, message_len};
    use crate::Error;

    /// The beginning of a record with a hello of 100 bytes, in which 9 bytes of it are.
    const START: [u8; 14] = [0x16, 3, 1, 0, 104, 1, 0, 0, 100, 3, 3, 0, 0, 0];

    #[test]
    fn a_beginning_is_told_by_all_that_is_fixed() {
        assert_eq!(find(&START), Beginning::At(0));
        assert_eq!(find(&[&b"plain\x16\x16"[..], &START].concat()), Beginning::At(7));
        for len in 1..11 {
            assert_eq!(find(&START[..len]), Beginning::Perhaps(0), "{len}");
        }
        assert_eq!(find(&[]), Beginning::Nowhere);
        // Type, version, no length, one past the record's limit, one past the message's end, and what is not
        // a hello.
        let others = [
            (0, 0x17),
            (1, 2),
            (2, 5),
            (3, 0x40),
            (4, 0),
            (4, 105),
            (5, 2),
            (6, 1),
            (8, 37),
            (9, 2),
            (10, 5),
        ];
        for (at, value) in others {
            let mut bytes = START;
            bytes[at] = value;
            assert_eq!(find(&bytes), Beginning::Nowhere, "byte {at} = {value}");
        }
    }

    #[test]
    fn a_beginning_over_several_records() {
        let spread: Vec<u8> = START[5..11].iter().flat_map(|byte| [0x16, 3, 3, 0, 1, *byte]).collect();
        assert_eq!(find(&spread), Beginning::At(0));
        assert_eq!(find(&spread[..35]), Beginning::Perhaps(0));
        let mut other = spread;
        other[12] = 0x17;
        assert_eq!(find(&other), Beginning::Nowhere);
    }

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!(message_len(&START), Err(Error::NeedMore { bytes: 104 - 9 }));
        assert_eq!(message_len(&START[..7]), Err(Error::NeedMore { bytes: 2 }));
        assert_eq!(message_len(&START[..3]), Err(Error::NeedMore { bytes: 2 }));
        assert_eq!(message_len(&[0x17]), Err(Error::NotAHello));
        let mut large = START;
        large[7] = 0x40;
        assert_eq!(message_len(&large), Err(Error::TooLarge));
    }

    #[test]
    fn one_record_is_borrowed_and_several_are_joined() {
        let mut joined = vec![];
        let one = [22, 3, 1, 0, 6, 1, 0, 0, 2, 7, 8, 99];
        assert_eq!(message(&one, &mut joined), Ok(&one[5..11]));
        assert!(joined.is_empty());
        let two = [22, 3, 1, 0, 5, 1, 0, 0, 2, 7, 22, 3, 3, 0, 3, 8, 9, 9];
        assert_eq!(message(&two, &mut joined), Ok(&[1, 0, 0, 2, 7, 8][..]));
        let mut cut = two;
        cut[10] = 21;
        assert!(matches!(message(&cut, &mut joined), Err(Error::Malformed(_))));
    }
}
