//! The programs in the kernel: how much processor time each takes, what its maps take, and who holds it.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    os::fd::OwnedFd,
    thread,
    time::Instant,
};

use super::{ONE_DIGIT, RIGHT, Row, Scalar, Table};
use crate::ebpf::usage::{self, ProgramUsage};

const GADGET: u32 = 64;
const NAME: u32 = 16;
const KIND: u32 = 32;
const TIME: u32 = 24;
const HOLDERS: u32 = 64;

/// Most descriptors of one process that are looked at.
const MAX_DESCRIPTORS: usize = 65_536;

pub(super) fn table() -> Table {
    let wide = |width| [("columns.width", width)];
    let right = |width| [RIGHT, ("columns.width", width)];
    let number = |alias, width| [RIGHT, ("columns.width", width), ONE_DIGIT, ("columns.alias", alias)];
    Table::new("bpfstats")
        .text("gadgetID", GADGET, &wide("8"))
        .text("gadgetName", GADGET, &[])
        .text("gadgetImage", GADGET, &[])
        .number("progID", Scalar::Uint32, &right("5"))
        .text("progName", NAME, &[])
        .text("progType", KIND, &[])
        .number("cpuUsage", Scalar::Float64, &number("%CPU", "8"))
        .number("cpuUsageRelative", Scalar::Float64, &number("%RELCPU", "8"))
        .text("cpuTimeStr", TIME, &[RIGHT, ("columns.width", "12"), ("columns.alias", "TIME+")])
        .number("runtime_raw", Scalar::Uint64, &right("20"))
        .of_type("gadget_duration")
        .number("runcount", Scalar::Uint64, &right("12"))
        .number("mapMemory_raw", Scalar::Uint64, &right("10"))
        .of_type("gadget_bytes")
        .number("mapCount", Scalar::Uint32, &right("5"))
        .text("comms", HOLDERS, &[])
        .text("pids", HOLDERS, &[])
}

/// The programs as they were when they were last read.
pub(in super::super) struct Programs {
    /// Nanoseconds and runs, by number.
    before: HashMap<u32, (u64, u64)>,
    read: Instant,
    processors: f64,
    /// While it is there, the kernel counts.
    _counting: Option<OwnedFd>,
}

impl Programs {
    pub(super) fn start() -> Self {
        let counting = usage::count().inspect_err(|error| {
            tracing::warn!("the kernel does not count how long programs run: {error}");
        });
        let mut programs = Self {
            before: HashMap::new(),
            read: Instant::now(),
            processors: thread::available_parallelism().map_or(1.0, |count| count.get() as f64),
            _counting: counting.ok(),
        };
        programs.before = usage::programs().into_iter().map(|p| (p.id, (p.time, p.runs))).collect();
        programs
    }

    pub(super) fn read(&mut self) -> Vec<Vec<u8>> {
        let nanoseconds = (self.read.elapsed().as_nanos() as f64).max(1e6);
        self.read = Instant::now();
        let before = std::mem::take(&mut self.before);
        let holders = holders();
        let row = |program: ProgramUsage| {
            let (time, runs) = before.get(&program.id).copied().unwrap_or((0, 0));
            self.before.insert(program.id, (program.time, program.runs));
            let time = program.time.saturating_sub(time);
            let usage = time as f64 / nanoseconds * 100.0;
            let holders = holders.get(&program.id);
            let joined = |of: fn(&(u32, String)) -> String| {
                holders.map(|all| all.iter().map(of).collect::<Vec<_>>().join(",")).unwrap_or_default()
            };
            let mut row = Row::new();
            row.text("", GADGET as usize)
                .text("", GADGET as usize)
                .text("", GADGET as usize)
                .number(program.id.to_ne_bytes())
                .text(&program.name, NAME as usize)
                .text(&program.kind, KIND as usize)
                .number(usage.to_ne_bytes())
                .number((usage / self.processors).to_ne_bytes())
                .text(&super::time(program.time / 1_000_000), TIME as usize)
                .number(time.to_ne_bytes())
                .number(program.runs.saturating_sub(runs).to_ne_bytes())
                .number(program.memory.to_ne_bytes())
                .number(u32::try_from(program.maps).unwrap_or(u32::MAX).to_ne_bytes())
                .text(&joined(|(_, comm)| comm.clone()), HOLDERS as usize)
                .text(&joined(|(pid, _)| pid.to_string()), HOLDERS as usize);
            row.0
        };
        usage::programs().into_iter().map(row).collect()
    }
}

/// Which processes have a program open, or a link to it: number and name, by the program's number.
fn holders() -> BTreeMap<u32, Vec<(u32, String)>> {
    let mut found: BTreeMap<u32, Vec<(u32, String)>> = BTreeMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut comm = None;
        for descriptor in descriptors.take(MAX_DESCRIPTORS) {
            let target = fs::read_link(descriptor.path()).unwrap_or_default();
            let is_of_bpf = matches!(target.to_str(), Some("anon_inode:bpf-prog" | "anon_inode:bpf_link"));
            let Some(number) = descriptor.file_name().to_str().filter(|_| is_of_bpf).map(str::to_owned)
            else {
                continue;
            };
            let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
            let id = info.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok());
            let Some(id) = id else { continue };
            let comm = comm.get_or_insert_with(|| {
                fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
            });
            let all = found.entry(id).or_default();
            if all.last().is_none_or(|(last, _)| *last != pid) {
                all.push((pid, comm.clone()));
            }
        }
    }
    found
}
