//! Times of events. The kernel gives nanoseconds since boot; people and JSON get the wall clock.

use std::{io::Write as _, sync::OnceLock};

use nix::time::{ClockId, clock_gettime};

use crate::datasource::{Accessor, Annotations, DataSource, Event, Scalar, Slot};

use super::super::{add_text_beside, tagged, target_name};
use super::layout::Layout;
use super::zone::{Zone, local};

const DEFAULT_LAYOUT: &str = "2006-01-02T15:04:05.000000000Z07:00";
const SECOND: u64 = 1_000_000_000;

/// How times are written where a person chose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// The time of day, to the millisecond.
    Short,
    /// Date, time to the nanosecond, and zone, as RFC 3339 has it.
    Rfc3339,
    /// Seconds since the run began.
    Relative,
}

impl Times {
    /// Their names on the command line.
    pub const NAMES: [&str; 3] = ["short", "rfc3339", "relative"];

    /// The one called `name`.
    pub fn named(name: &str) -> Option<Self> {
        let known = [Self::Short, Self::Rfc3339, Self::Relative];
        Self::NAMES.iter().zip(known).find_map(|(known, times)| (*known == name).then_some(times))
    }

    /// Terminal columns of the longest text that is usual.
    fn width(self) -> usize {
        match self {
            Self::Short => "15:04:05.000".len(),
            Self::Rfc3339 => DEFAULT_LAYOUT.len(),
            Self::Relative => "12345.678901".len(),
        }
    }
}

/// A field with a time, in nanoseconds.
pub(super) struct Timestamp {
    /// The kernel's value.
    source: Accessor,
    /// The source field, which tells wall-clock nanoseconds from here on.
    raw_slot: usize,
    text_slot: usize,
    /// Nanoseconds from boot to wall clock.
    offset: i64,
    text: Text,
    /// Where times count from, in wall-clock nanoseconds, if they are relative.
    start: Option<u64>,
}

/// Adds a text to each time of the data source: `chosen`, and then shown first, or as the field says.
pub(super) fn attach(ds: &mut DataSource, chosen: Option<Times>) -> Vec<Timestamp> {
    let mut times = Vec::new();
    for id in tagged(ds, "type:gadget_timestamp") {
        let kind = ds.fields[id].kind;
        if kind.array || !matches!(kind.scalar, Scalar::Uint64 | Scalar::Int64) {
            continue;
        }
        let Some(name) = target_name(ds, id, "formatters.timestamp.target") else {
            tracing::debug!("field {:?} keeps its number: it names no target", ds.fields[id].full_name);
            continue;
        };
        let layout = match chosen {
            Some(Times::Short) => "15:04:05.000",
            Some(Times::Rfc3339 | Times::Relative) => DEFAULT_LAYOUT,
            None => ds.fields[id].annotations.get("formatters.timestamp.format").unwrap_or(DEFAULT_LAYOUT),
        };
        let text = Text::new(Layout::new(layout), local);
        let mut annotations = Annotations::from([("template", "timestamp")]);
        annotations.expand("timestamp");
        let source = ds.accessor(id);
        if let Some(chosen) = chosen {
            annotations.set("columns.hidden", "false");
            for key in ["columns.width", "columns.minwidth", "columns.maxwidth"] {
                annotations.set(key, chosen.width().to_string());
            }
            if chosen == Times::Relative {
                annotations.set("columns.alignment", "right");
            }
        }
        let Some((text_id, text_slot)) = add_text_beside(ds, id, &name, annotations) else { continue };
        if chosen.is_some() {
            ds.fields[text_id].order = i32::MIN;
        }
        let raw_slot = ds.move_to_slot(id);
        let start = (chosen == Some(Times::Relative)).then(now);
        times.push(Timestamp { source, raw_slot, text_slot, offset: boot_to_wall(), text, start });
    }
    times
}

impl Timestamp {
    #[inline]
    pub(super) fn fill(&mut self, event: &mut Event<'_>) {
        let wall = match self.source.u64(event) {
            0 => now(),
            boot => boot.wrapping_add_signed(self.offset),
        };
        let raw = match self.source.kind().scalar {
            Scalar::Int64 => Slot::Signed(wall as i64),
            _ => Slot::Unsigned(wall),
        };
        event.slots.set(self.raw_slot, raw);
        event.slots.set_text(self.text_slot, |out| match self.start {
            Some(start) => relative(out, wall, start),
            None => self.text.write(out, wall),
        });
    }
}

/// Writes seconds since `start`, to the microsecond. An event from before the start has a sign.
fn relative(out: &mut Vec<u8>, wall: u64, start: u64) {
    let micros = wall.abs_diff(start) / 1000;
    let sign = if wall < start && micros > 0 { "-" } else { "" };
    // Writing to a Vec can't fail.
    let _ = write!(out, "{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000);
}

/// Writes times. Keeps the text of the last second, because events come many to a second: only the fraction is new.
struct Text {
    layout: Layout,
    zone: Zone,
    second: Option<u64>,
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Text {
    fn new(layout: Layout, zone: Zone) -> Self {
        Self { layout, zone, second: None, before: Vec::new(), after: Vec::new() }
    }

    #[inline]
    fn write(&mut self, out: &mut Vec<u8>, wall: u64) {
        let (second, nanoseconds) = (wall / SECOND, (wall % SECOND) as u32);
        if self.second != Some(second) {
            self.begin(second);
        }
        out.extend_from_slice(&self.before);
        if let Some(fraction) = self.layout.fraction() {
            fraction.write(out, nanoseconds);
        }
        out.extend_from_slice(&self.after);
    }

    #[cold]
    fn begin(&mut self, second: u64) {
        let time = (self.zone)(second as i64);
        self.before.clear();
        self.layout.write_before(&mut self.before, &time);
        self.after.clear();
        self.layout.write_after(&mut self.after, &time);
        self.second = Some(second);
    }
}

fn now() -> u64 {
    nanoseconds(ClockId::CLOCK_REALTIME)
}

/// From boot to wall clock, as it was when first asked: all gadgets of a process tell the same time.
fn boot_to_wall() -> i64 {
    static OFFSET: OnceLock<i64> = OnceLock::new();
    *OFFSET.get_or_init(|| now().wrapping_sub(nanoseconds(ClockId::CLOCK_BOOTTIME)) as i64)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).map_or((0, 0), |time| (time.tv_sec() as u64, time.tv_nsec() as u64));
    time.0.wrapping_mul(SECOND).wrapping_add(time.1)
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Source, bytes, event, text};
    use super::super::zone::Civil;
    use super::*;

    fn utc(seconds: i64) -> Civil {
        let s = (seconds % 86_400) as u32;
        let day = (seconds / 86_400) as u32;
        Civil {
            year: 1970,
            month: 0,
            day,
            weekday: 0,
            hour: s / 3600,
            minute: s / 60 % 60,
            second: s % 60,
            offset: 0,
        }
    }

    fn written(text: &mut Text, wall: u64) -> String {
        let mut out = Vec::new();
        text.write(&mut out, wall);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn texts_follow_the_clock() {
        let mut text = Text::new(Layout::new(DEFAULT_LAYOUT), utc);
        for (wall, expected) in [
            (86_400 * SECOND, "1970-01-01T00:00:00.000000000Z"),
            (86_400 * SECOND + 7, "1970-01-01T00:00:00.000000007Z"),
            (86_401 * SECOND + 999_999_999, "1970-01-01T00:00:01.999999999Z"),
            (86_400 * SECOND + 8, "1970-01-01T00:00:00.000000008Z"),
        ] {
            assert_eq!(written(&mut text, wall), expected);
        }
    }

    #[test]
    fn a_second_is_asked_for_once() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let zone: Zone = |seconds| {
            ASKED.fetch_add(1, Ordering::Relaxed);
            utc(seconds)
        };
        let mut text = Text::new(Layout::new(DEFAULT_LAYOUT), zone);
        for nanoseconds in 0..100 {
            written(&mut text, nanoseconds);
        }
        assert_eq!(ASKED.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn fields_of_a_time() {
        let mut ds = Source::new("s")
            .number("timestamp_raw", Scalar::Uint64, "gadget_timestamp")
            .number("start", Scalar::Uint64, "gadget_timestamp")
            .done();
        let mut times = attach(&mut ds, None);
        assert_eq!(times.len(), 1);
        let added = &ds.fields[ds.field("timestamp").unwrap()];
        assert!(added.hidden && ds.fields[0].hidden && !ds.fields[1].hidden);
        assert_eq!(added.annotations.get("columns.maxwidth"), Some("35"));
        let boot = nanoseconds(ClockId::CLOCK_BOOTTIME);
        let data = bytes(&ds, &[("start", &boot.to_ne_bytes())]);
        let raw = ds.accessor(0);
        // The first field is no longer static: the bytes are put where it was.
        let data = [&boot.to_ne_bytes()[..], &data[8..]].concat();
        event(&ds, &data, |e| {
            times[0].fill(e);
            let wall = raw.u64(e);
            assert!(now().abs_diff(wall) < 60 * SECOND, "{wall}");
            assert!(text(&ds, e, "timestamp").contains(&format!(".{:09}", wall % SECOND)));
            assert_eq!(ds.accessor(1).u64(e), boot);
        });
    }

    #[test]
    fn an_event_without_a_time_is_now() {
        let mut ds = Source::new("s").number("t_raw", Scalar::Int64, "gadget_timestamp").done();
        let mut times = attach(&mut ds, None);
        let before = now();
        event(&ds, &[0; 8], |e| {
            times[0].fill(e);
            let wall = ds.accessor(0).u64(e);
            assert!((before..=now()).contains(&wall));
        });
    }

    #[test]
    fn chosen_times_are_shown_first() {
        for (name, shown) in [("short", ":"), ("rfc3339", "T"), ("relative", ".")] {
            let mut ds = Source::new("s")
                .number("n", Scalar::Uint32, "gadget_pid")
                .number("t_raw", Scalar::Uint64, "gadget_timestamp")
                .with("formatters.timestamp.format", "2006")
                .done();
            let chosen = Times::named(name).unwrap();
            let mut times = attach(&mut ds, Some(chosen));
            let id = ds.field("t").unwrap();
            assert_eq!(ds.visible().first(), Some(&id));
            event(&ds, &[0; 16], |e| {
                times[0].fill(e);
                let text = text(&ds, e, "t");
                assert!(text.contains(shown), "{text}");
                assert!(text.len() <= chosen.width(), "{text}");
            });
        }
        assert_eq!(Times::named("long"), None);
    }

    #[test]
    fn relative_times_count_from_the_start() {
        let written = |wall, start| {
            let mut out = Vec::new();
            relative(&mut out, wall, start);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(12_345_678_901, SECOND), "11.345678");
        assert_eq!(written(SECOND, 3 * SECOND), "-2.000000");
        assert_eq!(written(SECOND, SECOND), "0.000000");
        assert_eq!(written(u64::MAX, 0), "18446744073.709551");
    }

    #[test]
    fn a_layout_of_ones_own() {
        let mut ds = Source::new("s")
            .number("t_raw", Scalar::Uint64, "gadget_timestamp")
            .with("formatters.timestamp.format", "2006")
            .with("formatters.timestamp.target", "year")
            .done();
        let mut times = attach(&mut ds, None);
        event(&ds, &[0; 8], |e| {
            times[0].fill(e);
            assert!(text(&ds, e, "year").parse::<u32>().unwrap() >= 2024);
        });
    }
}
