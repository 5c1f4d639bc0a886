//! Histograms as bars of stars: what a data source with `metrics.print` is by default.
//!
//! The kernel counts into slots, of which the n-th holds values from 2^(n-1) to 2^n; a map of them is read at intervals
//! and emptied by that, so counts are summed up here from the start of the run. The picture is that of BCC's tools and of
//! upstream, to the byte.

use std::io::Write as _;

use super::escape;
use crate::datasource::{Accessor, DataSource, Event, Field, Place, Scalar, Value};

/// What a slot's type is called in the object, before the name of its integer.
const SLOT: &str = "type:gadget_histogram_slot__";

/// How long the longest bar is.
const STARS: u64 = 40;

/// The histograms of one data source.
#[derive(Debug)]
pub(super) struct Histograms(Vec<Histogram>);

#[derive(Debug)]
struct Histogram {
    name: String,
    unit: String,
    field: Accessor,
    counts: Vec<u64>,
}

/// Whether the field counts into slots.
fn counts(field: &Field) -> bool {
    let slots = field.kind.array && matches!(field.kind.scalar, Scalar::Uint32 | Scalar::Uint64);
    slots && !field.unreferenced && field.tags.iter().any(|tag| tag.starts_with(SLOT))
}

/// Whether the data source is to be shown so: it says so, and has slots that are those of the whole machine. Where
/// fields tell one histogram from another, a table or JSON keeps them apart.
pub(super) fn has(source: &DataSource) -> bool {
    let key = |field: &Field| field.annotations.get("metrics.type").is_some_and(|kind| kind == "key");
    source.annotations.get("metrics.print").is_some_and(|print| print == "true")
        && source.fields.iter().any(counts)
        && !source.fields.iter().any(key)
}

/// Bytes of a slot.
fn width(scalar: Scalar) -> usize {
    if scalar == Scalar::Uint32 { 4 } else { 8 }
}

impl Histograms {
    /// Those of `source`, with nothing in them.
    pub(super) fn new(source: &DataSource) -> Self {
        let text =
            |field: &Field, key: &str| field.annotations.get(key).map(str::to_owned).unwrap_or_default();
        let histogram = |(id, field): (usize, &Field)| {
            let name = text(field, "metrics.name");
            // How many slots there are is known before anything was counted.
            let slots = match field.place {
                Place::Static { size, .. } => size as usize / width(field.kind.scalar),
                Place::Nowhere | Place::Slot(_) => 0,
            };
            Histogram {
                name: if name.is_empty() { field.full_name.clone() } else { name },
                unit: text(field, "metrics.unit"),
                field: source.accessor(id),
                counts: vec![0; slots],
            }
        };
        let fields = source.fields.iter().enumerate().filter(|(_, field)| counts(field));
        Self(fields.map(histogram).collect())
    }

    /// Adds what an event counted.
    pub(super) fn add(&mut self, event: &Event<'_>) {
        for histogram in &mut self.0 {
            let Value::Array(scalar, bytes) = histogram.field.value(event) else { continue };
            for (count, bytes) in histogram.counts.iter_mut().zip(bytes.chunks_exact(width(scalar))) {
                let more = match (<[u8; 4]>::try_from(bytes), <[u8; 8]>::try_from(bytes)) {
                    (Ok(bytes), _) => u32::from_ne_bytes(bytes).into(),
                    (_, Ok(bytes)) => u64::from_ne_bytes(bytes),
                    _ => 0,
                };
                *count = count.saturating_add(more);
            }
        }
    }

    /// Draws all of them.
    pub(super) fn draw(&self, out: &mut Vec<u8>) {
        for histogram in &self.0 {
            histogram.draw(out);
        }
    }
}

impl Histogram {
    fn draw(&self, out: &mut Vec<u8>) {
        escape::terminal(self.name.as_bytes(), out);
        out.extend_from_slice(b"\n        ");
        let width = escape::terminal(self.unit.as_bytes(), out);
        out.resize(out.len() + 16_usize.saturating_sub(width), b' ');
        out.extend_from_slice(b" : count    distribution\n");
        let most = self.counts.iter().copied().max().unwrap_or(0).max(1);
        for (slot, &count) in self.counts.iter().enumerate() {
            let bound = |power: usize| {
                u32::try_from(power).ok().and_then(|power| 1_u128.checked_shl(power)).unwrap_or(u128::MAX)
            };
            let low = if slot == 0 { 0 } else { bound(slot - 1) };
            let stars =
                usize::try_from(u128::from(count) * u128::from(STARS) / u128::from(most)).unwrap_or(0);
            // Writing to memory does not fail.
            let _ =
                writeln!(out, "{low:>10} -> {:<10} : {count:<8} |{:<40}|", bound(slot), "*".repeat(stars));
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::datasource::{Kind, Slots, SourceKind, sample};

    /// What `ig` printed: two blocks of one histogram, without the last line.
    const RECORDED: &str = include_str!("../../../tests/fixtures/ig/profile_blockio.histogram.txt");
    const SLOTS: u32 = 27;

    fn source() -> DataSource {
        let mut source = DataSource::new("blockio", SourceKind::Array);
        source.annotations.insert("metrics.print".into(), "true".into());
        let id = sample::add(&mut source, None, "latency", Scalar::Uint32, 0, SLOTS * 4);
        let field = &mut source.fields[id];
        field.kind = Kind { scalar: Scalar::Uint32, array: true };
        field.tags = vec!["type:gadget_histogram_slot__u32".to_owned()];
        field.annotations.set("metrics.unit", "µs");
        source
    }

    /// Whether what is drawn of the counts that were recorded is what was recorded.
    pub(in super::super) fn is_upstreams() -> bool {
        drawn().starts_with(RECORDED)
    }

    /// The counts in a block.
    fn recorded(block: &str) -> Vec<u32> {
        let count = |line: &str| line.split_once(" : ")?.1.split(' ').next()?.parse().ok();
        let mut counts: Vec<u32> = block.lines().skip(2).filter_map(count).collect();
        counts.resize(SLOTS as usize, 0);
        counts
    }

    fn drawn() -> String {
        let source = source();
        assert!(has(&source));
        let mut histograms = Histograms::new(&source);
        let mut before = vec![0; SLOTS as usize];
        let mut drawn = String::new();
        for block in RECORDED.split_inclusive("\n\n") {
            let counts = recorded(block);
            let data: Vec<u8> = counts
                .iter()
                .zip(&before)
                .flat_map(|(now, before): (&u32, &u32)| now.checked_sub(*before).unwrap().to_ne_bytes())
                .collect();
            histograms.add(&Event { data: &data, slots: &mut Slots::new(0) });
            let mut out = Vec::new();
            histograms.draw(&mut out);
            drawn.push_str(&String::from_utf8(out).unwrap());
            before = counts;
        }
        drawn
    }

    #[test]
    fn pictures_are_upstreams_and_counts_add_up() {
        assert_eq!(drawn().get(..RECORDED.len()), Some(RECORDED));
    }

    #[test]
    fn histograms_that_a_key_tells_apart_are_not_mixed() {
        let mut keyed = source();
        let id = sample::add(&mut keyed, None, "dev", Scalar::Uint32, SLOTS * 4, 4);
        assert!(has(&keyed));
        keyed.fields[id].annotations.set("metrics.type", "key");
        assert!(!has(&keyed));
        assert!(!has(&sample::sni()));
    }
}
