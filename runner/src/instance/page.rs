//! What the data sources of a run share on their way out: the terminal, the table that is being written, and how many
//! events are still wanted.

use std::sync::Arc;

use super::run::Options;
use crate::output::{Terminal, Writer};

/// The output as all data sources see it.
pub(super) struct Page {
    /// The data source whose table was last written to.
    pub(super) table: Option<usize>,
    /// Events that may still be written.
    pub(super) left: u64,
    /// Whether no data source is shown at all. Otherwise, events of those that are not shown do not count.
    pub(super) silent: bool,
    terminal: Option<Arc<Terminal>>,
    columns: u16,
}

impl Page {
    pub(super) fn new(options: &Options) -> Self {
        let terminal = options.display.terminal.clone();
        let columns = terminal.as_ref().map_or(0, |terminal| terminal.columns());
        Self { table: None, left: options.count.unwrap_or(u64::MAX), silent: false, terminal, columns }
    }

    /// Makes way for an event or a batch of data source `at`; `false` if it is not wanted, or none is any more. Of several
    /// tables, the one that goes on after another has its header again.
    #[inline]
    pub(super) fn turn(&mut self, at: usize, writer: &mut Writer, out: &mut Vec<u8>) -> bool {
        if self.left == 0 || (!writer.shows() && !self.silent) {
            return false;
        }
        self.left -= 1;
        if self.table != Some(at) && writer.is_table() {
            if self.table.is_some() {
                out.push(b'\n');
            }
            self.table = Some(at);
            writer.header(out);
        }
        true
    }

    /// The terminal's width, if that has changed since this was last asked.
    pub(super) fn resized(&mut self) -> Option<u16> {
        let columns = self.terminal.as_ref()?.columns();
        (std::mem::replace(&mut self.columns, columns) != columns).then_some(columns)
    }
}
