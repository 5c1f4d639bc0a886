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
mod document;
#[cfg(test)]
mod document_tests;
mod escape;
pub mod fields;
pub mod json;
mod number;
mod width;
pub mod yaml;

use std::fmt;
use std::str::FromStr;

#[cfg(test)]
use crate::datasource::sample;
use crate::datasource::{Accessor, DataSource, Event, FieldId, Suggestion, UnknownField, nearest};

/// Why output can't be set up.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// No output mode has this name.
    #[error("no output mode {name:?}{nearest}; it is one of columns, json, jsonpretty, yaml, none")]
    UnknownMode {
        /// What was asked for.
        name: String,
        /// ` (did you mean ...?)`, or nothing.
        nearest: Suggestion,
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

/// How events are written: the value of `--output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// A table.
    #[default]
    Columns,
    /// One JSON object a line.
    Json,
    /// Indented JSON.
    JsonPretty,
    /// One YAML document an event.
    Yaml,
    /// Nothing.
    None,
}

impl Mode {
    /// All modes, in the order that help lists them.
    pub const ALL: [Self; 5] = [Self::Columns, Self::Json, Self::JsonPretty, Self::Yaml, Self::None];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Columns => "columns",
            Self::Json => "json",
            Self::JsonPretty => "jsonpretty",
            Self::Yaml => "yaml",
            Self::None => "none",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mode {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|mode| mode.name() == name).ok_or_else(|| Error::UnknownMode {
            name: name.to_owned(),
            nearest: nearest(name, Self::ALL.map(|mode| (mode.name(), mode.name()))),
        })
    }
}

/// Writes the events of one data source.
#[derive(Debug)]
pub enum Writer {
    /// A table.
    Columns(columns::Columns),
    /// One JSON object a line, or indented.
    Json(json::Json),
    /// One YAML document an event.
    Yaml(yaml::Yaml),
    /// One field as it is, which is text of several lines.
    Text(Accessor),
    /// Nothing.
    None,
}

impl Writer {
    /// A writer for `source`. Columns are those of `fields` (see [`fields::select`]), fitted to a terminal of
    /// `terminal` characters, or not at all if output is no terminal; the other modes write every field.
    pub fn new(mode: Mode, source: &DataSource, fields: &[FieldId], terminal: Option<u16>) -> Self {
        match mode {
            Mode::Columns => Self::Columns(columns::Columns::new(source, fields, terminal)),
            Mode::Json => Self::Json(json::Json::new(source)),
            Mode::JsonPretty => Self::Json(json::Json::pretty(source)),
            Mode::Yaml => Self::Yaml(yaml::Yaml::new(source)),
            Mode::None => Self::None,
        }
    }

    /// Appends what comes before the first event: a table's header line.
    pub fn header(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Columns(columns) => columns.header(out),
            Self::Json(_) | Self::Yaml(_) | Self::Text(_) | Self::None => {}
        }
    }

    /// Appends one event, with the newline that ends it.
    #[inline]
    pub fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Columns(columns) => columns.event(event, out),
            Self::Json(json) => json.event(event, out),
            Self::Yaml(yaml) => yaml.event(event, out),
            Self::Text(field) => {
                escape::text_lines(field.bytes(event), out);
                out.push(b'\n');
            }
            Self::None => {}
        }
    }

    /// Fits a table to a terminal that is now `terminal` characters wide; no effect on the other modes.
    pub fn resize(&mut self, terminal: Option<u16>) {
        if let Self::Columns(columns) = self {
            columns.resize(terminal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_is_read_back_from_its_name() {
        for mode in Mode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
    }

    #[test]
    fn an_unknown_mode_is_met_with_the_nearest_and_the_possible() {
        insta::assert_snapshot!("jsonprety".parse::<Mode>().unwrap_err(), @r#"no output mode "jsonprety" (did you mean jsonpretty?); it is one of columns, json, jsonpretty, yaml, none"#);
        insta::assert_snapshot!("xml".parse::<Mode>().unwrap_err(), @r#"no output mode "xml"; it is one of columns, json, jsonpretty, yaml, none"#);
    }

    #[test]
    fn none_writes_nothing() {
        let source = sample::sni();
        let mut writer = Writer::new(Mode::None, &source, &[], None);
        let mut out = Vec::new();
        writer.header(&mut out);
        sample::with_event(&source, |event| writer.event(event, &mut out));
        assert!(out.is_empty());
    }
}
