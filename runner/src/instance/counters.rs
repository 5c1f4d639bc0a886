//! Counters that a gadget keeps beside its events, such as those of what it could not read, told at the end of a run.
//!
//! A data source names them in its annotations: `counters.map` is an array of 64-bit counters, of each processor or of
//! all; `counters.reasons` says in its order what they count, parted by commas, with nothing for one that is not worth
//! telling; `counters.title` says what they have in common.

use crate::{datasource::DataSource, ebpf::LoadedGadget};

/// Counters that are more than this many are no list of reasons.
const MOST: usize = 256;

/// Counters of one kind, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// What they have in common.
    pub title: String,
    /// Reasons, and how often each: those that are not zero.
    pub values: Vec<(String, u64)>,
}

impl Counter {
    /// The sum over all reasons.
    pub fn total(&self) -> u64 {
        self.values.iter().fold(0, |sum, (_, value)| sum.saturating_add(*value))
    }
}

/// Reads the counters that the data source names; `None` if it names none or all are zero.
pub(super) fn read(source: &DataSource, gadget: &LoadedGadget) -> Option<Counter> {
    let map = source.annotations.get("counters.map").filter(|map| !map.is_empty())?;
    counter(source, map, |index| gadget.counter_at(map, index))
}

fn counter(source: &DataSource, map: &str, value: impl Fn(u32) -> u64) -> Option<Counter> {
    let reasons = source.annotations.get("counters.reasons").map_or("", String::as_str);
    let title = source.annotations.get("counters.title").map_or(map, String::as_str);
    let values: Vec<(String, u64)> = (0u32..)
        .zip(reasons.split(',').map(str::trim).take(MOST))
        .filter(|(_, reason)| !reason.is_empty())
        .map(|(index, reason)| (reason.to_owned(), value(index)))
        .filter(|(_, value)| *value > 0)
        .collect();
    (!values.is_empty()).then(|| Counter { title: title.to_owned(), values })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasource::SourceKind;

    #[test]
    fn reasons_that_are_named_and_happened_are_told() {
        let mut source = DataSource::new("sni", SourceKind::Single);
        source.annotations.insert("counters.reasons".into(), ", split, no name,, too long".into());
        let values = [9u64, 2, 0, 7, 1];
        let read = |source: &DataSource| {
            counter(source, "sni_unread", |index| values.get(index as usize).copied().unwrap_or_default())
        };
        let found = read(&source).unwrap();
        assert_eq!(found.title, "sni_unread");
        assert_eq!(found.values, [("split".to_owned(), 2), ("too long".to_owned(), 1)]);
        assert_eq!(found.total(), 3);
        source.annotations.insert("counters.title".into(), "unread".into());
        assert_eq!(read(&source).unwrap().title, "unread");
        source.annotations.insert("counters.reasons".into(), String::new());
        assert_eq!(read(&source), None);
    }
}
