//! What can go wrong in a guest, in one type, so that `?` works from every call to the host up to the life cycle.
//!
//! The host answers most calls with no more than "failed" and writes the reason to its own log; an error here says
//! which call it was and on what.

/// An error of a guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No data source of this name is there, or none that anybody uses.
    #[error("no data source {0:?}: take a name from the metadata's `datasources`")]
    NoDataSource(String),
    /// The host refused to make a data source, for example because the name is taken.
    #[error("cannot make the data source {0:?}: is the name taken?")]
    NewDataSource(String),
    /// The data source has no such field.
    #[error("data source {data_source:?} has no field {field:?}")]
    NoField {
        /// Name of the data source.
        data_source: String,
        /// Full name of the field.
        field: String,
    },
    /// The host refused to add a field, for example because the name is taken.
    #[error("cannot add the field {field:?} to data source {data_source:?}: is the name taken?")]
    AddField {
        /// Name of the data source.
        data_source: String,
        /// Full name of the field.
        field: String,
    },
    /// A field could not be read.
    #[error("cannot read field {0:?}: does the type fit the field's?")]
    Get(String),
    /// A field could not be written.
    #[error("cannot set field {0:?}: does the type fit the field's, and its length?")]
    Set(String),
    /// A field could not be tagged.
    #[error("cannot tag field {0:?}")]
    Tag(String),
    /// The host refused a subscription: its kind has to fit the data source's.
    #[error("cannot subscribe to data source {0:?}: arrays come from data sources that are arrays only")]
    Subscribe(String),
    /// The host gave no packet: the kind has to fit the data source's, and handles may have run out.
    #[error("cannot make a packet on data source {0:?}: single or array has to fit the data source")]
    NewPacket(String),
    /// A packet could not be emitted.
    #[error("cannot emit a packet on data source {0:?}")]
    Emit(String),
    /// An element could not be added to an array.
    #[error("cannot add an element to the array")]
    Append,
    /// A data source could not be taken out of use, or asked about it.
    #[error("cannot change or read whether data source {0:?} is used")]
    Reference(String),
    /// No such parameter.
    #[error(
        "no parameter {0:?}: declare it below `params.wasm` in the metadata, and read it from `pre_start` on"
    )]
    NoParam(String),
    /// A parameter's value is not of the type that the guest wants.
    #[error("parameter {key:?} is {value:?}: {why}")]
    BadParam {
        /// Key of the parameter.
        key: String,
        /// What the user gave.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// The host refused a configuration value.
    #[error("cannot set configuration {0:?}")]
    Config(String),
    /// No such eBPF map, or not yet.
    #[error("no map {0:?}: maps are there from `start` on")]
    NoMap(String),
    /// The host could not make a map.
    #[error("cannot make the map {0:?}")]
    NewMap(String),
    /// An entry could not be written to or deleted from a map.
    #[error("cannot {action} an entry of map {map:?}")]
    MapEntry {
        /// Name of the map.
        map: String,
        /// What was tried: `update` or `delete`.
        action: &'static str,
    },
    /// A perf reader could not be made or used.
    #[error("cannot {0} the perf buffer")]
    Perf(&'static str),
    /// The host knows no such system call.
    #[error("no system call {0}")]
    NoSyscall(String),
    /// The host gave bytes that do not have the form they should have.
    #[error("the host's answer about {0} makes no sense")]
    Garbled(String),
    /// What the guest's author says.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// An error of the guest's own: `number.parse::<u32>().map_err(Error::other)?`.
    pub fn other(why: impl std::fmt::Display) -> Self {
        Self::Other(why.to_string())
    }
}

impl From<String> for Error {
    fn from(why: String) -> Self {
        Self::Other(why)
    }
}

impl From<&str> for Error {
    fn from(why: &str) -> Self {
        Self::Other(why.to_owned())
    }
}

/// The result of nearly everything here.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;
