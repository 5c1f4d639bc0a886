//! What an expression compiles to: what is true or false.

use regex::bytes::Regex;

use super::{
    cidr::Networks,
    list::{List, Numbers, Texts},
    number::{Float, Number},
    program::{Context, Element, Outcome, Scratch},
    text::{Text, find},
};
use crate::{
    datasource::{Accessor, Value},
    operator::comparison::Comparison,
};

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
            Self::Contains(both) => texts(both, cx, scratch, |a, b| find(a, b).is_some())?,
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
