//! A gadget's guest: starting it, and what the machine offers to it.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashSet},
    rc::Rc,
    time::Instant,
};

use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType};

use super::{
    gadget::{Gadget, Origin, Source},
    pipeline::named_enums,
    syscall,
};
use crate::{
    container::{Lookup, Selector},
    datasource::DataSource,
    operator::{
        enums::Enums,
        format::{syscall_name, syscall_number},
    },
    wasm::{Error, Guest, Host, Level, Limits, MapId, NewMap, Stage, SyscallDeclaration},
};

/// Flags of `bpf_map_update_elem` that a guest may use: any, only new, only existing, locked.
const MAX_UPDATE_FLAGS: u64 = 4;

/// Maps that a guest may have open at once.
const MAX_MAPS: usize = 1024;

/// A guest that has added its fields and data sources.
pub(super) struct Started {
    pub(super) guest: Guest,
    /// The gadget's data sources, with what the guest added.
    pub(super) sources: Vec<Source>,
    pub(super) machine: Rc<RefCell<Machine>>,
}

/// Starts the gadget's guest, if it has one. `params` are the values that were given.
pub(super) fn start(gadget: &Gadget, params: &BTreeMap<String, String>) -> Result<Option<Started>, Error> {
    let Some(module) = &gadget.image.wasm else { return Ok(None) };
    let began = Instant::now();
    let defaults = gadget.params.iter().map(|p| (p.key.clone(), p.default.clone()));
    let params = defaults.chain(params.clone()).collect();
    let machine = Rc::new(RefCell::new(Machine { params, ..Machine::default() }));
    let offer = Offer { machine: Rc::clone(&machine), name: gadget.metadata.name.clone() };
    let mut guest = Guest::new(&gadget.metadata.name, module, Box::new(offer), Limits::default())?;

    let mut known = gadget.sources.clone();
    let before: Vec<usize> = known.iter().map(|s| s.data.fields.len()).collect();
    let mut data: Vec<DataSource> = known.iter_mut().map(with_names).collect();
    guest.call(Stage::Init, &mut data)?;
    let mut known = known.into_iter();
    let mut sources = Vec::new();
    for (at, mut data) in data.into_iter().enumerate() {
        let (enums, origin) = match known.next() {
            Some(source) => (source.enums, source.origin),
            None => {
                data.annotate(&gadget.metadata);
                (Vec::new(), Origin::Guest)
            }
        };
        data.describe_added(before.get(at).copied().unwrap_or(0), &gadget.metadata);
        sources.push(Source { data, enums, origin });
    }
    tracing::debug!(
        "guest started in {:.1?}, with {} KiB of memory",
        began.elapsed(),
        guest.memory_size() >> 10
    );
    Ok(Some(Started { guest, sources, machine }))
}

/// The data source with the fields for the names of enumerators, which guests read.
fn with_names(source: &mut Source) -> DataSource {
    let mut data = source.data.clone();
    let mut named = named_enums(&data, &source.enums, None);
    Enums::add_fields(&mut data, &mut named);
    for field in &mut source.enums {
        field.text = named.iter().find(|n| n.field == field.field).and_then(|n| n.text);
    }
    data
}

/// What a guest may use of this machine. Empty until the gadget is loaded.
#[derive(Default)]
pub(super) struct Machine {
    pub(super) params: BTreeMap<String, String>,
    /// Whether the guest asked for a parameter's value.
    pub(super) asked: bool,
    /// The maps of the gadget's programs, by name.
    pub(super) maps: BTreeMap<String, MapHandle>,
    /// Which containers are shown; all if there is none.
    pub(super) shown: Option<(Lookup, Selector)>,
    open: Vec<Option<MapHandle>>,
    /// The kernel's symbols, once they were asked for.
    symbols: Option<HashSet<Box<str>>>,
}

impl Machine {
    fn keep(&mut self, map: MapHandle) -> Option<MapId> {
        if let Some(free) = self.open.iter().position(Option::is_none) {
            self.open[free] = Some(map);
            return Some(free);
        }
        if self.open.len() >= MAX_MAPS {
            return None;
        }
        self.open.push(Some(map));
        Some(self.open.len() - 1)
    }

    fn map(&self, id: MapId) -> Option<&MapHandle> {
        self.open.get(id)?.as_ref()
    }
}

/// Maps that guests may make or open: those whose values lie in the map itself.
fn is_plain(map_type: MapType) -> bool {
    use MapType::*;
    matches!(map_type, Hash | Array | LruHash | Queue | Stack | LpmTrie)
}

/// The names of the kernel's symbols; none where the kernel does not tell.
fn symbols() -> HashSet<Box<str>> {
    let lines = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    lines.lines().filter_map(|line| Some(line.split_whitespace().nth(2)?.into())).collect()
}

/// The machine as a guest sees it.
struct Offer {
    machine: Rc<RefCell<Machine>>,
    name: String,
}

impl Host for Offer {
    fn logs(&self, level: Level) -> bool {
        match level {
            Level::Error => tracing::enabled!(tracing::Level::ERROR),
            Level::Warn => tracing::enabled!(tracing::Level::WARN),
            Level::Info => tracing::enabled!(tracing::Level::INFO),
            Level::Debug => tracing::enabled!(tracing::Level::DEBUG),
            Level::Trace => tracing::enabled!(tracing::Level::TRACE),
        }
    }

    fn log(&mut self, level: Level, message: &str) {
        let (name, message) = (&self.name, message.escape_debug());
        match level {
            Level::Error => tracing::error!("{name}: {message}"),
            Level::Warn => tracing::warn!("{name}: {message}"),
            Level::Info => tracing::info!("{name}: {message}"),
            Level::Debug => tracing::debug!("{name}: {message}"),
            Level::Trace => tracing::trace!("{name}: {message}"),
        }
    }

    fn param(&mut self, key: &str) -> Option<String> {
        let mut machine = self.machine.borrow_mut();
        machine.asked = true;
        machine.params.get(key).cloned()
    }

    fn open_map(&mut self, name: &str) -> Option<MapId> {
        let mut machine = self.machine.borrow_mut();
        let map = machine.maps.get(name).filter(|m| is_plain(m.map_type()))?;
        let map = MapHandle::try_from(map).ok()?;
        machine.keep(map)
    }

    fn new_map(&mut self, map: &NewMap<'_>) -> Option<MapId> {
        let map_type = MapType::from(map.map_type);
        if !is_plain(map_type) {
            return None;
        }
        let options = libbpf_sys::bpf_map_create_opts {
            sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
            map_flags: if map_type == MapType::LpmTrie { libbpf_sys::BPF_F_NO_PREALLOC } else { 0 },
            ..Default::default()
        };
        let name = map.name.get(..15).unwrap_or(map.name);
        let (key, value, max) = (map.key_size, map.value_size, map.max_entries);
        let map = MapHandle::create(map_type, Some(name), key, value, max, &options).ok()?;
        self.machine.borrow_mut().keep(map)
    }

    fn map_sizes(&self, map: MapId) -> Option<(usize, usize)> {
        let machine = self.machine.borrow();
        let map = machine.map(map)?;
        Some((map.key_size() as usize, map.value_size() as usize))
    }

    fn lookup(&mut self, map: MapId, key: &[u8], value: &mut Vec<u8>) -> bool {
        let machine = self.machine.borrow();
        let found = machine.map(map).and_then(|m| m.lookup(key, MapFlags::ANY).ok().flatten());
        found.map(|bytes| value.extend_from_slice(&bytes)).is_some()
    }

    fn update(&mut self, map: MapId, key: &[u8], value: &[u8], flags: u64) -> bool {
        let machine = self.machine.borrow();
        let flags = MapFlags::from_bits_truncate(flags.min(MAX_UPDATE_FLAGS));
        machine.map(map).is_some_and(|m| m.update(key, value, flags).is_ok())
    }

    fn delete(&mut self, map: MapId, key: &[u8]) -> bool {
        self.machine.borrow().map(map).is_some_and(|m| m.delete(key).is_ok())
    }

    fn close_map(&mut self, map: MapId) {
        if let Some(place) = self.machine.borrow_mut().open.get_mut(map) {
            *place = None;
        }
    }

    fn syscall_name(&self, number: u16) -> Option<String> {
        syscall_name(u64::from(number)).map(str::to_lowercase)
    }

    fn syscall_number(&self, name: &str) -> Option<u32> {
        syscall_number(&name.to_uppercase())
    }

    fn syscall_declaration(&mut self, name: &str) -> Option<SyscallDeclaration> {
        syscall::declaration(name)
    }

    fn symbol_exists(&mut self, name: &str) -> bool {
        let mut machine = self.machine.borrow_mut();
        machine.symbols.get_or_insert_with(symbols).contains(name)
    }

    fn discards(&self, mntns: u64) -> bool {
        match &mut self.machine.borrow_mut().shown {
            Some((lookup, selector)) => !lookup.by_mntns(mntns).is_some_and(|c| selector.matches(c)),
            None => false,
        }
    }
}
