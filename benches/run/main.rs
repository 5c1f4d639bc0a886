//! What a user pays for `igx run`, beside what the same costs with Inspektor Gadget's `ig` in the same run: time to
//! the first event, memory, and events a second with what each costs.
//!
//! `IGX_PEER` names a folder with the peer's binary `ig` and its exported images `trace_open.tar` and `trace_sni.tar`.
//! Without it there is nothing to run trace_open from: an own gadget of the same kind is measured, and no peer's cell
//! is filled. Output goes to tmpfs for both. CPU is user plus system time of the whole process.
//!
//! With `--guests`, gadgets with WebAssembly guests are measured instead: an own one, and `trace_mount.tar` and
//! `advise_seccomp.tar` of the peer's folder. With `--names`, trace_sni is, with hellos and floods.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

mod guests;
mod load;
mod measure;
mod names;
mod replay;
mod runner;

use std::{env, time::Duration};

use load::Burst;
use measure::{Cost, median};
use runner::{Runner, Setup};

/// How often start-up is measured.
const STARTS: usize = 9;

/// Events a second, and for how long.
const RATES: [u64; 3] = [5_000, 50_000, 200_000];
const SECONDS: u64 = 3;

fn main() {
    if env::args().any(|arg| arg == "--names") {
        return names::measure();
    }
    let setup = Setup::new();
    if env::args().any(|arg| arg == "--guests") {
        return guests::measure(&setup);
    }
    let peer = setup.peer();
    println!("| what | igx | ig | ratio |");
    println!("|---|---|---|---|");
    start_up(&setup, peer.as_ref());
    sni_start_up(&setup);
    throughput(&setup, peer.as_ref());
    if peer.is_none() {
        println!("\nnot compared: no peer");
    }
}

/// From exec to the first event, while another process opens a file every half millisecond.
fn start_up(setup: &Setup, peer: Option<&Runner>) {
    let opens = load::Opens::every(Duration::from_micros(500));
    let ours = setup.igx();
    let mut cold = Vec::new();
    for _ in 0..STARTS {
        setup.forget_kernel_types();
        cold.push(ours.first_event(opens.pid()));
    }
    let warm: Vec<_> = (0..STARTS).map(|_| ours.first_event(opens.pid())).collect();
    let theirs = peer.map(|p| median((0..STARTS).map(|_| p.first_event(opens.pid())).collect()));
    row("first event, first run of an image on this kernel (ms)", median(cold), theirs);
    row("first event, next runs (ms)", median(warm), theirs);
}

/// From exec to the first host name, while connections ask for one every millisecond.
fn sni_start_up(setup: &Setup) {
    let hellos = load::Hellos::every(Duration::from_millis(1));
    let sni = setup.igx_with("trace_sni");
    let times = (0..STARTS).map(|_| sni.first_event(hellos.pid())).collect();
    row("first host name of trace_sni with its process (ms)", median(times), None);
    drop(hellos);
}

fn throughput(setup: &Setup, peer: Option<&Runner>) {
    for rate in RATES {
        let burst = || Some(Burst::opens(rate, SECONDS));
        let ours = setup.igx().under_load(burst());
        let theirs = peer.map(|p| p.under_load(burst()));
        for (what, pick) in [
            ("events received", (|c: &Cost| c.written as f64) as fn(&Cost) -> f64),
            ("events lost", |c| c.made.saturating_sub(c.written) as f64),
            ("CPU of a processor (%)", |c| c.cpu.as_secs_f64() * 100.0 / SECONDS as f64),
            ("CPU per written event (µs)", |c| c.cpu.as_secs_f64() * 1e6 / c.written.max(1) as f64),
            ("resident memory at the end, VmRSS (MB)", |c| c.rss),
            ("peak resident memory, VmHWM (MB)", |c| c.peak),
            ("memory of kernel maps (MB)", |c| c.maps),
        ] {
            let what = format!("{} events/s for {SECONDS} s: {what}", thousands(rate));
            row(&what, pick(&ours), theirs.as_ref().map(pick));
        }
    }
    row("size of the binary (MB)", setup.igx().binary_size(), peer.map(Runner::binary_size));
}

/// A multiple of a thousand, for people.
fn thousands(number: u64) -> String {
    format!("{},000", number / 1000)
}

fn row(what: &str, ours: f64, theirs: Option<f64>) {
    let number = |n: f64| if n >= 100.0 || n == 0.0 { format!("{n:.0}") } else { format!("{n:.2}") };
    let (theirs, ratio) = match theirs {
        Some(t) if t > 0.0 => (number(t), format!("{:.3}", ours / t)),
        Some(t) => (number(t), String::new()),
        None => (String::new(), String::new()),
    };
    println!("| {what} | {} | {theirs} | {ratio} |", number(ours));
}
