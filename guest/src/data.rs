//! Events, as subscriptions see them, packets that guests make, and the arrays of both.
//!
//! What a callback is lent lives as long as the call, so it is handed out by reference only. What a guest makes is
//! released when dropped, or emitted.

use crate::{
    error::{Error, Result},
    host::{self, Handle},
};
use std::{cell::Cell, marker::PhantomData, rc::Rc};

mod sealed {
    pub trait Sealed {
        fn raw(&self) -> u32;
    }
}

/// What has fields: [`Event`], [`Packet`], and elements of arrays ([`Data`]).
pub trait AsData: sealed::Sealed {}

/// An event that passes by a subscription.
#[derive(Debug)]
pub struct Event {
    raw: u32,
    discarded: Cell<bool>,
}

impl Event {
    pub(crate) fn new(raw: u32) -> Self {
        Self { raw, discarded: Cell::new(false) }
    }

    /// Asks that the event go no further. `igx` does so; Inspektor Gadget's `ig` has no word for it and shows the
    /// event as the guest left it, so set the fields all the same, or ask [`host_is_igx`](crate::host_is_igx).
    pub fn discard(&self) {
        self.discarded.set(true);
    }

    pub(crate) fn is_discarded(&self) -> bool {
        self.discarded.get()
    }
}

impl sealed::Sealed for Event {
    fn raw(&self) -> u32 {
        self.raw
    }
}
impl AsData for Event {}

/// An element of an array.
#[derive(Debug)]
pub struct Data<'a> {
    raw: u32,
    array: PhantomData<&'a Array>,
}

impl sealed::Sealed for Data<'_> {
    fn raw(&self) -> u32 {
        self.raw
    }
}
impl AsData for Data<'_> {}

/// The highest index of an element. Its handle is made of the array's handle and the index, so there is nothing to
/// release.
const LAST_ELEMENT: u32 = 0x7fff;

/// The elements of a packet of a data source that is an array.
#[derive(Debug)]
pub struct Array {
    raw: u32,
}

impl Array {
    pub(crate) fn new(raw: u32) -> Self {
        Self { raw }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        host::array_len(self.raw) as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An element. The host's handles reach the first 32,768. Inspektor Gadget's `ig` 0.55 finds no elements any more
    /// once it has given a guest 65,535 handles, one of which each callback takes: where each event can be looked at
    /// by itself, [`subscribe`](crate::DataSource::subscribe) has no such limit.
    pub fn get(&self, index: usize) -> Option<Data<'_>> {
        let index =
            u32::try_from(index).ok().filter(|at| *at <= LAST_ELEMENT && *at < host::array_len(self.raw))?;
        match host::array_get(self.raw, index) {
            0 => None,
            raw => Some(Data { raw, array: PhantomData }),
        }
    }

    /// The elements, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Data<'_>> {
        (0..self.len()).map_while(|index| self.get(index))
    }

    /// Adds an element, which `fill` sets the fields of. If `fill` fails, nothing is added.
    pub fn push(&self, fill: impl FnOnce(&Data<'_>) -> Result) -> Result {
        let raw = host::array_new(self.raw);
        if raw == 0 {
            return Err(Error::Append);
        }
        let filled = fill(&Data { raw, array: PhantomData });
        // Either call ends the element's handle.
        let added = filled.is_ok() && host::array_append(self.raw, raw);
        if !added {
            host::array_release(self.raw, raw);
        }
        filled.and(if added { Ok(()) } else { Err(Error::Append) })
    }
}

/// What a packet needs of its data source.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) handle: Handle,
    pub(crate) name: Box<str>,
}

/// A packet that belongs to the guest until it is emitted. Its handle ends with it, emitted or released: the real host
/// complains about handles that are released twice.
#[derive(Debug)]
struct Owned {
    source: Rc<Source>,
    raw: u32,
    emitted: bool,
}

impl Owned {
    fn new(source: &Rc<Source>, raw: u32) -> Result<Self> {
        match raw {
            0 => Err(Error::NewPacket(source.name.to_string())),
            raw => Ok(Self { source: Rc::clone(source), raw, emitted: false }),
        }
    }

    fn emit(mut self) -> Result {
        self.emitted = true;
        match host::emit(self.source.handle.raw(), self.raw) {
            true => Ok(()),
            false => Err(Error::Emit(self.source.name.to_string())),
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if !self.emitted {
            host::release_packet(self.source.handle.raw(), self.raw);
        }
    }
}

/// An event of the guest's own. It is given back to the host unless it is emitted.
#[derive(Debug)]
pub struct Packet(Owned);

impl Packet {
    pub(crate) fn new(source: &Rc<Source>) -> Result<Self> {
        Owned::new(source, host::new_packet_single(source.handle.raw())).map(Self)
    }

    /// Sends it to whoever comes after: other subscriptions, operators, the output.
    pub fn emit(self) -> Result {
        self.0.emit()
    }
}

impl sealed::Sealed for Packet {
    fn raw(&self) -> u32 {
        self.0.raw
    }
}
impl AsData for Packet {}

/// An array of the guest's own: [`push`](Array::push) its elements, then emit it. It is given back to the host unless
/// it is emitted.
#[derive(Debug)]
pub struct PacketArray {
    owned: Owned,
    array: Array,
}

impl PacketArray {
    pub(crate) fn new(source: &Rc<Source>) -> Result<Self> {
        let owned = Owned::new(source, host::new_packet_array(source.handle.raw()))?;
        let array = Array::new(owned.raw);
        Ok(Self { owned, array })
    }

    /// Sends it to whoever comes after: other subscriptions, operators, the output.
    pub fn emit(self) -> Result {
        self.owned.emit()
    }
}

impl std::ops::Deref for PacketArray {
    type Target = Array;

    fn deref(&self) -> &Array {
        &self.array
    }
}
