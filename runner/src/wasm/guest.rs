//! One guest, from its module to its end.

use std::collections::BTreeMap;

use wasmi::{
    CompilationMode, Config, Engine, ExternType, Instance, Linker, Module, Store, StoreLimitsBuilder,
    TypedFunc,
    errors::{ErrorKind, LinkerError},
};

use super::{
    API_VERSION, Error, Host, Payload, Stop, Subscription, call,
    objects::{Object, Objects},
    segments::{self, Data},
    state::State,
    wasi,
};
use crate::datasource::DataSource;

/// Bytes of a page of WebAssembly memory.
const PAGE: usize = 64 << 10;

/// What guests export their memory as.
const MEMORY: &str = "memory";

/// Instances of functions in a table: upstream's largest guest has four thousand.
const MAX_TABLE: usize = 1 << 20;

/// What a guest may use up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Instructions of one call when it starts or stops.
    pub start_fuel: u64,
    /// Instructions of one call for an event or a batch.
    pub event_fuel: u64,
    /// Pages of memory, 64 KiB each.
    pub pages: usize,
}

impl Default for Limits {
    /// Some seconds to start, a second for an event, and 16 MiB, as upstream has it.
    fn default() -> Self {
        Self { start_fuel: 4_000_000_000, event_fuel: 1_000_000_000, pages: 256 }
    }
}

/// When a guest is called besides for events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before data sources are final: the only time at which it may add to them.
    Init,
    /// When everybody has added to the data sources, before programs are attached.
    PreStart,
    /// When programs are attached.
    Start,
    /// Before programs are detached.
    Stop,
    /// When programs are detached.
    PostStop,
}

impl Stage {
    /// The function that a guest may export for it.
    pub fn function(self) -> &'static str {
        match self {
            Self::Init => "gadgetInit",
            Self::PreStart => "gadgetPreStart",
            Self::Start => "gadgetStart",
            Self::Stop => "gadgetStop",
            Self::PostStop => "gadgetPostStop",
        }
    }
}

/// What a guest is called for events with: the number of its subscription, the data source, and the event.
type Event = (u64, u32, u32);

/// The function that is called for events.
#[derive(Clone, Copy)]
enum Callback {
    /// The one of the guest API.
    Plain(TypedFunc<Event, ()>),
    /// One that says 1 if the event is to be discarded: only this host has it.
    Deciding(TypedFunc<Event, i32>),
}

impl Callback {
    fn find(instance: &Instance, store: &Store<State>) -> Option<Self> {
        let deciding = instance.get_typed_func(store, DECIDING).map(Self::Deciding);
        deciding.or_else(|_| instance.get_typed_func(store, PLAIN).map(Self::Plain)).ok()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Plain(_) => PLAIN,
            Self::Deciding(_) => DECIDING,
        }
    }

    /// `false` if the event is to be discarded.
    fn call(self, store: &mut Store<State>, event: Event) -> Result<bool, wasmi::Error> {
        match self {
            Self::Plain(callback) => callback.call(store, event).map(|()| true),
            Self::Deciding(callback) => callback.call(store, event).map(|verdict| verdict != DISCARD),
        }
    }
}

const PLAIN: &str = "dataSourceCallback";
const DECIDING: &str = "igxDataSourceCallback";
const DISCARD: i32 = 1;

/// What a guest exports that wants to know whether it is this host that runs it.
const THIS_HOST: &str = "igxHost";

/// A guest.
pub struct Guest {
    name: String,
    store: Store<State>,
    instance: Instance,
    callback: Option<Callback>,
    limits: Limits,
    stopped: bool,
}

impl Guest {
    /// Gets a module ready. `name` is that of the gadget, for errors.
    ///
    /// # Errors
    /// When it is no module, wants what there is not, is written for another version, or fails at once.
    pub fn new(name: &str, module: &[u8], host: Box<dyn Host>, limits: Limits) -> Result<Self, Error> {
        let refuse = |error: wasmi::Error| Error::Module { guest: name.to_owned(), why: error.to_string() };
        let engine = Engine::new(&config());
        let (module, data) = read(&engine, module).map_err(refuse)?;
        let fence = StoreLimitsBuilder::new()
            .memory_size(limits.pages.saturating_mul(PAGE))
            .table_elements(MAX_TABLE)
            .instances(1)
            .memories(1)
            .tables(8)
            .build();
        let state = State {
            host,
            limits: fence,
            memory: None,
            objects: Objects::default(),
            sources: Vec::new(),
            open: false,
            subscriptions: Vec::new(),
            emitted: Default::default(),
            knows_host: false,
            config: BTreeMap::new(),
            line: Vec::new(),
        };
        let mut store = Store::new(&engine, state);
        store.limiter(|state| &mut state.limits);
        store.set_fuel(limits.start_fuel).map_err(refuse)?;
        let mut linker = Linker::new(&engine);
        call::define(&mut linker).and_then(|()| wasi::define(&mut linker, &module)).map_err(refuse)?;
        let instance = linker.instantiate_and_start(&mut store, &module);
        let instance = instance.map_err(|error| match Stop::from(&error) {
            Stop::Other(_) => match error.kind() {
                ErrorKind::Linker(LinkerError::MissingDefinition { name: import, .. }) => {
                    let import = format!("{}.{}", import.module(), import.name());
                    Error::Import { guest: name.to_owned(), import }
                }
                _ => refuse(error),
            },
            why => Error::Stopped { guest: name.to_owned(), function: "its start function", why },
        })?;
        if let Some(data) = data {
            let memory = instance.get_memory(&store, MEMORY);
            let filled = memory.and_then(|memory| data.fill(memory.data_mut(&mut store)));
            let why = Stop::OutOfBounds;
            filled.ok_or_else(|| Error::Stopped { guest: name.to_owned(), function: "its data", why })?;
        }
        let callback = Callback::find(&instance, &store);
        let mut guest = Self { name: name.to_owned(), store, instance, callback, limits, stopped: false };
        guest.initialize()?;
        Ok(guest)
    }

    fn initialize(&mut self) -> Result<(), Error> {
        if let Ok(initialize) = self.instance.get_typed_func::<(), ()>(&self.store, "_initialize") {
            self.enter("_initialize", self.limits.start_fuel, |store| initialize.call(store, ()))?;
        }
        const VERSION: &str = "gadgetAPIVersion";
        let version = self.instance.get_typed_func::<(), u64>(&self.store, VERSION);
        let version = version.map_err(|_| Error::Export { guest: self.name.clone(), function: VERSION })?;
        let found = self.enter(VERSION, self.limits.start_fuel, |store| version.call(store, ()))?;
        if found != API_VERSION {
            return Err(Error::Version { guest: self.name.clone(), found });
        }
        if self.instance.get_func(&self.store, THIS_HOST).is_some() {
            let tell = self.instance.get_typed_func::<(), ()>(&self.store, THIS_HOST);
            let tell = tell.map_err(|_| Error::Export { guest: self.name.clone(), function: THIS_HOST })?;
            self.store.data_mut().knows_host = true;
            self.enter(THIS_HOST, self.limits.start_fuel, |store| tell.call(store, ()))?;
        }
        Ok(())
    }

    /// Calls the guest's function for `stage`, if it has one. It sees `sources`, and may add to them at
    /// [`Stage::Init`].
    ///
    /// # Errors
    /// When the function fails, or the guest is stopped in it.
    pub fn call(&mut self, stage: Stage, sources: &mut Vec<DataSource>) -> Result<(), Error> {
        let function = stage.function();
        if self.stopped || self.instance.get_func(&self.store, function).is_none() {
            return Ok(());
        }
        let run = self.instance.get_typed_func::<(), u32>(&self.store, function);
        let run = run.map_err(|_| Error::Export { guest: self.name.clone(), function })?;
        let state = self.store.data_mut();
        state.open = stage == Stage::Init;
        std::mem::swap(&mut state.sources, sources);
        let result = self.enter(function, self.limits.start_fuel, |store| run.call(store, ()));
        let state = self.store.data_mut();
        state.open = false;
        std::mem::swap(&mut state.sources, sources);
        match result? {
            0 => Ok(()),
            _ => Err(Error::Failed { guest: self.name.clone(), function }),
        }
    }

    /// Calls the guest's function for `stage`, with the data sources as they were sealed.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn call_sealed(&mut self, stage: Stage) -> Result<(), Error> {
        let mut sources = std::mem::take(&mut self.store.data_mut().sources);
        let result = self.call(stage, &mut sources);
        self.store.data_mut().sources = sources;
        result
    }

    /// Tells the guest what the data sources have become, before it is called for events.
    pub fn seal(&mut self, sources: &[DataSource]) {
        self.store.data_mut().sources = sources.to_vec();
    }

    /// What it wants to be called for, in the order in which it said so.
    pub fn subscriptions(&self) -> &[Subscription] {
        &self.store.data().subscriptions
    }

    /// What it set, by key.
    pub fn config(&self) -> &BTreeMap<String, String> {
        &self.store.data().config
    }

    /// Never calls it again: it failed in a way that it can be done without.
    pub fn abandon(&mut self) {
        self.stopped = true;
    }

    /// Whether it was stopped, and is not called any more.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Calls the guest for an event or a batch, which it may change. `false` if it discards it.
    ///
    /// # Errors
    /// When the guest is stopped. The event is as the guest left it; later calls do nothing.
    pub fn event(&mut self, subscription: &Subscription, payload: &mut Payload) -> Result<bool, Error> {
        let Some(callback) = self.callback.filter(|_| !self.stopped) else { return Ok(true) };
        let state = self.store.data_mut();
        let handle = state.objects.add(Object::Current);
        if handle == 0 {
            // It has used up its handles and could not even be told about the event.
            let why = Stop::Other("it holds on to all its handles".to_owned());
            return Err(self.stop(callback.name(), why));
        }
        let taken = std::mem::replace(payload, Payload::Array(Vec::new()));
        state.objects.current = Some((subscription.source, taken));
        let arguments = (subscription.callback, subscription.handle, handle);
        let result =
            self.enter(callback.name(), self.limits.event_fuel, |store| callback.call(store, arguments));
        let state = self.store.data_mut();
        if let Some((_, back)) = state.objects.current.take() {
            *payload = back;
        }
        state.objects.remove(handle);
        state.objects.settle();
        result
    }

    /// The next event that the guest sent, and the index of its data source.
    pub fn emitted(&mut self) -> Option<(usize, Payload)> {
        self.store.data_mut().emitted.pop_front()
    }

    /// Bytes of its memory.
    pub fn memory_size(&self) -> usize {
        let memory = self.instance.get_memory(&self.store, MEMORY);
        memory.map_or(0, |m| m.data_size(&self.store))
    }

    fn enter<T>(
        &mut self,
        function: &'static str,
        fuel: u64,
        run: impl FnOnce(&mut Store<State>) -> Result<T, wasmi::Error>,
    ) -> Result<T, Error> {
        let result = self.store.set_fuel(fuel).and_then(|()| run(&mut self.store));
        wasi::flush(self.store.data_mut());
        result.map_err(|error| self.stop(function, Stop::from(&error)))
    }

    fn stop(&mut self, function: &'static str, why: Stop) -> Error {
        self.stopped = true;
        Error::Stopped { guest: self.name.clone(), function, why }
    }
}

/// Reads a module, and what is to be filled into its memory once it has one.
fn read<'a>(engine: &Engine, module: &'a [u8]) -> Result<(Module, Option<Data<'a>>), wasmi::Error> {
    if let Some((code, data)) = segments::split(module) {
        let code = Module::new(engine, code)?;
        // A memory that it keeps to itself is out of reach.
        if matches!(code.get_export(MEMORY), Some(ExternType::Memory(_))) {
            return Ok((code, Some(data)));
        }
    }
    Ok((Module::new(engine, module)?, None))
}

fn config() -> Config {
    let mut config = Config::default();
    config
        .consume_fuel(true)
        .compilation_mode(CompilationMode::Lazy)
        .ignore_custom_sections(true)
        .wasm_multi_memory(false)
        .wasm_custom_page_sizes(false);
    config
}
