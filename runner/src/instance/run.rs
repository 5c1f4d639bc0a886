//! From a gadget to its output: prepare, load, attach, read until told to stop, and say what was lost.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, Write},
    ops::Range,
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use gadget::btf::minimal::{self, SyntheticStruct};
use libbpf_rs::MapHandle;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{
    containers::{self, FILTER_MAP, Follower},
    gadget::Gadget,
    pipeline::{self, Pipeline},
};
use crate::{
    container::{self, Collection, Selector, namespace},
    ebpf::{self, KernelBtf, Loader, ObjectBtf, Reader, attach, param, reader},
    output::Mode,
    socket::{self, SocketOwner},
};

/// The map in which gadgets look up who owns a socket.
const SOCKETS_MAP: &str = "gadget_sockets";

/// Set when only the containers in [`FILTER_MAP`] are shown.
const FILTER_FLAG: &str = "gadget_filter_by_mntns";

/// Set to the inode of the host's network namespace.
const HOST_NETNS: &str = "gadget_var_host_netns";

/// Counts events that were dropped because nobody knows the process they should be filtered by.
const UNOWNED_MAP: &str = "gadget_unowned";

/// Output is written when the kernel's buffers are empty, and before that when this many bytes have gathered.
const WRITE_BYTES: usize = 64 << 10;

/// After so many events at once, the reader rests a moment instead of being woken for each one that follows. After
/// more it has no time to rest.
const BUSY_EVENTS: Range<usize> = 32..1024;
const BUSY_REST: Duration = Duration::from_micros(500);

/// What a run shows, and how.
pub struct Options {
    /// Show the host's own processes as well as containers.
    pub host: bool,
    /// Which containers are shown.
    pub selector: Selector,
    /// Values of the gadget's parameters, by key.
    pub params: BTreeMap<String, String>,
    /// Filter rules, such as `name~example`, by data source.
    pub filters: BTreeMap<String, String>,
    /// Columns, such as `+timestamp,-tid` or `open:comm,fname;start:comm`.
    pub fields: Option<String>,
    /// How events are written.
    pub mode: Mode,
    /// The terminal's width in columns; `None` where output is no terminal.
    pub width: Option<u16>,
    /// When to stop by itself.
    pub timeout: Option<Duration>,
    /// Where container runtimes are.
    pub containers: container::Config,
    /// Where what is learnt about this kernel is kept.
    pub cache: Option<PathBuf>,
}

/// What a run lost, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// The kernel had no room for an event.
    pub buffer_full: u64,
    /// Nobody knew the process that an event should be filtered by.
    pub unknown_owner: u64,
    /// A socket found no room in the table of owners.
    pub no_room_for_owner: u64,
}

/// How a run went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Events written.
    pub written: u64,
    /// Events that filters dropped.
    pub filtered: u64,
    /// Events lost.
    pub loss: Loss,
}

/// Why a run cannot start, or ended early.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what each is
pub enum Error {
    #[error(transparent)]
    Ebpf(#[from] ebpf::Error),
    #[error("cannot tell who owns a socket: {0}")]
    Socket(#[from] socket::Error),
    #[error(transparent)]
    Container(#[from] container::Error),
    #[error(transparent)]
    Prepare(#[from] pipeline::Error),
    #[error("cannot write events: {0}")]
    Write(#[source] io::Error),
    #[error("cannot wait for events: {0}")]
    Wait(#[source] nix::Error),
    #[error("preparing the run failed: a thread ended unexpectedly")]
    Thread,
}

/// What is told to a person beside the events.
pub enum Notice<'a> {
    /// All programs are attached.
    Running,
    /// Something that the user should know, one line.
    Warning(&'a str),
}

/// Runs `gadget` until the time is up, `stop` becomes readable, or `out` is closed by its reader.
pub fn run(
    gadget: &Gadget,
    options: &Options,
    stop: BorrowedFd<'_>,
    out: &mut dyn Write,
    notice: &mut dyn FnMut(Notice<'_>),
) -> Result<Summary, Error> {
    attach::check(&gadget.object)?;
    if gadget.image.wasm.is_some() {
        notice(Notice::Warning(
            "this version does not run the gadget's WebAssembly module: what it fills stays empty",
        ));
    }
    let deadline = options.timeout.map(|t| Instant::now() + t);
    let btf = KernelBtf::new(options.cache.clone());
    let sockets = gadget.has_map(SOCKETS_MAP);
    let (owner, collection) = thread::scope(|scope| {
        let owner = scope.spawn(|| sockets.then(|| start_owner(&btf)).transpose());
        let collection = Collection::start(&options.containers);
        (owner.join(), collection)
    });
    let owner = owner.map_err(|_| Error::Thread)??;
    let collection = Arc::new(collection?);
    let notes = collection.notes().iter().chain(owner.iter().flat_map(SocketOwner::notes));
    for line in notes {
        notice(Notice::Warning(line));
    }

    let types = types(gadget, &btf, owner.is_some())?;
    let kernel_types = types.as_ref().map(ObjectBtf::bytes);
    let mut pipelines = pipeline::prepare(gadget, options, || collection.lookup(), kernel_types)?;
    let (loaded, filter_map) = load(gadget, options, types.as_ref(), owner.as_ref())?;
    let attached = attach::attach(&loaded, &gadget.attach_targets())?;
    let follower = Arc::new(Follower {
        selector: options.selector.clone(),
        filter_map,
        socket_filters: attached.socket_filters,
    });
    if options.host {
        follower.watch_host()?;
    }
    collection.subscribe(follower);
    if !options.host && collection.list().is_empty() {
        notice(Notice::Warning("no containers found: add --host to see this host's processes"));
    }

    let maps = gadget
        .sources
        .iter()
        .map(|s| loaded.map(&s.map)?.ok_or_else(|| ebpf::Error::NoMap(s.map.clone())))
        .collect::<Result<Vec<MapHandle>, _>>()?;
    notice(Notice::Running);
    let lost_in_perf = read(&maps, &mut pipelines, stop, deadline, out)?;

    let mut summary = Summary::default();
    for (source, pipeline) in gadget.sources.iter().zip(&pipelines) {
        summary.written += pipeline.written;
        summary.filtered += pipeline.dropped;
        summary.loss.buffer_full += loaded.counter(&format!("{}_lost_samples", source.map));
    }
    summary.loss.buffer_full += lost_in_perf;
    summary.loss.unknown_owner = loaded.counter(UNOWNED_MAP);
    summary.loss.no_room_for_owner = owner.as_ref().map_or(0, SocketOwner::lost);
    Ok(summary)
}

/// The owner map holds no paths: no gadget that this version runs reads them.
fn socket_value() -> SyntheticStruct {
    minimal::socket_value(0, 0)
}

fn start_owner(btf: &KernelBtf) -> Result<SocketOwner, Error> {
    // The owner's programs know their map's layout, and read only types of the kernel proper.
    let kept: RefCell<Vec<ObjectBtf>> = RefCell::default();
    let provide = |elf: &[u8]| -> Result<PathBuf, Box<dyn std::error::Error + Send + Sync>> {
        let types = btf.for_object(elf, &[], &[])?.ok_or("this kernel lacks types that every kernel has")?;
        let path = types.path();
        kept.borrow_mut().push(types);
        Ok(path)
    };
    Ok(SocketOwner::start(socket::Options { kernel_btf: Some(&provide), ..socket::Options::default() })?)
}

/// The kernel's types as far as the gadget asks for them, the enums of its events among them.
fn types(gadget: &Gadget, btf: &KernelBtf, sockets: bool) -> Result<Option<ObjectBtf>, Error> {
    let elf = gadget.image.object.as_deref().unwrap_or_default();
    let extra = if sockets { vec![socket_value()] } else { Vec::new() };
    let enums: Vec<&str> =
        gadget.sources.iter().flat_map(|s| s.enums.iter().map(|e| e.enumeration.name.as_str())).collect();
    Ok(btf.for_object(elf, &extra, &enums)?)
}

fn load(
    gadget: &Gadget,
    options: &Options,
    types: Option<&ObjectBtf>,
    owner: Option<&SocketOwner>,
) -> Result<(ebpf::LoadedGadget, Option<MapHandle>), Error> {
    let filter_map = if gadget.has_map(FILTER_MAP) { Some(containers::filter_map()?) } else { None };

    let mut loader = Loader { btf: types, ..Loader::default() };
    for param in &gadget.params {
        if let Some(value) = options.params.get(&param.key) {
            let bytes = param::encode(&param.key, &param.kind, param.size, value)?;
            loader.variables.push((param.variable.clone(), bytes));
        }
    }
    if !options.host {
        loader.variables.push((FILTER_FLAG.into(), vec![1]));
    }
    if let Ok(netns) = namespace::host_netns() {
        loader.variables.push((HOST_NETNS.into(), netns.to_ne_bytes().into()));
    }
    for (program, target) in gadget.attach_targets() {
        if target == attach::DISABLED {
            loader.disabled.insert(program);
        }
    }
    if let Some(owner) = owner {
        loader.maps.push((SOCKETS_MAP, owner.map()));
    }
    if let Some(map) = &filter_map {
        loader.maps.push((FILTER_MAP, map.as_fd()));
    }
    let elf = gadget.image.object.as_deref().unwrap_or_default();
    let loaded = loader.load(elf, &gadget.object)?;
    Ok((loaded, filter_map))
}

/// Reads events until it is time to stop; returns how many perf buffers lost.
fn read(
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
    loop {
        let count = reader.consume()?;
        let mut ready = sink.borrow_mut();
        ready.flush();
        if let Some(error) = ready.failed.take() {
            // Whoever read the output has had enough.
            return if error.kind() == io::ErrorKind::BrokenPipe {
                Ok(reader.lost())
            } else {
                Err(Error::Write(error))
            };
        }
        drop(ready);
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(reader.lost());
        }
        let busy = BUSY_EVENTS.contains(&count);
        if busy {
            thread::sleep(BUSY_REST);
        }
        let mut polled = vec![PollFd::new(stop, PollFlags::POLLIN)];
        if !busy {
            polled.extend(reader.descriptors().into_iter().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        }
        let wait = if busy { PollTimeout::ZERO } else { timeout(left) };
        match poll(&mut polled, wait) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(Error::Wait(error)),
        }
        if polled[0].any() == Some(true) {
            reader.consume()?;
            sink.borrow_mut().flush();
            return Ok(reader.lost());
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
}
