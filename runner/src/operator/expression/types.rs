//! The types of an expression's parts, and what is done with two of them.

use super::{
    Fault,
    cidr::Networks,
    list::List,
    number::{Float, Number},
    text::Text,
    truth::Truth,
};
use crate::{datasource::Scalar, operator::comparison::Comparison};

/// A compiled part of an expression, by its type.
pub(super) enum Value {
    Nil,
    Truth(Truth),
    Number(Number),
    Float(Float),
    Text(Text),
    List(List),
    Networks(Networks),
}

impl Value {
    /// What it is, in a message.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Truth(_) => "true or false",
            Self::Number(_) => "a whole number",
            Self::Float(_) => "a decimal number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Networks(_) => "networks",
        }
    }
}

/// What the elements of a list are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ElementType {
    Truth,
    Number,
    Float,
    Text,
}

impl ElementType {
    pub(super) fn of(list: &List) -> Self {
        match list {
            List::Truths(_) => Self::Truth,
            List::Numbers(_) | List::Range(_) => Self::Number,
            List::Floats(_) => Self::Float,
            List::Texts(_) | List::Split(_) => Self::Text,
            List::Field(field) => match field.kind().scalar {
                Scalar::Bool => Self::Truth,
                Scalar::Float32 | Scalar::Float64 => Self::Float,
                Scalar::String | Scalar::CString | Scalar::Bytes | Scalar::Invalid => Self::Text,
                _ => Self::Number,
            },
        }
    }
}

pub(super) fn expected(at: usize, wanted: &str, found: &Value) -> Fault {
    Fault::new(at, format!("expected {wanted}, but this is {}", found.what()))
}

/// Two values of one type.
pub(super) enum Alike {
    Truths(Truth, Truth),
    Numbers(Number, Number),
    Floats(Float, Float),
    Texts(Text, Text),
}

/// Brings two values to one type: a whole number becomes decimal beside one that is.
pub(super) fn alike(a: Value, b: Value) -> Result<Alike, (Value, Value)> {
    Ok(match (a, b) {
        (Value::Truth(a), Value::Truth(b)) => Alike::Truths(a, b),
        (Value::Number(a), Value::Number(b)) => Alike::Numbers(a, b),
        (Value::Float(a), Value::Float(b)) => Alike::Floats(a, b),
        (Value::Number(a), Value::Float(b)) => Alike::Floats(Float::OfNumber(Box::new(a)), b),
        (Value::Float(a), Value::Number(b)) => Alike::Floats(a, Float::OfNumber(Box::new(b))),
        (Value::Text(a), Value::Text(b)) => Alike::Texts(a, b),
        other => return Err(other),
    })
}

pub(super) fn compare(at: usize, sign: &str, a: Value, b: Value) -> Result<Truth, Fault> {
    let how = match sign {
        "==" => Comparison::Equal,
        "!=" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        _ => Comparison::GreaterOrEqual,
    };
    match alike(a, b) {
        Ok(Alike::Numbers(a, b)) => Ok(Truth::Numbers(how, Box::new((a, b)))),
        Ok(Alike::Floats(a, b)) => Ok(Truth::Floats(how, Box::new((a, b)))),
        Ok(Alike::Texts(a, b)) => Ok(Truth::Texts(how, Box::new((a, b)))),
        Ok(Alike::Truths(a, b)) if how == Comparison::Equal => Ok(Truth::Same(Box::new((a, b)))),
        Ok(Alike::Truths(a, b)) if how == Comparison::NotEqual => {
            Ok(Truth::Not(Box::new(Truth::Same(Box::new((a, b))))))
        }
        Ok(Alike::Truths(..)) => Err(Fault::new(at, format!("{sign} does not work with true or false"))),
        // Nothing is nil but nil.
        Err((Value::Nil, Value::Nil)) if how == Comparison::Equal => Ok(Truth::Constant(true)),
        Err((Value::Nil, _) | (_, Value::Nil)) if how == Comparison::Equal => Ok(Truth::Constant(false)),
        Err((Value::Nil, _) | (_, Value::Nil)) if how == Comparison::NotEqual => Ok(Truth::Constant(true)),
        Err((a, b)) => Err(Fault::new(at, format!("{sign} cannot compare {} with {}", a.what(), b.what()))),
    }
}
