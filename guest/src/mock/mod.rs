//! A host to test guests with: no kernel, no WebAssembly, no privileges.
//!
//! A test says what the gadget would have (data sources, maps, parameters), runs the guest, sends events through it and
//! looks at what came out. See the example at the [crate's page](crate).
//!
//! Where a real host is strict, the mock is: values have to fit their fields, an array's handles run out, parameters
//! are there from `pre_start` on, maps from `start` on, the data source passed to callbacks is of no use.
#![allow(
    clippy::panic,
    reason = "a mock is part of a test; a test that asks for what is not there has to end"
)]

pub(crate) mod calls;
#[cfg(test)]
mod tests;
mod value;
mod world;

pub use value::Value;
pub use world::Record;

use crate::{Guest, Kind, Result, Type, Wire, life, log::Level, subscription};
use std::{cell::RefCell, marker::PhantomData, rc::Rc};
use world::{Elements, Field, Payload, Phase, Source as State, Table as MapState, with};

/// The mock host of this thread. A new one forgets all that was before.
#[derive(Debug)]
pub struct Host {
    /// The state is the thread's.
    thread: PhantomData<*const ()>,
}

/// A data source of the mock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source(usize);

/// A map of the mock, from `K` to `V`.
#[derive(Debug)]
pub struct Table<K, V> {
    at: usize,
    entry: PhantomData<fn(K) -> V>,
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

/// Drops the guest first: it gives its handles back.
fn reset() {
    life::clear();
    subscription::clear();
    with(|world| drop(std::mem::take(world)));
}

impl Host {
    /// A host without anything.
    pub fn new() -> Self {
        reset();
        life::export_igx();
        Self { thread: PhantomData }
    }

    /// A host that can do no more than Inspektor Gadget's `ig`: nothing is discarded, and on data sources made here a
    /// guest's packets have no room for the fields that they were made with. (Setting one is an error here; there it
    /// ends the run.)
    pub fn upstream() -> Self {
        reset();
        with(|world| world.upstream = true);
        Self { thread: PhantomData }
    }

    /// Describes a data source of single events, as an eBPF tracer makes it; end it with [`Builder::build`].
    pub fn data_source(&self, name: &str) -> Builder {
        Builder(State::new(name, Type::Single))
    }

    /// The data source of this name, for example one that the guest made.
    pub fn source(&self, name: &str) -> Option<Source> {
        with(|world| world.sources.iter().position(|source| source.name == name)).map(Source)
    }

    /// Whether the data source is in use: a guest can take it out.
    pub fn is_referenced(&self, source: Source) -> bool {
        with(|world| world.sources[source.0].referenced)
    }

    /// Tags that the guest gave to a field.
    pub fn tags(&self, source: Source, field: &str) -> Vec<String> {
        with(|world| world.sources[source.0].named(field).1.tags.clone())
    }

    /// Sets a parameter.
    pub fn param(&self, key: &str, value: &str) {
        with(|world| world.params.insert(key.to_owned(), value.to_owned()));
    }

    /// What the guest configured.
    pub fn config(&self, key: &str) -> Option<String> {
        with(|world| world.config.get(key).cloned())
    }

    /// Makes a symbol of the kernel.
    pub fn symbol(&self, name: &str) {
        with(|world| world.symbols.insert(name.to_owned()));
    }

    /// Makes a mount namespace one that is left out.
    pub fn discard_mntns(&self, id: u64) {
        with(|world| world.discarded_mntns.insert(id));
    }

    /// Makes a system call; of each parameter its name and whether it is a pointer, six at most.
    pub fn syscall(&self, number: u32, name: &str, params: &[(&str, bool)]) {
        let params = params.iter().map(|(name, pointer)| ((*name).to_owned(), *pointer)).collect();
        with(|world| world.syscalls.push((number, name.to_owned(), params)));
    }

    /// Makes a map of the gadget, with room for 1024 entries.
    pub fn map<K: Wire, V: Wire>(&self, name: &str) -> Table<K, V> {
        Self::table(name, K::SIZE, V::SIZE, false)
    }

    /// Makes a map of maps of the gadget.
    pub fn map_of_maps<K: Wire>(&self, name: &str) -> Table<K, u32> {
        Self::table(name, K::SIZE, u32::SIZE, true)
    }

    fn table<K, V>(name: &str, key: usize, value: usize, of_maps: bool) -> Table<K, V> {
        let map = MapState { name: name.to_owned(), key, value, max: 1024, of_maps, ..MapState::default() };
        let at = with(|world| {
            world.maps.push(map);
            world.maps.len() - 1
        });
        Table { at, entry: PhantomData }
    }

    /// Runs a guest up to the point where events come: `init`, `pre_start`, `start`.
    pub fn run<G: Guest>(&self) -> Result {
        with(|world| world.phase = Phase::Init);
        life::init::<G>()?;
        with(|world| world.phase = Phase::Prepared);
        life::step(life::Step::PreStart)?;
        with(|world| world.phase = Phase::Started);
        life::step(life::Step::Start)
    }

    /// Ends it: `stop`, `post_stop`.
    pub fn stop(&self) -> Result {
        life::step(life::Step::Stop)?;
        life::step(life::Step::PostStop)
    }

    /// Sends an event through the guest. What it is afterwards, or nothing if the guest discarded it. Fields that are
    /// not named are zero or empty.
    pub fn emit(&self, source: Source, fields: &[(&str, Value)]) -> Option<Record> {
        world::deliver(source.0, &Rc::new(RefCell::new(vec![payload(source, fields)]))).pop()
    }

    /// Sends an array of events through the guest. What is left of it.
    pub fn emit_array(&self, source: Source, events: &[&[(&str, Value)]]) -> Vec<Record> {
        let events = events.iter().map(|fields| payload(source, fields)).collect();
        world::deliver(source.0, &Elements::new(RefCell::new(events)))
    }

    /// The packets that the guest emitted on this data source; each of one event if it is not of arrays.
    pub fn emitted(&self, source: Source) -> Vec<Vec<Record>> {
        with(|world| world.sources[source.0].emitted.clone())
    }

    /// What the guest logged. Messages at trace level are not shown.
    pub fn logs(&self) -> Vec<(Level, String)> {
        with(|world| world.logs.clone())
    }

    /// How many handles the guest holds. A number that grows with each event means that something is kept.
    pub fn open_handles(&self) -> usize {
        with(|world| world.handles.len())
    }
}

fn payload(source: Source, fields: &[(&str, Value)]) -> Payload {
    with(|world| {
        let payload = world.empty(source.0);
        for (name, value) in fields {
            let (at, field) = world.sources[source.0].named(name);
            let Some(mut bytes) = value::encode(field.kind, value) else {
                panic!("{value:?} is no value for the field {name:?}, which is {:?}", field.kind);
            };
            if let Some(len) = field.len {
                bytes.resize(len, 0);
            }
            payload.borrow_mut()[at] = bytes;
        }
        payload
    })
}

/// A data source to be.
#[must_use = "nothing is there until it is built"]
pub struct Builder(State);

impl Builder {
    /// Makes it one of arrays.
    pub fn array(mut self) -> Self {
        self.0.kind = Type::Array;
        self
    }

    /// Adds a field.
    pub fn field(mut self, name: &str, kind: Kind) -> Self {
        self.0.add_field(name, kind, None, false);
        self
    }

    /// Adds a `char` array of `len` bytes, as a struct in eBPF has it.
    pub fn chars(mut self, name: &str, len: usize) -> Self {
        self.0.add_field(name, Kind::CString, Some(len), false);
        self
    }

    /// Gives it to the host.
    pub fn build(self) -> Source {
        with(|world| {
            world.sources.push(self.0);
            Source(world.sources.len() - 1)
        })
    }
}

impl State {
    pub(crate) fn new(name: &str, kind: Type) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            fields: Vec::new(),
            subscriptions: Vec::new(),
            referenced: true,
            emitted: Vec::new(),
        }
    }

    pub(crate) fn add_field(&mut self, name: &str, kind: Kind, len: Option<usize>, of_guest: bool) {
        self.fields.push(Field { name: name.to_owned(), kind, len, tags: Vec::new(), of_guest });
    }

    fn named(&self, name: &str) -> (usize, &Field) {
        let mut fields = self.fields.iter().enumerate();
        fields
            .find(|(_, field)| field.name == name)
            .unwrap_or_else(|| panic!("{:?} has no field {name:?}", self.name))
    }
}

impl<K: Wire, V: Wire> Table<K, V> {
    /// Sets an entry, as an eBPF program does.
    pub fn insert(&self, key: &K, value: &V) {
        with(|world| world.maps[self.at].entries.insert(key.to_bytes(), value.to_bytes()));
    }

    /// The value of `key`.
    pub fn get(&self, key: &K) -> Option<V> {
        with(|world| V::from_bytes(world.maps[self.at].entries.get(&key.to_bytes())?))
    }

    /// Writes a record to a perf event array, for a guest's reader.
    pub fn record(&self, bytes: &[u8]) {
        with(|world| world.maps[self.at].records.push_back(bytes.to_vec()));
    }
}
