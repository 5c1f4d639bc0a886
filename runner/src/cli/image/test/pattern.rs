//! What an event has to look like: some of its fields, and what they hold. The rest of the event is not looked at.

use std::fmt;

use regex::Regex;
use serde_json::Value;

/// Why something is no pattern.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what each is
pub(super) enum Error {
    #[error("an event is written as fields and their values, not as {0}")]
    NoFields(Value),
    #[error("{{}} names no field and would match every event: name one")]
    Empty,
    #[error("{field}: {text:?} is no regular expression: {why}")]
    Regex { field: String, text: String, why: String },
}

/// Part of an event.
#[derive(Debug)]
pub(super) struct Pattern {
    /// Fields by their full names, such as `proc.comm`, in the order in which they were written.
    fields: Vec<(String, Wanted)>,
}

#[derive(Debug)]
enum Wanted {
    /// This value and no other.
    Is(Value),
    /// A text that the expression finds something in.
    Finds(Regex),
}

impl Pattern {
    /// Understands an event as a test writes it: objects in each other or names with dots, as `--filter` has them.
    pub(super) fn new(value: Value) -> Result<Self, Error> {
        let mut fields = Vec::new();
        match value {
            Value::Object(_) => flatten(String::new(), value, &mut fields)?,
            other => return Err(Error::NoFields(other)),
        }
        Ok(Self { fields })
    }

    /// Names and values of those fields that are not as they should be; a value is `None` if the field is not there.
    pub(super) fn differences<'a>(&'a self, event: &'a Value) -> Vec<(&'a str, Option<&'a Value>)> {
        let each = self.fields.iter().map(|(name, wanted)| (name.as_str(), wanted, look_up(event, name)));
        each.filter(|(_, wanted, got)| !got.is_some_and(|got| wanted.is(got)))
            .map(|(name, _, got)| (name, got))
            .collect()
    }

    /// How many fields are not as they should be.
    pub(super) fn distance(&self, event: &Value) -> usize {
        let wrong =
            |(name, wanted): &&(String, Wanted)| !look_up(event, name).is_some_and(|got| wanted.is(got));
        self.fields.iter().filter(wrong).count()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, wanted)) in self.fields.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            match wanted {
                Wanted::Is(value) => write!(f, "{comma}{name}: {value}")?,
                Wanted::Finds(regex) => write!(f, "{comma}{name}: ~{regex}")?,
            }
        }
        Ok(())
    }
}

impl Wanted {
    fn is(&self, got: &Value) -> bool {
        match (self, got) {
            (Self::Is(wanted), got) => wanted == got,
            (Self::Finds(regex), Value::String(text)) => regex.is_match(text),
            (Self::Finds(_), _) => false,
        }
    }
}

fn flatten(name: String, value: Value, fields: &mut Vec<(String, Wanted)>) -> Result<(), Error> {
    let wanted = match value {
        Value::Object(members) => {
            if members.is_empty() {
                return Err(Error::Empty);
            }
            for (key, value) in members {
                let name = if name.is_empty() { key } else { format!("{name}.{key}") };
                flatten(name, value, fields)?;
            }
            return Ok(());
        }
        Value::String(text) => match text.strip_prefix('~').map(Regex::new) {
            None => Wanted::Is(Value::String(text)),
            Some(Ok(regex)) => Wanted::Finds(regex),
            Some(Err(error)) => {
                return Err(Error::Regex { field: name, text, why: error.to_string() });
            }
        },
        other => Wanted::Is(other),
    };
    fields.push((name, wanted));
    Ok(())
}

/// The field of this full name. A member's own name may have a dot in it.
fn look_up<'a>(event: &'a Value, name: &str) -> Option<&'a Value> {
    if let Some(found) = event.get(name) {
        return Some(found);
    }
    name.match_indices('.').find_map(|(at, _)| look_up(event.get(&name[..at])?, &name[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn matches(pattern: Value, event: &Value) -> bool {
        let pattern = Pattern::new(pattern).unwrap();
        assert_eq!(pattern.distance(event), pattern.differences(event).len());
        pattern.distance(event) == 0
    }

    #[test]
    fn fields_that_are_named_are_compared_and_no_others() {
        let event = json!({"path": "/bin/true", "proc": {"comm": "true", "pid": 7}, "ok": true, "none": ""});
        for good in [
            json!({"path": "/bin/true"}),
            json!({"path": "~true$", "proc": {"pid": 7}}),
            json!({"proc.comm": "true", "ok": true}),
            json!({"none": ""}),
        ] {
            assert!(matches(good.clone(), &event), "{good}");
        }
        for bad in [
            json!({"path": "/bin/tru"}),
            json!({"path": "~^true"}),
            json!({"proc": {"comm": "true", "pid": 8}}),
            json!({"proc.pid": "7"}),
            json!({"proc.pid": "~7"}),
            json!({"ok": "true"}),
            json!({"missing": null}),
            json!({"proc.missing": ""}),
        ] {
            assert!(!matches(bad.clone(), &event), "{bad}");
        }
        assert!(matches(json!({"a.b.c": 1}), &json!({"a": {"b.c": 1}})));
    }

    #[test]
    fn what_differs_is_told() {
        let pattern = Pattern::new(json!({"a": "~x", "b": {"c": 1, "d": 2}})).unwrap();
        assert_eq!(pattern.to_string(), "a: ~x, b.c: 1, b.d: 2");
        let event = json!({"a": "x", "b": {"c": 3}});
        assert_eq!(pattern.differences(&event), [("b.c", Some(&json!(3))), ("b.d", None)]);
    }

    #[test]
    fn what_could_match_everything_is_no_pattern() {
        for bad in [json!({}), json!({"a": {}, "b": 1}), json!("x"), json!(null), json!([])] {
            assert!(Pattern::new(bad.clone()).is_err(), "{bad}");
        }
        let error = Pattern::new(json!({"a": "~("})).unwrap_err().to_string();
        assert!(error.starts_with("a: \"~(\" is no regular expression: "), "{error}");
    }
}
