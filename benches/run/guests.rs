//! Gadgets with WebAssembly guests: the example of this tree, whose guest in Rust sees each event and writes a text for
//! it, and two of the peer's: trace_mount (Rust), whose guest does the same, and advise_seccomp (Go).

use std::time::Duration;

use crate::{
    load::{Burst, Opens},
    measure::{Cost, median},
    row,
    runner::{Runner, Setup},
};

/// How often start-up is measured.
const STARTS: usize = 9;

/// Events a second, and for how long.
const RATE: u64 = 100_000;
const SECONDS: u64 = 3;

/// Each mount that the kernel refuses costs more than an event.
const MOUNT_RATE: u64 = 20_000;

pub(crate) fn measure(setup: &Setup) {
    println!("| what | igx | ig | ratio |");
    println!("|---|---|---|---|");
    setup.build_example("who_opens");
    first_event(setup);
    compare(setup, "who_opens", "100,000 events/s for 3 s", || Some(Burst::opens(RATE, SECONDS)));
    let mut missing = Vec::new();
    for (image, what) in [("trace_mount", "20,000 events/s for 3 s"), ("advise_seccomp", "three seconds")] {
        if !setup.import(image) {
            missing.push(image);
            continue;
        }
        let (ours, theirs) = runners(setup, image);
        let median_of = |runner: &Runner| median((0..STARTS).map(|_| runner.running()).collect());
        row(&format!("{image}: running (ms)"), median_of(&ours), theirs.as_ref().map(median_of));
        // The guest of advise_seccomp works at its end only, at which both are killed: what is left is its start.
        compare(setup, image, what, || (image == "trace_mount").then(|| Burst::mounts(MOUNT_RATE, SECONDS)));
    }
    if !missing.is_empty() {
        println!("\nnot compared: there is no {} in the peer's folder", missing.join(", "));
    }
}

fn runners(setup: &Setup, image: &str) -> (Runner, Option<Runner>) {
    let (ours, theirs) = (setup.igx_with(image), setup.peer_with(image));
    match image {
        "advise_seccomp" => (ours.in_its_own_words(), theirs.map(Runner::in_its_own_words)),
        _ => (ours, theirs),
    }
}

fn first_event(setup: &Setup) {
    let opens = Opens::every(Duration::from_micros(500));
    let first = |runner: &Runner| median((0..STARTS).map(|_| runner.first_event(opens.pid())).collect());
    let (ours, theirs) = runners(setup, "who_opens");
    row("who_opens: first event (ms)", first(&ours), theirs.as_ref().map(first));
}

fn compare(setup: &Setup, image: &str, what: &str, burst: impl Fn() -> Option<Burst>) {
    let (ours, theirs) = runners(setup, image);
    let ours = ours.under_load(burst());
    let theirs = theirs.map(|peer| peer.under_load(burst()));
    let show = |name: &str, pick: fn(&Cost) -> f64| {
        row(&format!("{image}: {what}: {name}"), pick(&ours), theirs.as_ref().map(pick));
    };
    if ours.made > 0 {
        show("made", |c| c.made as f64);
        show("lost", |c| c.made.saturating_sub(c.written) as f64);
        show("CPU per written event (µs)", |c| c.cpu.as_secs_f64() * 1e6 / c.written.max(1) as f64);
    } else {
        show("CPU (ms)", |c| c.cpu.as_secs_f64() * 1e3);
    }
    show("peak resident memory, VmHWM (MB)", |c| c.peak);
}
