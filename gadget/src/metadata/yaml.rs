//! YAML into a tree that remembers where each value stood, within bounds.

use super::Error;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};
use std::fmt;

const MAX_DEPTH: usize = 32;
const MAX_NODES: usize = 100_000;
const MAX_ALIASES: usize = 1_000;
/// Longest line shown in an error, characters.
const MAX_SHOWN: usize = 100;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) at: Location,
}

#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: Location,
    pub(super) why: String,
}

impl Fault {
    pub(super) fn into_error(self, text: &str) -> Error {
        let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).max(1);
        let (line, column) = (number(self.at.line()), number(self.at.column()));
        Error::At { line, column, why: self.why, snippet: snippet(text, line, column) }
    }
}

/// The line that is meant, with a mark below the column; control characters are not shown as they are.
pub(super) fn snippet(text: &str, line: usize, column: usize) -> String {
    let Some(source) = text.lines().nth(line - 1) else { return String::new() };
    if source.trim().is_empty() || column > MAX_SHOWN {
        return String::new();
    }
    let shown: String =
        source.chars().take(MAX_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let number = line.to_string();
    let blank = " ".repeat(number.len());
    format!("\n  {number} | {}\n  {blank} | {}^", shown.trim_end(), " ".repeat(column - 1))
}

/// Reads one document; `None` if there is none.
pub(super) fn parse(text: &str) -> Result<Option<Node>, Fault> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_merge_keys: MAX_ALIASES,
            max_documents: 2,
            max_total_scalar_bytes: 4 * super::MAX_SIZE,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_NODES,
            max_replay_stack_depth: MAX_DEPTH,
        },
        strict_booleans: true,
    };
    let node: Option<Node> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let bare = error.without_snippet();
        let at = bare.location().unwrap_or(Location::UNKNOWN);
        Fault { at, why: first_line(&bare.to_string()) }
    })?;
    Ok(node)
}

/// The parser's own words without the place behind them, which we put in front, and without advice to programmers.
fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let line = line.split(" at line ").next().unwrap_or(line);
    line.split(", set DuplicateKeyPolicy").next().unwrap_or(line).to_owned()
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(from)?;
        Ok(Self { value: spanned.value, at: spanned.referenced })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number, true, false, a list or a map")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(serde_json::Number::from_f64(value).map_or_else(|| Value::Text(value.to_string()), Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = from.next_element()? {
            list.push(node);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(pair) = from.next_entry()? {
            map.push(pair);
        }
        Ok(Value::Map(map))
    }
}
