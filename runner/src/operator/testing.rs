//! Data sources and events for the tests of operators.

use gadget::object::Scalar;

use crate::datasource::{DataSource, Event, Field, FieldId, Place, Slots, SourceKind};

/// Builds a data source of static fields that lie one after another, each aligned to its size.
pub(super) struct Source(DataSource);

impl Source {
    pub(super) fn new(name: &str) -> Self {
        Self(DataSource::new(name, SourceKind::Single))
    }

    /// A struct, given by its full name.
    pub(super) fn group(self, full_name: &str) -> Self {
        self.field(full_name, Scalar::Bytes, 0, "")
    }

    /// A number with the tag `type:<tag>`.
    pub(super) fn number(self, full_name: &str, scalar: Scalar, tag: &str) -> Self {
        let size = match scalar {
            Scalar::Bool | Scalar::Int8 | Scalar::Uint8 => 1,
            Scalar::Int16 | Scalar::Uint16 => 2,
            Scalar::Int32 | Scalar::Uint32 | Scalar::Float32 => 4,
            _ => 8,
        };
        self.field(full_name, scalar, size, tag)
    }

    /// A field of `size` bytes with the tag `type:<tag>`.
    pub(super) fn field(mut self, full_name: &str, scalar: Scalar, size: u32, tag: &str) -> Self {
        let (parent, name) = match full_name.rsplit_once('.') {
            Some((parent, name)) => (self.0.field(parent), name),
            None => (None, full_name),
        };
        let align = if size.is_power_of_two() && size <= 8 { size } else { 1 };
        let offset = (self.0.static_size as u32).next_multiple_of(align);
        self.0.static_size = (offset + size) as usize;
        let tags = vec![format!("type:{tag}"), format!("name:{name}")];
        let full_name = full_name.to_owned();
        self.0.fields.push(Field { full_name, parent, tags, ..Field::at(name, scalar, offset, size) });
        self
    }

    /// An annotation of the last field.
    pub(super) fn with(mut self, key: &str, value: &str) -> Self {
        if let Some(field) = self.0.fields.last_mut() {
            field.annotations.set(key, value);
            field.hidden |= key == "columns.hidden" && value == "true";
        }
        self
    }

    pub(super) fn done(self) -> DataSource {
        self.0
    }
}

/// The bytes of an event in which the fields named hold these bytes, and zero elsewhere.
pub(super) fn bytes(ds: &DataSource, values: &[(&str, &[u8])]) -> Vec<u8> {
    let mut data = vec![0; ds.static_size];
    for (name, value) in values {
        let at = values_offset(ds, name);
        data[at..at + value.len()].copy_from_slice(value);
    }
    data
}

fn values_offset(ds: &DataSource, name: &str) -> usize {
    match ds.fields[ds.field(name).unwrap()].place {
        Place::Static { offset, .. } => offset as usize,
        place => panic!("{name} is not static: {place:?}"),
    }
}

/// Runs `f` on an event of these bytes with empty slots.
pub(super) fn event<R>(ds: &DataSource, data: &[u8], f: impl FnOnce(&mut Event<'_>) -> R) -> R {
    let mut slots = Slots::new(ds.slots);
    f(&mut Event { data, slots: &mut slots })
}

/// The text of a field.
pub(super) fn text(ds: &DataSource, event: &Event<'_>, field: &str) -> String {
    let id: FieldId = ds.field(field).unwrap_or_else(|| panic!("no field {field}"));
    String::from_utf8(ds.accessor(id).bytes(event).to_vec()).unwrap()
}
