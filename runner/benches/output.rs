//! What writing one event costs, in nanoseconds: our JSON and columns, and serde_json on an equal struct.
//!
//! `cargo bench -p runner --bench output`. The best of several rounds is printed: other work on the machine only
//! ever adds time.

mod trace_sni;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use runner::datasource::{DataSource, Event, Field, FieldId, Scalar, Slot, Slots, SourceKind};
use runner::output::{Display, Mode, Terminal, View, Writer};
use serde::Serialize;

const ROUNDS: u32 = 20;
const EVENTS: u32 = 50_000;

/// The same values, as serde_json gets them.
#[derive(Serialize)]
struct Nested<'a> {
    group0: Group<'a>,
    group1: Group<'a>,
    group2: Group<'a>,
    group3: Group<'a>,
    group4: Group<'a>,
}

#[derive(Serialize)]
struct Group<'a> {
    comm: &'a str,
    container_name: &'a str,
    count: u32,
    empty: &'a str,
    file_name: &'a str,
    id: u64,
    is_host: bool,
    offset: i64,
    port: u16,
}

const COMM: &str = "systemd-resolve";
const CONTAINER: &str = "k8s_web_frontend";
const FILE: &str = "/usr/lib/x86_64/libc.so";
const COUNT: u32 = 4_026_531;
const ID: u64 = 1_704_063_600_123_456_789;
const OFFSET: i64 = -123_456;
const PORT: u16 = 44_330;

fn group() -> Group<'static> {
    Group {
        comm: COMM,
        container_name: CONTAINER,
        count: COUNT,
        empty: "",
        file_name: FILE,
        id: ID,
        is_host: false,
        offset: OFFSET,
        port: PORT,
    }
}

struct Builder {
    source: DataSource,
    data: Vec<u8>,
}

impl Builder {
    fn add(&mut self, parent: FieldId, name: &str, scalar: Scalar, value: &[u8]) {
        let full_name = format!("{}.{name}", self.source.fields[parent].full_name);
        let (offset, size) = (self.data.len() as u32, value.len() as u32);
        self.data.extend_from_slice(value);
        self.source.static_size = self.data.len();
        let parent = Some(parent);
        self.source.fields.push(Field { full_name, parent, ..Field::at(name, scalar, offset, size) });
    }
}

fn padded(text: &str, len: usize) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(len, 0);
    bytes
}

/// Five groups of nine fields, seven from the kernel and two in slots.
fn source() -> (DataSource, Vec<u8>, Slots) {
    let mut b = Builder { source: DataSource::new("bench", SourceKind::Single), data: Vec::new() };
    let mut names = Vec::new();
    for index in 0..5 {
        let group = b.source.add_group(None, &format!("group{index}"));
        b.add(group, "comm", Scalar::CString, &padded(COMM, 16));
        b.add(group, "count", Scalar::Uint32, &COUNT.to_ne_bytes());
        b.add(group, "file_name", Scalar::CString, &padded(FILE, 64));
        b.add(group, "id", Scalar::Uint64, &ID.to_ne_bytes());
        b.add(group, "is_host", Scalar::Bool, &[0]);
        b.add(group, "offset", Scalar::Int64, &OFFSET.to_ne_bytes());
        b.add(group, "port", Scalar::Uint16, &PORT.to_ne_bytes());
        names.push(b.source.add_slot_field(Some(group), "container_name", Scalar::String, 0));
        b.source.add_slot_field(Some(group), "empty", Scalar::String, 0);
    }
    let mut slots = Slots::new(b.source.slots);
    let name: Arc<str> = Arc::from(CONTAINER);
    for slot in names.into_iter().filter_map(|id| b.source.slot(id)) {
        slots.set(slot, Slot::Shared(Arc::clone(&name)));
    }
    (b.source, b.data, slots)
}

fn measure(what: &str, mut write: impl FnMut(&mut Vec<u8>)) {
    let mut out = Vec::new();
    write(&mut out);
    let bytes = out.len();
    let best = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..EVENTS {
                out.clear();
                write(black_box(&mut out));
                black_box(&out);
            }
            start.elapsed()
        })
        .min()
        .unwrap_or_default();
    println!("{what:<22} {:>7.0} ns/event {bytes:>6} bytes", best.as_nanos() as f64 / f64::from(EVENTS));
}

fn writer(source: &DataSource, mode: Mode, width: Option<u16>) -> Writer {
    let terminal = width.map(|columns| Arc::new(Terminal::new(columns)));
    Writer::new(source, &View { mode, fields: None }, &Display { terminal, ..Display::default() })
}

fn main() {
    let (source, data, mut slots) = source();
    let event = Event { data: &data, slots: &mut slots };
    let all = source.visible();
    let nested =
        Nested { group0: group(), group1: group(), group2: group(), group3: group(), group4: group() };

    let mut json = writer(&source, Mode::Json, None);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    json.event(&event, &mut ours);
    // A failure shows in the comparison.
    let _ = serde_json::to_writer(&mut theirs, &nested);
    theirs.push(b'\n');
    assert_eq!(ours, theirs, "both must write the same");

    println!("{} fields", all.len());
    measure("json", |out| json.event(black_box(&event), out));
    measure("serde_json, a struct", |out| {
        let _ = serde_json::to_writer(&mut *out, black_box(&nested));
        out.push(b'\n');
    });
    for (what, mode, width) in [
        ("jsonpretty", Mode::JsonPretty, None),
        ("yaml", Mode::Yaml, None),
        ("columns", Mode::Columns, None),
        ("columns, terminal 200", Mode::Columns, Some(200)),
    ] {
        let mut writer = writer(&source, mode, width);
        measure(what, |out| writer.event(black_box(&event), out));
    }

    println!("trace_sni, with all its operators");
    for (what, mode, width) in [
        ("columns", Mode::Columns, None),
        ("columns, terminal 80", Mode::Columns, Some(80)),
        ("json", Mode::Json, None),
    ] {
        let mut pipeline = trace_sni::Pipeline::new(mode, width);
        let mut n = 0;
        measure(what, |out| {
            n += 1;
            pipeline.event(n, out);
        });
    }
}
