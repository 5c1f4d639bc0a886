//! What a guest costs by itself: its start, and each event that is handed to it, without the kernel and the output.
//!
//! The guest is that of the example `who_opens`; other modules, named as arguments, are only started. Run it with
//! `cargo bench -p runner --bench guest -- [MODULE.wasm...]`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot go on stops")]

use std::{
    env, fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use runner::{
    datasource::{DataSource, Field, Packet, Scalar, Slots, SourceKind, Value},
    wasm::{Guest, Host, Level, Limits, Payload, Stage},
};

const EVENTS: usize = 200_000;

/// How often anything is measured; the best counts, as whatever disturbs only adds.
const ROUNDS: usize = 7;

/// A machine that has parameters and nothing else.
struct Machine;

impl Host for Machine {
    fn logs(&self, level: Level) -> bool {
        level <= Level::Warn
    }

    fn log(&mut self, _: Level, message: &str) {
        eprintln!("{message}");
    }

    fn param(&mut self, _: &str) -> Option<String> {
        Some("0".to_owned())
    }
}

/// The fields of `struct open_event`: name, kind, offset and size in bytes.
const FIELDS: [(&str, Scalar, u32, u32); 6] = [
    ("timestamp_raw", Scalar::Uint64, 0, 8),
    ("proc.comm", Scalar::CString, 8, 16),
    ("proc.pid", Scalar::Uint32, 24, 4),
    ("proc.mntns_id", Scalar::Uint64, 32, 8),
    ("flags_raw", Scalar::Int32, 40, 4),
    ("fname", Scalar::CString, 44, 128),
];
const SIZE: usize = 176;

fn source() -> DataSource {
    let mut source = DataSource::new("open", SourceKind::Single);
    source.static_size = SIZE;
    source.fields.extend(FIELDS.map(|(name, scalar, offset, size)| Field::at(name, scalar, offset, size)));
    source
}

fn event() -> Vec<u8> {
    let mut event = vec![0; SIZE];
    event[8..12].copy_from_slice(b"make");
    let name = b"/usr/lib/x86_64-linux-gnu/libc.so.6";
    event[44..44 + name.len()].copy_from_slice(name);
    event
}

fn build() -> Vec<u8> {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("who_opens");
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/who_opens/guest");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--target", "wasm32-wasip1", "--target-dir"])
        .arg(&out)
        .current_dir(guest)
        .status()
        .unwrap();
    assert!(built.success());
    fs::read(out.join("wasm32-wasip1/release/who_opens.wasm")).unwrap()
}

fn best(mut measure: impl FnMut() -> Duration) -> Duration {
    (0..ROUNDS).map(|_| measure()).min().unwrap()
}

fn start(module: &[u8], sources: &mut Vec<DataSource>) -> Guest {
    let mut guest = Guest::new("bench", module, Box::new(Machine), Limits::default()).unwrap();
    // A guest whose data sources are not there says so, which is as good as any start.
    let _ = guest.call(Stage::Init, sources);
    guest
}

fn say_start(what: &str, module: &[u8]) {
    let made = best(|| {
        let began = Instant::now();
        Guest::new("bench", module, Box::new(Machine), Limits::default()).unwrap();
        began.elapsed()
    });
    let whole = best(|| {
        let began = Instant::now();
        start(module, &mut vec![source()]);
        began.elapsed()
    });
    let size = module.len() >> 10;
    println!("{what} ({size} KiB): {made:.2?} to be made, {whole:.2?} with its gadgetInit");
}

fn say_events(module: &[u8]) {
    let mut sources = vec![source()];
    let mut guest = start(module, &mut sources);
    guest.call(Stage::PreStart, &mut sources).unwrap();
    guest.seal(&sources);
    let subscription = guest.subscriptions()[0];
    let bytes = event();
    let mut payload = Payload::Single(Packet { data: Vec::new(), slots: Slots::new(sources[0].slots) });
    let took = best(|| {
        let began = Instant::now();
        for _ in 0..EVENTS {
            let Payload::Single(packet) = &mut payload else { panic!("an event became a batch") };
            packet.data.clear();
            packet.data.extend_from_slice(&bytes);
            packet.slots.clear();
            guest.event(&subscription, &mut payload).unwrap();
        }
        began.elapsed()
    });
    let Payload::Single(packet) = &payload else { panic!("an event became a batch") };
    let summary = sources[0].accessor(sources[0].field("summary").unwrap());
    let Value::Text(summary) = packet.value(&summary) else { panic!("the summary is no text") };
    let summary = String::from_utf8_lossy(summary);
    println!("who_opens: {} ns an event ({summary:?})", took.as_nanos() / EVENTS as u128);
}

fn main() {
    let module = build();
    say_start("who_opens", &module);
    say_events(&module);
    for path in env::args().skip(1).filter(|arg| !arg.starts_with("--")) {
        say_start(&path, &fs::read(&path).unwrap());
    }
}
