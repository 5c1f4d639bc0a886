//! What an expression compiles to: texts. They are bytes, which need not be UTF-8.

use super::{
    list::List,
    number::Number,
    program::{Context, Element, Outcome, Piece, Scratch},
    truth::Truth,
};
use crate::datasource::{Accessor, Value};

/// A node that is text.
pub(super) enum Text {
    Constant(Box<[u8]>),
    Field(Accessor),
    Element,
    If(Box<(Truth, Text, Text)>),
    Joined(Box<(Text, Text)>),
    Lower(Box<Text>),
    Upper(Box<Text>),
    /// Without the characters at both ends that are in the set, or without blank ones.
    Trimmed(Box<Text>, Option<Box<[char]>>),
    WithoutPrefix(Box<(Text, Text)>),
    WithoutSuffix(Box<(Text, Text)>),
    Replaced(Box<(Text, Text, Text)>),
    /// From a byte to another; from the end if negative.
    Slice(Box<(Text, Option<Number>, Option<Number>)>),
    At(Box<(List, Number)>),
    OfNumber(Box<Number>),
    OfTruth(Box<Truth>),
}

impl Text {
    pub(super) fn eval<'a>(&'a self, cx: &Context<'a>, scratch: &mut Scratch) -> Outcome<Piece<'a>> {
        Ok(match self {
            Self::Constant(bytes) => Piece::Borrowed(bytes),
            Self::Field(field) => match field.value(cx.event) {
                Value::Text(bytes) => Piece::Borrowed(bytes),
                _ => Piece::Borrowed(&[]),
            },
            Self::Element => match cx.element {
                Element::Text(piece) => piece,
                _ => Piece::Borrowed(&[]),
            },
            Self::If(parts) => match parts.0.eval(cx, scratch)? {
                true => parts.1.eval(cx, scratch)?,
                false => parts.2.eval(cx, scratch)?,
            },
            Self::Joined(both) => {
                let (a, b) = (both.0.eval(cx, scratch)?, both.1.eval(cx, scratch)?);
                let start = scratch.len();
                scratch.push_part(a, 0, len(a))?;
                scratch.push_part(b, 0, len(b))?;
                Piece::Made { start, end: scratch.len() }
            }
            Self::Lower(of) => mapped(of.eval(cx, scratch)?, scratch, char::to_lowercase)?,
            Self::Upper(of) => mapped(of.eval(cx, scratch)?, scratch, char::to_uppercase)?,
            Self::Trimmed(of, set) => {
                let piece = of.eval(cx, scratch)?;
                let (from, to) = trimmed(scratch.of(piece), set.as_deref());
                part(piece, from, to)
            }
            Self::WithoutPrefix(both) => {
                let (a, b) = (both.0.eval(cx, scratch)?, both.1.eval(cx, scratch)?);
                let cut = if scratch.of(a).starts_with(scratch.of(b)) { len(b) } else { 0 };
                part(a, cut, len(a))
            }
            Self::WithoutSuffix(both) => {
                let (a, b) = (both.0.eval(cx, scratch)?, both.1.eval(cx, scratch)?);
                let cut = if scratch.of(a).ends_with(scratch.of(b)) { len(b) } else { 0 };
                part(a, 0, len(a) - cut)
            }
            Self::Replaced(parts) => {
                let text = parts.0.eval(cx, scratch)?;
                let (old, by) = (parts.1.eval(cx, scratch)?, parts.2.eval(cx, scratch)?);
                replaced(text, old, by, scratch)?
            }
            Self::Slice(parts) => {
                let piece = parts.0.eval(cx, scratch)?;
                let mut bound = |number: &Option<Number>, default| -> Outcome<usize> {
                    let Some(number) = number else { return Ok(default) };
                    Ok(clamped(number.eval(cx, scratch)?, len(piece)))
                };
                let (from, to) = (bound(&parts.1, 0)?, bound(&parts.2, len(piece))?);
                part(piece, from.min(to), to)
            }
            Self::At(both) => match both.0.at(&both.1, cx, scratch)? {
                Element::Text(piece) => piece,
                _ => Piece::Borrowed(&[]),
            },
            Self::OfNumber(of) => {
                let (number, start) = (of.eval(cx, scratch)?, scratch.len());
                scratch.push(itoa::Buffer::new().format(number).as_bytes())?;
                Piece::Made { start, end: scratch.len() }
            }
            Self::OfTruth(of) => Piece::Borrowed(if of.eval(cx, scratch)? { b"true" } else { b"false" }),
        })
    }
}

fn len(piece: Piece<'_>) -> usize {
    match piece {
        Piece::Borrowed(bytes) => bytes.len(),
        Piece::Made { start, end } => end - start,
    }
}

/// A part of a text; `from` is not behind `to`, nor `to` behind its end.
pub(super) fn part(piece: Piece<'_>, from: usize, to: usize) -> Piece<'_> {
    match piece {
        Piece::Borrowed(bytes) => Piece::Borrowed(bytes.get(from..to).unwrap_or_default()),
        Piece::Made { start, .. } => Piece::Made { start: start + from, end: start + to },
    }
}

/// A place counted from the start, or from the end if it is negative.
fn clamped(place: i128, len: usize) -> usize {
    let from_start = if place < 0 { place.saturating_add(len as i128) } else { place };
    usize::try_from(from_start.max(0)).map_or(len, |place| place.min(len))
}

fn mapped<'a, I: Iterator<Item = char>>(
    piece: Piece<'a>,
    scratch: &mut Scratch,
    map: fn(char) -> I,
) -> Outcome<Piece<'a>> {
    let start = scratch.len();
    let mut at = 0;
    while at < len(piece) {
        // A character is at most four bytes; what is none stays as it is.
        let bytes = scratch.of(piece);
        let head = &bytes[at..bytes.len().min(at + 4)];
        let character = head.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
        match character {
            Some(c) => {
                at += c.len_utf8();
                for c in map(c) {
                    scratch.push(c.encode_utf8(&mut [0; 4]).as_bytes())?;
                }
            }
            None => {
                let byte = bytes[at];
                at += 1;
                scratch.push(&[byte])?;
            }
        }
    }
    Ok(Piece::Made { start, end: scratch.len() })
}

/// Where a text begins and ends without the characters of the set, or blank ones, around it.
fn trimmed(bytes: &[u8], set: Option<&[char]>) -> (usize, usize) {
    let goes = |c: char| set.map_or_else(|| c.is_whitespace(), |set| set.contains(&c));
    let mut from = 0;
    for chunk in bytes.utf8_chunks() {
        let rest = chunk.valid().trim_start_matches(goes);
        from += chunk.valid().len() - rest.len();
        if !rest.is_empty() || !chunk.invalid().is_empty() {
            break;
        }
    }
    let mut to = bytes.len();
    while to > from {
        let start = to.saturating_sub(4).max(from);
        let last = (start..to).find_map(|at| std::str::from_utf8(&bytes[at..to]).ok()?.chars().next_back());
        match last {
            Some(c) if goes(c) => to -= c.len_utf8(),
            _ => break,
        }
    }
    (from, to)
}

fn replaced<'a>(text: Piece<'a>, old: Piece<'a>, by: Piece<'a>, scratch: &mut Scratch) -> Outcome<Piece<'a>> {
    if len(old) == 0 {
        return Ok(text);
    }
    let start = scratch.len();
    let mut at = 0;
    while let Some(found) = find(&scratch.of(text)[at..], scratch.of(old)) {
        scratch.push_part(text, at, at + found)?;
        scratch.push_part(by, 0, len(by))?;
        at += found + len(old);
    }
    scratch.push_part(text, at, len(text))?;
    Ok(Piece::Made { start, end: scratch.len() })
}

/// Where `bytes` first contains `part`.
pub(super) fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, part)
}

/// Where `bytes` last contains `part`.
pub(super) fn find_last(bytes: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::rfind(bytes, part)
}

/// How many characters a text has; a byte that belongs to none counts as one.
pub(super) fn characters(bytes: &[u8]) -> usize {
    bytes.utf8_chunks().map(|chunk| chunk.valid().chars().count() + chunk.invalid().len()).sum()
}
