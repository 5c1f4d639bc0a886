//! What events look like: data sources, their fields, and one event on its way through the pipeline.
//!
//! A [`DataSource`] is built once, before a gadget starts. An [`Event`] is the kernel's bytes, borrowed, plus a few
//! [`Slots`] that operators fill. An [`Accessor`] is a field compiled to an offset or a slot: reading it neither
//! allocates nor looks up a name.

mod event;
mod from_struct;
mod names;
mod nearest;
mod packet;
mod per_source;
#[cfg(test)]
pub(crate) mod sample;
mod template;

use std::collections::BTreeMap;

pub(crate) use event::decode;
pub use event::{Accessor, Event, Row, Slot, Slots, Value};
pub use from_struct::EnumField;
pub use gadget::object::{Kind, Scalar};
pub use names::UnknownField;
pub use nearest::{Suggestion, nearest};
pub use packet::{MAX_TEXT, Packet};
pub use per_source::{UnknownSource, per_source};
pub use template::Annotations;

/// Whether events come one by one or in batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// One event at a time.
    Single,
    /// A batch at a time: snapshots and map iterators.
    Array,
}

/// Where a field's value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: the field only groups others (`k8s`, `runtime`).
    Nowhere,
    /// In the kernel's bytes, `offset` and `size` in bytes.
    Static {
        /// Bytes from the start of the event.
        offset: u32,
        /// Bytes.
        size: u32,
    },
    /// In a slot that an operator fills.
    Slot(usize),
}

/// Index of a field in its data source.
pub type FieldId = usize;

/// One field of a data source.
#[derive(Clone, Debug)]
pub struct Field {
    /// Last part of the name.
    pub name: String,
    /// All parts of the name, joined by dots.
    pub full_name: String,
    /// The field that this one is part of.
    pub parent: Option<FieldId>,
    /// What it holds.
    pub kind: Kind,
    /// Where it lies.
    pub place: Place,
    /// Left out of the default columns; JSON still has it.
    pub hidden: bool,
    /// Left out everywhere.
    pub unreferenced: bool,
    /// Columns are sorted by this, then by index.
    pub order: i32,
    /// Such as `type:gadget_pid` or `kubernetes`.
    pub tags: Vec<String>,
    /// Such as `columns.width`.
    pub annotations: Annotations,
}

impl Field {
    /// A field of the kernel's part that is part of no other: `size` bytes from `offset` on.
    pub fn at(name: &str, scalar: Scalar, offset: u32, size: u32) -> Self {
        Self {
            name: name.to_owned(),
            full_name: name.to_owned(),
            parent: None,
            kind: Kind { scalar, array: false },
            place: Place::Static { offset, size },
            hidden: false,
            unreferenced: false,
            order: 0,
            tags: Vec::new(),
            annotations: Annotations::static_defaults(),
        }
    }

    /// Whether the field has this tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|t| t == tag)
    }
}

/// A stream of events of one shape.
#[derive(Clone, Debug)]
pub struct DataSource {
    /// Its name in gadget.yaml, such as `sni`.
    pub name: String,
    /// One by one, or in batches.
    pub kind: SourceKind,
    /// All fields; a parent comes before its children.
    pub fields: Vec<Field>,
    /// Such as `cli.clear-screen-before`.
    pub annotations: BTreeMap<String, String>,
    /// Bytes of the kernel's part of an event.
    pub static_size: usize,
    /// How many slots an event needs.
    pub slots: usize,
    /// Left out everywhere.
    pub unreferenced: bool,
    /// Where the kernel put the fields that operators have moved to slots.
    moved: BTreeMap<FieldId, Place>,
}

impl DataSource {
    /// A data source without fields.
    pub fn new(name: impl Into<String>, kind: SourceKind) -> Self {
        Self {
            name: name.into(),
            kind,
            fields: Vec::new(),
            annotations: BTreeMap::new(),
            static_size: 0,
            slots: 0,
            unreferenced: false,
            moved: BTreeMap::new(),
        }
    }

    /// Finds a field by its full name, exactly or else in any case.
    pub fn field(&self, full_name: &str) -> Option<FieldId> {
        self.fields
            .iter()
            .position(|f| f.full_name == full_name)
            .or_else(|| self.fields.iter().position(|f| f.full_name.eq_ignore_ascii_case(full_name)))
    }

    /// Adds a field that an operator fills, below `parent` if given. Its annotations are the defaults: whoever has
    /// others puts them in their place.
    pub fn add_slot_field(
        &mut self,
        parent: Option<FieldId>,
        name: &str,
        scalar: Scalar,
        order: i32,
    ) -> FieldId {
        let slot = self.slots;
        self.slots += 1;
        self.push(parent, name, scalar, Place::Slot(slot), order)
    }

    /// Adds a field that only groups others.
    pub fn add_group(&mut self, parent: Option<FieldId>, name: &str) -> FieldId {
        self.push(parent, name, Scalar::Bytes, Place::Nowhere, 0)
    }

    /// Lets an operator overwrite a field of the kernel's part: the field moves to a slot. Take an [`Accessor`]
    /// first to go on reading the kernel's value.
    pub fn move_to_slot(&mut self, field: FieldId) -> usize {
        let slot = self.slots;
        self.slots += 1;
        self.moved.insert(field, self.fields[field].place);
        self.fields[field].place = Place::Slot(slot);
        slot
    }

    /// Where the kernel put a field that an operator has moved to a slot.
    fn kernel_place(&self, field: FieldId) -> Option<Place> {
        self.moved.get(&field).copied()
    }

    /// The field compiled to its place and kind.
    pub fn accessor(&self, field: FieldId) -> Accessor {
        let f = &self.fields[field];
        Accessor::new(f.place, f.kind)
    }

    /// The slot of a field that an operator fills.
    pub fn slot(&self, field: FieldId) -> Option<usize> {
        match self.fields[field].place {
            Place::Slot(slot) => Some(slot),
            Place::Nowhere | Place::Static { .. } => None,
        }
    }

    /// Direct children of `parent`, or the top-level fields.
    pub fn children(&self, parent: Option<FieldId>) -> impl Iterator<Item = FieldId> + '_ {
        (0..self.fields.len()).filter(move |&id| self.fields[id].parent == parent)
    }

    fn push(
        &mut self,
        parent: Option<FieldId>,
        name: &str,
        scalar: Scalar,
        place: Place,
        order: i32,
    ) -> FieldId {
        let full_name = match parent {
            Some(p) => format!("{}.{name}", self.fields[p].full_name),
            None => name.to_owned(),
        };
        self.fields.push(Field {
            name: name.to_owned(),
            full_name,
            parent,
            kind: Kind { scalar, array: false },
            place,
            hidden: false,
            unreferenced: false,
            order,
            tags: Vec::new(),
            annotations: Annotations::static_defaults(),
        });
        self.fields.len() - 1
    }
}
