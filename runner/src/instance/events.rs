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

use super::{
    batch::{Batch, Namespaces},
    pipeline::Pipelines,
    run::Error,
};
use crate::{
    ebpf::{Reader, reader},
    wasm::Stage,
};

/// Output is written when the kernel's buffers are empty, and before that when this many bytes have gathered.
const WRITE_BYTES: usize = 64 << 10;

/// The reader is not woken more often than this: events that follow close upon others are taken together, which
/// costs a fraction of being woken for each. The first one after a pause is taken at once.
const PERIOD: Duration = Duration::from_millis(1);

/// What was lost between the kernel's buffers and who reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// Events that perf buffers lost.
    pub(super) in_perf: u64,
    /// Events that nobody took until the end of the run.
    pub(super) unread: u64,
}

/// Where a run has come to.
pub(super) enum Turn {
    /// Everything runs, the guest as well.
    Started,
    /// It is time to detach the programs.
    Detach,
}

/// Reads events, and batches when it is time for them, until it is time to stop or nothing is left to be read.
/// `buffers` are data sources and their maps. It is time to stop when one of `stops` is readable. Returns what
/// was lost on the way.
#[allow(clippy::too_many_arguments, reason = "one call, of what a run consists of")]
pub(super) fn read(
    buffers: &[(usize, MapHandle)],
    batches: &mut [Batch],
    namespaces: &Namespaces<'_>,
    pipelines: &mut Pipelines,
    stops: &[BorrowedFd<'_>],
    deadline: Option<Instant>,
    out: &mut dyn Write,
    turn: &mut dyn FnMut(Turn) -> Result<(), Error>,
) -> Result<Lost, Error> {
    let mut sink =
        Sink { text: Vec::with_capacity(WRITE_BYTES * 2), out, failed: None, waiting: 0, unread: 0 };
    pipelines.header(&mut sink.text);
    pipelines.call(Stage::Start, &mut sink.text)?;
    sink.flush();
    let now = Instant::now();
    batches.iter_mut().for_each(|batch| batch.schedule.start(now));
    turn(Turn::Started)?;
    let (sink, shared) = (RefCell::new(sink), RefCell::new(pipelines));
    let lost = read_buffers(buffers, batches, namespaces, &shared, stops, deadline, &sink)?;
    let (mut sink, pipelines) = (sink.into_inner(), shared.into_inner());
    for batch in batches.iter_mut().filter(|batch| batch.schedule.at_end) {
        pipelines.push_batch(batch.at, &batch.fetch(namespaces)?, &mut sink.text);
    }
    pipelines.call(Stage::Stop, &mut sink.text)?;
    turn(Turn::Detach)?;
    pipelines.call(Stage::PostStop, &mut sink.text)?;
    if let Some(error) = pipelines.failure() {
        return Err(error.into());
    }
    let ended = [io::ErrorKind::BrokenPipe, io::ErrorKind::TimedOut];
    match sink.flushed() {
        Err(error) if !ended.contains(&error.kind()) => Err(Error::Write(error)),
        _ => Ok(Lost { in_perf: lost, unread: sink.unread }),
    }
}

/// Reads the batches for which it is time.
fn read_batches(
    batches: &mut [Batch],
    namespaces: &Namespaces<'_>,
    pipelines: &RefCell<&mut Pipelines>,
    sink: &RefCell<Sink<'_>>,
) -> Result<(), Error> {
    let now = Instant::now();
    for batch in batches.iter_mut().filter(|batch| batch.schedule.next().is_some_and(|next| next <= now)) {
        let entries = batch.fetch(namespaces)?;
        batch.schedule.taken(now);
        pipelines.borrow_mut().push_batch(batch.at, &entries, &mut sink.borrow_mut().text);
    }
    Ok(())
}

fn read_buffers(
    buffers: &[(usize, MapHandle)],
    batches: &mut [Batch],
    namespaces: &Namespaces<'_>,
    pipelines: &RefCell<&mut Pipelines>,
    stops: &[BorrowedFd<'_>],
    deadline: Option<Instant>,
    sink: &RefCell<Sink<'_>>,
) -> Result<u64, Error> {
    let sources = buffers
        .iter()
        .map(|(at, map)| {
            let callback = move |bytes: &[u8]| {
                let mut sink = sink.borrow_mut();
                let before = sink.text.len();
                pipelines.borrow_mut().push(*at, bytes, &mut sink.text);
                sink.waiting += u64::from(sink.text.len() > before);
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
        {
            let mut sink = sink.borrow_mut();
            pipelines.borrow_mut().fit(&mut sink.text);
        }
        let count = reader.consume()?;
        read_batches(batches, namespaces, pipelines, sink)?;
        if let Some(error) = pipelines.borrow_mut().failure() {
            sink.borrow_mut().flush();
            return Err(error.into());
        }
        let flushed = sink.borrow_mut().flushed();
        match flushed {
            // Whoever read the output has had enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(reader.lost()),
            // Or does not read any more: what is still in the buffers is counted with the rest.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                sink.borrow_mut().failed = Some(error);
                reader.consume()?;
                sink.borrow_mut().flush();
                return Ok(reader.lost());
            }
            result => result.map_err(Error::Write)?,
        }
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        // A snapshot is complete once all of it is read.
        let complete =
            buffers.is_empty() && !batches.is_empty() && batches.iter().all(|batch| batch.schedule.is_done());
        if stopped || complete || left == Some(Duration::ZERO) || pipelines.borrow().done() {
            return Ok(reader.lost());
        }
        let next_batch = batches.iter().filter_map(|batch| batch.schedule.next()).min();
        let left = match next_batch.map(|next| next.saturating_duration_since(Instant::now())) {
            Some(next) => Some(left.map_or(next, |left| left.min(next))),
            None => left,
        };
        // In a hurry, the kernel's buffers are not polled but looked at again after a rest.
        let rest = if count > 0 { PERIOD.checked_sub(taken.elapsed()) } else { None };
        if let Some(rest) = rest {
            thread::sleep(rest);
        }
        taken = Instant::now();
        let mut polled: Vec<PollFd<'_>> =
            stops.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        if rest.is_none() {
            polled.extend(reader.descriptors().into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        }
        let wait = if rest.is_some() { PollTimeout::ZERO } else { timeout(left) };
        match poll(&mut polled, wait) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(Error::Wait(error)),
        }
        stopped = polled.iter().take(stops.len()).any(|fd| fd.any() == Some(true));
    }
}

/// Rounded up, so that the wait does not end just before the deadline.
fn timeout(left: Option<Duration>) -> PollTimeout {
    match left {
        Some(left) => PollTimeout::try_from(left.as_millis().saturating_add(1)).unwrap_or(PollTimeout::MAX),
        None => PollTimeout::NONE,
    }
}

/// Text on its way out. An error is kept until the reader can act on it; so long, all further text is dropped and
/// its events counted.
struct Sink<'a> {
    text: Vec<u8>,
    out: &'a mut dyn Write,
    failed: Option<io::Error>,
    /// Events in the text.
    waiting: u64,
    /// Events that could not be written.
    unread: u64,
}

impl Sink<'_> {
    fn flush(&mut self) {
        if !self.text.is_empty() && self.failed.is_none() {
            self.failed = self.out.write_all(&self.text).and_then(|()| self.out.flush()).err();
        }
        // Whoever closed the output chose to miss them.
        if self.failed.as_ref().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            self.unread += self.waiting;
        }
        self.waiting = 0;
        self.text.clear();
    }

    /// Writes what there is, and says whether all so far was written.
    fn flushed(&mut self) -> io::Result<()> {
        self.flush();
        self.failed.take().map_or(Ok(()), Err)
    }
}
