//! Reading what a process costs out of /proc.

use std::{fs, time::Duration};

/// What a run under load cost.
pub(crate) struct Cost {
    /// Events that the load made.
    pub(crate) made: u64,
    /// Events that came out.
    pub(crate) written: u64,
    /// User plus system time.
    pub(crate) cpu: Duration,
    /// VmRSS at the end, in megabytes.
    pub(crate) rss: f64,
    /// VmHWM, in megabytes.
    pub(crate) peak: f64,
    /// Memory of the eBPF maps it holds, in megabytes.
    pub(crate) maps: f64,
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A line of /proc/PID/status in megabytes.
pub(crate) fn status_mb(pid: u32, key: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix(key)).unwrap_or_default();
    let kilobytes: f64 = line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0.0);
    kilobytes * 1024.0 / 1e6
}

/// User plus system time of a process so far.
pub(crate) fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |s| s.1);
    let mut fields = after_name.split(' ').skip(11).map(|f| f.parse::<u64>().unwrap_or(0));
    let ticks = fields.next().unwrap_or(0) + fields.next().unwrap_or(0);
    Duration::from_millis(ticks * 1000 / 100)
}

/// Memory of the eBPF maps that a process holds, in megabytes, each map once.
pub(crate) fn maps_mb(pid: u32) -> f64 {
    let mut seen = std::collections::BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten() {
        let info = fs::read_to_string(entry.path()).unwrap_or_default();
        let number = |key: &str| {
            let line = info.lines().find_map(|l| l.strip_prefix(key))?;
            line.trim().parse::<u64>().ok()
        };
        if let (Some(id), Some(memory)) = (number("map_id:"), number("memlock:")) {
            seen.insert(id, memory);
        }
    }
    seen.values().sum::<u64>() as f64 / 1e6
}
