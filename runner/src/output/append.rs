//! Appending short runs of bytes. An event's text is put together from a hundred of them, so a call to the C
//! library's `memcpy` for each would cost more than the copying; musl's, which the static binary has, most of all.
//! Copies of a fixed size compile to a few instructions.

/// Bytes copied at once of a [`Literal`].
const CHUNK: usize = 32;

/// Text that is known before the first event, in padded chunks.
#[derive(Debug, Default)]
pub(super) struct Literal {
    chunks: Vec<[u8; CHUNK]>,
    len: usize,
}

impl Literal {
    pub(super) fn new(text: &[u8]) -> Self {
        let chunks = text.chunks(CHUNK).map(|part| {
            let mut chunk = [0; CHUNK];
            chunk[..part.len()].copy_from_slice(part);
            chunk
        });
        Self { chunks: chunks.collect(), len: text.len() }
    }

    #[inline]
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.len;
        for chunk in &self.chunks {
            out.extend_from_slice(chunk);
        }
        // The last chunk's padding.
        out.truncate(end);
    }
}

/// Appends text that is mostly short.
#[inline]
pub(super) fn short(text: &[u8], out: &mut Vec<u8>) {
    match text.len() {
        0 => {}
        1..4 => text.iter().for_each(|&b| out.push(b)),
        4..8 => overlapping::<4>(text, out),
        8..16 => overlapping::<8>(text, out),
        16..32 => overlapping::<16>(text, out),
        32..64 => overlapping::<32>(text, out),
        _ => out.extend_from_slice(text),
    }
}

/// Appends text of N to 2N bytes: its first N, and over their end its last N.
#[inline]
fn overlapping<const N: usize>(text: &[u8], out: &mut Vec<u8>) {
    if let (Some(first), Some(last)) = (text.first_chunk::<N>(), text.last_chunk::<N>()) {
        let end = out.len() + text.len();
        out.extend_from_slice(first);
        out.truncate(end - N);
        out.extend_from_slice(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_copied_whole() {
        let text: Vec<u8> = (0..200).collect();
        for len in 0..=text.len() {
            let mut out = b"before".to_vec();
            short(&text[..len], &mut out);
            Literal::new(&text[..len]).append(&mut out);
            assert_eq!(out, [b"before", &text[..len], &text[..len]].concat());
        }
    }
}
