//! Bytes that come by offset, in any order, put back in order.
//!
//! TCP segments and QUIC's CRYPTO frames come out of order, twice, and overlapping. Of bytes that come twice
//! the *first* copy is kept, even if the second differs: what a server acts on depends on its system, and a
//! late copy must not change what was already read. At most [`LIMIT`] bytes are kept, and one bit for each.

use alloc::vec::Vec;

/// The most bytes that are kept of a stream.
pub const LIMIT: usize = 16 * 1024;

/// Some of the first [`LIMIT`] bytes of a stream.
#[derive(Debug, Clone, Default)]
pub struct Stream {
    data: Vec<u8>,
    /// A bit for each byte of `data`: whether it has come.
    come: Vec<u64>,
    /// How many bytes at the front have all come.
    whole: usize,
}

impl Stream {
    /// A stream of which nothing has come.
    #[must_use]
    pub const fn new() -> Self {
        Self { data: Vec::new(), come: Vec::new(), whole: 0 }
    }

    /// Takes the bytes at `offset`, leaving out those that have come before, and gives whether all of them
    /// lie within [`LIMIT`]; those past it are not kept.
    pub fn insert(&mut self, offset: u64, bytes: &[u8]) -> bool {
        let Some(start) = usize::try_from(offset).ok().filter(|start| *start < LIMIT) else {
            return bytes.is_empty();
        };
        let kept = &bytes[..bytes.len().min(LIMIT - start)];
        let end = start + kept.len();
        // What is in front of the gap has come; what is behind all that came is all fresh.
        let known = self.whole.saturating_sub(start).min(kept.len());
        let overlapping = self.data.len().saturating_sub(start).clamp(known, kept.len());
        if end > self.data.len() {
            self.data.resize(end, 0);
            self.come.resize(end.div_ceil(64), 0);
        }
        for (at, byte) in (start + known..).zip(&kept[known..overlapping]) {
            if !self.has(at) {
                self.mark(at, at + 1);
                self.data[at] = *byte;
            }
        }
        self.data[start + overlapping..end].copy_from_slice(&kept[overlapping..]);
        self.mark(start + overlapping, end);
        self.advance();
        kept.len() == bytes.len()
    }

    /// The bytes at the front, up to the first one that has not come.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.data[..self.whole]
    }

    /// Whether bytes have come that are behind a gap.
    #[must_use]
    pub fn has_gap(&self) -> bool {
        self.data.len() > self.whole
    }

    /// Forgets the first `len` bytes, which must have come: offsets count from behind them.
    pub fn discard(&mut self, len: usize) {
        let len = len.min(self.whole);
        let mut rest = Self::new();
        // Runs of bytes that have come, behind what is forgotten.
        let mut at = len;
        while at < self.data.len() {
            let run = (at..self.data.len()).take_while(|at| self.has(*at)).count();
            if run > 0 {
                rest.insert((at - len) as u64, &self.data[at..at + run]);
            }
            at += run.max(1);
        }
        *self = rest;
    }

    /// Bytes of memory that it takes, beside itself.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.data.capacity() + self.come.capacity() * size_of::<u64>()
    }

    fn has(&self, at: usize) -> bool {
        self.come.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// Notes that the bytes from `start` to before `end` have come.
    fn mark(&mut self, start: usize, end: usize) {
        let mut at = start;
        while at < end {
            let len = (64 - at % 64).min(end - at);
            self.come[at / 64] |= u64::MAX >> (64 - len) << (at % 64);
            at += len;
        }
    }

    fn advance(&mut self) {
        while self.whole < self.data.len() {
            let word = self.come.get(self.whole / 64).copied().unwrap_or(0);
            let run = (word >> (self.whole % 64)).trailing_ones() as usize;
            if run == 0 {
                break;
            }
            self.whole += run;
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use proptest::prelude::*;

    use super::{LIMIT, Stream};

    #[test]
    fn the_first_copy_is_kept() {
        let mut stream = Stream::new();
        assert!(stream.insert(2, b"cd"));
        assert_eq!((stream.bytes(), stream.has_gap()), (&b""[..], true));
        assert!(stream.insert(0, b"XYZTe"));
        assert_eq!((stream.bytes(), stream.has_gap()), (&b"XYcde"[..], false));
        assert!(stream.insert(1, b"12345f"));
        assert_eq!(stream.bytes(), b"XYcde5f");
    }

    #[test]
    fn no_more_than_the_limit_is_kept() {
        let mut stream = Stream::new();
        assert!(!stream.insert(LIMIT as u64 - 1, b"ab"));
        assert!(!stream.insert(LIMIT as u64, b"a"));
        assert!(!stream.insert(u64::MAX, b"a"));
        assert!(stream.insert(u64::MAX, b""));
        assert!(stream.insert(0, &[7; LIMIT]));
        assert_eq!(stream.bytes().len(), LIMIT);
        assert_eq!(stream.bytes().last(), Some(&b'a'));
        assert!(stream.memory() <= LIMIT * 2 + LIMIT / 4);
    }

    #[test]
    fn what_is_forgotten_moves_the_rest_to_the_front() {
        let mut stream = Stream::new();
        stream.insert(0, b"abc");
        stream.insert(5, b"fg");
        stream.discard(2);
        assert_eq!(stream.bytes(), b"c");
        stream.insert(1, b"de");
        assert_eq!(stream.bytes(), b"cdefg");
        stream.discard(9);
        assert_eq!((stream.bytes(), stream.memory()), (&b""[..], 0));
    }

    /// Offsets and bytes.
    fn pieces() -> impl Strategy<Value = Vec<(u64, Vec<u8>)>> {
        prop::collection::vec((0u64..20_000, prop::collection::vec(any::<u8>(), 0..300)), 0..60)
    }

    proptest! {
        /// Against a model with a cell for each byte and no limit.
        #[test]
        fn as_a_model_does(pieces in pieces()) {
            let mut model: Vec<Option<u8>> = vec![None; 21_000];
            let mut stream = Stream::new();
            for (offset, bytes) in &pieces {
                let fits = stream.insert(*offset, bytes);
                prop_assert_eq!(fits, bytes.is_empty() || *offset as usize + bytes.len() <= LIMIT);
                for (cell, byte) in model[*offset as usize..].iter_mut().zip(bytes) {
                    cell.get_or_insert(*byte);
                }
                let whole: Vec<u8> = model[..LIMIT].iter().map_while(|cell| *cell).collect();
                prop_assert_eq!(stream.bytes(), &whole[..]);
            }
        }
    }
}
