//! One data source's way from kernel bytes to text: operators, then the writer. This is the hot path.

use crate::{
    datasource::{Event, Slots},
    operator::{self, Operator, Verdict},
    output::Writer,
};

/// What one data source's events pass through.
pub struct Pipeline {
    operators: Vec<Box<dyn Operator>>,
    slots: Slots,
    writer: Box<dyn Writer>,
    size: usize,
    padded: Vec<u8>,
    /// Events written.
    pub written: u64,
    /// Events that an operator dropped.
    pub dropped: u64,
}

impl Pipeline {
    /// A pipeline for events of `size` bytes, with `slots` slots.
    pub fn new(operators: Vec<Box<dyn Operator>>, slots: usize, writer: Box<dyn Writer>, size: usize) -> Self {
        Self { operators, slots: Slots::new(slots), writer, size, padded: Vec::new(), written: 0, dropped: 0 }
    }

    /// Writes what comes before the first event.
    pub fn header(&mut self, out: &mut Vec<u8>) {
        self.writer.header(out);
    }

    /// Follows the terminal's width, in columns.
    pub fn resize(&mut self, width: Option<u16>) {
        self.writer.resize(width);
    }

    /// Takes one event as the kernel sent it and appends its text to `out`.
    #[inline]
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        // An older program may send a shorter struct: what it lacks reads as zero.
        let data = if bytes.len() >= self.size {
            bytes
        } else {
            self.padded.clear();
            self.padded.extend_from_slice(bytes);
            self.padded.resize(self.size, 0);
            &self.padded
        };
        self.slots.clear();
        let mut event = Event { data, slots: &mut self.slots };
        match operator::run(&mut self.operators, &mut event) {
            Verdict::Pass => {
                self.writer.event(&event, out);
                self.written += 1;
            }
            Verdict::Drop => self.dropped += 1,
        }
    }
}
