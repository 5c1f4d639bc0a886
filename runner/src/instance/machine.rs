//! What this machine offers to a gadget's guest: parameters, messages, the gadget's maps, the names of system calls and
//! symbols, and which containers are shown.

use std::{
    cell::{RefCell, RefMut},
    collections::{BTreeMap, HashSet},
    rc::Rc,
};

use super::{maps::Maps, syscall};
use crate::{
    container::{Lookup, Selector},
    operator::format::{syscall_name, syscall_number},
    wasm::{Host, Level, MapId, NewMap, PerfRead, ReaderId, SyscallDeclaration},
};

/// What a guest may use of this machine. Empty until the gadget is loaded.
#[derive(Default)]
pub(super) struct Machine {
    pub(super) params: BTreeMap<String, String>,
    /// Whether the guest asked for a parameter's value.
    pub(super) asked: bool,
    /// The maps of the gadget's programs, and those of the guest's own.
    pub(super) maps: Maps,
    /// Which containers are shown; all if there is none.
    pub(super) shown: Option<(Lookup, Selector)>,
    /// The kernel's symbols, once they were asked for.
    symbols: Option<HashSet<Box<str>>>,
}

impl Machine {
    /// With the values of the guest's parameters, by key.
    pub(super) fn new(params: BTreeMap<String, String>) -> Self {
        Self { params, ..Self::default() }
    }
}

/// The names of the kernel's symbols; none where the kernel does not tell.
fn symbols() -> HashSet<Box<str>> {
    let lines = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    lines.lines().filter_map(|line| Some(line.split_whitespace().nth(2)?.into())).collect()
}

/// The machine as a guest sees it.
pub(super) struct Offer {
    machine: Rc<RefCell<Machine>>,
    name: String,
}

impl Offer {
    /// What `machine` offers to the guest of the gadget `name`.
    pub(super) fn new(machine: &Rc<RefCell<Machine>>, name: &str) -> Self {
        Self { machine: Rc::clone(machine), name: name.to_owned() }
    }

    fn maps(&self) -> RefMut<'_, Maps> {
        RefMut::map(self.machine.borrow_mut(), |machine| &mut machine.maps)
    }
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
        self.maps().open(name)
    }

    fn new_map(&mut self, map: &NewMap<'_>) -> Option<MapId> {
        self.maps().make(map)
    }

    fn map_sizes(&self, map: MapId) -> Option<(usize, usize)> {
        self.maps().sizes(map)
    }

    fn holds_maps(&self, map: MapId) -> bool {
        self.maps().holds_maps(map)
    }

    fn lookup(&mut self, map: MapId, key: &[u8], value: &mut Vec<u8>) -> bool {
        self.maps().lookup(map, key, value)
    }

    fn lookup_map(&mut self, map: MapId, key: &[u8]) -> Option<MapId> {
        self.maps().lookup_map(map, key)
    }

    fn update(&mut self, map: MapId, key: &[u8], value: &[u8], flags: u64) -> bool {
        self.maps().update(map, key, value, flags)
    }

    fn update_map(&mut self, map: MapId, key: &[u8], inner: MapId, flags: u64) -> bool {
        self.maps().update_map(map, key, inner, flags)
    }

    fn delete(&mut self, map: MapId, key: &[u8]) -> bool {
        self.maps().delete(map, key)
    }

    fn close_map(&mut self, map: MapId) {
        self.maps().close(map);
    }

    fn new_perf_reader(&mut self, map: MapId, size: u32, overwritable: bool) -> Option<ReaderId> {
        self.maps().new_reader(map, size, overwritable)
    }

    fn pause_perf_reader(&mut self, reader: ReaderId, paused: bool) -> bool {
        self.maps().pause_reader(reader, paused)
    }

    fn read_perf(&mut self, reader: ReaderId, record: &mut Vec<u8>) -> PerfRead {
        self.maps().read(reader, record)
    }

    fn close_perf_reader(&mut self, reader: ReaderId) -> bool {
        self.maps().close_reader(reader)
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
