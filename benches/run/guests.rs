//! Gadgets with WebAssembly guests: the example of this tree, whose guest sees each event and writes a text for it, and
//! two of the peer's, in Rust and in Go.

use std::time::Duration;

use crate::{
    load::{Burst, Opens},
    measure::{Cost, median},
    row,
    runner::Setup,
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
    let (ours, theirs) = (setup.igx_with("who_opens"), setup.peer_with("who_opens"));
    let opens = Opens::every(Duration::from_micros(500));
    let first = |runner: &crate::runner::Runner| {
        median((0..STARTS).map(|_| runner.first_event(opens.pid())).collect())
    };
    row("who_opens (Rust): first event (ms)", first(&ours), theirs.as_ref().map(first));
    drop(opens);
    compare(setup, "who_opens", "who_opens: 100,000 events/s for 3 s", || Some(Burst::opens(RATE, SECONDS)));
    if setup.import("trace_mount") {
        let burst = || Some(Burst::mounts(MOUNT_RATE, SECONDS));
        compare(setup, "trace_mount", "trace_mount (Rust): 20,000 events/s for 3 s", burst);
    }
    if setup.import("advise_seccomp") {
        // Its guest works at the end only: what is left is its start.
        compare(setup, "advise_seccomp", "advise_seccomp (Go), three seconds", || None);
    }
}

fn compare(setup: &Setup, image: &str, what: &str, burst: impl Fn() -> Option<Burst>) {
    let ours = setup.igx_with(image).under_load(burst());
    let theirs = setup.peer_with(image).map(|peer| peer.under_load(burst()));
    let show = |name: &str, pick: fn(&Cost) -> f64| {
        row(&format!("{what}: {name}"), pick(&ours), theirs.as_ref().map(pick));
    };
    if ours.made > 0 {
        show("lost", |c| c.made.saturating_sub(c.written) as f64);
        show("CPU per written event (µs)", |c| c.cpu.as_secs_f64() * 1e6 / c.written.max(1) as f64);
    } else {
        show("CPU (ms)", |c| c.cpu.as_secs_f64() * 1e3);
    }
    show("peak resident memory, VmHWM (MB)", |c| c.peak);
}
