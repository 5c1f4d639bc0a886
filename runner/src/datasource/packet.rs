//! An event that may be written to: a copy of the kernel's bytes with the slots beside it. What is not trusted, such
//! as a guest, reads and writes here, by field, and every length is checked.

use super::{Accessor, DataSource, Event, FieldId, Kind, Place, Scalar, Slot, Slots, Value};

/// Bytes of text that one event may hold beside the kernel's.
pub const MAX_TEXT: usize = 16 << 20;

/// One event that owns its bytes.
#[derive(Debug, Default)]
pub struct Packet {
    /// The kernel's struct, and whatever follows it.
    pub data: Vec<u8>,
    /// What operators and guests add.
    pub slots: Slots,
}

impl Packet {
    /// An event of `source` in which everything is zero or empty.
    pub fn new(source: &DataSource) -> Self {
        Self { data: vec![0; source.static_size], slots: Slots::new(source.slots) }
    }

    /// The event as operators see it.
    pub fn event(&mut self) -> Event<'_> {
        Event { data: &self.data, slots: &mut self.slots }
    }

    /// A field's value.
    pub fn value(&self, field: &Accessor) -> Value<'_> {
        field.of(&self.data, &self.slots)
    }

    /// Bytes of memory that it takes, roughly.
    pub fn size(&self) -> usize {
        self.data.len() + self.slots.size() + size_of::<Self>()
    }

    /// The field's value: numbers in this machine's order, text and bytes as they are. A C string comes whole if
    /// `whole`, otherwise it ends before its NUL. `None` for a field without a value.
    pub fn read<'a>(
        &'a self,
        source: &DataSource,
        field: FieldId,
        whole: bool,
        number: &'a mut [u8; 8],
    ) -> Option<&'a [u8]> {
        let (place, kind) = (self.place(source, field), source.fields.get(field)?.kind);
        match place? {
            Place::Nowhere => None,
            Place::Static { offset, size } => {
                let bytes = self.data.get(offset as usize..offset.checked_add(size)? as usize)?;
                match kind.scalar {
                    Scalar::CString if !kind.array && !whole => bytes.split(|b| *b == 0).next(),
                    _ => Some(bytes),
                }
            }
            place @ Place::Slot(_) => match Accessor::new(place, kind).of(&self.data, &self.slots) {
                Value::Text(bytes) | Value::Bytes(bytes) | Value::Array(_, bytes) => Some(bytes),
                Value::Unsigned(v) => Some(narrow(v, kind.scalar, number)),
                Value::Signed(v) => Some(narrow(v as u64, kind.scalar, number)),
                Value::Bool(v) => Some(narrow(u64::from(v), kind.scalar, number)),
                Value::Float(v) if kind.scalar == Scalar::Float32 => {
                    Some(narrow(u64::from((v as f32).to_bits()), kind.scalar, number))
                }
                Value::Float(v) => Some(narrow(v.to_bits(), kind.scalar, number)),
            },
        }
    }

    /// Writes a field's value. Text that is too long for its place is cut, and what is left of the place is zero;
    /// anything else must have the field's length. `false`, and nothing changes, if it does not fit.
    #[must_use]
    pub fn write(&mut self, source: &DataSource, field: FieldId, value: &[u8]) -> bool {
        let Some(kind) = source.fields.get(field).map(|f| f.kind) else { return false };
        match self.place(source, field) {
            Some(Place::Static { offset, size }) => {
                let start = offset as usize;
                let Some(room) = self.data.get_mut(start..start.saturating_add(size as usize)) else {
                    return false;
                };
                let text = !kind.array && matches!(kind.scalar, Scalar::String | Scalar::CString);
                if !text && room.len() != value.len() {
                    return false;
                }
                let len = value.len().min(room.len());
                room[..len].copy_from_slice(&value[..len]);
                room[len..].fill(0);
                true
            }
            Some(Place::Slot(slot)) => self.write_slot(slot, kind, value),
            Some(Place::Nowhere) | None => false,
        }
    }

    fn write_slot(&mut self, slot: usize, kind: Kind, value: &[u8]) -> bool {
        let Some(size) = kind.size() else {
            if self.slots.text_len().saturating_add(value.len()) > MAX_TEXT {
                return false;
            }
            self.slots.set_text(slot, |out| out.extend_from_slice(value));
            return true;
        };
        if size != value.len() {
            return false;
        }
        let mut wide = [0; 8];
        wide[..size].copy_from_slice(value);
        let bits = u64::from_le_bytes(wide);
        self.slots.set(
            slot,
            match kind.scalar {
                Scalar::Bool => Slot::Bool(bits != 0),
                Scalar::Int8 => Slot::Signed(i64::from(bits as i8)),
                Scalar::Int16 => Slot::Signed(i64::from(bits as i16)),
                Scalar::Int32 => Slot::Signed(i64::from(bits as i32)),
                Scalar::Int64 => Slot::Signed(bits as i64),
                Scalar::Float32 => Slot::Float(f64::from(f32::from_bits(bits as u32))),
                Scalar::Float64 => Slot::Float(f64::from_bits(bits)),
                _ => Slot::Unsigned(bits),
            },
        );
        true
    }

    /// Where the field's value lies in this event: what an operator is still to overwrite lies where the kernel put
    /// it.
    fn place(&self, source: &DataSource, field: FieldId) -> Option<Place> {
        let place = source.fields.get(field)?.place;
        match place {
            Place::Slot(slot) if self.slots.is_unset(slot) => source.kernel_place(field).or(Some(place)),
            _ => Some(place),
        }
    }
}

fn narrow(bits: u64, scalar: Scalar, number: &mut [u8; 8]) -> &[u8] {
    // Both architectures that are built for, and WebAssembly, are little-endian.
    *number = bits.to_le_bytes();
    &number[..Kind { scalar, array: false }.size().unwrap_or(8)]
}

#[cfg(test)]
mod tests {
    use super::super::{SourceKind, sample};
    use super::*;

    fn source() -> DataSource {
        let mut source = DataSource::new("s", SourceKind::Single);
        sample::add(&mut source, None, "number", Scalar::Int16, 0, 2);
        sample::add(&mut source, None, "comm", Scalar::CString, 2, 4);
        source.add_slot_field(None, "text", Scalar::String, 0);
        source.add_slot_field(None, "small", Scalar::Int8, 0);
        source.add_slot_field(None, "float", Scalar::Float32, 0);
        source.add_slot_field(None, "bytes", Scalar::Bytes, 0);
        source.add_group(None, "group");
        source
    }

    fn read(packet: &Packet, source: &DataSource, name: &str, whole: bool) -> Option<Vec<u8>> {
        packet.read(source, source.field(name).unwrap(), whole, &mut [0; 8]).map(<[u8]>::to_vec)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let source = source();
        let mut packet = Packet::new(&source);
        for (name, value) in [
            ("number", &b"\xfe\xff"[..]),
            ("text", b"hello"),
            ("small", b"\xff"),
            ("float", &1.5f32.to_le_bytes()),
            ("bytes", &[0, 1, 2]),
        ] {
            assert!(packet.write(&source, source.field(name).unwrap(), value), "{name}");
            assert_eq!(read(&packet, &source, name, false).as_deref(), Some(value), "{name}");
        }
        let bytes = source.accessor(source.field("bytes").unwrap());
        assert_eq!(bytes.value(&packet.event()), Value::Bytes(&[0, 1, 2]));
        let number = source.accessor(0);
        assert_eq!(number.value(&packet.event()), Value::Signed(-2));
    }

    #[test]
    fn text_is_cut_and_padded_where_the_kernel_has_its_place() {
        let source = source();
        let mut packet = Packet::new(&source);
        assert!(packet.write(&source, 1, b"abcdef"));
        assert_eq!(read(&packet, &source, "comm", false).as_deref(), Some(&b"abcd"[..]));
        assert!(packet.write(&source, 1, b"x"));
        assert_eq!(read(&packet, &source, "comm", false).as_deref(), Some(&b"x"[..]));
        assert_eq!(read(&packet, &source, "comm", true).as_deref(), Some(&b"x\0\0\0"[..]));
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let source = source();
        let mut packet = Packet::new(&source);
        assert!(!packet.write(&source, 0, b"abc"));
        assert!(!packet.write(&source, source.field("small").unwrap(), b"ab"));
        assert!(!packet.write(&source, source.field("group").unwrap(), b""));
        assert!(!packet.write(&source, 99, b""));
        assert_eq!(read(&packet, &source, "number", false).as_deref(), Some(&[0, 0][..]));
        assert_eq!(read(&packet, &source, "group", false), None);
        packet.data.clear();
        assert!(!packet.write(&source, 0, b"ab"));
        assert_eq!(read(&packet, &source, "number", false), None);
    }

    #[test]
    fn text_is_bounded() {
        let source = source();
        let mut packet = Packet::new(&source);
        let text = source.field("text").unwrap();
        assert!(packet.write(&source, text, &vec![b'x'; MAX_TEXT]));
        assert!(!packet.write(&source, text, b"x"));
    }

    #[test]
    fn a_field_that_an_operator_takes_over_is_the_kernels_until_then() {
        let mut source = source();
        let slot = source.move_to_slot(0);
        let mut packet = Packet::new(&source);
        assert!(packet.write(&source, 0, &7i16.to_le_bytes()));
        assert_eq!(packet.data[..2], [7, 0]);
        packet.slots.set(slot, Slot::Signed(9));
        assert_eq!(read(&packet, &source, "number", false).as_deref(), Some(&[9, 0][..]));
        assert!(packet.write(&source, 0, &8i16.to_le_bytes()));
        assert_eq!(packet.data[..2], [7, 0]);
    }
}
