//! What follows an event's struct: bytes that a field holds, as the data source's annotations name it.

use crate::datasource::{Accessor, DataSource, Event, Slot, Slots};

/// Where they go, and how many they are.
pub(super) struct Rest {
    /// The slot of the bytes.
    bytes: usize,
    len: Len,
}

/// How many bytes follow.
enum Len {
    /// All that there are: nobody says.
    All,
    /// All that there are, to be told in this slot.
    Told(usize),
    /// As many as the struct says: what is behind them only fills a buffer up.
    Said(Accessor),
}

impl Rest {
    /// As `ebpf.rest.name` and `ebpf.rest.len` say; nothing if no field is named, or if there is none of that name.
    pub(super) fn of(data: &DataSource) -> Option<Self> {
        let field =
            |key| data.annotations.get(key).filter(|name| !name.is_empty()).map(|name| data.field(name));
        let bytes = data.slot(field("ebpf.rest.name")??)?;
        let len = field("ebpf.rest.len").flatten().map(|field| match data.slot(field) {
            Some(slot) => Len::Told(slot),
            None => Len::Said(data.accessor(field)),
        });
        Some(Self { bytes, len: len.unwrap_or(Len::All) })
    }

    /// Sets the slots to `rest`, which came after `data`.
    pub(super) fn fill(&self, slots: &mut Slots, data: &[u8], rest: &[u8]) {
        let mut rest = rest;
        match &self.len {
            Len::All => {}
            Len::Told(slot) => slots.set(*slot, Slot::Unsigned(rest.len() as u64)),
            Len::Said(field) => {
                let said = field.u64(&Event { data, slots });
                rest = usize::try_from(said).ok().and_then(|said| rest.get(..said)).unwrap_or(rest);
            }
        }
        slots.set_text(self.bytes, |out| out.extend_from_slice(rest));
    }
}
