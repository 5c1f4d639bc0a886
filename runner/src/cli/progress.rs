//! How a pull or push is told on stderr: a bar on a terminal, a line otherwise.

use std::{
    io::{self, IsTerminal},
    sync::OnceLock,
};

use gadget::registry::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// Tells of one transfer. Nothing is printed before there is something to transfer.
pub(super) struct Told {
    doing: String,
    bar: OnceLock<ProgressBar>,
}

impl Told {
    /// `doing` is what is said, such as `Pulling trace_open`.
    pub(super) fn new(doing: String) -> Self {
        Self { doing, bar: OnceLock::new() }
    }
}

impl Progress for Told {
    fn blobs(&self, _count: usize, bytes: u64) {
        if !io::stderr().is_terminal() {
            eprintln!("{}...", self.doing);
            return;
        }
        let bar = ProgressBar::new(bytes).with_message(self.doing.clone());
        if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:30}] {bytes}/{total_bytes}") {
            bar.set_style(style.progress_chars("=> "));
        }
        let _ = self.bar.set(bar);
    }

    fn advance(&self, _digest: &str, bytes: u64) {
        if let Some(bar) = self.bar.get() {
            bar.inc(bytes);
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}
