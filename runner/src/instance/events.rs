//! The loop of a run: events from the kernel's buffers through the pipelines to the output, until told to stop.

use std::{
    cell::RefCell,
    io::{self, Write},
    os::fd::BorrowedFd,
    thread,
    time::{Duration, Instant},
};

use libbpf_rs::MapHandle;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{pipeline::Pipeline, run::Error};
use crate::ebpf::{Reader, reader};

/// Output is written when the kernel's buffers are empty, and before that when this many bytes have gathered.
const WRITE_BYTES: usize = 64 << 10;

/// The reader is not woken more often than this: events that follow close upon others are taken together, which
/// costs a fraction of being woken for each. The first one after a pause is taken at once.
const PERIOD: Duration = Duration::from_millis(1);

/// Reads events until it is time to stop; returns how many perf buffers lost.
pub(super) fn read(
    maps: &[MapHandle],
    pipelines: &mut [Pipeline],
    stop: BorrowedFd<'_>,
    deadline: Option<Instant>,
    out: &mut dyn Write,
) -> Result<u64, Error> {
    let sink = RefCell::new(Sink { text: Vec::with_capacity(WRITE_BYTES * 2), out, failed: None });
    for pipeline in pipelines.iter_mut() {
        pipeline.header(&mut sink.borrow_mut().text);
    }
    sink.borrow_mut().flush();
    let sources = maps
        .iter()
        .zip(pipelines)
        .map(|(map, pipeline)| {
            let sink = &sink;
            let callback = move |bytes: &[u8]| {
                let mut sink = sink.borrow_mut();
                pipeline.push(bytes, &mut sink.text);
                if sink.text.len() >= WRITE_BYTES {
                    sink.flush();
                }
            };
            (map, Box::new(callback) as reader::Callback<'_>)
        })
        .collect();
    let mut reader = Reader::new(sources)?;
    let mut taken = Instant::now();
    let mut stopped = false;
    loop {
        let count = reader.consume()?;
        match sink.borrow_mut().flushed() {
            // Whoever read the output has had enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(reader.lost()),
            result => result.map_err(Error::Write)?,
        }
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        if stopped || left == Some(Duration::ZERO) {
            return Ok(reader.lost());
        }
        // In a hurry, the kernel's buffers are not polled but looked at again after a rest.
        let rest = if count > 0 { PERIOD.checked_sub(taken.elapsed()) } else { None };
        if let Some(rest) = rest {
            thread::sleep(rest);
        }
        taken = Instant::now();
        let mut polled = vec![PollFd::new(stop, PollFlags::POLLIN)];
        if rest.is_none() {
            polled.extend(reader.descriptors().into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        }
        let wait = if rest.is_some() { PollTimeout::ZERO } else { timeout(left) };
        match poll(&mut polled, wait) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(Error::Wait(error)),
        }
        if polled[0].any() == Some(true) {
            stopped = true;
        }
    }
}

/// Rounded up, so that the wait does not end just before the deadline.
fn timeout(left: Option<Duration>) -> PollTimeout {
    match left {
        Some(left) => PollTimeout::try_from(left.as_millis().saturating_add(1)).unwrap_or(PollTimeout::MAX),
        None => PollTimeout::NONE,
    }
}

/// Text on its way out. An error is kept until the reader can act on it.
struct Sink<'a> {
    text: Vec<u8>,
    out: &'a mut dyn Write,
    failed: Option<io::Error>,
}

impl Sink<'_> {
    fn flush(&mut self) {
        if !self.text.is_empty() && self.failed.is_none() {
            self.failed = self.out.write_all(&self.text).and_then(|()| self.out.flush()).err();
        }
        self.text.clear();
    }

    /// Writes what there is, and says whether all so far was written.
    fn flushed(&mut self) -> io::Result<()> {
        self.flush();
        self.failed.take().map_or(Ok(()), Err)
    }
}
