//! One event on its way through the pipeline, and how fields are read from it.

use std::sync::Arc;

use gadget::object::{Kind, Scalar};

use super::Place;

/// A value that an operator put beside the kernel's bytes.
#[derive(Clone, Debug, Default)]
pub enum Slot {
    /// Not filled: reads as zero, false or the empty string.
    #[default]
    Unset,
    /// An unsigned integer.
    Unsigned(u64),
    /// A signed integer.
    Signed(i64),
    /// A float.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// Text that never changes.
    Static(&'static str),
    /// Text shared with the operator that knows it, such as a container's name.
    Shared(Arc<str>),
    /// Text made for this event: `start` and `end` in the arena of [`Slots`].
    Text {
        /// First byte.
        start: u32,
        /// One past the last byte.
        end: u32,
    },
    /// The value at this place of the [`Row`] that [`Slots::fill`] was given.
    Row(u32),
}

/// Slots and their values, the same for many events.
pub type Row = Arc<[(usize, Slot)]>;

/// The slots of one event. Reused from event to event, so that filling them does not allocate.
#[derive(Debug, Default)]
pub struct Slots {
    values: Vec<Slot>,
    arena: Vec<u8>,
    row: Row,
}

impl Slots {
    /// Slots for a data source that needs `count` of them.
    pub fn new(count: usize) -> Self {
        Self { values: vec![Slot::Unset; count], arena: Vec::with_capacity(256), row: Arc::default() }
    }

    /// Forgets the last event.
    pub fn clear(&mut self) {
        self.values.fill(Slot::Unset);
        self.arena.clear();
    }

    /// Fills a slot.
    pub fn set(&mut self, slot: usize, value: Slot) {
        self.values[slot] = value;
    }

    /// Fills the slots of a row without touching its values: counting the owners of each text anew costs more than all
    /// else that is done for an event. One operator only, as there is place for one row.
    pub fn fill(&mut self, row: &Row) {
        if !Arc::ptr_eq(&self.row, row) {
            self.row = Arc::clone(row);
        }
        for (at, (slot, _)) in row.iter().enumerate() {
            self.values[*slot] = Slot::Row(at as u32);
        }
    }

    /// Fills a slot with text that `write` appends to the arena.
    pub fn set_text(&mut self, slot: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.arena.len();
        write(&mut self.arena);
        // An event's texts are at most a few kilobytes: u32 holds every offset.
        self.values[slot] = Slot::Text { start: start as u32, end: self.arena.len() as u32 };
    }

    fn get(&self, slot: usize) -> &Slot {
        match &self.values[slot] {
            Slot::Row(at) => &self.row[*at as usize].1,
            value => value,
        }
    }

    /// Whether nobody has filled the slot.
    pub(super) fn is_unset(&self, slot: usize) -> bool {
        matches!(self.values[slot], Slot::Unset)
    }

    /// Bytes of text so far.
    pub(super) fn text_len(&self) -> usize {
        self.arena.len()
    }

    /// Bytes of memory that they take.
    pub(super) fn size(&self) -> usize {
        self.arena.capacity() + self.values.capacity() * size_of::<Slot>()
    }

    fn text(&self, start: u32, end: u32) -> &[u8] {
        &self.arena[start as usize..end as usize]
    }
}

/// One event: the kernel's bytes, borrowed, and the slots that operators fill.
#[derive(Debug)]
pub struct Event<'a> {
    /// The kernel's struct; never shorter than the data source's `static_size`.
    pub data: &'a [u8],
    /// What operators add.
    pub slots: &'a mut Slots,
}

/// A field's value, borrowed from its event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// An unsigned integer.
    Unsigned(u64),
    /// A signed integer.
    Signed(i64),
    /// A float.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// Text: not necessarily UTF-8. A C string ends before its NUL.
    Text(&'a [u8]),
    /// Anything else: raw bytes.
    Bytes(&'a [u8]),
    /// An array of scalars, as raw bytes of this machine's order.
    Array(Scalar, &'a [u8]),
}

/// A field compiled to its place and kind.
#[derive(Clone, Copy, Debug)]
pub struct Accessor {
    place: Place,
    kind: Kind,
}

impl Accessor {
    /// An accessor for a value of `kind` at `place`.
    pub fn new(place: Place, kind: Kind) -> Self {
        Self { place, kind }
    }

    /// What the field holds.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The field's value in this event.
    #[inline]
    pub fn value<'a>(&self, event: &'a Event<'_>) -> Value<'a> {
        self.of(event.data, event.slots)
    }

    #[inline]
    pub(super) fn of<'a>(&self, data: &'a [u8], slots: &'a Slots) -> Value<'a> {
        match self.place {
            Place::Static { offset, size } => {
                let end = (offset + size) as usize;
                match data.get(offset as usize..end) {
                    Some(bytes) => decode(self.kind, bytes),
                    None => empty(self.kind),
                }
            }
            Place::Slot(slot) => match slots.get(slot) {
                // A row has no row in it.
                Slot::Unset | Slot::Row(_) => empty(self.kind),
                Slot::Unsigned(v) => Value::Unsigned(*v),
                Slot::Signed(v) => Value::Signed(*v),
                Slot::Float(v) => Value::Float(*v),
                Slot::Bool(v) => Value::Bool(*v),
                Slot::Static(v) => Value::Text(v.as_bytes()),
                Slot::Shared(v) => Value::Text(v.as_bytes()),
                Slot::Text { start, end } => {
                    let bytes = slots.text(*start, *end);
                    match self.kind {
                        Kind { array: true, scalar } => Value::Array(scalar, bytes),
                        Kind { scalar: Scalar::Bytes, .. } => Value::Bytes(bytes),
                        _ => Value::Text(bytes),
                    }
                }
            },
            Place::Nowhere => empty(self.kind),
        }
    }

    /// The value as an unsigned integer; zero where it is none. Signed values keep their bits.
    #[inline]
    pub fn u64(&self, event: &Event<'_>) -> u64 {
        match self.value(event) {
            Value::Unsigned(v) => v,
            Value::Signed(v) => v as u64,
            Value::Bool(v) => u64::from(v),
            Value::Float(_) | Value::Text(_) | Value::Bytes(_) | Value::Array(..) => 0,
        }
    }

    /// The value as text or raw bytes; empty where it is a number.
    #[inline]
    pub fn bytes<'a>(&self, event: &'a Event<'_>) -> &'a [u8] {
        match self.value(event) {
            Value::Text(v) | Value::Bytes(v) | Value::Array(_, v) => v,
            Value::Unsigned(_) | Value::Signed(_) | Value::Float(_) | Value::Bool(_) => &[],
        }
    }
}

fn empty(kind: Kind) -> Value<'static> {
    if kind.array {
        return Value::Array(kind.scalar, &[]);
    }
    match kind.scalar {
        Scalar::Bool => Value::Bool(false),
        Scalar::Int8 | Scalar::Int16 | Scalar::Int32 | Scalar::Int64 => Value::Signed(0),
        Scalar::Uint8 | Scalar::Uint16 | Scalar::Uint32 | Scalar::Uint64 => Value::Unsigned(0),
        Scalar::Float32 | Scalar::Float64 => Value::Float(0.0),
        Scalar::String | Scalar::CString => Value::Text(&[]),
        Scalar::Bytes | Scalar::Invalid => Value::Bytes(&[]),
    }
}

/// Reads `bytes` as a `kind`. Bytes of the wrong length for a number stay bytes.
#[inline]
pub(crate) fn decode(kind: Kind, bytes: &[u8]) -> Value<'_> {
    macro_rules! number {
        ($ty:ty, $variant:ident, $as:ty) => {
            match bytes.try_into() {
                Ok(raw) => Value::$variant(<$ty>::from_ne_bytes(raw) as $as),
                Err(_) => Value::Bytes(bytes),
            }
        };
    }
    if kind.array {
        return Value::Array(kind.scalar, bytes);
    }
    match kind.scalar {
        Scalar::Uint8 => number!(u8, Unsigned, u64),
        Scalar::Uint16 => number!(u16, Unsigned, u64),
        Scalar::Uint32 => number!(u32, Unsigned, u64),
        Scalar::Uint64 => number!(u64, Unsigned, u64),
        Scalar::Int8 => number!(i8, Signed, i64),
        Scalar::Int16 => number!(i16, Signed, i64),
        Scalar::Int32 => number!(i32, Signed, i64),
        Scalar::Int64 => number!(i64, Signed, i64),
        Scalar::Float32 => number!(f32, Float, f64),
        Scalar::Float64 => number!(f64, Float, f64),
        Scalar::Bool => Value::Bool(bytes == [1]),
        Scalar::CString => {
            let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
            Value::Text(&bytes[..end])
        }
        Scalar::String => Value::Text(bytes),
        Scalar::Bytes | Scalar::Invalid => Value::Bytes(bytes),
    }
}
