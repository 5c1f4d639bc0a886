//! How events become text: columns, JSON, indented JSON and YAML.
//!
//! A writer is compiled once from a [`DataSource`] into a flat plan: text that never changes between events, and
//! an accessor for each value between. Writing an event neither allocates (the caller reuses one buffer) nor looks
//! up a name. Values come off the wire and are hostile: every writer escapes what a terminal or a parser would
//! act on.

mod append;
pub mod columns;
#[cfg(test)]
mod columns_tests;
#[cfg(test)]
mod compatibility;
mod display;
mod document;
#[cfg(test)]
mod document_tests;
mod escape;
pub mod fields;
mod histogram;
pub mod json;
pub mod mode;
#[cfg(test)]
mod modes_tests;
mod number;
mod tint;
mod width;
mod writer;
pub mod yaml;

#[cfg(test)]
use crate::datasource::sample;
use crate::datasource::{Suggestion, UnknownField};

pub use display::{Display, Terminal};
pub use mode::Mode;
pub use writer::{View, Writer, views};

/// Text from outside that a person reads on a terminal, line by line: what a terminal would act on is escaped.
pub(crate) fn harmless(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    escape::text_lines(text.as_bytes(), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Why output can't be set up.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// No output mode has this name.
    #[error("no output mode {name:?}{nearest}; it is one of {available}")]
    UnknownMode {
        /// What was asked for.
        name: String,
        /// ` (did you mean ...?)`, or nothing.
        nearest: Suggestion,
        /// All modes, joined by commas.
        available: String,
    },
    /// The data source cannot be shown so.
    #[error("data source {source_name:?} has no output mode {name:?}; it has {available}")]
    UnsupportedMode {
        /// What was asked for.
        name: String,
        /// The data source.
        source_name: String,
        /// Its modes, joined by commas.
        available: String,
    },
    /// No column has this name.
    #[error(transparent)]
    Field(#[from] UnknownField),
    /// Columns were asked of a data source that is not there.
    #[error("the gadget has no data source {name:?}{nearest}; it has {available}")]
    UnknownSource {
        /// What was asked for.
        name: String,
        /// ` (did you mean ...?)`, or nothing.
        nearest: Suggestion,
        /// All data sources, joined by commas.
        available: String,
    },
    /// Columns of different data sources were asked for as if they were of one.
    #[error("no data source has all the fields {names}: say which has which, such as {example:?}")]
    Apart {
        /// What was asked for, joined by commas.
        names: String,
        /// The same by data source.
        example: String,
    },
}
