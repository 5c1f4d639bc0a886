//! What an expression compiles to: lists. None is ever built for an event: its elements are looked at one by one.

use super::{
    number::{Float, Number},
    program::{Context, Element, Failure, Outcome, Piece, Scratch},
    text::{Text, find, part},
    truth::Truth,
};
use crate::datasource::{Accessor, Kind, Scalar, Value, decode};

/// A node that is a list.
pub(super) enum List {
    Truths(Vec<Truth>),
    Numbers(Vec<Number>),
    Floats(Vec<Float>),
    Texts(Vec<Text>),
    /// From a number to another, both included.
    Range(Box<(Number, Number)>),
    /// A field that is an array.
    Field(Accessor),
    /// The parts of a text between separators.
    Split(Box<(Text, Text)>),
}

/// Numbers that never change.
pub(super) struct Numbers(Box<[i128]>);

impl Numbers {
    pub(super) fn new(mut numbers: Vec<i128>) -> Self {
        numbers.sort_unstable();
        numbers.dedup();
        Self(numbers.into())
    }

    pub(super) fn has(&self, number: i128) -> bool {
        self.0.binary_search(&number).is_ok()
    }
}

/// Texts that never change.
pub(super) struct Texts(Box<[Box<[u8]>]>);

impl Texts {
    pub(super) fn new(mut texts: Vec<Box<[u8]>>) -> Self {
        texts.sort_unstable();
        texts.dedup();
        Self(texts.into())
    }

    pub(super) fn has(&self, text: &[u8]) -> bool {
        self.0.binary_search_by(|known| (**known).cmp(text)).is_ok()
    }
}

impl List {
    /// Looks at the elements in order, until `found` says so of one.
    pub(super) fn any<'a>(
        &'a self,
        cx: &Context<'a>,
        scratch: &mut Scratch,
        mut found: impl FnMut(Element<'a>, &mut Scratch) -> Outcome<bool>,
    ) -> Outcome<bool> {
        // What an element needed, the next one does not.
        let mut look = |element: Element<'a>, scratch: &mut Scratch| {
            scratch.step()?;
            let mark = scratch.len();
            let is = found(element, scratch)?;
            scratch.truncate(mark);
            Ok(is)
        };
        match self {
            Self::Truths(all) => {
                for one in all {
                    let element = Element::Truth(one.eval(cx, scratch)?);
                    if look(element, scratch)? {
                        return Ok(true);
                    }
                }
            }
            Self::Numbers(all) => {
                for one in all {
                    let element = Element::Number(one.eval(cx, scratch)?);
                    if look(element, scratch)? {
                        return Ok(true);
                    }
                }
            }
            Self::Floats(all) => {
                for one in all {
                    let element = Element::Float(one.eval(cx, scratch)?);
                    if look(element, scratch)? {
                        return Ok(true);
                    }
                }
            }
            Self::Texts(all) => {
                for one in all {
                    let element = Element::Text(one.eval(cx, scratch)?);
                    if look(element, scratch)? {
                        return Ok(true);
                    }
                }
            }
            Self::Range(ends) => {
                let (from, to) = (ends.0.eval(cx, scratch)?, ends.1.eval(cx, scratch)?);
                for number in from..=to {
                    if look(Element::Number(number), scratch)? {
                        return Ok(true);
                    }
                }
            }
            Self::Field(field) => {
                for element in elements(field, cx) {
                    if look(element, scratch)? {
                        return Ok(true);
                    }
                }
            }
            Self::Split(both) => {
                let (text, separator) = (both.0.eval(cx, scratch)?, both.1.eval(cx, scratch)?);
                let mut at = 0;
                loop {
                    let rest = scratch.of(text).get(at..).unwrap_or_default();
                    let cut = match scratch.of(separator).len() {
                        // Between all characters.
                        0 => rest
                            .utf8_chunks()
                            .next()
                            .map(|c| c.valid().chars().next().map_or(1, char::len_utf8)),
                        _ => find(rest, scratch.of(separator)),
                    };
                    let end = at + cut.unwrap_or(rest.len());
                    let length = scratch.of(text).len();
                    let separated = scratch.of(separator).len();
                    if separated == 0 && at == length {
                        return Ok(false);
                    }
                    if look(Element::Text(part(text, at, end)), scratch)? {
                        return Ok(true);
                    }
                    if cut.is_none() {
                        return Ok(false);
                    }
                    at = end + separated;
                }
            }
        }
        Ok(false)
    }

    pub(super) fn len(&self, cx: &Context<'_>, scratch: &mut Scratch) -> Outcome<i128> {
        Ok(match self {
            Self::Truths(all) => all.len() as i128,
            Self::Numbers(all) => all.len() as i128,
            Self::Floats(all) => all.len() as i128,
            Self::Texts(all) => all.len() as i128,
            Self::Range(ends) => {
                let (from, to) = (ends.0.eval(cx, scratch)?, ends.1.eval(cx, scratch)?);
                to.saturating_sub(from).saturating_add(1).max(0)
            }
            Self::Field(_) | Self::Split(_) => {
                let mut count = 0;
                self.any(cx, scratch, |_, _| {
                    count += 1;
                    Ok(false)
                })?;
                count
            }
        })
    }

    /// The element at a place, from the end if it is negative.
    pub(super) fn at<'a>(
        &'a self,
        place: &'a Number,
        cx: &Context<'a>,
        scratch: &mut Scratch,
    ) -> Outcome<Element<'a>> {
        let mut place = place.eval(cx, scratch)?;
        if place < 0 {
            place = place.saturating_add(self.len(cx, scratch)?);
        }
        let mut found = Element::None;
        let mut at = 0;
        let there = self.any(cx, scratch, |element, _| {
            found = element;
            at += 1;
            Ok(at - 1 == place)
        })?;
        if there { Ok(found) } else { Err(Failure::Index) }
    }
}

/// The elements of a field that is an array.
fn elements<'a>(field: &Accessor, cx: &Context<'a>) -> impl Iterator<Item = Element<'a>> {
    let (scalar, bytes) = match field.value(cx.event) {
        Value::Array(scalar, bytes) => (scalar, bytes),
        _ => (Scalar::Uint8, &[][..]),
    };
    let kind = Kind { scalar, array: false };
    bytes.chunks_exact(kind.size().unwrap_or(1)).map(move |bytes| match decode(kind, bytes) {
        Value::Unsigned(value) => Element::Number(i128::from(value)),
        Value::Signed(value) => Element::Number(i128::from(value)),
        Value::Float(value) => Element::Float(value),
        Value::Bool(value) => Element::Truth(value),
        Value::Text(bytes) | Value::Bytes(bytes) | Value::Array(_, bytes) => {
            Element::Text(Piece::Borrowed(bytes))
        }
    })
}
