//! What a guest's handles stand for. A handle is a number that the guest hands back: it may be stale, or meant for
//! something else, or invented.

use crate::datasource::{DataSource, FieldId, Packet};

use super::host::{MapId, ReaderId};

/// Handles that a guest may have at once.
pub(super) const MAX_HANDLES: usize = 4096;

/// Bytes that a guest's own packets may take together.
const MAX_HELD: usize = 64 << 20;

/// Marks the handle of an array's element: bits 16 to 30 hold its index, the lower ones the array's handle.
const ELEMENT: u32 = 1 << 31;

/// Largest index that such a handle can hold.
const MAX_ELEMENT: u32 = 0x7fff;

/// One event, or a batch.
#[derive(Debug)]
pub enum Payload {
    /// One event.
    Single(Packet),
    /// A batch.
    Array(Vec<Packet>),
}

#[derive(Debug)]
pub(super) enum Object {
    Source(usize),
    Field(usize, FieldId),
    /// The event or batch that the guest is called for.
    Current,
    /// The guest's own.
    Packet(usize, Payload),
    /// An element that is not in its array yet.
    Element(usize, Packet),
    /// An element of an array, where its handle has no room for the index or came before it was there.
    Member {
        array: u32,
        index: usize,
    },
    /// `true` if the guest made it.
    Map(MapId, bool),
    Reader(ReaderId),
}

/// All that a guest has handles for.
#[derive(Default)]
pub(super) struct Objects {
    slots: Vec<Option<Object>>,
    free: Vec<u32>,
    /// The event that the guest is called for, and its data source.
    pub(super) current: Option<(usize, Payload)>,
    held: usize,
    /// What was held when it was last counted.
    counted: usize,
    /// Handles of [`Object::Member`]s, so that they are looked for only if there are any.
    members: usize,
}

impl Objects {
    /// A handle for `object`; 0 if there are too many.
    pub(super) fn add(&mut self, object: Object) -> u32 {
        let size = object.size();
        if self.held.saturating_add(size) > MAX_HELD {
            return 0;
        }
        let handle = match self.free.pop() {
            Some(handle) => handle,
            None if self.slots.len() < MAX_HANDLES => {
                self.slots.push(None);
                self.slots.len() as u32
            }
            None => return 0,
        };
        self.held += size;
        self.slots[handle as usize - 1] = Some(object);
        handle
    }

    pub(super) fn get(&self, handle: u32) -> Option<&Object> {
        self.slots.get((handle as usize).checked_sub(1)?)?.as_ref()
    }

    fn get_mut(&mut self, handle: u32) -> Option<&mut Object> {
        self.slots.get_mut((handle as usize).checked_sub(1)?)?.as_mut()
    }

    /// Takes an object back; an array's elements lose their handles with it.
    pub(super) fn remove(&mut self, handle: u32) -> Option<Object> {
        let object = self.slots.get_mut((handle as usize).checked_sub(1)?)?.take()?;
        self.free.push(handle);
        self.held = self.held.saturating_sub(object.size());
        match object {
            Object::Member { .. } => self.members -= 1,
            Object::Packet(_, Payload::Array(_)) | Object::Current if self.members > 0 => {
                self.remove_members(handle);
            }
            _ => {}
        }
        Some(object)
    }

    fn remove_members(&mut self, of: u32) {
        for (at, slot) in self.slots.iter_mut().enumerate() {
            if matches!(slot, Some(Object::Member { array, .. }) if *array == of) {
                *slot = None;
                self.free.push(at as u32 + 1);
                self.members -= 1;
            }
        }
    }

    pub(super) fn source(&self, handle: u32) -> Option<usize> {
        match self.get(handle)? {
            Object::Source(id) => Some(*id),
            _ => None,
        }
    }

    pub(super) fn field(&self, handle: u32) -> Option<(usize, FieldId)> {
        match self.get(handle)? {
            Object::Field(source, field) => Some((*source, *field)),
            _ => None,
        }
    }

    pub(super) fn map(&self, handle: u32) -> Option<MapId> {
        match self.get(handle)? {
            Object::Map(id, _) => Some(*id),
            _ => None,
        }
    }

    pub(super) fn reader(&self, handle: u32) -> Option<ReaderId> {
        match self.get(handle)? {
            Object::Reader(id) => Some(*id),
            _ => None,
        }
    }

    /// An array and its data source.
    pub(super) fn array(&mut self, handle: u32) -> Option<(usize, &mut Vec<Packet>)> {
        // Asked twice because the borrow checker cannot see that the two do not overlap.
        if matches!(self.get(handle)?, Object::Current) {
            return match self.current.as_mut()? {
                (source, Payload::Array(packets)) => Some((*source, packets)),
                _ => None,
            };
        }
        match self.get_mut(handle)? {
            Object::Packet(source, Payload::Array(packets)) => Some((*source, packets)),
            _ => None,
        }
    }

    /// An event and its data source.
    pub(super) fn packet(&mut self, handle: u32) -> Option<(usize, &mut Packet)> {
        if handle & ELEMENT != 0 {
            let index = (handle & !ELEMENT) >> 16;
            return self.member(handle & 0xffff, index as usize);
        }
        match self.get(handle)? {
            Object::Member { array, index } => {
                let (array, index) = (*array, *index);
                self.member(array, index)
            }
            Object::Current => match self.current.as_mut()? {
                (source, Payload::Single(packet)) => Some((*source, packet)),
                _ => None,
            },
            _ => match self.get_mut(handle)? {
                Object::Packet(source, Payload::Single(packet)) | Object::Element(source, packet) => {
                    Some((*source, packet))
                }
                _ => None,
            },
        }
    }

    fn member(&mut self, array: u32, index: usize) -> Option<(usize, &mut Packet)> {
        let (source, packets) = self.array(array)?;
        Some((source, packets.get_mut(index)?))
    }

    /// A handle for an element of an array.
    pub(super) fn element(&mut self, array: u32, index: u32) -> Option<u32> {
        if index as usize >= self.array(array)?.1.len() {
            return None;
        }
        if index <= MAX_ELEMENT && array <= 0xffff {
            return Some(ELEMENT | index << 16 | array);
        }
        let handle = self.add(Object::Member { array, index: index as usize });
        self.members += usize::from(handle != 0);
        Some(handle)
    }

    /// Puts an element into its array; its handle stands for it there.
    pub(super) fn append(&mut self, array: u32, element: u32) -> Option<()> {
        let source = self.array(array)?.0;
        if !matches!(self.get(element)?, Object::Element(of, _) if *of == source) {
            return None;
        }
        let index = self.array(array)?.1.len();
        let slot = self.get_mut(element)?;
        let Object::Element(_, packet) = std::mem::replace(slot, Object::Member { array, index }) else {
            return None;
        };
        self.members += 1;
        self.array(array)?.1.push(packet);
        Some(())
    }

    /// Writes a field of one of the events that `handle` may stand for.
    pub(super) fn write(
        &mut self,
        sources: &[DataSource],
        handle: u32,
        (source, field): (usize, FieldId),
        value: &[u8],
    ) -> bool {
        let held = self.held;
        let Some((of, packet)) = self.packet(handle) else { return false };
        let Some(ds) = sources.get(source).filter(|_| of == source) else { return false };
        if held.saturating_add(value.len()) > MAX_HELD {
            return false;
        }
        let before = packet.size();
        let written = packet.write(ds, field, value);
        let grown = packet.size().saturating_sub(before);
        self.held = held.saturating_add(grown);
        written
    }

    /// Counts bytes that are held for the guest elsewhere: events that it sent and nobody took yet.
    pub(super) fn hold(&mut self, bytes: usize) -> bool {
        let fits = self.held.saturating_add(bytes) <= MAX_HELD;
        if fits {
            self.held += bytes;
        }
        fits
    }

    /// Counts anew what is held, after a call: what the guest was called for and what it sent is gone.
    pub(super) fn settle(&mut self) {
        if self.held != self.counted {
            self.held = self.slots.iter().flatten().map(Object::size).sum();
            self.counted = self.held;
        }
    }
}

impl Object {
    /// Bytes of memory.
    fn size(&self) -> usize {
        match self {
            Self::Packet(_, payload) => payload.size(),
            Self::Element(_, packet) => packet.size(),
            _ => 0,
        }
    }
}

impl Payload {
    /// Bytes of memory that it takes, roughly.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Single(packet) => packet.size(),
            Self::Array(packets) => packets.iter().map(Packet::size).sum(),
        }
    }
}
