//! Readable text for numbers: signals, errors, times, sizes, flags, addresses.
//!
//! A number's BTF type says what it means (`type:gadget_errno`). Each formatter adds a text field beside the number's
//! and hides the number, which stays in JSON. One file a formatter.

mod bytes;
mod duration;
mod endpoint;
mod errno;
mod file_flags;
mod file_mode;
mod layout;
mod protocol;
mod signal;
mod syscall;
#[cfg(test)]
mod tests;
mod timestamp;
mod zone;

pub use syscall::{syscall_name, syscall_number};
#[cfg(test)]
pub(crate) use tests::shown;
pub use timestamp::Times;

use std::collections::BTreeSet;

use crate::datasource::{Accessor, Annotations, DataSource, Event, Scalar, Slots};

use super::{Operator, Verdict, add_text_beside, tagged, target_name};

/// The operator that writes readable text.
pub struct Format {
    numbers: Vec<Number>,
    times: Vec<timestamp::Timestamp>,
    endpoints: Vec<endpoint::Endpoint>,
}

impl Format {
    /// Adds text to every field that a formatter knows; times as `chosen`, or as each field says. `None` if there is
    /// none.
    pub fn attach(ds: &mut DataSource, chosen: Option<Times>) -> Option<Box<dyn Operator>> {
        let mut numbers: Vec<Number> = Vec::new();
        for formatter in [signal::formatter(), errno::formatter(), syscall::formatter()] {
            formatter.attach(ds, &mut numbers);
        }
        let times = timestamp::attach(ds, chosen);
        for formatter in
            [bytes::formatter(), duration::formatter(), file_mode::formatter(), file_flags::formatter()]
        {
            formatter.attach(ds, &mut numbers);
        }
        let endpoints = endpoint::attach(ds);
        if numbers.is_empty() && times.is_empty() && endpoints.is_empty() {
            return None;
        }
        Some(Box::new(Self { numbers, times, endpoints }))
    }
}

impl Operator for Format {
    fn name(&self) -> &'static str {
        "formatters"
    }

    fn process(&mut self, event: &mut Event<'_>) -> Verdict {
        for number in &self.numbers {
            let raw = number.source.u64(event);
            (number.render)(raw, event.slots, number.slot);
        }
        for time in &mut self.times {
            time.fill(event);
        }
        for endpoint in &self.endpoints {
            endpoint.fill(event);
        }
        Verdict::Pass
    }
}

/// A time in seconds since the epoch, in this machine's zone, as RFC 3339 writes it.
pub fn rfc3339(seconds: i64) -> String {
    let mut text = Vec::new();
    layout::Layout::new("2006-01-02T15:04:05Z07:00").write_before(&mut text, &zone::local(seconds));
    String::from_utf8(text).unwrap_or_default()
}

/// Fills a slot with the text for a number.
type Render = fn(u64, &mut Slots, usize);

/// A field that a [`Formatter`] writes text for.
struct Number {
    source: Accessor,
    slot: usize,
    render: Render,
}

/// How the numbers of one type are written.
struct Formatter {
    /// Its name in annotations: `formatters.<name>.target`.
    name: &'static str,
    /// The tag of its type.
    tag: &'static str,
    /// What a field of that type must hold.
    scalar: Scalar,
    /// The template of the text field, or an empty string.
    template: &'static str,
    /// The values that the text can have, for the field's help, or an empty string.
    one_of: String,
    render: Render,
}

/// All names of a table and their aliases, sorted, as the field's help lists them.
fn one_of(names: &[&'static str], aliases: &[&'static str]) -> String {
    let all = names.iter().chain(aliases).copied().filter(|name| !name.is_empty());
    all.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
}

impl Formatter {
    fn attach(self, ds: &mut DataSource, numbers: &mut Vec<Number>) {
        let key = format!("formatters.{}.target", self.name);
        for id in tagged(ds, self.tag) {
            let kind = ds.fields[id].kind;
            if kind.array || kind.scalar != self.scalar {
                continue;
            }
            let Some(name) = target_name(ds, id, &key) else {
                tracing::debug!("field {:?} keeps its number: {key} names no field", ds.fields[id].full_name);
                continue;
            };
            let mut annotations = Annotations::default();
            if !self.template.is_empty() {
                annotations.set("template", self.template);
                annotations.expand(self.template);
            }
            if !self.one_of.is_empty() {
                annotations.set("value.one-of", self.one_of.as_str());
            }
            let source = ds.accessor(id);
            let Some((_, slot)) = add_text_beside(ds, id, &name, annotations) else { continue };
            numbers.push(Number { source, slot, render: self.render });
        }
    }
}
