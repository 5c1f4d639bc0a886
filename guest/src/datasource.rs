//! Data sources: those of the gadget's eBPF programs, those of other operators, and the guest's own.

use crate::{
    data::{Array, Event, Packet, PacketArray, Source},
    error::{Error, Result},
    field::Field,
    host::{self, Handle},
    subscription::{self, Callback},
    value::Value,
};
use std::rc::Rc;

/// Whether packets of a data source carry one event or many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Type {
    /// One event a packet, as tracers have.
    Single = 1,
    /// Many events a packet, as snapshots and top gadgets have.
    Array = 2,
}

/// A stream of events with fields. Clones are the same data source.
#[derive(Debug, Clone)]
pub struct DataSource(Rc<Source>);

impl DataSource {
    /// The data source of this name, as the metadata calls it. Only those that somebody uses are found.
    pub fn get(name: &str) -> Result<Self> {
        Self::from_raw(host::get_data_source(name), name).ok_or_else(|| Error::NoDataSource(name.to_owned()))
    }

    /// Makes a data source; in `init`, so that others see it when they start.
    pub fn new(name: &str, kind: Type) -> Result<Self> {
        Self::from_raw(host::new_data_source(name, kind as u32), name)
            .ok_or_else(|| Error::NewDataSource(name.to_owned()))
    }

    fn from_raw(raw: u32, name: &str) -> Option<Self> {
        Handle::new(raw).map(|handle| Self(Rc::new(Source { handle, name: name.into() })))
    }

    /// The name it was got by.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The field of this full name, such as `proc.comm`. Texts are `Field<String>`, also where eBPF has a `char`
    /// array. The type is first compared with the field's when a value is read or set.
    pub fn field<T: Value>(&self, name: &str) -> Result<Field<T>> {
        let handle = Handle::new(host::get_field(self.0.handle.raw(), name));
        let missing = || Error::NoField { data_source: self.name().to_owned(), field: name.to_owned() };
        handle.map(|handle| Field::new(handle, name)).ok_or_else(missing)
    }

    /// Adds a field; in `init`, before anything is shown. Its description and width come from the metadata.
    pub fn add_field<T: Value>(&self, name: &str) -> Result<Field<T>> {
        let handle = Handle::new(host::add_field(self.0.handle.raw(), name, T::KIND.number()));
        let refused = || Error::AddField { data_source: self.name().to_owned(), field: name.to_owned() };
        handle.map(|handle| Field::new(handle, name)).ok_or_else(refused)
    }

    /// Has `callback` see each event, also each in an array. Subscriptions of a lower `priority` come first; 0 is
    /// before operators that enrich, filter or sort.
    ///
    /// An error is logged, the event goes on as it is. See [`Event::discard`] to keep it back.
    pub fn subscribe(&self, priority: i32, callback: impl FnMut(&Event) -> Result + 'static) -> Result {
        self.add(priority, Callback::Event(Box::new(callback)))
    }

    /// Has `callback` see each array of events as a whole.
    pub fn subscribe_array(&self, priority: i32, callback: impl FnMut(&Array) -> Result + 'static) -> Result {
        self.add(priority, Callback::Array(Box::new(callback)))
    }

    /// Has `callback` called once for each packet, single or array, whatever is in it.
    pub fn subscribe_packet(&self, priority: i32, callback: impl FnMut() -> Result + 'static) -> Result {
        self.add(priority, Callback::Packet(Box::new(callback)))
    }

    fn add(&self, priority: i32, callback: Callback) -> Result {
        match subscription::add(self.0.handle.raw(), self.name(), priority, callback) {
            true => Ok(()),
            false => Err(Error::Subscribe(self.name().to_owned())),
        }
    }

    /// An empty event on this data source.
    ///
    /// On a data source of an eBPF program ask [`host_is_igx`](crate::host_is_igx) first: in Inspektor Gadget's `ig` there
    /// is no room for the program's fields, and setting one ends the run.
    pub fn packet(&self) -> Result<Packet> {
        Packet::new(&self.0)
    }

    /// An empty array on this data source, which is of type [`Type::Array`].
    pub fn packet_array(&self) -> Result<PacketArray> {
        PacketArray::new(&self.0)
    }

    /// Takes the data source out of use: nobody shows it. Subscriptions of the guest still see its events.
    pub fn unreference(&self) -> Result {
        match host::unreference(self.0.handle.raw()) {
            true => Ok(()),
            false => Err(Error::Reference(self.name().to_owned())),
        }
    }

    /// Whether the data source is in use.
    pub fn is_referenced(&self) -> Result<bool> {
        match host::is_referenced(self.0.handle.raw()) {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Error::Reference(self.name().to_owned())),
        }
    }
}
