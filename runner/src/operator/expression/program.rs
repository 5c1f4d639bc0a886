//! What the nodes of a compiled expression share: what they look at, where they put text, and how they fail.

use crate::datasource::Event;

/// What a node makes of an event. An event for which one fails is dropped.
pub(super) type Outcome<T> = Result<T, Failure>;

/// What can only be known to fail once there is an event.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Failure {
    #[error("a number becomes larger than 128 bits can hold")]
    Overflow,
    #[error("a number is divided by zero")]
    Division,
    #[error("a list has no element at that place")]
    Index,
    #[error("int() or float() is given text that is no number")]
    Number,
    #[error("a text becomes longer than {} KiB", MAX_MADE >> 10)]
    Long,
    #[error("its lists have too many elements to look at them all")]
    Steps,
}

/// Bytes of text that one expression may make for one event.
const MAX_MADE: usize = 64 << 10;

/// Elements of lists that one expression may look at for one event.
const MAX_STEPS: u32 = 100_000;

/// What an expression looks at.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) event: &'a Event<'a>,
    /// The element of the innermost predicate.
    pub(super) element: Element<'a>,
}

/// An element of a list.
#[derive(Clone, Copy, Debug)]
pub(super) enum Element<'a> {
    None,
    Truth(bool),
    Number(i128),
    Float(f64),
    Text(Piece<'a>),
}

/// A text: one that exists already, or one made for this event.
#[derive(Clone, Copy, Debug)]
pub(super) enum Piece<'a> {
    Borrowed(&'a [u8]),
    Made { start: usize, end: usize },
}

/// Holds the texts made for an event. It is reused, so that making them does not allocate.
pub(super) struct Scratch {
    made: Vec<u8>,
    steps: u32,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self { made: Vec::with_capacity(512), steps: MAX_STEPS }
    }

    /// Gets ready for another event.
    pub(super) fn clear(&mut self) {
        self.made.clear();
        self.steps = MAX_STEPS;
    }

    /// Pays for a look at an element.
    pub(super) fn step(&mut self) -> Outcome<()> {
        self.steps = self.steps.checked_sub(1).ok_or(Failure::Steps)?;
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.made.len()
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.made.truncate(len);
    }

    /// The bytes of a text.
    pub(super) fn of<'s>(&'s self, piece: Piece<'s>) -> &'s [u8] {
        match piece {
            Piece::Borrowed(bytes) => bytes,
            Piece::Made { start, end } => self.made.get(start..end).unwrap_or_default(),
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Outcome<()> {
        if self.made.len() + bytes.len() > MAX_MADE {
            return Err(Failure::Long);
        }
        self.made.extend_from_slice(bytes);
        Ok(())
    }

    /// Appends a part of a text.
    pub(super) fn push_part(&mut self, piece: Piece<'_>, from: usize, to: usize) -> Outcome<()> {
        match piece {
            Piece::Borrowed(bytes) => self.push(bytes.get(from..to).unwrap_or_default()),
            Piece::Made { start, end } => {
                let (from, to) = ((start + from).min(end), (start + to).min(end));
                if self.made.len() + (to - from) > MAX_MADE {
                    return Err(Failure::Long);
                }
                self.made.extend_from_within(from..to);
                Ok(())
            }
        }
    }
}
