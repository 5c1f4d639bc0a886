//! The functions of expressions, checked and compiled.

use super::{
    Fault,
    check::Checker,
    list::List,
    number::{Arithmetic, Float, Number},
    parser::{Kind, Node},
    text::Text,
    truth::{Quantity, Truth},
    types::{Alike, ElementType, Value, alike, expected},
};
use crate::datasource::nearest;

/// The functions, and how they are called.
const FUNCTIONS: [(&str, &str); 30] = [
    ("abs", "abs(number)"),
    ("all", "all(list, # > 0)"),
    ("any", "any(list, # > 0)"),
    ("ceil", "ceil(number)"),
    ("cidr", "cidr(\"10.0.0.0/8\")"),
    ("count", "count(list, # > 0)"),
    ("first", "first(list)"),
    ("float", "float(number or text)"),
    ("floor", "floor(number)"),
    ("hasPrefix", "hasPrefix(text, prefix)"),
    ("hasSuffix", "hasSuffix(text, suffix)"),
    ("indexOf", "indexOf(text, part)"),
    ("int", "int(number or text)"),
    ("last", "last(list)"),
    ("lastIndexOf", "lastIndexOf(text, part)"),
    ("len", "len(text or list)"),
    ("lower", "lower(text)"),
    ("max", "max(number, number)"),
    ("min", "min(number, number)"),
    ("none", "none(list, # > 0)"),
    ("one", "one(list, # > 0)"),
    ("replace", "replace(text, old, by)"),
    ("round", "round(number)"),
    ("split", "split(text, separator)"),
    ("string", "string(value)"),
    ("sum", "sum(list)"),
    ("trim", "trim(text)"),
    ("trimPrefix", "trimPrefix(text, prefix)"),
    ("trimSuffix", "trimSuffix(text, suffix)"),
    ("upper", "upper(text)"),
];

impl<'t> Checker<'t> {
    pub(super) fn call(&mut self, node: &'t Node, name: &str, arguments: &'t [Node]) -> Result<Value, Fault> {
        let text = |text: Text| Ok(Value::Text(text));
        let truth = |truth: Truth| Ok(Value::Truth(truth));
        match (name, arguments) {
            ("cidr", [_, ..]) => Ok(Value::Networks(self.networks(arguments)?)),
            ("len", [of]) => match self.value(of)? {
                Value::Text(text) => Ok(Value::Number(Number::Length(text))),
                Value::List(list) => Ok(Value::Number(Number::ListLength(list))),
                other => Err(expected(of.at, "text or a list", &other)),
            },
            ("lower", [of]) => text(Text::Lower(Box::new(self.text(of)?))),
            ("upper", [of]) => text(Text::Upper(Box::new(self.text(of)?))),
            ("trim", [of]) => text(Text::Trimmed(Box::new(self.text(of)?), None)),
            ("trim", [of, set]) => {
                let Kind::Text(characters) = &set.kind else {
                    return Err(Fault::new(set.at, "what trim() takes away must be written out"));
                };
                text(Text::Trimmed(Box::new(self.text(of)?), Some(characters.chars().collect())))
            }
            ("trimPrefix", [of]) => text(Text::WithoutPrefix(Box::new((self.text(of)?, blank())))),
            ("trimSuffix", [of]) => text(Text::WithoutSuffix(Box::new((self.text(of)?, blank())))),
            ("trimPrefix", [of, part]) => text(Text::WithoutPrefix(self.texts(of, part)?)),
            ("trimSuffix", [of, part]) => text(Text::WithoutSuffix(self.texts(of, part)?)),
            ("replace", [of, old, by]) => {
                let parts = (self.text(of)?, self.text(old)?, self.text(by)?);
                text(Text::Replaced(Box::new(parts)))
            }
            ("hasPrefix", [of, part]) => truth(Truth::StartsWith(self.texts(of, part)?)),
            ("hasSuffix", [of, part]) => truth(Truth::EndsWith(self.texts(of, part)?)),
            ("indexOf", [of, part]) => Ok(Value::Number(Number::IndexOf(self.texts(of, part)?))),
            ("lastIndexOf", [of, part]) => Ok(Value::Number(Number::LastIndexOf(self.texts(of, part)?))),
            ("split", [of, separator]) => Ok(Value::List(List::Split(self.texts(of, separator)?))),
            ("string", [of]) => match self.value(of)? {
                Value::Text(already) => text(already),
                Value::Number(number) => text(Text::OfNumber(Box::new(number))),
                Value::Truth(truth) => text(Text::OfTruth(Box::new(truth))),
                other => Err(expected(of.at, "a whole number, text, or true or false", &other)),
            },
            ("int", [of]) => Ok(Value::Number(match self.value(of)? {
                Value::Number(number) => number,
                Value::Float(float) => Number::OfFloat(Box::new(float)),
                Value::Text(text) => Number::OfText(text),
                other => return Err(expected(of.at, "a number or text", &other)),
            })),
            ("float", [of]) => Ok(Value::Float(match self.value(of)? {
                Value::Text(text) => Float::OfText(text),
                value => decimal(of, value)?,
            })),
            ("abs", [of]) => match self.value(of)? {
                Value::Number(number) => Ok(Value::Number(Number::Absolute(Box::new(number)))),
                value => rounded(f64::abs, decimal(of, value)?),
            },
            ("ceil", [of]) => rounded(f64::ceil, decimal(of, self.value(of)?)?),
            ("floor", [of]) => rounded(f64::floor, decimal(of, self.value(of)?)?),
            ("round", [of]) => rounded(f64::round, decimal(of, self.value(of)?)?),
            ("min", [_, _, ..]) => self.extreme(Arithmetic::Min, arguments),
            ("max", [_, _, ..]) => self.extreme(Arithmetic::Max, arguments),
            ("sum", [list]) => {
                let list = self.list(list)?;
                match ElementType::of(&list) {
                    ElementType::Number => Ok(Value::Number(Number::Sum(list))),
                    ElementType::Float => Ok(Value::Float(Float::Sum(list))),
                    _ => Err(Fault::new(node.at, "sum() adds numbers")),
                }
            }
            ("first", [list]) => self.end(node, list, 0),
            ("last", [list]) => self.end(node, list, -1),
            ("any", [list, test]) => truth(self.quantified(Quantity::Any, list, test)?),
            ("all", [list, test]) => truth(self.quantified(Quantity::All, list, test)?),
            ("none", [list, test]) => truth(self.quantified(Quantity::None, list, test)?),
            ("one", [list, test]) => truth(self.quantified(Quantity::One, list, test)?),
            ("count", [list, test]) => {
                let both = self.predicate(list, test)?;
                Ok(Value::Number(Number::Count(Box::new(both))))
            }
            _ => Err(Fault::new(node.at, unknown(name))),
        }
    }

    fn texts(&mut self, a: &'t Node, b: &'t Node) -> Result<Box<(Text, Text)>, Fault> {
        Ok(Box::new((self.text(a)?, self.text(b)?)))
    }

    fn extreme(&mut self, which: Arithmetic, arguments: &'t [Node]) -> Result<Value, Fault> {
        let mut best = Value::Nil;
        for argument in arguments {
            let value = match self.value(argument)? {
                value @ (Value::Number(_) | Value::Float(_)) => value,
                other => return Err(expected(argument.at, "a number", &other)),
            };
            best = match alike(best, value) {
                Ok(Alike::Numbers(a, b)) => Value::Number(Number::Arithmetic(which, Box::new((a, b)))),
                Ok(Alike::Floats(a, b)) => Value::Float(Float::Arithmetic(which, Box::new((a, b)))),
                Ok(Alike::Truths(..) | Alike::Texts(..)) => Value::Nil,
                Err((_, first)) => first,
            };
        }
        Ok(best)
    }

    fn end(&mut self, node: &Node, list: &'t Node, place: i128) -> Result<Value, Fault> {
        let list = self.list(list)?;
        let of = ElementType::of(&list);
        let at = Box::new((list, Number::Constant(place)));
        match of {
            ElementType::Number => Ok(Value::Number(Number::At(at))),
            ElementType::Float => Ok(Value::Float(Float::At(at))),
            ElementType::Text => Ok(Value::Text(Text::At(at))),
            ElementType::Truth => Err(Fault::new(node.at, "elements that are true or false have no places")),
        }
    }

    fn quantified(&mut self, how: Quantity, list: &'t Node, test: &'t Node) -> Result<Truth, Fault> {
        Ok(Truth::Quantified(how, Box::new(self.predicate(list, test)?)))
    }

    fn predicate(&mut self, list: &'t Node, test: &'t Node) -> Result<(List, Truth), Fault> {
        let list = self.list(list)?;
        let outer = self.element.replace(ElementType::of(&list));
        let test = self.truth(test);
        self.element = outer;
        Ok((list, test?))
    }
}

fn blank() -> Text {
    Text::Constant(b" ".as_slice().into())
}

fn decimal(node: &Node, value: Value) -> Result<Float, Fault> {
    match value {
        Value::Float(float) => Ok(float),
        Value::Number(number) => Ok(Float::OfNumber(Box::new(number))),
        other => Err(expected(node.at, "a number", &other)),
    }
}

fn rounded(how: fn(f64) -> f64, of: Float) -> Result<Value, Fault> {
    Ok(Value::Float(Float::Rounded(how, Box::new(of))))
}

/// What is said of a function that is not there, or is called with the wrong arguments.
fn unknown(name: &str) -> String {
    match FUNCTIONS.iter().find(|(known, _)| *known == name) {
        Some((_, call)) => format!("{name} is called as {call}"),
        None => {
            let near = nearest(name, FUNCTIONS.map(|(name, _)| (name, name)));
            let all = FUNCTIONS.map(|(name, _)| name).join(", ");
            format!("there is no function {name:?}{near}; there are {all}")
        }
    }
}
