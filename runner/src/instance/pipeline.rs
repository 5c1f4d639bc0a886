//! One data source's way from kernel bytes to text: operators, then the writer. This is the hot path.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc};

use super::{
    command::Own,
    gadget::{Gadget, Source},
    guest,
    lookup::Containers,
    operators::{self, Given},
    page::Page,
    policy::{self, Hosted, OnFailure},
    rest::Rest,
    run::{Arrays, Options},
    stacks::{Kept, StackMaps},
    step::{self, Placed, SharedGuest, Step},
};
use crate::{
    container::Lookup,
    datasource::{DataSource, Event, Packet, Slots, SourceKind, UnknownSource},
    operator::{
        Verdict,
        environment::{self, Environment},
        expression::{self, Expression},
        filter::{self, Filter},
        limit, sort,
    },
    output::{self, View, Writer},
    wasm::{self, Guest, Payload, Stage, Subscription},
};

/// Why events cannot be shown as asked.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what each is
pub enum Error {
    #[error(transparent)]
    Environment(#[from] environment::NotAllowed),
    #[error(transparent)]
    Filter(#[from] filter::Error),
    #[error(transparent)]
    Expression(#[from] expression::Error),
    #[error(transparent)]
    Sort(#[from] sort::Error),
    #[error(transparent)]
    Limit(#[from] limit::Error),
    #[error(transparent)]
    Source(#[from] UnknownSource),
    #[error(transparent)]
    Output(#[from] output::Error),
    #[error(transparent)]
    Guest(#[from] wasm::Error),
}

/// What the events of a gadget pass through: a pipeline for each data source, and the guest that they share.
pub(super) struct Pipelines {
    pub(super) list: Vec<Pipeline>,
    guest: Option<SharedGuest>,
    page: Page,
    /// Data sources that cannot be narrowed to a command.
    pub(super) of_everybody: Vec<String>,
    /// Whether any data source tells which container its events are of.
    pub(super) of_containers: bool,
}

/// What one data source's events pass through.
pub(super) struct Pipeline {
    steps: Vec<Step>,
    /// Whether the guest is called for its events.
    guided: bool,
    /// Whether it is called only for those with bytes behind their struct.
    only_with_rest: bool,
    /// The last event that the guest was called for: its memory is that of the next one.
    spare: Packet,
    rest: Option<Rest>,
    slots: Slots,
    writer: Writer,
    size: usize,
    slot_count: usize,
    padded: Vec<u8>,
    /// Events written.
    pub(super) written: u64,
    /// Events that an operator dropped.
    pub(super) dropped: u64,
}

/// How deep events may lead to others: a guest that sends events to itself is cut off.
const MAX_CHAIN: usize = 1 << 16;

/// What the gadget sends, with the fields that operators and its guest add: what a person may choose columns and
/// filters from.
///
/// # Errors
/// When the gadget's guest cannot be started.
pub fn data_sources(gadget: &Gadget) -> Result<Vec<DataSource>, wasm::Error> {
    let started = guest::start(gadget, &BTreeMap::new())?;
    let sources = started.as_ref().map_or(&gadget.sources, |s| &s.sources);
    let of = |source| operators::enrich(source, &gadget.metadata, Given::nothing()).0;
    let data = sources.iter().map(of).filter(|data| !data.unreferenced).collect();
    gadget.started.replace(started);
    Ok(data)
}

/// What is known of the machine when pipelines are built.
pub(super) struct Known<'a> {
    /// Gives access to the containers.
    pub(super) lookup: &'a dyn Fn() -> Lookup,
    /// The stacks that it keeps.
    pub(super) stacks: Arc<StackMaps>,
    /// BTF with the kernel's own view of the enums that events hold.
    pub(super) kernel_types: Option<&'a [u8]>,
    /// The mount namespace of the command whose events alone are shown.
    pub(super) command: Option<u64>,
}

/// Builds the operators and the writer of each data source.
pub(super) fn prepare(
    gadget: &Gadget,
    sources: &[Source],
    guest: Option<Guest>,
    options: &Options,
    arrays: &Arrays,
    known: &Known<'_>,
) -> Result<Pipelines, Error> {
    for source in sources {
        Environment::check(&source.data, &options.environment)?;
    }
    let enriched = |source| {
        let given = Given {
            containers: Box::new(Containers::new((known.lookup)())),
            stacks: Some(Kept::new(Arc::clone(&known.stacks), &options.symbolizers)),
            kernel_types: known.kernel_types,
            times: options.times,
            environment: &options.environment,
        };
        operators::enrich(source, &gadget.metadata, given)
    };
    let (mut data, mut placed): (Vec<DataSource>, Vec<_>) = sources.iter().map(enriched).unzip();
    if known.command.is_some() {
        // A command that is started here is in no container.
        let fields = data.iter_mut().flat_map(|data| &mut data.fields);
        fields.filter(|field| field.full_name.starts_with("runtime.")).for_each(|field| field.hidden = true);
    }
    let mut calls = Vec::new();
    let mut guest = guest.map(|guest| Hosted::new(guest, OnFailure::of(&gadget.metadata)));
    if let Some(hosted) = &mut guest {
        hosted.call(Stage::PreStart, Some(&mut data))?;
        hosted.guest.seal(&data);
        calls.extend_from_slice(hosted.guest.subscriptions());
    }
    operators::arrange(&data, &mut placed, arrays)?;
    let views = output::views(&data, &options.display)?;
    let mut list = Vec::new();
    let mut of_everybody = Vec::new();
    for (at, ((data, mut operators), view)) in data.iter().zip(placed).zip(&views).enumerate() {
        let calls = calls.iter().filter(|call| call.source == at).copied().collect();
        if let Some(mntns) = known.command {
            match Own::attach(data, mntns) {
                Some(own) => operators.insert(0, (i32::MIN, own)),
                None => of_everybody.push(data.name.clone()),
            }
        }
        list.push(Pipeline::new(data, operators, calls, view, options)?);
    }
    if list.iter().filter(|pipeline| pipeline.writer.is_table()).count() > 1 {
        list.iter_mut().zip(&data).for_each(|(pipeline, data)| pipeline.writer.set_title(&data.name));
    }
    let guest = guest.map(|guest| Rc::new(RefCell::new(guest)));
    let mut page = Page::new(options);
    page.silent = list.iter().all(|pipeline| !pipeline.writer.shows());
    let of_containers = data.iter().any(|data| data.field("runtime").is_some());
    Ok(Pipelines { list, guest, page, of_everybody, of_containers })
}

impl Pipelines {
    /// Writes what comes before the first event: a table's header. Of several tables that of the first one, as the
    /// others get theirs when they have something to show.
    pub(super) fn header(&mut self, out: &mut Vec<u8>) {
        self.page.table = self.list.iter_mut().position(|pipeline| {
            let before = out.len();
            pipeline.writer.header(out);
            out.len() > before
        });
    }

    /// Whether as many events were written as were asked for.
    pub(super) fn done(&self) -> bool {
        self.page.left == 0
    }

    /// Fits tables to the terminal, if that has changed its size.
    pub(super) fn fit(&mut self, out: &mut Vec<u8>) {
        if let Some(columns) = self.page.resized() {
            for pipeline in &mut self.list {
                pipeline.writer.resize(columns);
            }
            if let Some(pipeline) = self.page.table.and_then(|at| self.list.get_mut(at)) {
                pipeline.writer.header(out);
            }
        }
    }

    /// Takes one event of data source `at` as the kernel sent it and appends its text to `out`, and that of the events
    /// that follow from it.
    #[inline]
    pub(super) fn push(&mut self, at: usize, bytes: &[u8], out: &mut Vec<u8>) {
        let Some(pipeline) = self.list.get_mut(at) else { return };
        match &self.guest {
            Some(guest) if pipeline.guided && !pipeline.passes_by(bytes) => {
                let mut packet = std::mem::take(&mut pipeline.spare);
                pipeline.fill(&mut packet, bytes);
                let mut payload = Payload::Single(packet);
                pipeline.push_payload(&mut payload, Some(guest), (&mut self.page, at), out);
                if let Payload::Single(packet) = payload {
                    pipeline.spare = packet;
                }
                self.follow(out);
            }
            _ => pipeline.push(bytes, (&mut self.page, at), out),
        }
    }

    /// Takes a batch.
    pub(super) fn push_batch(&mut self, at: usize, events: &[Vec<u8>], out: &mut Vec<u8>) {
        let Some(pipeline) = self.list.get_mut(at) else { return };
        let packet = |bytes: &Vec<u8>| {
            let mut packet = pipeline.empty();
            pipeline.fill(&mut packet, bytes);
            packet
        };
        let mut payload = Payload::Array(events.iter().map(packet).collect());
        pipeline.push_payload(&mut payload, self.guest.as_ref(), (&mut self.page, at), out);
        self.follow(out);
    }

    /// Calls the guest for a stage of the run; data sources are final by then.
    pub(super) fn call(&mut self, stage: Stage, out: &mut Vec<u8>) -> Result<(), wasm::Error> {
        if let Some(guest) = &self.guest {
            guest.borrow_mut().call(stage, None)?;
            self.follow(out);
        }
        Ok(())
    }

    /// Why the run has to end, if the guest failed and the gadget cannot do without it.
    pub(super) fn failure(&mut self) -> Option<wasm::Error> {
        self.guest.as_ref()?.borrow_mut().failure()
    }

    /// Takes the events that the guest sent.
    fn follow(&mut self, out: &mut Vec<u8>) {
        let Some(guest) = &self.guest else { return };
        for _ in 0..MAX_CHAIN {
            let next = guest.borrow_mut().guest.emitted();
            let Some((at, mut payload)) = next else { return };
            if let Some(pipeline) = self.list.get_mut(at) {
                pipeline.push_payload(&mut payload, Some(guest), (&mut self.page, at), out);
            }
        }
        let left = std::iter::from_fn(|| guest.borrow_mut().guest.emitted()).count();
        tracing::warn!("the guest sends events without end: {left} are left out");
    }
}

impl Pipeline {
    fn new(
        data: &DataSource,
        mut operators: Vec<Placed>,
        calls: Vec<Subscription>,
        view: &View,
        options: &Options,
    ) -> Result<Self, Error> {
        let (rules, expression) = (options.filters.get(&data.name), options.expressions.get(&data.name));
        // Guests, filters and what sorts batches read what they like.
        if calls.is_empty() && rules.is_none() && expression.is_none() && data.kind != SourceKind::Array {
            let is_read = |field| view.shows(data, field);
            operators.iter_mut().for_each(|(_, operator)| operator.narrow(&is_read));
        }
        if let Some(rules) = rules {
            operators.extend(Filter::attach(data, rules)?.map(|filter| (9000, filter)));
        }
        if let Some(expression) = expression {
            operators.extend(Expression::attach(data, expression)?.map(|filter| (9000, filter)));
        }
        Ok(Self {
            guided: !calls.is_empty(),
            only_with_rest: policy::only_with_rest(data),
            spare: Packet { data: Vec::new(), slots: Slots::new(data.slots) },
            steps: step::steps(operators, calls),
            rest: Rest::of(data),
            slots: Slots::new(data.slots),
            writer: Writer::new(data, view, &options.display),
            size: data.static_size,
            slot_count: data.slots,
            padded: Vec::new(),
            written: 0,
            dropped: 0,
        })
    }

    /// Takes one event as the kernel sent it and appends its text to `out`.
    #[inline]
    fn push(&mut self, bytes: &[u8], page: (&mut Page, usize), out: &mut Vec<u8>) {
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
        if let Some(rest) = &self.rest {
            rest.fill(&mut self.slots, data, &data[self.size..]);
        }
        let mut event = Event { data, slots: &mut self.slots };
        match step::run(&mut self.steps, &mut event) {
            Verdict::Pass => {
                let (page, at) = page;
                if page.turn(at, &mut self.writer, out) {
                    self.writer.event(&event, out);
                    self.written += 1;
                }
            }
            Verdict::Drop => self.dropped += 1,
        }
    }

    /// Whether the guest does not want to see this event.
    #[inline]
    fn passes_by(&self, bytes: &[u8]) -> bool {
        self.only_with_rest && bytes.len() <= self.size
    }

    fn empty(&self) -> Packet {
        Packet { data: Vec::new(), slots: Slots::new(self.slot_count) }
    }

    /// Makes `packet` the event of the kernel's bytes.
    fn fill(&self, packet: &mut Packet, bytes: &[u8]) {
        packet.data.clear();
        packet.data.extend_from_slice(bytes);
        if bytes.len() < self.size {
            packet.data.resize(self.size, 0);
        }
        packet.slots.clear();
        if let Some(rest) = &self.rest {
            rest.fill(&mut packet.slots, &packet.data, &packet.data[self.size..]);
        }
    }

    fn push_payload(
        &mut self,
        payload: &mut Payload,
        guest: Option<&SharedGuest>,
        (page, at): (&mut Page, usize),
        out: &mut Vec<u8>,
    ) {
        if !step::run_with(&mut self.steps, guest, payload, &mut self.dropped) {
            return;
        }
        match payload {
            Payload::Single(packet) => {
                if page.turn(at, &mut self.writer, out) {
                    self.writer.event(&packet.event(), out);
                    self.written += 1;
                }
            }
            Payload::Array(packets) => {
                if page.turn(at, &mut self.writer, out) {
                    self.writer.begin(out);
                    for packet in packets.iter_mut() {
                        self.writer.element(&packet.event(), out);
                    }
                    self.writer.end(out);
                    self.written += packets.len() as u64;
                }
            }
        }
    }
}
