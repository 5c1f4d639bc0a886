//! Processes: who they are, and how much processor time and memory they use.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};

use super::{HIDDEN, ONE_DIGIT, RIGHT, Row, Scalar, Shown, Table};
use crate::{container::namespace, operator::format::rfc3339};

/// Clock ticks in `/proc/PID/stat` per second, fixed by the kernel's interface.
const USER_HZ: u64 = 100;

const COMM: u32 = 64;
const TIME: u32 = 24;
const STATE: u32 = 2;
const START: u32 = 32;

pub(super) fn table() -> Table {
    let right = &[RIGHT][..];
    let wide = |alias| [RIGHT, ("columns.width", alias)];
    Table::new("processes")
        .number("pid", Scalar::Int32, &[RIGHT, ("columns.minwidth", "7")])
        .number("ppid", Scalar::Int32, &[RIGHT, HIDDEN])
        .text("comm", COMM, &[])
        .number("priority", Scalar::Int32, right)
        .number("nice", Scalar::Int32, right)
        .number("cpuTime", Scalar::Uint64, &[RIGHT, HIDDEN])
        .number("cpuUsage", Scalar::Float64, &[RIGHT, ONE_DIGIT])
        .number("cpuUsageRelative", Scalar::Float64, &[RIGHT, ONE_DIGIT])
        .number("memoryRSS_raw", Scalar::Uint64, &wide("10"))
        .of_type("gadget_bytes")
        .number("memoryVirtual_raw", Scalar::Uint64, &wide("10"))
        .of_type("gadget_bytes")
        .number("memoryShared_raw", Scalar::Uint64, &wide("10"))
        .of_type("gadget_bytes")
        .number("memoryRelative", Scalar::Float64, &[RIGHT, ONE_DIGIT])
        .number("threadCount", Scalar::Int32, right)
        .text("state", STATE, &[])
        .number("uid", Scalar::Uint32, right)
        .number("startTime", Scalar::Uint64, &[RIGHT, HIDDEN])
        .text("startTimeStr", START, &[("columns.ellipsis", "start")])
        .text("cpuTimeStr", TIME, right)
        .number("mountnsid", Scalar::Uint64, &[HIDDEN])
        .of_type("gadget_mntns_id")
}

/// The processes as they were when they were last read.
pub(in super::super) struct Processes {
    /// Processor time by process and by when it began, in ticks.
    before: HashMap<(i32, u64), u64>,
    read: Instant,
    /// When the machine was started, in seconds since the epoch.
    booted: i64,
    /// Bytes of memory that it has.
    memory: u64,
    processors: f64,
}

/// What `/proc/PID/stat` says.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    comm: String,
    state: String,
    parent: i32,
    /// Ticks of processor time.
    time: u64,
    priority: i32,
    nice: i32,
    threads: i32,
    /// Ticks after the machine's start.
    started: u64,
}

/// Sizes in bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Memory {
    whole: u64,
    resident: u64,
    shared: u64,
}

impl Processes {
    pub(super) fn start() -> Self {
        let now = |clock| clock_gettime(clock).map_or(Duration::ZERO, Duration::from);
        let booted = now(ClockId::CLOCK_REALTIME).saturating_sub(now(ClockId::CLOCK_BOOTTIME));
        let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kilobytes = text.lines().find_map(|line| {
            line.strip_prefix("MemTotal:")?.trim().trim_end_matches(" kB").parse::<u64>().ok()
        });
        let mut processes = Self {
            before: HashMap::new(),
            read: Instant::now(),
            booted: i64::try_from(booted.as_secs()).unwrap_or(0),
            memory: kilobytes.unwrap_or(0).saturating_mul(1024),
            processors: thread::available_parallelism().map_or(1.0, |count| count.get() as f64),
        };
        for pid in pids() {
            if let Some(stat) = stat_of(pid) {
                processes.before.insert((pid, stat.started), stat.time);
            }
        }
        processes
    }

    pub(super) fn read(&mut self, shown: &Shown<'_>) -> Vec<Vec<u8>> {
        let seconds = self.read.elapsed().as_secs_f64().max(0.001);
        self.read = Instant::now();
        let before = std::mem::take(&mut self.before);
        let mut rows = Vec::new();
        for pid in pids() {
            let Some(stat) = stat_of(pid) else { continue };
            let key = (pid, stat.started);
            // One that began since has used all of its time since.
            let used = stat.time.saturating_sub(before.get(&key).copied().unwrap_or(0));
            self.before.insert(key, stat.time);
            let mntns = namespace::mntns(pid.cast_unsigned()).unwrap_or(0);
            if shown.has(mntns) {
                rows.push(self.row(pid, &stat, used as f64 / USER_HZ as f64 / seconds * 100.0, mntns));
            }
        }
        rows
    }

    fn row(&self, pid: i32, stat: &Stat, usage: f64, mntns: u64) -> Vec<u8> {
        let memory = memory_of(pid);
        let uid = fs::metadata(format!("/proc/{pid}")).map_or(0, |metadata| metadata.uid());
        let relative =
            if self.memory > 0 { memory.resident as f64 / self.memory as f64 * 100.0 } else { 0.0 };
        let started = self.booted.saturating_add(i64::try_from(stat.started / USER_HZ).unwrap_or(0));
        let mut row = Row::new();
        row.number(pid.to_ne_bytes())
            .number(stat.parent.to_ne_bytes())
            .text(&stat.comm, COMM as usize)
            .number(stat.priority.to_ne_bytes())
            .number(stat.nice.to_ne_bytes())
            .number(stat.time.to_ne_bytes())
            .number(usage.to_ne_bytes())
            .number((usage / self.processors).to_ne_bytes())
            .number(memory.resident.to_ne_bytes())
            .number(memory.whole.to_ne_bytes())
            .number(memory.shared.to_ne_bytes())
            .number(relative.to_ne_bytes())
            .number(stat.threads.to_ne_bytes())
            .text(&stat.state, STATE as usize)
            .number(uid.to_ne_bytes())
            .number(stat.started.to_ne_bytes())
            .text(&rfc3339(started), START as usize)
            .text(&super::time(stat.time.saturating_mul(1000 / USER_HZ)), TIME as usize)
            .number(mntns.to_ne_bytes());
        row.0
    }
}

/// The numbers of all processes.
fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn stat_of(pid: i32) -> Option<Stat> {
    stat(&String::from_utf8_lossy(&fs::read(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?))
}

/// Reads a line of `/proc/PID/stat`; proc(5) counts its fields from 1. A name may have blanks and brackets in it.
fn stat(line: &str) -> Option<Stat> {
    let (name, rest) = line.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let text = |number: usize| fields.get(number - 3).copied();
    let count = |number| text(number)?.parse::<u64>().ok();
    let signed = |number| text(number)?.parse::<i32>().ok();
    Some(Stat {
        comm: name.split_once('(')?.1.to_owned(),
        state: text(3)?.to_owned(),
        parent: signed(4)?,
        time: count(14)?.saturating_add(count(15)?),
        priority: signed(18)?,
        nice: signed(19)?,
        threads: signed(20)?,
        started: count(22)?,
    })
}

fn memory_of(pid: i32) -> Memory {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096);
    let mut pages = text.split_ascii_whitespace().map(|count| count.parse::<u64>().unwrap_or(0));
    let mut bytes = || pages.next().unwrap_or(0).saturating_mul(page.cast_unsigned());
    Memory { whole: bytes(), resident: bytes(), shared: bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_stat_is_read_whatever_the_name_is() {
        let line =
            "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 15 10 0 0 20 -5 7 0 3435240 1380216832 18010 1";
        let found = stat(line).unwrap();
        assert_eq!(
            found,
            Stat {
                comm: "a) b (c".to_owned(),
                state: "S".to_owned(),
                parent: 1,
                time: 25,
                priority: 20,
                nice: -5,
                threads: 7,
                started: 3_435_240
            }
        );
        assert_eq!(stat("42 (a"), None);
        assert_eq!(stat(""), None);
        assert_eq!(super::super::time(250), "0:00.250");
        assert_eq!(super::super::time(3_661_010), "61:01.010");
    }

    #[test]
    fn this_process_is_there() {
        let pid = std::process::id().cast_signed();
        let stat = stat_of(pid).unwrap();
        assert!(stat.threads > 0 && memory_of(pid).resident > 0);
        let processes = Processes::start();
        assert!(processes.before.contains_key(&(pid, stat.started)));
        assert!(processes.memory > memory_of(pid).resident);
        assert_eq!(processes.row(pid, &stat, 1.0, 1).len(), table().source.static_size);
    }
}
