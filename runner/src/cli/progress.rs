//! A transfer on a terminal: one bar of all its bytes. Elsewhere nothing, for the lines before and after say enough.

use gadget::registry::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on standard error, if that is a terminal. It is gone when this is dropped.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
        Self(match style {
            Ok(style) => bar.with_style(style.progress_chars("=> ")),
            Err(_) => bar,
        })
    }
}

impl Progress for Bar {
    fn blobs(&self, _: usize, bytes: u64) {
        self.0.set_length(bytes);
    }

    fn advance(&self, _: &str, bytes: u64) {
        self.0.inc(bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_bytes() {
        let bar = Bar::new();
        bar.blobs(2, 100);
        bar.advance("a", 30);
        bar.advance("b", 40);
        assert_eq!((bar.0.position(), bar.0.length()), (70, Some(100)));
    }
}
