//! One guest, from its module to its end.

use std::collections::BTreeMap;

use wasmi::{
    CompilationMode, Config, Engine, Instance, Linker, Module, Store, StoreLimitsBuilder, TypedFunc,
    errors::{ErrorKind, LinkerError},
};

use super::{
    API_VERSION, Error, Host, Payload, Stop, Subscription, call,
    objects::{Object, Objects},
    state::State,
    wasi,
};
use crate::datasource::DataSource;

/// Bytes of a page of WebAssembly memory.
const PAGE: usize = 64 << 10;

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

/// A guest.
pub struct Guest {
    name: String,
    store: Store<State>,
    instance: Instance,
    callback: Option<TypedFunc<(u64, u32, u32), ()>>,
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
        let module = Module::new(&engine, module).map_err(refuse)?;
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
            discard: false,
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
        let callback = instance.get_typed_func(&store, "dataSourceCallback").ok();
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

    /// Whether it was stopped, and is not called any more.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Calls the guest for an event or a batch, which it may change. `false` if it discards it.
    ///
    /// # Errors
    /// When the guest is stopped. The event is as the guest left it; later calls do nothing.
    pub fn event(&mut self, subscription: &Subscription, payload: &mut Payload) -> Result<bool, Error> {
        const CALLBACK: &str = "dataSourceCallback";
        let Some(callback) = self.callback.filter(|_| !self.stopped) else { return Ok(true) };
        let state = self.store.data_mut();
        let handle = state.objects.add(Object::Current);
        if handle == 0 {
            // It has used up its handles and could not even be told about the event.
            let why = Stop::Other("it holds on to all its handles".to_owned());
            return Err(self.stop(CALLBACK, why));
        }
        let taken = std::mem::replace(payload, Payload::Array(Vec::new()));
        state.objects.current = Some((subscription.source, taken));
        state.discard = false;
        let arguments = (subscription.callback, subscription.handle, handle);
        let result = self.enter(CALLBACK, self.limits.event_fuel, |store| callback.call(store, arguments));
        let state = self.store.data_mut();
        if let Some((_, back)) = state.objects.current.take() {
            *payload = back;
        }
        state.objects.remove(handle);
        state.objects.settle();
        result.map(|()| !self.store.data().discard)
    }

    /// The next event that the guest sent, and the index of its data source.
    pub fn emitted(&mut self) -> Option<(usize, Payload)> {
        self.store.data_mut().emitted.pop_front()
    }

    /// Bytes of its memory.
    pub fn memory_size(&self) -> usize {
        let memory = self.instance.get_memory(&self.store, "memory");
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
