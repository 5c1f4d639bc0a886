//! Values and text on their way to a person or a pipe. Whatever an image holds, nothing of it reaches a terminal as
//! a command.

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;
use std::{fmt::Write as _, io::Write};

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Json,
    JsonPretty,
    Yaml,
}

impl Mode {
    pub(super) fn named(name: &str) -> Self {
        match name {
            "json" => Self::Json,
            "yaml" => Self::Yaml,
            _ => Self::JsonPretty,
        }
    }
}

/// Writes a value and a newline.
pub(super) fn value(value: &impl Serialize, mode: Mode, out: &mut impl Write) -> Result<()> {
    let text = match mode {
        Mode::Json => escaped(&serde_json::to_string(value)?),
        Mode::JsonPretty => escaped(&serde_json::to_string_pretty(value)?),
        Mode::Yaml => {
            let mut text = String::new();
            yaml(&serde_json::to_value(value)?, 0, &mut text);
            text.trim_start().trim_end().to_owned()
        }
    };
    Ok(writeln!(out, "{text}")?)
}

/// Writes text and a newline. Lines and tabs stay; what else a terminal would act on is replaced.
pub(super) fn text(text: &str, out: &mut impl Write) -> Result<()> {
    let plain = |c: char| if acts(c) && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c };
    Ok(writeln!(out, "{}", text.trim_end().chars().map(plain).collect::<String>())?)
}

/// Whether a terminal may act on a character, or be misled by it: controls and marks of writing direction.
fn acts(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON with further characters escaped, which can only be in its strings: those that Go escapes too, and those that
/// a terminal would act on.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') || acts(c) && c != '\n' {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// A value in block style. A string is quoted unless it is a plain word, as JSON quotes it, which YAML reads too.
fn yaml(value: &Value, depth: usize, out: &mut String) {
    let line = |out: &mut String| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    match value {
        Value::Object(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                line(out);
                out.push_str(&scalar(key));
                out.push(':');
                if !is_block(value) {
                    out.push(' ');
                }
                yaml(value, depth + 1, out);
            }
        }
        Value::Array(entries) if !entries.is_empty() => {
            for value in entries {
                line(out);
                out.push('-');
                let mut entry = String::new();
                yaml(value, depth + 1, &mut entry);
                // The first line of what is nested goes beside the dash.
                out.push(' ');
                out.push_str(entry.trim_start());
            }
        }
        Value::Object(_) => out.push_str("{}"),
        Value::Array(_) => out.push_str("[]"),
        Value::String(text) => out.push_str(&scalar(text)),
        other => out.push_str(&other.to_string()),
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(entries) => !entries.is_empty(),
        Value::Array(entries) => !entries.is_empty(),
        _ => false,
    }
}

fn scalar(text: &str) -> String {
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/'))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .iter()
            .any(|special| text.eq_ignore_ascii_case(special));
    if word { text.to_owned() } else { escaped(&Value::String(text.to_owned()).to_string()) }
}
