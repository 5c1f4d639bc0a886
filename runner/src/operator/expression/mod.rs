//! Filters such as `proc.uid == 1000 && dst.addr in cidr("127.0.0.0/8")`: an expression that is true or false for each
//! event, in the language of expr (<https://expr-lang.org>, version 1.17).
//!
//! An expression is compiled before the gadget starts: text to tokens ([`lexer`]), tokens to a tree ([`parser`]), and
//! the tree to one whose every node knows its type and where its fields lie ([`check`]). What cannot work is
//! refused then, with its place in the text. What is left for an event is to walk that tree ([`truth`]): no names,
//! no types, no memory asked for.
//!
//! Expressions may come from far away. Their length, their depth, the size of what they compile to and the text that
//! they may make for an event are bounded, and regular expressions match in time that grows with the text only.

mod call;
mod check;
mod cidr;
mod lexer;
mod list;
mod number;
mod parser;
mod program;
mod search;
#[cfg(test)]
mod tests;
mod text;
mod truth;
mod types;

use super::{Operator, Verdict};
use crate::datasource::{DataSource, Event, FieldId};
use program::{Context, Element, Scratch};
use truth::Truth;

/// Bytes of the longest expression.
pub const MAX_LENGTH: usize = 16 << 10;

/// Why an expression cannot be used, and where in it.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("filter expression: {problem} ({line}:{column})\n{}", self.excerpt())]
pub struct Error {
    /// What is wrong.
    pub problem: String,
    /// The line with the mistake, from 1.
    pub line: usize,
    /// Its column there, from 1, in characters.
    pub column: usize,
    /// The text of that line.
    pub text: String,
}

/// Characters of the expression that an error shows around the mistake.
const EXCERPT: usize = 100;

impl Error {
    fn new(expression: &str, fault: Fault) -> Self {
        let before = expression.get(..fault.at).unwrap_or(expression);
        let line = before.matches('\n').count();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
        Self {
            problem: fault.problem,
            line: line + 1,
            column: column + 1,
            text: expression.split('\n').nth(line).unwrap_or_default().to_owned(),
        }
    }

    /// The line, as far as it fits, and below it a mark where the mistake is.
    fn excerpt(&self) -> String {
        let start = self.column.saturating_sub(EXCERPT / 2);
        let shown = self.text.chars().skip(start).take(EXCERPT);
        let shown: String = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
        let indent = ".".repeat(self.column - 1 - start);
        format!(" | {shown}\n | {indent}^")
    }
}

/// A mistake at a byte of an expression.
#[derive(Debug)]
struct Fault {
    at: usize,
    problem: String,
}

impl Fault {
    fn new(at: usize, problem: impl Into<String>) -> Self {
        Self { at, problem: problem.into() }
    }
}

/// The operator that drops events for which an expression is not true.
pub struct Expression {
    root: Truth,
    scratch: Scratch,
    failed: bool,
}

impl Expression {
    /// Compiles an expression, as given to `--filter-expr`, for this data source. `None` if there is nothing in it.
    /// To be called once all fields are added, and before any moves to another place.
    ///
    /// # Errors
    /// When it is no expression, names what is not there, or is not true or false.
    pub fn attach(ds: &DataSource, expression: &str) -> Result<Option<Box<dyn Operator>>, Error> {
        if expression.trim().is_empty() {
            return Ok(None);
        }
        let root = compile(ds, expression).map_err(|fault| Error::new(expression, fault))?;
        Ok(Some(Box::new(Self { root, scratch: Scratch::new(), failed: false })))
    }
}

/// The fields for which all events that an expression is true for have one value, and that value: those that it
/// compares with a number that is written out. None if it cannot be read.
pub fn equalities(ds: &DataSource, expression: &str) -> Vec<(FieldId, String)> {
    if expression.len() > MAX_LENGTH {
        return Vec::new();
    }
    parser::parse(expression).map(|tree| check::equalities(ds, &tree)).unwrap_or_default()
}

fn compile(ds: &DataSource, expression: &str) -> Result<Truth, Fault> {
    if expression.len() > MAX_LENGTH {
        return Err(Fault::new(0, format!("it is longer than {} KiB", MAX_LENGTH >> 10)));
    }
    let tree = parser::parse(expression)?;
    check::compile(ds, &tree)
}

impl Operator for Expression {
    fn name(&self) -> &'static str {
        "filter-expr"
    }

    fn process(&mut self, event: &mut Event<'_>) -> Verdict {
        self.scratch.clear();
        let context = Context { event, element: Element::None };
        match self.root.eval(&context, &mut self.scratch) {
            Ok(true) => Verdict::Pass,
            Ok(false) => Verdict::Drop,
            Err(failure) => {
                // Said once: what fails for one event mostly fails for many.
                if !std::mem::replace(&mut self.failed, true) {
                    tracing::warn!("filter expression: {failure}; events for which it fails are not shown");
                }
                Verdict::Drop
            }
        }
    }
}
