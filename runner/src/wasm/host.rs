//! What a guest may ask of the machine that it runs on.

/// How grave a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    /// The level with this number of the guest API.
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace].get(number as usize).copied()
    }
}

/// A map, as its host knows it.
pub type MapId = usize;

/// A reader of a perf buffer, as its host knows it.
pub type ReaderId = usize;

/// A map that a guest asks for.
#[derive(Clone, Debug)]
pub struct NewMap<'a> {
    /// For people.
    pub name: &'a str,
    /// One of the kernel's `enum bpf_map_type`.
    pub map_type: u32,
    /// Bytes.
    pub key_size: u32,
    /// Bytes.
    pub value_size: u32,
    /// Elements.
    pub max_entries: u32,
}

/// What came of reading a perf buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerfRead {
    /// A record.
    Record,
    /// There is none now.
    Nothing,
    /// The reader is gone or broken.
    Failed,
}

/// How a system call is called.
#[derive(Clone, Debug, Default)]
pub struct SyscallDeclaration {
    /// At most six.
    pub params: Vec<SyscallParam>,
}

/// One parameter of a system call.
#[derive(Clone, Debug)]
pub struct SyscallParam {
    /// Its name.
    pub name: String,
    /// Whether it points to something.
    pub is_pointer: bool,
}

/// What a guest may ask for besides data sources. What a host does not have, it does not answer: the guest sees an
/// error, and goes on.
pub trait Host {
    /// Whether messages of this level are wanted.
    fn logs(&self, level: Level) -> bool;

    /// Takes a message, bounded in length.
    fn log(&mut self, level: Level, message: &str);

    /// The value of the guest's parameter `key`.
    fn param(&mut self, key: &str) -> Option<String>;

    /// Opens a map of the gadget's programs. None can be opened before they are loaded.
    fn open_map(&mut self, _name: &str) -> Option<MapId> {
        None
    }

    /// Makes a map.
    fn new_map(&mut self, _map: &NewMap<'_>) -> Option<MapId> {
        None
    }

    /// Sizes of a map's key and value, bytes.
    fn map_sizes(&self, _map: MapId) -> Option<(usize, usize)> {
        None
    }

    /// Whether a map's values are maps.
    fn holds_maps(&self, _map: MapId) -> bool {
        false
    }

    /// Appends the value of `key` to `value`; `false` if there is none.
    fn lookup(&mut self, _map: MapId, _key: &[u8], _value: &mut Vec<u8>) -> bool {
        false
    }

    /// Opens the map that is the value of `key`.
    fn lookup_map(&mut self, _map: MapId, _key: &[u8]) -> Option<MapId> {
        None
    }

    /// Sets a value; `flags` are those of the system call.
    fn update(&mut self, _map: MapId, _key: &[u8], _value: &[u8], _flags: u64) -> bool {
        false
    }

    /// Makes the map `inner` the value of `key`.
    fn update_map(&mut self, _map: MapId, _key: &[u8], _inner: MapId, _flags: u64) -> bool {
        false
    }

    /// Removes a value.
    fn delete(&mut self, _map: MapId, _key: &[u8]) -> bool {
        false
    }

    /// Lets go of a map.
    fn close_map(&mut self, _map: MapId) {}

    /// Reads the perf buffer `map`, of `size` bytes a processor.
    fn new_perf_reader(&mut self, _map: MapId, _size: u32, _overwritable: bool) -> Option<ReaderId> {
        None
    }

    /// Stops or resumes writing to a perf buffer.
    fn pause_perf_reader(&mut self, _reader: ReaderId, _paused: bool) -> bool {
        false
    }

    /// Appends the next record of a perf buffer to `record`.
    fn read_perf(&mut self, _reader: ReaderId, _record: &mut Vec<u8>) -> PerfRead {
        PerfRead::Failed
    }

    /// Lets go of a perf buffer; `false` if there is none.
    fn close_perf_reader(&mut self, _reader: ReaderId) -> bool {
        false
    }

    /// Name of a system call, such as `openat`.
    fn syscall_name(&self, _number: u16) -> Option<String> {
        None
    }

    /// Number of a system call.
    fn syscall_number(&self, _name: &str) -> Option<u32> {
        None
    }

    /// How a system call is called.
    fn syscall_declaration(&mut self, _name: &str) -> Option<SyscallDeclaration> {
        None
    }

    /// Whether the kernel has a symbol of this name.
    fn symbol_exists(&mut self, _name: &str) -> bool {
        false
    }

    /// Whether events of this mount namespace are not shown.
    fn discards(&self, _mntns: u64) -> bool {
        false
    }
}
