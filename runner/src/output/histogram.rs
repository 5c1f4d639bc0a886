//! Histograms as bars of stars: what a data source with `metrics.print` is by default.
//!
//! The kernel counts into slots, of which the n-th holds values from 2^(n-1) to 2^n; a map of them is read at intervals
//! and emptied by that, so counts are summed up here from the start of the run. The picture is that of BCC's tools and of
//! upstream, to the byte. Where fields tell several of one name apart (`metrics.type: key`), upstream draws them without
//! saying which is which; here a line before each does.

use std::{collections::BTreeMap, io::Write as _};

use super::{escape, number};
use crate::datasource::{Accessor, DataSource, Event, Field, Place, Scalar, Value};

/// What a slot's type is called in the object, before the name of its integer.
const SLOT: &str = "type:gadget_histogram_slot__";

/// How long the longest bar is.
const STARS: u64 = 40;

/// Most histograms of one name: what tells them apart comes from events.
const MAX_SETS: usize = 4096;

/// The histograms of one data source.
#[derive(Debug)]
pub(super) struct Histograms {
    list: Vec<Histogram>,
    /// What tells histograms of one name apart.
    keys: Vec<(String, Accessor)>,
    /// The counts of all in `list`, by the values of the keys as they are shown.
    sets: BTreeMap<Vec<u8>, Vec<Vec<u64>>>,
    /// The values of the event at hand.
    label: Vec<u8>,
}

#[derive(Debug)]
struct Histogram {
    name: String,
    unit: String,
    field: Accessor,
    slots: usize,
}

/// Whether the field counts into slots.
fn counts(field: &Field) -> bool {
    let slots = field.kind.array && matches!(field.kind.scalar, Scalar::Uint32 | Scalar::Uint64);
    slots && !field.unreferenced && field.tags.iter().any(|tag| tag.starts_with(SLOT))
}

/// Whether the data source is to be shown so: it says so, and has slots.
pub(super) fn has(source: &DataSource) -> bool {
    source.annotations.get("metrics.print").is_some_and(|print| print == "true")
        && source.fields.iter().any(counts)
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
                slots,
            }
        };
        let fields = || source.fields.iter().enumerate().filter(|(_, field)| !field.unreferenced);
        let is_key = |field: &Field| field.annotations.get("metrics.type") == Some("key");
        let keys = fields().filter(|(_, field)| is_key(field));
        let mut histograms = Self {
            list: fields().filter(|(_, field)| counts(field)).map(histogram).collect(),
            keys: keys.map(|(id, field)| (field.full_name.clone(), source.accessor(id))).collect(),
            sets: BTreeMap::new(),
            label: Vec::new(),
        };
        if histograms.keys.is_empty() {
            histograms.sets.insert(Vec::new(), histograms.empty());
        }
        histograms
    }

    fn empty(&self) -> Vec<Vec<u64>> {
        self.list.iter().map(|histogram| vec![0; histogram.slots]).collect()
    }

    /// Adds what an event counted.
    pub(super) fn add(&mut self, event: &Event<'_>) {
        self.label.clear();
        for (name, key) in &self.keys {
            if !self.label.is_empty() {
                self.label.push(b' ');
            }
            self.label.extend_from_slice(name.as_bytes());
            self.label.push(b'=');
            append_value(key.value(event), &mut self.label);
        }
        if !self.sets.contains_key(&self.label) {
            if self.sets.len() >= MAX_SETS {
                self.label.clear();
                self.label.extend_from_slice(b"others");
            }
            let empty = self.empty();
            self.sets.entry(self.label.clone()).or_insert(empty);
        }
        let Some(set) = self.sets.get_mut(&self.label) else { return };
        for (histogram, counts) in self.list.iter().zip(set) {
            let Value::Array(scalar, bytes) = histogram.field.value(event) else { continue };
            for (count, bytes) in counts.iter_mut().zip(bytes.chunks_exact(width(scalar))) {
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
        for (at, histogram) in self.list.iter().enumerate() {
            escape::terminal(histogram.name.as_bytes(), out);
            out.push(b'\n');
            for (label, set) in &self.sets {
                if !label.is_empty() {
                    out.extend_from_slice(label);
                    out.push(b'\n');
                }
                histogram.draw(set.get(at).map_or(&[], Vec::as_slice), out);
            }
        }
    }
}

/// Appends what tells one histogram from another.
fn append_value(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Unsigned(v) => number::unsigned(v, out),
        Value::Signed(v) => number::signed(v, out),
        Value::Bool(v) => number::boolean(v, out),
        Value::Float(v) => number::float(v, false, number::json_exponent, out),
        Value::Text(text) => {
            escape::terminal(text, out);
        }
        Value::Bytes(bytes) | Value::Array(_, bytes) => number::hex(bytes, out),
    }
}

impl Histogram {
    fn draw(&self, counts: &[u64], out: &mut Vec<u8>) {
        out.extend_from_slice(b"        ");
        let width = escape::terminal(self.unit.as_bytes(), out);
        out.resize(out.len() + 16_usize.saturating_sub(width), b' ');
        out.extend_from_slice(b" : count    distribution\n");
        let most = counts.iter().copied().max().unwrap_or(0).max(1);
        for (slot, &count) in counts.iter().enumerate() {
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
    fn histograms_that_a_key_tells_apart_say_which_is_which() {
        let mut source = DataSource::new("latency", SourceKind::Array);
        source.annotations.insert("metrics.print".into(), "true".into());
        let id = sample::add(&mut source, None, "latency", Scalar::Uint32, 0, 8);
        source.fields[id].kind = Kind { scalar: Scalar::Uint32, array: true };
        source.fields[id].tags = vec!["type:gadget_histogram_slot__u32".to_owned()];
        for (name, scalar, offset, size) in [("comm", Scalar::CString, 8, 4), ("cpu", Scalar::Uint8, 12, 1)] {
            let key = sample::add(&mut source, None, name, scalar, offset, size);
            source.fields[key].annotations.set("metrics.type", "key");
        }
        let mut histograms = Histograms::new(&source);
        let draw = |histograms: &Histograms| {
            let mut out = Vec::new();
            histograms.draw(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(draw(&histograms), "latency\n");
        for (low, comm, cpu) in [(1_u32, b"sh\0\0", 1), (2, b"a\x1b[\0", 0), (3, b"sh\0\0", 1)] {
            let mut data = [low.to_ne_bytes(), 1_u32.to_ne_bytes(), *comm].concat();
            data.push(cpu);
            histograms.add(&Event { data: &data, slots: &mut Slots::new(0) });
        }
        insta::assert_snapshot!(draw(&histograms), @r"
        latency
        comm=a\x1b[ cpu=0
                                 : count    distribution
                 0 -> 1          : 2        |****************************************|
                 1 -> 2          : 1        |********************                    |

        comm=sh cpu=1
                                 : count    distribution
                 0 -> 1          : 4        |****************************************|
                 1 -> 2          : 2        |********************                    |
        ");
        assert!(!has(&sample::sni()));
    }

    #[test]
    fn there_is_an_end_to_how_many_are_told_apart() {
        let mut source = source();
        let id = sample::add(&mut source, None, "dev", Scalar::Uint32, SLOTS * 4, 4);
        source.fields[id].annotations.set("metrics.type", "key");
        let mut histograms = Histograms::new(&source);
        for dev in 0..MAX_SETS as u32 + 10 {
            let mut data = vec![1; SLOTS as usize * 4];
            data.extend(dev.to_ne_bytes());
            histograms.add(&Event { data: &data, slots: &mut Slots::new(0) });
        }
        assert_eq!(histograms.sets.len(), MAX_SETS + 1);
        assert!(histograms.sets.contains_key(&b"others"[..]));
    }
}
