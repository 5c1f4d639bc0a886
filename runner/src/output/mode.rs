//! The output modes, and which one each data source is shown in.
//!
//! A data source can say in its annotations how it may be shown (`cli.supported-output-modes`) and how it is shown
//! by default (`cli.default-output-mode`). Modes that it names and nobody else knows, such as `histogram` or
//! `advise`, show its field `text` as it is.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use super::Error;
use super::fields::position;
use super::histogram;
use crate::datasource::{DataSource, nearest};

/// The field that holds what modes of a data source's own show.
pub(super) const TEXT_FIELD: &str = "text";

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
    /// Counts in slots, as bars of stars.
    Histogram,
    /// The text that an event is, of several lines: what a data source calls histogram, advise or raw.
    Text,
}

impl Mode {
    /// The modes that every data source has unless it says otherwise, in the order that help lists them.
    pub const ALL: [Self; 5] = [Self::Columns, Self::Json, Self::JsonPretty, Self::Yaml, Self::None];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Columns => "columns",
            Self::Json => "json",
            Self::JsonPretty => "jsonpretty",
            Self::Yaml => "yaml",
            Self::None => "none",
            Self::Histogram => "histogram",
            Self::Text => "text",
        }
    }

    /// Whether it writes keys and values rather than a table.
    pub fn is_document(self) -> bool {
        matches!(self, Self::Json | Self::JsonPretty | Self::Yaml)
    }

    /// The names of the modes that `source` can be shown in, the default one first.
    pub fn names_of(source: &DataSource) -> Vec<String> {
        let listed = source.annotations.get("cli.supported-output-modes").filter(|modes| !modes.is_empty());
        let mut names: Vec<String> = match listed {
            Some(modes) => modes.split(',').map(|mode| mode.trim().to_owned()).collect(),
            None => Self::ALL.map(|mode| mode.name().to_owned()).into(),
        };
        names.retain(|name| !name.is_empty());
        if histogram::has(source) && !names.iter().any(|name| name == Self::Histogram.name()) {
            names.insert(0, Self::Histogram.name().to_owned());
        }
        // Whatever a data source can do, it can be kept quiet.
        if !names.iter().any(|name| name == Self::None.name()) {
            names.push(Self::None.name().to_owned());
        }
        if let Some(default) =
            source.annotations.get("cli.default-output-mode").filter(|mode| !mode.is_empty())
        {
            names.retain(|name| name != default);
            names.insert(0, default.clone());
        }
        names
    }

    /// The mode called `name` of `source`, if it has one.
    fn of(source: &DataSource, name: &str) -> Option<Self> {
        if !Self::names_of(source).iter().any(|known| known == name) {
            return None;
        }
        if name == Self::Histogram.name() && histogram::has(source) {
            return Some(Self::Histogram);
        }
        name.parse().ok().or_else(|| source.field(TEXT_FIELD).map(|_| Self::Text))
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
        Self::ALL.into_iter().find(|mode| mode.name() == name).ok_or_else(|| unknown(name, &all_names()))
    }
}

fn all_names() -> Vec<String> {
    Mode::ALL.map(|mode| mode.name().to_owned()).into()
}

fn unknown(name: &str, available: &[String]) -> Error {
    Error::UnknownMode {
        name: name.to_owned(),
        nearest: nearest(name, available.iter().map(|mode| (mode.as_str(), mode.as_str()))),
        available: available.join(", "),
    }
}

/// The mode of each data source; its default one if `spec`, the value of `--output`, says nothing of it.
///
/// `json` is meant for all, `open:json,start:none` for these. A data source that cannot be shown in the mode that all
/// others are is kept out, and named in a warning.
///
/// # Errors
///
/// A mode that no data source has, one that the data source it is given for does not have, a data source that is not
/// there.
pub fn select<S: Borrow<DataSource>>(sources: &[S], spec: &str) -> Result<Vec<Mode>, Error> {
    let mut general = None;
    let mut own: Vec<Option<&str>> = vec![None; sources.len()];
    for part in spec.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once(':') {
            Some((name, mode)) => own[position(sources, name.trim())?] = Some(mode.trim()),
            None => general = Some(part),
        }
    }
    let mut modes = Vec::new();
    let mut missed = Vec::new();
    let mut found = false;
    for (source, own) in sources.iter().map(Borrow::borrow).zip(own) {
        let mode = match (own, general) {
            _ if source.unreferenced => Some(Mode::None),
            (Some(name), _) => Some(of_source(source, name)?),
            (None, Some(name)) => {
                let mode = Mode::of(source, name);
                found |= mode.is_some();
                mode
            }
            (None, None) => Mode::names_of(source).iter().find_map(|name| Mode::of(source, name)),
        };
        if mode.is_none() {
            missed.push(source);
        }
        modes.push(mode.unwrap_or(Mode::None));
    }
    if let (Some(name), Some(first)) = (general, missed.first()) {
        if !found {
            return of_source(first, name).map(|_| modes);
        }
        for source in missed {
            let modes = Mode::names_of(source).join(", ");
            tracing::warn!(
                "data source {:?} has no output mode {name:?} and is not shown; it has {modes}",
                source.name
            );
        }
    }
    Ok(modes)
}

/// The mode that was asked of one data source.
fn of_source(source: &DataSource, name: &str) -> Result<Mode, Error> {
    let names = Mode::names_of(source);
    Mode::of(source, name).ok_or_else(|| match Mode::from_str(name) {
        Ok(_) => Error::UnsupportedMode {
            name: name.to_owned(),
            source_name: source.name.clone(),
            available: names.join(", "),
        },
        Err(_) => unknown(name, &names),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasource::{Scalar, SourceKind, sample};

    fn sources() -> [DataSource; 2] {
        let mut histogram = DataSource::new("latency", SourceKind::Single);
        histogram.add_slot_field(None, "text", Scalar::String, 0);
        histogram.annotations.insert("cli.supported-output-modes".into(), "histogram".into());
        histogram.annotations.insert("cli.default-output-mode".into(), "histogram".into());
        [sample::sni(), histogram]
    }

    fn error(spec: &str) -> String {
        select(&sources(), spec).unwrap_err().to_string()
    }

    #[test]
    fn every_mode_is_read_back_from_its_name() {
        for mode in Mode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
    }

    #[test]
    fn each_data_source_has_its_mode() {
        for (spec, sni, latency) in [
            ("", Mode::Columns, Mode::Text),
            (" , ", Mode::Columns, Mode::Text),
            ("json", Mode::Json, Mode::None),
            ("none", Mode::None, Mode::None),
            ("histogram", Mode::None, Mode::Text),
            ("sni:json", Mode::Json, Mode::Text),
            (" SNI : yaml , latency:none", Mode::Yaml, Mode::None),
            ("latency:histogram,jsonpretty", Mode::JsonPretty, Mode::Text),
        ] {
            assert_eq!(select(&sources(), spec).unwrap(), [sni, latency], "{spec:?}");
        }
        let mut left_out = sources();
        left_out[0].unreferenced = true;
        assert_eq!(select(&left_out, "histogram").unwrap(), [Mode::None, Mode::Text]);
    }

    #[test]
    fn a_mode_that_is_none_is_met_with_the_nearest_and_the_possible() {
        insta::assert_snapshot!(error("jsonprety"), @r#"no output mode "jsonprety" (did you mean jsonpretty?); it is one of columns, json, jsonpretty, yaml, none"#);
        insta::assert_snapshot!(error("xml"), @r#"no output mode "xml"; it is one of columns, json, jsonpretty, yaml, none"#);
        insta::assert_snapshot!(error("latency:json"), @r#"data source "latency" has no output mode "json"; it has histogram, none"#);
        insta::assert_snapshot!(error("latency:histogramm"), @r#"no output mode "histogramm" (did you mean histogram?); it is one of histogram, none"#);
        insta::assert_snapshot!(error("latncy:json"), @r#"the gadget has no data source "latncy" (did you mean latency?); it has sni, latency"#);
        insta::assert_snapshot!(select(&sources()[1..], "json").unwrap_err(), @r#"data source "latency" has no output mode "json"; it has histogram, none"#);
    }
}
