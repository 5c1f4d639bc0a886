//! How long the operators take for one event, in nanoseconds: each alone, then all of them.
//!
//! The data source looks like that of an `open` tracer: time, process, error, flags, file name. Events come in runs of
//! one process, as they do from a ring buffer. Run it with `cargo bench -p runner --bench operators`.

#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use runner::datasource::{DataSource, Event, Field, Scalar, Slots, SourceKind};
use runner::operator::enrich::{self, ContainerFields, ContainerLookup, Enrich, Gone};
use runner::operator::expression::Expression;
use runner::operator::filter::Filter;
use runner::operator::format::Format;
use runner::operator::users::Users;
use runner::operator::{Operator, Verdict, run};

/// Counts how often memory is asked for.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller keeps what it promises to this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const EVENTS: u64 = 1_000_000;
/// Consecutive events of one process.
const RUN: u64 = 16;

/// Name, kind, offset and size in bytes, type.
const FIELDS: [(&str, Scalar, u32, u32, &str); 12] = [
    ("timestamp_raw", Scalar::Uint64, 0, 8, "gadget_timestamp"),
    ("mntns_id", Scalar::Uint64, 8, 8, "gadget_mntns_id"),
    ("netns_id", Scalar::Uint32, 16, 4, "gadget_netns_id"),
    ("pid", Scalar::Uint32, 20, 4, "gadget_pid"),
    ("uid", Scalar::Uint32, 24, 4, "gadget_uid"),
    ("gid", Scalar::Uint32, 28, 4, "gadget_gid"),
    ("error_raw", Scalar::Uint32, 32, 4, "gadget_errno"),
    ("flags_raw", Scalar::Uint32, 36, 4, "gadget_file_flags"),
    ("mode_raw", Scalar::Uint32, 40, 4, "gadget_file_mode"),
    ("comm", Scalar::CString, 44, 16, "gadget_comm"),
    ("fname", Scalar::CString, 60, 220, "char"),
    ("addr", Scalar::CString, 280, 40, "char"),
];
const SIZE: usize = 320;

fn source() -> DataSource {
    let mut ds = DataSource::new("open", SourceKind::Single);
    ds.static_size = SIZE;
    ds.fields.extend(FIELDS.map(|(name, scalar, offset, size, tag)| Field {
        tags: vec![format!("type:{tag}")],
        ..Field::at(name, scalar, offset, size)
    }));
    ds
}

/// Two containers, told apart by the lowest bit.
struct Containers([ContainerFields; 2]);

impl Containers {
    fn new() -> Self {
        Self(["web", "db"].map(|name| ContainerFields {
            runtime_name: "containerd".into(),
            container_id: "8d6ac32ff3bc5b3f4b6e3a2a27e7d3c9".into(),
            container_name: name.into(),
            image_name: "registry.example/shop:1".into(),
            image_digest: "sha256:0011".into(),
            pid: 4242,
            started_at: 1,
            k8s_namespace: "shop".into(),
            k8s_pod_name: "shop-0".into(),
            k8s_container_name: name.into(),
            k8s_pod_labels: "app=shop".into(),
            k8s_owner_kind: "StatefulSet".into(),
            k8s_owner_name: "shop".into(),
            host_network: false,
        }))
    }
}

impl ContainerLookup for Containers {
    fn generation(&self) -> u64 {
        0
    }

    fn by_cgroup(&mut self, _: u64) -> Option<&ContainerFields> {
        None
    }

    fn by_process(&mut self, _: u32, _: u64) -> Result<Option<&ContainerFields>, Gone> {
        Ok(None)
    }

    fn by_mntns(&mut self, inode: u64) -> Option<&ContainerFields> {
        Some(&self.0[(inode & 1) as usize])
    }

    fn by_netns(&mut self, _: u32) -> Option<&ContainerFields> {
        None
    }
}

fn enrich(ds: &mut DataSource) -> Option<Box<dyn Operator>> {
    Enrich::attach(ds, &enrich::Place::Node(Arc::from("node")), Box::new(Containers::new()))
}

fn format(ds: &mut DataSource) -> Option<Box<dyn Operator>> {
    Format::attach(ds, None)
}

fn users(ds: &mut DataSource) -> Option<Box<dyn Operator>> {
    Users::attach(ds, Path::new("/"))
}

fn filter(ds: &mut DataSource) -> Option<Box<dyn Operator>> {
    Filter::attach(ds, "error_raw!=1,comm==wlcat,fname~^/etc").ok().flatten()
}

fn expression(ds: &mut DataSource, expression: &str) -> Option<Box<dyn Operator>> {
    Expression::attach(ds, expression).ok().flatten()
}

fn dropping_filter(ds: &mut DataSource) -> Option<Box<dyn Operator>> {
    Filter::attach(ds, "comm==nobody").ok().flatten()
}

fn dropping(ds: &mut DataSource) -> Option<Box<dyn Operator>> {
    expression(ds, "uid == 1000 && comm == 'nobody'")
}

fn comparing(ds: &mut DataSource) -> Option<Box<dyn Operator>> {
    expression(ds, "error_raw != 1 && comm in ['wlcat', 'curl'] && fname startsWith '/etc'")
}

fn networks(ds: &mut DataSource) -> Option<Box<dyn Operator>> {
    expression(ds, "uid in 0..1000 && addr in cidr('10.0.0.0/8', '127.0.0.0/8')")
}

fn texts(ds: &mut DataSource) -> Option<Box<dyn Operator>> {
    expression(
        ds,
        "upper(comm) + '.' == 'WLCAT.' && fname matches '^/etc/.*[.]cache$' && len(split(fname, '/')) > 2",
    )
}

type Attach = fn(&mut DataSource) -> Option<Box<dyn Operator>>;

fn measure(name: &str, attach: &[Attach]) {
    let mut ds = source();
    let mut operators: Vec<_> = attach.iter().filter_map(|attach| attach(&mut ds)).collect();
    let mut data = [0_u8; SIZE];
    data[36..40].copy_from_slice(&0o2_000_101_u32.to_ne_bytes());
    data[44..49].copy_from_slice(b"wlcat");
    data[280..290].copy_from_slice(b"127.0.0.53");
    data[60..76].copy_from_slice(b"/etc/ld.so.cache");
    let mut slots = Slots::new(ds.slots);
    let mut passed = 0;
    let mut start = Instant::now();
    let mut allocations = 0;
    for i in 1..=EVENTS {
        // What is learnt from the first events, such as how a regular expression matches, is not learnt again.
        if i == EVENTS / 10 {
            start = Instant::now();
            allocations = ALLOCATIONS.load(Relaxed);
        }
        let process = i / RUN;
        data[..8].copy_from_slice(&(1_000_000_000_000 + i * 5_000).to_ne_bytes());
        data[8..16].copy_from_slice(&(4_026_531_832 + process).to_ne_bytes());
        data[24..28].copy_from_slice(&(process as u32 % 3).to_ne_bytes());
        data[32] = (i % 3) as u8 * 2;
        slots.clear();
        let mut event = Event { data: black_box(&data), slots: &mut slots };
        passed += u64::from(run(&mut operators, &mut event) == Verdict::Pass);
        black_box(&slots);
    }
    let each = start.elapsed().as_nanos() as f64 / (EVENTS - EVENTS / 10) as f64;
    let allocations = ALLOCATIONS.load(Relaxed) - allocations;
    println!("{name:<12} {each:>8.1} ns/event, {allocations} allocations ({passed} of {EVENTS} passed)");
}

fn main() {
    measure("nothing", &[]);
    measure("enrich", &[enrich]);
    measure("format", &[format]);
    measure("users", &[users]);
    measure("filter", &[filter]);
    measure("drop -F", &[dropping_filter]);
    measure("drop -E", &[dropping]);
    measure("-E compare", &[comparing]);
    measure("-E cidr", &[networks]);
    measure("-E text", &[texts]);
    measure("all", &[enrich, format, users, filter]);
}
