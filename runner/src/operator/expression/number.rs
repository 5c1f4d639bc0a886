//! What an expression compiles to: numbers, whole ones and those with a fraction.

use super::{
    list::List,
    program::{Context, Element, Failure, Outcome, Scratch},
    text::{self, Text},
    truth::Truth,
};
use crate::datasource::{Accessor, Value};

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
                let of = text.eval(cx, scratch)?;
                text::characters(scratch.of(of)) as i128
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
                place(text::find(scratch.of(a), scratch.of(b)))
            }
            Self::LastIndexOf(both) => {
                let (a, b) = (both.0.eval(cx, scratch)?, both.1.eval(cx, scratch)?);
                place(text::find_last(scratch.of(a), scratch.of(b)))
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
