//! What looks for one thing in others: lists, networks and regular expressions.

use super::{
    Fault,
    check::{Checker, MAX_PATTERNS, path},
    cidr::{Network, Networks},
    list::{List, Numbers, Texts},
    number::{Float, Number},
    parser::{Kind, Node},
    text::Text,
    truth::Truth,
    types::{ElementType, Value, expected},
};
use crate::operator::{comparison::Comparison, pattern};

impl<'t> Checker<'t> {
    pub(super) fn matches(&mut self, left: &'t Node, right: &'t Node) -> Result<Truth, Fault> {
        let text = self.text(left)?;
        let Value::Text(Text::Constant(written)) = self.value(right)? else {
            return Err(Fault::new(right.at, "the regular expression behind matches must be written out"));
        };
        let many = || Fault::new(right.at, format!("there are more than {MAX_PATTERNS} regular expressions"));
        self.patterns = self.patterns.checked_sub(1).ok_or_else(many)?;
        let pattern = pattern::compile(&String::from_utf8_lossy(&written)).map_err(|reason| {
            Fault::new(right.at, format!("this is not a regular expression that can be used: {reason}"))
        })?;
        Ok(Truth::Matches(Box::new((text, pattern))))
    }

    pub(super) fn contained(&mut self, node: &Node, left: &'t Node, right: &'t Node) -> Result<Truth, Fault> {
        let list = match self.value(right)? {
            Value::Networks(networks) => {
                return Ok(Truth::InNetworks(Box::new((self.address(left)?, networks))));
            }
            Value::List(list) => list,
            Value::Text(_) => {
                return Err(Fault::new(
                    node.at,
                    "in looks into lists and networks; for text, write: text contains part",
                ));
            }
            other => return Err(expected(right.at, "a list or cidr() behind in", &other)),
        };
        let value = self.value(left)?;
        let (what, of) = (value.what(), ElementType::of(&list));
        Ok(match (value, of) {
            (Value::Number(number), ElementType::Number) => match constants(list) {
                Ok(known) => Truth::InNumbers(Box::new((number, known))),
                Err(List::Range(ends)) => {
                    // The number is compared with both ends; nothing is counted through.
                    let number_again = match self.value(left)? {
                        Value::Number(number) => number,
                        other => return Err(expected(left.at, "a whole number", &other)),
                    };
                    Truth::All(vec![
                        Truth::Numbers(Comparison::LessOrEqual, Box::new((ends.0, number))),
                        Truth::Numbers(Comparison::LessOrEqual, Box::new((number_again, ends.1))),
                    ])
                }
                Err(list) => Truth::NumberIn(Box::new((number, list))),
            },
            (Value::Number(number), ElementType::Float) => {
                Truth::FloatIn(Box::new((Float::OfNumber(Box::new(number)), list)))
            }
            (Value::Float(float), ElementType::Number | ElementType::Float) => {
                Truth::FloatIn(Box::new((float, list)))
            }
            (Value::Text(text), ElementType::Text) => match constant_texts(list) {
                Ok(known) => Truth::InTexts(Box::new((text, known))),
                Err(list) => Truth::TextIn(Box::new((text, list))),
            },
            _ => {
                let of = match of {
                    ElementType::Truth => "true or false",
                    ElementType::Number => "whole numbers",
                    ElementType::Float => "decimal numbers",
                    ElementType::Text => "texts",
                };
                return Err(Fault::new(node.at, format!("in looks for {what} in a list of {of}")));
            }
        })
    }

    /// What is looked for in networks: text, or a struct with an address.
    fn address(&mut self, node: &'t Node) -> Result<Text, Fault> {
        if let Some(name) = path(node)
            && let Ok(id) = self.ds.resolve(&name)
            && let Some(address) = self.ds.children(Some(id)).find(|&id| self.ds.fields[id].name == "addr")
        {
            return Ok(Text::Field(self.ds.accessor(address)));
        }
        self.text(node)
    }

    pub(super) fn networks(&self, arguments: &[Node]) -> Result<Networks, Fault> {
        let mut networks = Vec::new();
        let written = arguments.iter().flat_map(|node| match &node.kind {
            Kind::Array(inner) => inner.as_slice(),
            _ => std::slice::from_ref(node),
        });
        for node in written {
            let Kind::Text(text) = &node.kind else {
                return Err(Fault::new(
                    node.at,
                    "the networks of cidr() must be written out, as \"10.0.0.0/8\"",
                ));
            };
            let wrong =
                || Fault::new(node.at, format!("{text:?} is no network; write one as \"10.0.0.0/8\""));
            networks.push(Network::parse(text).ok_or_else(wrong)?);
        }
        Ok(Networks::new(networks))
    }
}

/// The numbers of a list, if they are all written out.
fn constants(list: List) -> Result<Numbers, List> {
    let List::Numbers(all) = list else { return Err(list) };
    let constant = |number: &Number| match number {
        Number::Constant(value) => Some(*value),
        _ => None,
    };
    match all.iter().map(constant).collect() {
        Some(constants) => Ok(Numbers::new(constants)),
        None => Err(List::Numbers(all)),
    }
}

/// The texts of a list, if they are all written out.
fn constant_texts(list: List) -> Result<Texts, List> {
    let List::Texts(all) = list else { return Err(list) };
    let constant = |text: &Text| match text {
        Text::Constant(bytes) => Some(bytes.clone()),
        _ => None,
    };
    match all.iter().map(constant).collect() {
        Some(constants) => Ok(Texts::new(constants)),
        None => Err(List::Texts(all)),
    }
}
