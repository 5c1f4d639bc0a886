//! What an expression compiles to: truths and numbers. Every node knows its type and where its fields lie.

use std::cmp::Ordering;

use regex::bytes::Regex;

use super::{
    cidr::Networks,
    list::{List, Numbers, Texts},
    text::Text,
};
use crate::datasource::{Accessor, Event, Value};

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

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// Whether it holds for values of this order; values without order (NaN) are unequal.
    fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

/// How many elements of a list must satisfy a predicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    Any,
    All,
    None,
    One,
}

/// A node that is true or false.
pub(super) enum Truth {
    Constant(bool),
    Field(Accessor),
    Element,
    Not(Box<Truth>),
    All(Vec<Truth>),
    Any(Vec<Truth>),
    Same(Box<(Truth, Truth)>),
    If(Box<(Truth, Truth, Truth)>),
    Numbers(Comparison, Box<(Number, Number)>),
    Floats(Comparison, Box<(Float, Float)>),
    Texts(Comparison, Box<(Text, Text)>),
    Contains(Box<(Text, Text)>),
    StartsWith(Box<(Text, Text)>),
    EndsWith(Box<(Text, Text)>),
    Matches(Box<(Text, Regex)>),
    InNumbers(Box<(Number, Numbers)>),
    InTexts(Box<(Text, Texts)>),
    InNetworks(Box<(Text, Networks)>),
    /// Number in list.
    NumberIn(Box<(Number, List)>),
    /// Float in list.
    FloatIn(Box<(Float, List)>),
    /// Text in list.
    TextIn(Box<(Text, List)>),
    Quantified(Quantity, Box<(List, Truth)>),
}

impl Truth {
    pub(super) fn eval(&self, cx: &Context<'_>, scratch: &mut Scratch) -> Outcome<bool> {
        Ok(match self {
            Self::Constant(value) => *value,
            Self::Field(field) => matches!(field.value(cx.event), Value::Bool(true)),
            Self::Element => matches!(cx.element, Element::Truth(true)),
            Self::Not(inner) => !inner.eval(cx, scratch)?,
            Self::All(all) => {
                for one in all {
                    if !one.eval(cx, scratch)? {
                        return Ok(false);
                    }
                }
                true
            }
            Self::Any(any) => {
                for one in any {
                    if one.eval(cx, scratch)? {
                        return Ok(true);
                    }
                }
                false
            }
            Self::Same(both) => both.0.eval(cx, scratch)? == both.1.eval(cx, scratch)?,
            Self::If(parts) => match parts.0.eval(cx, scratch)? {
                true => parts.1.eval(cx, scratch)?,
                false => parts.2.eval(cx, scratch)?,
            },
            Self::Numbers(how, both) => {
                let (a, b) = (both.0.eval(cx, scratch)?, both.1.eval(cx, scratch)?);
                how.holds(Some(a.cmp(&b)))
            }
            Self::Floats(how, both) => {
                let (a, b) = (both.0.eval(cx, scratch)?, both.1.eval(cx, scratch)?);
                how.holds(a.partial_cmp(&b))
            }
            Self::Texts(how, both) => texts(both, cx, scratch, |a, b| match how {
                Comparison::Equal => a == b,
                Comparison::NotEqual => a != b,
                _ => how.holds(Some(a.cmp(b))),
            })?,
            Self::Contains(both) => texts(both, cx, scratch, |a, b| super::text::find(a, b).is_some())?,
            Self::StartsWith(both) => texts(both, cx, scratch, |a, b| a.starts_with(b))?,
            Self::EndsWith(both) => texts(both, cx, scratch, |a, b| a.ends_with(b))?,
            Self::Matches(both) => {
                let text = both.0.eval(cx, scratch)?;
                both.1.is_match(scratch.of(text))
            }
            Self::InNumbers(both) => both.1.has(both.0.eval(cx, scratch)?),
            Self::InTexts(both) => {
                let text = both.0.eval(cx, scratch)?;
                both.1.has(scratch.of(text))
            }
            Self::InNetworks(both) => {
                let text = both.0.eval(cx, scratch)?;
                both.1.has(scratch.of(text))
            }
            Self::NumberIn(both) => {
                let number = both.0.eval(cx, scratch)?;
                both.1.any(cx, scratch, |element, _| {
                    Ok(match element {
                        Element::Number(n) => n == number,
                        Element::Float(n) => n == number as f64,
                        _ => false,
                    })
                })?
            }
            Self::FloatIn(both) => {
                let number = both.0.eval(cx, scratch)?;
                both.1.any(cx, scratch, |element, _| {
                    Ok(match element {
                        Element::Number(n) => n as f64 == number,
                        Element::Float(n) => n == number,
                        _ => false,
                    })
                })?
            }
            Self::TextIn(both) => {
                let text = both.0.eval(cx, scratch)?;
                both.1.any(cx, scratch, |element, scratch| {
                    Ok(matches!(element, Element::Text(t) if scratch.of(t) == scratch.of(text)))
                })?
            }
            Self::Quantified(quantity, both) => {
                let (list, predicate) = &**both;
                let enough = match quantity {
                    Quantity::Any | Quantity::None | Quantity::All => 1,
                    Quantity::One => 2,
                };
                let wanted = *quantity != Quantity::All;
                let mut found = 0;
                list.any(cx, scratch, |element, scratch| {
                    let holds = predicate.eval(&Context { element, ..*cx }, scratch)?;
                    found += usize::from(holds == wanted);
                    Ok(found >= enough)
                })?;
                match quantity {
                    Quantity::Any | Quantity::One => found == 1,
                    Quantity::None | Quantity::All => found == 0,
                }
            }
        })
    }
}

/// Evaluates two texts and looks at both.
fn texts(
    both: &(Text, Text),
    cx: &Context<'_>,
    scratch: &mut Scratch,
    test: impl FnOnce(&[u8], &[u8]) -> bool,
) -> Outcome<bool> {
    let (a, b) = (both.0.eval(cx, scratch)?, both.1.eval(cx, scratch)?);
    Ok(test(scratch.of(a), scratch.of(b)))
}

/// What is done with two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
    Min,
    Max,
}

/// A node that is a whole number. 128 bits hold the values of every field, signed or not.
pub(super) enum Number {
    Constant(i128),
    Field(Accessor),
    Element,
    Negative(Box<Number>),
    Absolute(Box<Number>),
    Arithmetic(Arithmetic, Box<(Number, Number)>),
    If(Box<(Truth, Number, Number)>),
    /// Characters of a text.
    Length(Text),
    /// Elements of a list.
    ListLength(List),
    /// Elements that satisfy a predicate.
    Count(Box<(List, Truth)>),
    Sum(List),
    At(Box<(List, Number)>),
    /// Where a text first contains another, in bytes; -1 if nowhere.
    IndexOf(Box<(Text, Text)>),
    /// Where a text last contains another, in bytes; -1 if nowhere.
    LastIndexOf(Box<(Text, Text)>),
    /// A float without its fraction.
    OfFloat(Box<Float>),
    OfText(Text),
}

impl Number {
    pub(super) fn eval(&self, cx: &Context<'_>, scratch: &mut Scratch) -> Outcome<i128> {
        Ok(match self {
            Self::Constant(value) => *value,
            Self::Field(field) => match field.value(cx.event) {
                Value::Unsigned(value) => i128::from(value),
                Value::Signed(value) => i128::from(value),
                _ => 0,
            },
            Self::Element => match cx.element {
                Element::Number(value) => value,
                _ => 0,
            },
            Self::Negative(of) => of.eval(cx, scratch)?.checked_neg().ok_or(Failure::Overflow)?,
            Self::Absolute(of) => of.eval(cx, scratch)?.checked_abs().ok_or(Failure::Overflow)?,
            Self::Arithmetic(what, both) => {
                let (a, b) = (both.0.eval(cx, scratch)?, both.1.eval(cx, scratch)?);
                match what {
                    Arithmetic::Add => a.checked_add(b),
                    Arithmetic::Subtract => a.checked_sub(b),
                    Arithmetic::Multiply => a.checked_mul(b),
                    Arithmetic::Divide | Arithmetic::Remainder if b == 0 => return Err(Failure::Division),
                    Arithmetic::Divide => a.checked_div(b),
                    Arithmetic::Remainder => a.checked_rem(b),
                    Arithmetic::Power => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
                    Arithmetic::Min => Some(a.min(b)),
                    Arithmetic::Max => Some(a.max(b)),
                }
                .ok_or(Failure::Overflow)?
            }
            Self::If(parts) => match parts.0.eval(cx, scratch)? {
                true => parts.1.eval(cx, scratch)?,
                false => parts.2.eval(cx, scratch)?,
            },
            Self::Length(text) => {
                let text = text.eval(cx, scratch)?;
                super::text::characters(scratch.of(text)) as i128
            }
            Self::ListLength(list) => list.len(cx, scratch)?,
            Self::Count(both) => {
                let mut count = 0;
                both.0.any(cx, scratch, |element, scratch| {
                    count += i128::from(both.1.eval(&Context { element, ..*cx }, scratch)?);
                    Ok(false)
                })?;
                count
            }
            Self::Sum(list) => {
                let mut sum = 0_i128;
                list.any(cx, scratch, |element, _| {
                    if let Element::Number(value) = element {
                        sum = sum.checked_add(value).ok_or(Failure::Overflow)?;
                    }
                    Ok(false)
                })?;
                sum
            }
            Self::At(both) => match both.0.at(&both.1, cx, scratch)? {
                Element::Number(value) => value,
                _ => 0,
            },
            Self::IndexOf(both) => {
                let (a, b) = (both.0.eval(cx, scratch)?, both.1.eval(cx, scratch)?);
                place(super::text::find(scratch.of(a), scratch.of(b)))
            }
            Self::LastIndexOf(both) => {
                let (a, b) = (both.0.eval(cx, scratch)?, both.1.eval(cx, scratch)?);
                place(super::text::find_last(scratch.of(a), scratch.of(b)))
            }
            Self::OfFloat(of) => of.eval(cx, scratch)? as i128,
            Self::OfText(text) => {
                let text = text.eval(cx, scratch)?;
                parsed(scratch.of(text))?
            }
        })
    }
}

fn place(found: Option<usize>) -> i128 {
    found.map_or(-1, |at| at as i128)
}

fn parsed<T: std::str::FromStr>(text: &[u8]) -> Outcome<T> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(Failure::Number)
}

/// A node that is a number with a fraction.
pub(super) enum Float {
    Constant(f64),
    Field(Accessor),
    Element,
    Negative(Box<Float>),
    /// A function of the standard library, such as `f64::floor`.
    Rounded(fn(f64) -> f64, Box<Float>),
    Arithmetic(Arithmetic, Box<(Float, Float)>),
    If(Box<(Truth, Float, Float)>),
    Sum(List),
    At(Box<(List, Number)>),
    OfNumber(Box<Number>),
    OfText(Text),
}

impl Float {
    pub(super) fn eval(&self, cx: &Context<'_>, scratch: &mut Scratch) -> Outcome<f64> {
        Ok(match self {
            Self::Constant(value) => *value,
            Self::Field(field) => match field.value(cx.event) {
                Value::Float(value) => value,
                _ => 0.0,
            },
            Self::Element => match cx.element {
                Element::Float(value) => value,
                _ => 0.0,
            },
            Self::Negative(of) => -of.eval(cx, scratch)?,
            Self::Rounded(how, of) => how(of.eval(cx, scratch)?),
            Self::Arithmetic(what, both) => {
                let (a, b) = (both.0.eval(cx, scratch)?, both.1.eval(cx, scratch)?);
                match what {
                    Arithmetic::Add => a + b,
                    Arithmetic::Subtract => a - b,
                    Arithmetic::Multiply => a * b,
                    Arithmetic::Divide => a / b,
                    Arithmetic::Remainder => a % b,
                    Arithmetic::Power => a.powf(b),
                    Arithmetic::Min => a.min(b),
                    Arithmetic::Max => a.max(b),
                }
            }
            Self::If(parts) => match parts.0.eval(cx, scratch)? {
                true => parts.1.eval(cx, scratch)?,
                false => parts.2.eval(cx, scratch)?,
            },
            Self::Sum(list) => {
                let mut sum = 0.0;
                list.any(cx, scratch, |element, _| {
                    if let Element::Float(value) = element {
                        sum += value;
                    }
                    Ok(false)
                })?;
                sum
            }
            Self::At(both) => match both.0.at(&both.1, cx, scratch)? {
                Element::Float(value) => value,
                _ => 0.0,
            },
            Self::OfNumber(of) => of.eval(cx, scratch)? as f64,
            Self::OfText(text) => {
                let text = text.eval(cx, scratch)?;
                parsed(scratch.of(text))?
            }
        })
    }
}
