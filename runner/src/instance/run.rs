//! From a gadget to its output: prepare, load, attach, read until told to stop, and say what was lost.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    ffi::OsString,
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
    process::ExitStatus,
    rc::Rc,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use super::{
    batch::{Batch, Namespaces},
    command::{self, Held, Started},
    containers::Follower,
    counters::{self, Counter},
    custom,
    events::{self, Turn},
    gadget::{Gadget, INTERFACE, Origin, Source},
    guest,
    load::{self, Loaded, SocketPaths},
    machine::Machine,
    pipeline,
    printed::{Listener, Printed},
    schedule,
    stacks::StackMaps,
    watched::Watched,
};
use gadget::metadata::Metadata;
use libbpf_rs::MapHandle;

use crate::{
    container::{self, Collection, Selector},
    ebpf::{self, ObjectBtf, PacketOptions, attach},
    operator::format::Times,
    output::Display,
    socket::{self, SocketOwner},
    symbol::Symbolizers,
    wasm::{self, Guest},
};

/// Counts events that were dropped because nobody knows the process they should be filtered by.
const UNOWNED_MAP: &str = "gadget_unowned";

/// What a run shows, and how.
#[derive(Default)]
pub struct Options {
    /// Show the host's own processes as well as containers.
    pub host: bool,
    /// Which containers are shown.
    pub selector: Selector,
    /// Values of the gadget's parameters, by key.
    pub params: BTreeMap<String, String>,
    /// Filter rules, such as `name~example`, by data source.
    pub filters: BTreeMap<String, String>,
    /// Filter expressions, such as `proc.uid == 0`, by data source.
    pub expressions: BTreeMap<String, String>,
    /// How what comes in batches is read and shown.
    pub arrays: Arrays,
    /// What output looks like.
    pub display: Display,
    /// How times are written, where that was chosen: they are then shown, too.
    pub times: Option<Times>,
    /// How many events or batches are written before the run ends by itself.
    pub count: Option<u64>,
    /// A command, program and arguments, that is started once all is attached: only what it and its children do is
    /// shown, and the run ends with it.
    pub command: Vec<OsString>,
    /// The same command while it runs, for who is to leave interrupts to it.
    pub watched: Watched,
    /// When to stop by itself.
    pub timeout: Option<Duration>,
    /// Room for the paths of whoever owns a socket, where the gadget asks for them.
    pub socket_paths: SocketPaths,
    /// Where the names of functions on user stacks come from.
    pub symbolizers: Symbolizers,
    /// Variables of this process' environment that gadgets may show (the annotation `env.fields.FIELD`).
    pub environment: Vec<String>,
    /// Is told what eBPF programs print (`bpf_printk`) during the run: those of the gadget, and any others.
    pub printed: Option<Listener>,
    /// Where container runtimes are.
    pub containers: container::Config,
    /// Where what is learnt about this kernel is kept.
    pub cache: Option<PathBuf>,
}

/// How what comes in batches is read and shown. Each is text as on the command line, and may differ by data source;
/// what is empty is as the gadget says, or as it is for all gadgets.
#[derive(Clone, Debug, Default)]
pub struct Arrays {
    /// Fields to sort by, such as `reads,-pid` or `files:reads;sockets:-port`.
    pub sort: String,
    /// How many entries of a batch are shown, such as `20` or `files:20,sockets:5`; all if it is -1.
    pub max_entries: String,
    /// How often maps are read, such as `500ms`; never before the end if it is 0.
    pub fetch_interval: String,
    /// How often maps are read at most; without end if it is 0.
    pub fetch_count: String,
}

/// What a run lost, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// The kernel had no room for an event.
    pub buffer_full: u64,
    /// The terminal did not read an event until the end of the run.
    pub unread: u64,
    /// Nobody knew the process that an event should be filtered by.
    pub unknown_owner: u64,
    /// A socket found no room in the table of owners.
    pub no_room_for_owner: u64,
    /// How many times starts of containers were not held.
    pub unheld_starts: u64,
}

/// How a run went.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Events written.
    pub written: u64,
    /// Events that filters dropped.
    pub filtered: u64,
    /// Events lost.
    pub loss: Loss,
    /// What the gadget itself counted.
    pub counters: Vec<Counter>,
    /// How the command ended, if there was one.
    pub command: Option<ExitStatus>,
    /// From when its programs were attached to when they were detached.
    pub time: Duration,
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
    #[error(transparent)]
    Held(#[from] command::Error),
    #[error("cannot tell how the command ended: {0}")]
    Command(#[source] io::Error),
    #[error("cannot read what programs print: {0}; it needs tracefs, writable, and Linux 5.9 or later")]
    Printed(#[source] io::Error),
    #[error("cannot write events: {0}")]
    Write(#[source] io::Error),
    #[error("cannot wait for events: {0}")]
    Wait(#[source] nix::Error),
    #[error(transparent)]
    Guest(#[from] wasm::Error),
    #[error(transparent)]
    Schedule(#[from] schedule::Error),
    #[error("preparing the run failed: a thread ended unexpectedly")]
    Thread,
}

/// What is told to a person beside the events.
pub enum Notice<'a> {
    /// All programs are attached, and the guest is ready for what they see.
    Running,
    /// Something that the user should know, one line.
    Warning(&'a str),
    /// What a person may wonder about, though all is as it was asked for, one line.
    Advice(&'a str),
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
    // The last to go: lines that were printed until the programs are detached belong to the run.
    let _printed = options.printed.clone().map(Printed::follow).transpose().map_err(Error::Printed)?;
    container::host::see_control_groups(&options.containers.host_root);
    if options.host && !options.selector.is_empty() {
        notice(Notice::Warning("--host shows all containers: the selection of some has no effect"));
    }
    let held = (!options.command.is_empty()).then(|| Held::new(&options.command)).transpose()?;
    let command = held.as_ref().map(|held| held.mntns);
    let (sources, guest, machine) = start_guest(gadget, options)?;
    let settings = guest.as_ref().map(|guest| guest.config().clone()).unwrap_or_default();
    let targets = gadget.attach_targets(&settings);
    let arrays = options.arrays.or_defaults(&gadget.metadata);
    let settings = |name: &str| custom::settings(&gadget.metadata, name, &options.params);
    let schedules = schedule::schedules(&sources, &arrays, &settings)?;
    let deadline = options.timeout.and_then(|t| Instant::now().checked_add(t));
    // Neither needs the other, and both take some milliseconds.
    let (collection, loaded) = thread::scope(|scope| {
        let collection = scope.spawn(|| Collection::begin(&options.containers));
        let loaded = load::load(gadget, options, &targets);
        (collection.join(), loaded)
    });
    let (collection, lists) = collection.map_err(|_| Error::Thread)??;
    let collection = Arc::new(collection);
    let Loaded { gadget: loaded, filter_map, owner, types, netns_path } = loaded?;
    let notes = collection.notes().iter().chain(owner.iter().flat_map(SocketOwner::notes));
    for line in notes {
        notice(Notice::Warning(line));
    }

    let kernel_types = types.as_ref().map(ObjectBtf::bytes);
    if let Some(machine) = &machine {
        let mut machine = machine.borrow_mut();
        for map in &gadget.object.maps {
            if let Some(handle) = loaded.map(&map.name)? {
                machine.maps.add(&map.name, handle);
            }
        }
        if !options.host && command.is_none() {
            machine.shown = Some((collection.lookup(), options.selector.clone()));
        }
    }
    let stacks = Arc::new(StackMaps::of(&loaded)?);
    let known = pipeline::Known { lookup: &|| collection.lookup(), stacks, kernel_types, command };
    let mut pipelines = pipeline::prepare(gadget, &sources, guest, options, &arrays, &known)?;
    if let Some(line) = command::warning(&pipelines.of_everybody) {
        notice(Notice::Warning(&line));
    }
    let interface = options.params.get(INTERFACE).map(String::as_str).filter(|name| !name.is_empty());
    let packets = PacketOptions { path: netns_path.as_ref(), interface };
    let mut attached = attach::attach(&loaded, &targets, &gadget.metadata.programs, packets)?;
    let packet_programs = std::mem::take(&mut attached.packet_programs);
    let user_probes = std::mem::take(&mut attached.user_probes);
    let follower = Arc::new(Follower {
        selector: if options.host { Selector::default() } else { options.selector.clone() },
        filter_map,
        containers: owner.as_ref().and_then(|owner| MapHandle::try_from(owner.containers()).ok()),
        packet_programs,
        user_probes,
        watched: Mutex::default(),
    });
    if options.host {
        follower.watch_host()?;
    } else {
        follower.watch_interface()?;
    }
    match command {
        Some(mntns) => follower.watch_command(mntns)?,
        // Those known by now are attached to while others are still being found.
        None => collection.subscribe(follower),
    }
    for line in lists.wait() {
        notice(Notice::Warning(&line));
    }
    let narrowed = !options.host && command.is_none() && pipelines.of_containers;
    if narrowed {
        let found = collection.list();
        if found.is_empty() {
            notice(Notice::Warning("no containers found: add --host to see this host's processes"));
        } else if !found.iter().any(|container| options.selector.matches(container)) {
            notice(Notice::Advice(
                "no container matches the selection yet: those that start later are shown",
            ));
        }
    }

    let map = |name: &str| loaded.map(name)?.ok_or_else(|| ebpf::Error::NoMap(name.to_owned()));
    let mut buffers = Vec::new();
    for (at, source) in sources.iter().enumerate() {
        if let Origin::Buffer(name) = &source.origin {
            buffers.push((at, map(name)?));
        }
    }
    let mut batches = Vec::new();
    for ((at, source), schedule) in sources.iter().enumerate().zip(schedules) {
        batches.extend(
            schedule.map(|s| Batch::open(at, source, s, &loaded, &gadget.object)).transpose()?.flatten(),
        );
    }
    let namespaces = Namespaces { collection: &collection, selector: &options.selector, host: options.host };
    let mut attached = Some(attached);
    let mut stops = vec![stop];
    let ended = held.as_ref().map(Held::ended);
    stops.extend(ended.as_ref().map(AsFd::as_fd));
    let (mut held, mut started) = (held, None);
    let turn = &mut |turn| {
        match turn {
            Turn::Started => {
                notice(Notice::Running);
                started = held.take().map(|held| held.start(&options.watched)).transpose()?;
            }
            Turn::Detach => drop(attached.take()),
        }
        Ok(())
    };
    let began = Instant::now();
    let read = events::read(&buffers, &mut batches, &namespaces, &mut pipelines, &stops, deadline, out, turn);
    let time = began.elapsed();
    // Whatever happened here, it is not left behind.
    let ended = started.map(Started::finish).transpose();
    let lost = read?;

    let mut summary = Summary { time, command: ended.map_err(Error::Command)?, ..Summary::default() };
    for (source, pipeline) in sources.iter().zip(&pipelines.list) {
        summary.written += pipeline.written;
        summary.filtered += pipeline.dropped;
        summary.counters.extend(counters::read(&source.data, &loaded));
        if let Origin::Buffer(map) = &source.origin {
            summary.loss.buffer_full += loaded.counter(&format!("{map}_lost_samples"));
        }
    }
    summary.loss.buffer_full += lost.in_perf;
    summary.loss.unread = lost.unread;
    summary.written = summary.written.saturating_sub(lost.unread);
    summary.loss.unknown_owner = loaded.counter(UNOWNED_MAP);
    summary.loss.unheld_starts = collection.unheld();
    summary.loss.no_room_for_owner = owner.as_ref().map_or(0, SocketOwner::lost);
    Ok(summary)
}

impl Arrays {
    /// With what gadget.yaml says where a person says nothing.
    pub(super) fn or_defaults(&self, metadata: &Metadata) -> Self {
        let or = |given: &String, key: &str| {
            let default = || metadata.param_defaults.get(key).cloned().unwrap_or_default();
            if given.is_empty() { default() } else { given.clone() }
        };
        Self {
            sort: or(&self.sort, "operator.sort.sort"),
            max_entries: or(&self.max_entries, "operator.limiter.max-entries"),
            fetch_interval: or(&self.fetch_interval, "operator.oci.ebpf.map-fetch-interval"),
            fetch_count: or(&self.fetch_count, "operator.oci.ebpf.map-fetch-count"),
        }
    }
}

/// The data sources, with what the gadget's guest adds, and the guest. One that was started to learn what it adds is
/// used, unless it asked for parameters: their values were not known then.
fn start_guest(gadget: &Gadget, options: &Options) -> Result<Ready, Error> {
    let started = match gadget.started.take() {
        Some(started) if !started.machine.borrow().asked => {
            started.machine.borrow_mut().params.extend(options.params.clone());
            Some(started)
        }
        _ => guest::start(gadget, &options.params)?,
    };
    Ok(match started {
        Some(started) => (started.sources, Some(started.guest), Some(started.machine)),
        None => (gadget.sources.clone(), None, None),
    })
}

/// Data sources, guest, and what the machine offers to it.
type Ready = (Vec<Source>, Option<Guest>, Option<Rc<RefCell<Machine>>>);
