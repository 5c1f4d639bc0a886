//! Control groups of containers: how much processor time they may have, and how often that was not enough.

use std::{fs, path::Path};

use super::{HIDDEN, ONE_DIGIT, RIGHT, Row, Scalar, Shown, Table};

/// Bytes of a path that is shown.
const PATH: u32 = 512;

pub(super) fn table() -> Table {
    let right = &[RIGHT][..];
    let percent = &[RIGHT, ONE_DIGIT][..];
    Table::new("cgroups")
        .text("cgroupPath", PATH, &[])
        .number("nrPeriods", Scalar::Uint64, right)
        .number("nrThrottled", Scalar::Uint64, right)
        .number("throttledTime_raw", Scalar::Uint64, right)
        .of_type("gadget_duration")
        .number("throttleRatio", Scalar::Float64, percent)
        .number("cpuQuota_raw", Scalar::Uint64, right)
        .of_type("gadget_duration")
        .number("cpuPeriod_raw", Scalar::Uint64, right)
        .of_type("gadget_duration")
        .number("cpuLimitCores", Scalar::Float64, &[RIGHT, ("columns.precision", "2")])
        .number("psiSomeAvg10", Scalar::Float64, percent)
        .number("psiSomeAvg60", Scalar::Float64, percent)
        .number("mntns_id", Scalar::Uint64, &[HIDDEN])
        .of_type("gadget_mntns_id")
}

/// What the files of a control group say.
#[derive(Debug, Default, PartialEq)]
struct Throttling {
    periods: u64,
    throttled: u64,
    /// Nanoseconds.
    time: u64,
    /// Nanoseconds of processor time in each period; 0 if there is no limit.
    quota: u64,
    /// Nanoseconds.
    period: u64,
    /// Percent of the time in which some process waited for a processor, over ten and sixty seconds.
    pressure: [f64; 2],
}

pub(super) fn read(shown: &Shown<'_>) -> Vec<Vec<u8>> {
    let rows = shown.containers().into_iter().filter_map(|container| {
        let path = container.cgroup.path();
        let throttling = Throttling::of(Path::new(&path)).filter(|_| !path.is_empty())?;
        Some(throttling.row(&container.cgroup.v2, container.mntns))
    });
    rows.collect()
}

/// The number in the line `KEY NUMBER`.
fn number(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}

impl Throttling {
    /// That of the control group in this folder, of version 2; `None` if there is none.
    fn of(folder: &Path) -> Option<Self> {
        let read = |file: &str| fs::read_to_string(folder.join(file));
        let stat = read("cpu.stat").ok()?;
        Some(Self::parse(
            &stat,
            &read("cpu.max").unwrap_or_default(),
            &read("cpu.pressure").unwrap_or_default(),
        ))
    }

    fn parse(stat: &str, max: &str, pressure: &str) -> Self {
        let mut limits = max.split_ascii_whitespace();
        let mut nanoseconds =
            || limits.next().and_then(|micros| micros.parse::<u64>().ok()).unwrap_or(0).saturating_mul(1000);
        let (quota, period) = (nanoseconds(), nanoseconds());
        let some = pressure.lines().find(|line| line.starts_with("some ")).unwrap_or_default();
        let average = |key: &str| {
            let value = some.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
            value.and_then(|value| value.parse().ok()).unwrap_or(0.0)
        };
        Self {
            periods: number(stat, "nr_periods"),
            throttled: number(stat, "nr_throttled"),
            time: number(stat, "throttled_usec").saturating_mul(1000),
            quota,
            period,
            pressure: [average("avg10"), average("avg60")],
        }
    }

    fn row(&self, path: &str, mntns: u64) -> Vec<u8> {
        let ratio = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        let [ten, sixty] = self.pressure;
        let mut row = Row::new();
        row.text(path, PATH as usize)
            .number(self.periods.to_ne_bytes())
            .number(self.throttled.to_ne_bytes())
            .number(self.time.to_ne_bytes())
            .number((ratio(self.throttled, self.periods) * 100.0).to_ne_bytes())
            .number(self.quota.to_ne_bytes())
            .number(self.period.to_ne_bytes())
            .number(ratio(self.quota, self.period).to_ne_bytes())
            .number(ten.to_ne_bytes())
            .number(sixty.to_ne_bytes())
            .number(mntns.to_ne_bytes());
        row.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_control_group_are_read() {
        let stat = "usage_usec 5\nnr_periods 40\nnr_throttled 10\nthrottled_usec 2500\n";
        let pressure = "some avg10=1.50 avg60=0.25 avg300=0.00 total=5\nfull avg10=9.00 avg60=9.00\n";
        let found = Throttling::parse(stat, "50000 100000\n", pressure);
        assert_eq!(
            found,
            Throttling {
                periods: 40,
                throttled: 10,
                time: 2_500_000,
                quota: 50_000_000,
                period: 100_000_000,
                pressure: [1.5, 0.25]
            }
        );
        assert_eq!(found.row("/docker/x", 1).len(), table().source.static_size);
        let without = Throttling::parse("nr_periods x\n", "max 100000\n", "");
        assert_eq!(without, Throttling { period: 100_000_000, ..Throttling::default() });
    }
}
