//! Flags for who writes gadgets, or wants to know more of one: what its programs print.

use std::sync::Arc;

use clap::{Arg, ArgMatches};

use super::{super::ig, flags::switch};
use crate::{
    instance::{Listener, Options},
    output::harmless,
};

const HEADING: &str = "Advanced";

const TRACE_PIPE: &str = "trace-pipe";

pub(super) fn args() -> Vec<Arg> {
    vec![switch(TRACE_PIPE, HEADING, "Also show, on stderr, what eBPF programs print with bpf_printk()")]
}

/// Puts what was given into the options of a run.
pub(super) fn fill(options: &mut Options, matches: &ArgMatches) {
    if matches.get_one::<bool>(TRACE_PIPE).copied().unwrap_or(false) {
        options.printed = Some(listener());
    }
}

/// Writes lines to stderr as they are written there otherwise.
fn listener() -> Listener {
    match ig::is_called() {
        true => Arc::new(|line| tracing::info!("{line}")),
        false => Arc::new(|line| eprintln!("{}", harmless(line.trim_start()))),
    }
}
