//! When the data sources that come in batches are read: at intervals, so many times, or when the run ends.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{
    gadget::{Origin, Source},
    run::Arrays,
    statistics::Statistics,
};
use crate::datasource::{DataSource, UnknownSource, per_source};

/// Nothing is read more often than this.
const SHORTEST: Duration = Duration::from_millis(10);

/// Why the data sources cannot be read so.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[allow(missing_docs)] // the messages say what the fields are
pub enum Error {
    #[error("{of}: {value:?} is no duration; write one as 500ms, 2s or 1m30s")]
    Duration { of: String, value: String },
    #[error("{of}: {value:?} is too short; nothing is read more often than every 10ms")]
    Short { of: String, value: String },
    #[error("{of}: {value:?} is no count; write a number, or 0 for no end")]
    Count { of: String, value: String },
    #[error("data source {source_name:?} is to be read {count} times, but at no interval: give an interval")]
    NoInterval { source_name: String, count: u64 },
    #[error(transparent)]
    Source(#[from] UnknownSource),
}

/// When one data source is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Schedule {
    interval: Duration,
    /// How many times it is still read; without end if there is none.
    left: Option<u64>,
    /// Whether it is also read when the run ends.
    pub(super) at_end: bool,
    /// When it is read next.
    next: Option<Instant>,
    /// How long after the start it is first read: before, a map has nothing in it.
    waits: Option<Duration>,
}

impl Schedule {
    fn new(
        source: &DataSource,
        (interval, count): (Duration, u64),
        at_end: bool,
        waits: Option<Duration>,
    ) -> Result<Self, Error> {
        let left = match (interval, count) {
            (Duration::ZERO, 0) => Some(0),
            (Duration::ZERO, 2..) => {
                return Err(Error::NoInterval { source_name: source.name.clone(), count });
            }
            (_, 0) => None,
            _ => Some(count),
        };
        Ok(Self { interval, left, at_end, next: None, waits })
    }

    /// The run begins.
    pub(super) fn start(&mut self, now: Instant) {
        let first = now.checked_add(self.waits.unwrap_or_default());
        self.next = first.filter(|_| self.left != Some(0));
    }

    /// When it is read next, if ever.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// It has been read.
    pub(super) fn taken(&mut self, now: Instant) {
        self.left = self.left.map(|left| left.saturating_sub(1));
        let next = self.next.and_then(|last| last.checked_add(self.interval));
        // Times that have passed are left out, not made up for.
        let next = next.map(|next| if next < now { now + self.interval } else { next });
        self.next = next.filter(|_| self.left != Some(0));
    }

    /// Whether it will not be read any more, the end of the run included.
    pub(super) fn is_done(&self) -> bool {
        self.next.is_none() && !self.at_end
    }
}

/// When each of `sources` is read; `None` for those that do not come in batches.
/// `settings` are those of operators, by name.
pub(super) fn schedules(
    sources: &[Source],
    arrays: &Arrays,
    settings: &dyn Fn(&str) -> Value,
) -> Result<Vec<Option<Schedule>>, Error> {
    let is_map = |source: &&Source| matches!(source.origin, Origin::Map { .. });
    let maps: Vec<&str> = sources.iter().filter(is_map).map(|source| source.data.name.as_str()).collect();
    let mut intervals = per_source("map-fetch-interval", &arrays.fetch_interval, ',', &maps)?.into_iter();
    let mut counts = per_source("map-fetch-count", &arrays.fetch_count, ',', &maps)?.into_iter();
    let schedule = |source: &Source| {
        let data = &source.data;
        let says = |key: &str| data.annotations.get(key).map(String::as_str);
        match &source.origin {
            Origin::Map { .. } => {
                let interval = intervals.next().flatten().unwrap_or("1000ms");
                let count = counts.next().flatten().unwrap_or("0");
                let timing =
                    (duration("--map-fetch-interval", interval)?, number("--map-fetch-count", count)?);
                let at_end = says("ebpf.map.flush-on-stop") == Some("true");
                Schedule::new(data, timing, at_end, Some(timing.0)).map(Some)
            }
            Origin::Iterators(_) => {
                let of = |key| format!("data source {:?}: annotation {key}", data.name);
                let interval = says("fetch-interval").unwrap_or("0");
                let count = says("fetch-count").unwrap_or("1");
                let timing = (duration(&of("fetch-interval"), interval)?, number(&of("fetch-count"), count)?);
                let at_end = says("ebpf.iter.fetch-on-stop") == Some("true");
                Schedule::new(data, timing, at_end, None).map(Some)
            }
            Origin::Statistics(kind) => {
                let settings = settings(kind.operator());
                let says = |key: &str| match settings.get(key) {
                    Some(Value::String(text)) => Some(text.clone()),
                    Some(number @ Value::Number(_)) => Some(number.to_string()),
                    _ => None,
                };
                let of = |key| format!("operator.{}.{key}", kind.operator());
                let interval = says("interval").unwrap_or_else(|| Statistics::INTERVAL.to_owned());
                let timing = (
                    duration(&of("interval"), &interval)?,
                    number(&of("count"), &says("count").unwrap_or_else(|| "0".to_owned()))?,
                );
                let first = says("first-interval").map(|first| duration(&of("first-interval"), &first));
                Schedule::new(data, timing, false, Some(first.transpose()?.unwrap_or(timing.0))).map(Some)
            }
            Origin::Buffer(_) | Origin::Guest => Ok(None),
        }
    };
    sources.iter().map(schedule).collect()
}

fn number(of: &str, value: &str) -> Result<u64, Error> {
    value.parse().map_err(|_| Error::Count { of: of.to_owned(), value: value.to_owned() })
}

/// Reads a duration as Go writes them, such as `1m30.5s`; without any unit only 0 is one.
fn duration(of: &str, value: &str) -> Result<Duration, Error> {
    let wrong = || Error::Duration { of: of.to_owned(), value: value.to_owned() };
    let mut total = Duration::ZERO;
    let mut rest = value;
    if value == "0" {
        return Ok(total);
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = tail;
    }
    match total {
        _ if value.is_empty() => Err(wrong()),
        Duration::ZERO => Ok(total),
        short if short < SHORTEST => Err(Error::Short { of: of.to_owned(), value: value.to_owned() }),
        total => Ok(total),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasource::SourceKind;

    fn source(name: &str, origin: Origin, annotations: &[(&str, &str)]) -> Source {
        let mut data = DataSource::new(name, SourceKind::Array);
        data.annotations.extend(annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        Source { data, enums: Vec::new(), origin }
    }

    fn map(name: &str, annotations: &[(&str, &str)]) -> Source {
        source(name, Origin::Map { map: name.to_owned(), value_size: 8 }, annotations)
    }

    fn arrays(interval: &str, count: &str) -> Arrays {
        Arrays { fetch_interval: interval.to_owned(), fetch_count: count.to_owned(), ..Arrays::default() }
    }

    /// Milliseconds after the start at which it is read, as far as `most` times.
    fn times(source: Source, arrays: &Arrays, most: usize) -> Vec<u128> {
        let mut schedule = schedules(&[source], arrays, &|_| Value::Null).unwrap().remove(0).unwrap();
        let start = Instant::now();
        schedule.start(start);
        let mut times = Vec::new();
        while let Some(next) = schedule.next().filter(|_| times.len() < most) {
            times.push((next - start).as_millis());
            schedule.taken(next);
        }
        times
    }

    #[test]
    fn maps_are_read_at_intervals() {
        assert_eq!(times(map("m", &[]), &arrays("", ""), 3), [1000, 2000, 3000]);
        assert_eq!(times(map("m", &[]), &arrays("20ms", "2"), 9), [20, 40]);
        assert_eq!(times(map("m", &[]), &arrays("m:1.5s,3s", "1"), 9), [1500]);
        assert_eq!(times(map("m", &[]), &arrays("0", "1"), 9), [0]);
        assert!(times(map("m", &[]), &arrays("0", "0"), 9).is_empty());
    }

    #[test]
    fn iterators_are_read_at_once_and_as_the_gadget_says() {
        let iterators = |annotations| source("i", Origin::Iterators(Vec::new()), annotations);
        assert_eq!(times(iterators(&[]), &arrays("5s", "7"), 9), [0]);
        let often = [("fetch-interval", "1s"), ("fetch-count", "3")];
        assert_eq!(times(iterators(&often), &arrays("", ""), 9), [0, 1000, 2000]);
    }

    #[test]
    fn statistics_are_read_as_gadget_yaml_says() {
        let source = source("processes", Origin::Statistics(Statistics::Processes), &[]);
        let settings = |name: &str| {
            assert_eq!(name, "process");
            serde_json::json!({"interval": "3s", "first-interval": "250ms", "count": 2})
        };
        let mut schedule = schedules(&[source], &arrays("", ""), &settings).unwrap().remove(0).unwrap();
        let start = Instant::now();
        schedule.start(start);
        for after in [250, 3250] {
            assert_eq!(schedule.next(), Some(start + Duration::from_millis(after)));
            schedule.taken(schedule.next().unwrap());
        }
        assert!(schedule.is_done());
    }

    #[test]
    fn what_is_read_at_the_end_is_not_done_before() {
        for (annotations, done) in [(&[][..], true), (&[("ebpf.map.flush-on-stop", "true")][..], false)] {
            let schedule = schedules(&[map("m", annotations)], &arrays("0", "0"), &|_| Value::Null)
                .unwrap()
                .remove(0)
                .unwrap();
            assert_eq!(schedule.is_done(), done);
        }
    }

    #[test]
    fn times_that_have_passed_are_left_out() {
        let mut schedule =
            schedules(&[map("m", &[])], &arrays("1s", "0"), &|_| Value::Null).unwrap().remove(0).unwrap();
        let start = Instant::now();
        schedule.start(start);
        schedule.taken(start + Duration::from_secs(10));
        assert_eq!(schedule.next(), Some(start + Duration::from_secs(11)));
    }

    #[test]
    fn durations() {
        for (text, millis) in [("0", 0), ("10ms", 10), ("1m30s", 90_000), ("1.5s", 1500), ("2h", 7_200_000)] {
            assert_eq!(duration("x", text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["", "5", "s", "5x", "-1s", "1..5s", "1e3s", "9999999999999999999999h"] {
            assert!(duration("x", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn messages() {
        let error = |interval, count| {
            schedules(&[map("m", &[])], &arrays(interval, count), &|_| Value::Null)
                .map(|_| ())
                .unwrap_err()
                .to_string()
        };
        let all = [error("5", ""), error("1ns", ""), error("", "-1"), error("0", "2"), error("n:1s", "")];
        insta::assert_snapshot!(all.join("\n"), @r#"
        --map-fetch-interval: "5" is no duration; write one as 500ms, 2s or 1m30s
        --map-fetch-interval: "1ns" is too short; nothing is read more often than every 10ms
        --map-fetch-count: "-1" is no count; write a number, or 0 for no end
        data source "m" is to be read 2 times, but at no interval: give an interval
        --map-fetch-interval: the gadget has no data source "n" (did you mean m?); it is for m
        "#);
    }
}
