//! The loop of a run: events from the kernel's buffers through the pipelines to the output, until told to stop.

use std::{
    cell::RefCell,
    io::{self, Write},
    os::fd::BorrowedFd,
    thread,
    time::{Duration, Instant},
};

use libbpf_rs::{MapCore, MapFlags, MapHandle};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{pipeline::Pipelines, run::Error};
use crate::{
    ebpf::{self, Reader, reader},
    wasm::Stage,
};

/// Output is written when the kernel's buffers are empty, and before that when this many bytes have gathered.
const WRITE_BYTES: usize = 64 << 10;

/// The reader is not woken more often than this: events that follow close upon others are taken together, which
/// costs a fraction of being woken for each. The first one after a pause is taken at once.
const PERIOD: Duration = Duration::from_millis(1);

/// Where a run has come to.
pub(super) enum Turn {
    /// Everything runs, the guest as well.
    Started,
    /// It is time to detach the programs.
    Detach,
}

/// Reads events until it is time to stop, and reads the maps `batches`: data source, map, and bytes of a value.
/// It is time when one of `stops` is readable. `buffers` are read while the gadget runs. Returns how many events perf
/// buffers lost.
pub(super) fn read(
    buffers: &[(usize, MapHandle)],
    batches: &[(usize, MapHandle, usize)],
    pipelines: &mut Pipelines,
    stops: &[BorrowedFd<'_>],
    deadline: Option<Instant>,
    out: &mut dyn Write,
    turn: &mut dyn FnMut(Turn) -> Result<(), Error>,
) -> Result<u64, Error> {
    let mut sink = Sink { text: Vec::with_capacity(WRITE_BYTES * 2), out, failed: None };
    pipelines.header(&mut sink.text);
    pipelines.call(Stage::Start, &mut sink.text)?;
    sink.flush();
    turn(Turn::Started)?;
    let (sink, shared) = (RefCell::new(sink), RefCell::new(pipelines));
    let lost = read_buffers(buffers, &shared, stops, deadline, &sink)?;
    let (mut sink, pipelines) = (sink.into_inner(), shared.into_inner());
    for (at, map, value_size) in batches {
        pipelines.push_batch(*at, &elements(map, *value_size)?, &mut sink.text);
    }
    pipelines.call(Stage::Stop, &mut sink.text)?;
    turn(Turn::Detach)?;
    pipelines.call(Stage::PostStop, &mut sink.text)?;
    if let Some(error) = pipelines.failure() {
        return Err(error.into());
    }
    match sink.flushed() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Write(error)),
        _ => Ok(lost),
    }
}

/// All elements of a map, key and value one behind the other.
fn elements(map: &MapHandle, value_size: usize) -> Result<Vec<Vec<u8>>, Error> {
    let failed = |source| {
        let what = format!("the map {}", map.name().to_string_lossy());
        Error::Ebpf(ebpf::Error::Map { what, source })
    };
    let mut elements = Vec::new();
    for mut key in map.keys() {
        // One that went away since its key was read is left out.
        if let Some(value) = map.lookup(&key, MapFlags::ANY).map_err(failed)? {
            key.extend_from_slice(value.get(..value_size).unwrap_or(&value));
            elements.push(key);
        }
    }
    Ok(elements)
}

fn read_buffers(
    buffers: &[(usize, MapHandle)],
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
                pipelines.borrow_mut().push(*at, bytes, &mut sink.text);
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
        if let Some(error) = pipelines.borrow_mut().failure() {
            sink.borrow_mut().flush();
            return Err(error.into());
        }
        match sink.borrow_mut().flushed() {
            // Whoever read the output has had enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(reader.lost()),
            result => result.map_err(Error::Write)?,
        }
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        if stopped || left == Some(Duration::ZERO) || pipelines.borrow().done() {
            return Ok(reader.lost());
        }
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
