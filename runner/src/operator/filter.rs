//! Rules such as `proc.comm==curl,fd>3`: events that do not obey all of them are dropped.
//!
//! A rule is a field, an operator and a value. Rules are separated by commas; `\,` is a comma within a value. Any other
//! backslash is itself, so that regular expressions keep theirs.

use regex::bytes::Regex;

use crate::datasource::{Accessor, DataSource, Event, FieldId, Kind, Scalar, UnknownField, Value};

use super::{Operator, Verdict, comparison::Comparison, pattern};

/// Why a filter cannot be used. Each message quotes the rule.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what the fields are
pub enum Error {
    #[error(
        "filter rule {rule:?} is incomplete: write FIELD OPERATOR VALUE without spaces, such as proc.comm==curl"
    )]
    Incomplete { rule: String },
    #[error("filter rule {rule:?}: {operator:?} is no operator; there are ==, !=, <, <=, >, >=, ~ and !~")]
    Operator { rule: String, operator: String },
    #[error("filter rule {rule:?}: {source}")]
    Field { rule: String, source: UnknownField },
    #[error(
        "filter rule {rule:?}: field {field:?} of data source {source_name:?} holds {kind}, which cannot be compared"
    )]
    Kind { rule: String, field: String, source_name: String, kind: String },
    #[error(
        "filter rule {rule:?}: ~ and !~ compare text, but field {field:?} of data source {source_name:?} holds {kind}"
    )]
    NotText { rule: String, field: String, source_name: String, kind: String },
    #[error("filter rule {rule:?}: field {field:?} is true or false; use == or != with one of them")]
    Bool { rule: String, field: String },
    #[error("filter rule {rule:?}: {value:?} is no value for field {field:?}, which takes {takes}")]
    Value { rule: String, field: String, value: String, takes: String },
    #[error("filter rule {rule:?}: {value:?} is not a regular expression: {reason}")]
    Regex { rule: String, value: String, reason: String },
}

/// The operator that drops what a filter does not let through.
pub struct Filter(Vec<Rule>);

struct Rule {
    field: Accessor,
    test: Test,
}

enum Test {
    Unsigned(Comparison, u64),
    Signed(Comparison, i64),
    Float(Comparison, f64),
    Bool(bool),
    Text(Comparison, Vec<u8>),
    Matches(Regex),
    MatchesNot(Regex),
}

enum Operation {
    Compare(Comparison),
    Matches,
    MatchesNot,
}

impl Filter {
    /// Compiles a filter, as given to `--filter`, for this data source. `None` if it has no rules. To be called once
    /// all fields are added, and before any moves to another place.
    pub fn attach(ds: &DataSource, filter: &str) -> Result<Option<Box<dyn Operator>>, Error> {
        let rules = split(filter)
            .into_iter()
            .filter(|rule| !rule.is_empty())
            .map(|rule| Rule::compile(ds, &rule))
            .collect::<Result<Vec<_>, _>>()?;
        Ok((!rules.is_empty()).then(|| Box::new(Self(rules)) as Box<dyn Operator>))
    }
}

/// The fields for which all events that a filter lets through have one value, and that value. Rules that cannot be
/// read are left out.
pub fn equalities(ds: &DataSource, filter: &str) -> Vec<(FieldId, String)> {
    let equality = |rule: String| {
        let (name, value) = rule.split_once('=')?;
        let value = value.strip_prefix('=').unwrap_or(value);
        (!name.ends_with(OPERATOR_CHARS) && !value.starts_with(OPERATOR_CHARS))
            .then(|| Some((ds.resolve_shown(name).ok()?, value.to_owned())))?
    };
    split(filter).into_iter().filter_map(equality).collect()
}

impl Operator for Filter {
    fn name(&self) -> &'static str {
        "filter"
    }

    fn process(&mut self, event: &mut Event<'_>) -> Verdict {
        if self.0.iter().all(|rule| rule.test.holds(rule.field.value(event))) {
            Verdict::Pass
        } else {
            Verdict::Drop
        }
    }
}

/// Splits at commas that no backslash precedes.
fn split(filter: &str) -> Vec<String> {
    let mut rules = vec![String::new()];
    let mut chars = filter.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ',' => rules.push(String::new()),
            _ => {
                let escaped = c == '\\' && chars.next_if_eq(&',').is_some();
                if let Some(rule) = rules.last_mut() {
                    rule.push(if escaped { ',' } else { c });
                }
            }
        }
    }
    rules
}

const OPERATOR_CHARS: [char; 5] = ['!', '~', '>', '<', '='];

impl Rule {
    fn compile(ds: &DataSource, rule: &str) -> Result<Self, Error> {
        let incomplete = || Error::Incomplete { rule: rule.to_owned() };
        let start = rule.find(OPERATOR_CHARS).ok_or_else(incomplete)?;
        let (name, rest) = rule.split_at(start);
        let value = rest.trim_start_matches(OPERATOR_CHARS);
        let operator = &rest[..rest.len() - value.len()];
        if value.is_empty() {
            return Err(incomplete());
        }
        let operation = operation(operator)
            .ok_or_else(|| Error::Operator { rule: rule.to_owned(), operator: operator.to_owned() })?;
        let id = ds.resolve_shown(name).map_err(|source| Error::Field { rule: rule.to_owned(), source })?;
        let field = ds.accessor(id);
        let context = Context { rule, field: &ds.fields[id].full_name, source: &ds.name, kind: field.kind() };
        Ok(Self { field, test: Test::compile(&context, &operation, value)? })
    }
}

fn operation(operator: &str) -> Option<Operation> {
    Some(Operation::Compare(match operator {
        "=" | "==" => Comparison::Equal,
        "!=" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        "~" => return Some(Operation::Matches),
        "!~" => return Some(Operation::MatchesNot),
        _ => return None,
    }))
}

/// What the errors of one rule tell.
struct Context<'a> {
    rule: &'a str,
    field: &'a str,
    source: &'a str,
    kind: Kind,
}

impl Context<'_> {
    fn kind(&self) -> String {
        match self.kind.array {
            true => "an array".to_owned(),
            false => takes(self.kind.scalar).to_owned(),
        }
    }

    fn number<T: std::str::FromStr>(&self, value: &str) -> Result<T, Error> {
        value.parse().map_err(|_| Error::Value {
            rule: self.rule.to_owned(),
            field: self.field.to_owned(),
            value: value.to_owned(),
            takes: self.kind(),
        })
    }

    fn regex(&self, value: &str) -> Result<Regex, Error> {
        pattern::compile(value).map_err(|reason| Error::Regex {
            rule: self.rule.to_owned(),
            value: value.to_owned(),
            reason,
        })
    }
}

fn takes(scalar: Scalar) -> &'static str {
    match scalar {
        Scalar::Bool => "true or false",
        Scalar::Int8 => "a number from -128 to 127",
        Scalar::Int16 => "a number from -32768 to 32767",
        Scalar::Int32 => "a signed number of 32 bits",
        Scalar::Int64 => "a signed number of 64 bits",
        Scalar::Uint8 => "a number from 0 to 255",
        Scalar::Uint16 => "a number from 0 to 65535",
        Scalar::Uint32 => "a number from 0 to 4294967295",
        Scalar::Uint64 => "an unsigned number of 64 bits",
        Scalar::Float32 | Scalar::Float64 => "a decimal number",
        Scalar::String | Scalar::CString => "text",
        Scalar::Bytes | Scalar::Invalid => "a struct or raw bytes",
    }
}

impl Test {
    fn compile(context: &Context<'_>, operation: &Operation, value: &str) -> Result<Self, Error> {
        let (rule, field) = (context.rule.to_owned(), context.field.to_owned());
        let scalar = context.kind.scalar;
        if !context.kind.is_comparable() {
            let source_name = context.source.to_owned();
            return Err(Error::Kind { rule, field, source_name, kind: context.kind() });
        }
        let text = matches!(scalar, Scalar::String | Scalar::CString);
        let compare = match operation {
            Operation::Compare(comparison) => *comparison,
            Operation::Matches if text => return context.regex(value).map(Self::Matches),
            Operation::MatchesNot if text => return context.regex(value).map(Self::MatchesNot),
            Operation::Matches | Operation::MatchesNot => {
                let source_name = context.source.to_owned();
                return Err(Error::NotText { rule, field, source_name, kind: context.kind() });
            }
        };
        Ok(match scalar {
            Scalar::Uint8 => Self::Unsigned(compare, u64::from(context.number::<u8>(value)?)),
            Scalar::Uint16 => Self::Unsigned(compare, u64::from(context.number::<u16>(value)?)),
            Scalar::Uint32 => Self::Unsigned(compare, u64::from(context.number::<u32>(value)?)),
            Scalar::Uint64 => Self::Unsigned(compare, context.number(value)?),
            Scalar::Int8 => Self::Signed(compare, i64::from(context.number::<i8>(value)?)),
            Scalar::Int16 => Self::Signed(compare, i64::from(context.number::<i16>(value)?)),
            Scalar::Int32 => Self::Signed(compare, i64::from(context.number::<i32>(value)?)),
            Scalar::Int64 => Self::Signed(compare, context.number(value)?),
            Scalar::Float32 | Scalar::Float64 => Self::Float(compare, context.number(value)?),
            Scalar::Bool => match (compare, value) {
                (Comparison::Equal, "true" | "1") | (Comparison::NotEqual, "false" | "0") => Self::Bool(true),
                (Comparison::Equal, "false" | "0") | (Comparison::NotEqual, "true" | "1") => {
                    Self::Bool(false)
                }
                _ => return Err(Error::Bool { rule, field }),
            },
            Scalar::String | Scalar::CString | Scalar::Bytes | Scalar::Invalid => {
                Self::Text(compare, value.as_bytes().to_vec())
            }
        })
    }

    #[inline]
    fn holds(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Unsigned(compare, with), Value::Unsigned(v)) => compare.holds(Some(v.cmp(with))),
            (Self::Signed(compare, with), Value::Signed(v)) => compare.holds(Some(v.cmp(with))),
            (Self::Float(compare, with), Value::Float(v)) => compare.holds(v.partial_cmp(with)),
            (Self::Bool(with), Value::Bool(v)) => v == *with,
            (Self::Text(compare, with), Value::Text(v)) => compare.holds(Some(v.cmp(with))),
            (Self::Matches(regex), Value::Text(v)) => regex.is_match(v),
            (Self::MatchesNot(regex), Value::Text(v)) => !regex.is_match(v),
            // An accessor gives values of its kind, so nothing else comes here.
            _ => false,
        }
    }
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
