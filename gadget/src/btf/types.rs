//! One BTF type as it lies in the bytes: a 12-byte head and, after it, what its kind calls for.

use super::Error;

/// What a type is. The numbers are the format's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)] // the format's own names
pub enum TypeKind {
    Void = 0,
    Int = 1,
    Ptr = 2,
    Array = 3,
    Struct = 4,
    Union = 5,
    Enum = 6,
    Fwd = 7,
    Typedef = 8,
    Volatile = 9,
    Const = 10,
    Restrict = 11,
    Func = 12,
    FuncProto = 13,
    Var = 14,
    Datasec = 15,
    Float = 16,
    DeclTag = 17,
    TypeTag = 18,
    Enum64 = 19,
}

impl TypeKind {
    const ALL: [Self; 20] = [
        Self::Void,
        Self::Int,
        Self::Ptr,
        Self::Array,
        Self::Struct,
        Self::Union,
        Self::Enum,
        Self::Fwd,
        Self::Typedef,
        Self::Volatile,
        Self::Const,
        Self::Restrict,
        Self::Func,
        Self::FuncProto,
        Self::Var,
        Self::Datasec,
        Self::Float,
        Self::DeclTag,
        Self::TypeTag,
        Self::Enum64,
    ];

    /// Bytes after the head: (for the type, for each of its `vlen` entries).
    fn tail(self) -> (usize, usize) {
        match self {
            Self::Int | Self::Var | Self::DeclTag => (4, 0),
            Self::Array => (12, 0),
            Self::Struct | Self::Union | Self::Datasec | Self::Enum64 => (0, 12),
            Self::Enum | Self::FuncProto => (0, 8),
            _ => (0, 0),
        }
    }
}

/// The bits of an integer's encoding.
pub(crate) const SIGNED: u8 = 1;
/// See [`SIGNED`].
pub(crate) const CHAR: u8 = 2;
/// See [`SIGNED`].
pub(crate) const BOOL: u8 = 4;

/// One type. Its names and the types it refers to are read through the [`Btf`](super::Btf) it came from.
#[derive(Clone, Copy, Debug)]
pub struct Type<'a> {
    /// Its number; others refer to it by this.
    pub id: u32,
    /// What it is.
    pub kind: TypeKind,
    /// Where its name starts within the strings; 0 if it has none.
    pub name_off: u32,
    /// The kind's flag: offsets of bit fields in members, signed values in enumerations, a union behind a forward
    /// declaration.
    pub flag: bool,
    /// The size in bytes for kinds that have one, otherwise the id of the type it refers to.
    pub size_or_type: u32,
    tail: &'a [u8],
}

/// A member of a struct or union.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    /// Its name; empty for an anonymous struct or union.
    pub name: &'a str,
    /// The id of its type.
    pub type_id: u32,
    /// Where it starts, in bits from the start of the struct.
    pub bit_offset: u32,
    /// Its width in bits, or 0 if it is no bit field.
    pub bitfield_size: u8,
}

/// A value of an enumeration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enumerator<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value; unsigned 64-bit ones past `i64::MAX` wrap.
    pub value: i64,
}

/// A parameter of a function's prototype.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Where its name starts within the strings.
    pub name_off: u32,
    /// The id of its type; 0 for variable arguments.
    pub type_id: u32,
}

/// A variable's place in a data section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecVar {
    /// The id of the variable.
    pub type_id: u32,
    /// Bytes from the start of the section. Zero in objects that are not linked yet: the symbol table knows.
    pub offset: u32,
    /// Its size in bytes.
    pub size: u32,
}

/// A member before its name is looked up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawMember {
    pub(crate) name_off: u32,
    pub(crate) type_id: u32,
    pub(crate) bit_offset: u32,
    pub(crate) bitfield_size: u8,
    /// The offset word as it is stored.
    pub(crate) offset_word: u32,
}

impl<'a> Type<'a> {
    pub(crate) const VOID: Self =
        Self { id: 0, kind: TypeKind::Void, name_off: 0, flag: false, size_or_type: 0, tail: &[] };

    /// `bytes` are the whole of this type, as [`length`] measured it.
    pub(crate) fn read(id: u32, bytes: &'a [u8]) -> Option<Self> {
        let info = word(bytes, 4);
        Some(Self {
            id,
            kind: *TypeKind::ALL.get((info >> 24 & 0x1f) as usize)?,
            name_off: word(bytes, 0),
            flag: info >> 31 == 1,
            size_or_type: word(bytes, 8),
            tail: bytes.get(12..)?,
        })
    }

    /// The words after the head, as they are stored.
    pub(crate) fn words(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.tail.chunks_exact(4).map(|w| word(w, 0))
    }

    /// Whether it is a struct or a union.
    pub fn is_composite(&self) -> bool {
        matches!(self.kind, TypeKind::Struct | TypeKind::Union)
    }

    /// Whether it is an enumeration, of 32 or 64 bits.
    pub fn is_enum(&self) -> bool {
        matches!(self.kind, TypeKind::Enum | TypeKind::Enum64)
    }

    /// Whether it only names or qualifies another type.
    pub fn is_modifier(&self) -> bool {
        use TypeKind::{Const, Restrict, TypeTag, Typedef, Volatile};
        matches!(self.kind, Typedef | Const | Volatile | Restrict | TypeTag)
    }

    /// The size in bytes that the type states itself; nothing for arrays, modifiers and what has no size.
    pub fn own_size(&self) -> Option<u32> {
        use TypeKind::{Datasec, Enum, Enum64, Float, Int, Ptr, Struct, Union};
        match self.kind {
            Ptr => Some(8),
            Int | Struct | Union | Enum | Enum64 | Float | Datasec => Some(self.size_or_type),
            _ => None,
        }
    }

    /// The id of the type that a pointer, modifier, variable, function, prototype (its result) or declaration tag
    /// refers to; nothing for other kinds.
    pub fn target(&self) -> Option<u32> {
        use TypeKind::{DeclTag, Func, FuncProto, Ptr, Var};
        (self.is_modifier() || matches!(self.kind, Ptr | Var | Func | FuncProto | DeclTag))
            .then_some(self.size_or_type)
    }

    /// (element type, index type, length) of an array.
    pub fn array(&self) -> Option<(u32, u32, u32)> {
        (self.kind == TypeKind::Array).then(|| (word(self.tail, 0), word(self.tail, 4), word(self.tail, 8)))
    }

    /// (encoding, offset in bits, width in bits) of an integer; the encoding is a set of 1 signed, 2 character,
    /// 4 boolean.
    pub fn int(&self) -> Option<(u8, u8, u8)> {
        let x = word(self.tail, 0);
        (self.kind == TypeKind::Int).then_some(((x >> 24 & 0xf) as u8, (x >> 16) as u8, x as u8))
    }

    /// A data section's variables in order; none for other kinds.
    pub fn variables(&self) -> impl ExactSizeIterator<Item = SecVar> + 'a {
        self.entries(self.kind == TypeKind::Datasec, 12).map(|e| SecVar {
            type_id: word(e, 0),
            offset: word(e, 4),
            size: word(e, 8),
        })
    }

    /// A prototype's parameters in order; none for other kinds.
    pub fn params(&self) -> impl ExactSizeIterator<Item = Param> + 'a {
        self.entries(self.kind == TypeKind::FuncProto, 8)
            .map(|e| Param { name_off: word(e, 0), type_id: word(e, 4) })
    }

    pub(crate) fn raw_members(&self) -> impl ExactSizeIterator<Item = RawMember> + use<'a> {
        let flag = self.flag;
        self.entries(self.is_composite(), 12).map(move |e| {
            let offset_word = word(e, 8);
            let (bit_offset, bitfield_size) =
                if flag { (offset_word & 0x00ff_ffff, (offset_word >> 24) as u8) } else { (offset_word, 0) };
            RawMember { name_off: word(e, 0), type_id: word(e, 4), bit_offset, bitfield_size, offset_word }
        })
    }

    pub(crate) fn raw_enumerators(&self) -> impl ExactSizeIterator<Item = (u32, i64)> + use<'a> {
        let (signed, wide) = (self.flag, self.kind == TypeKind::Enum64);
        self.entries(self.is_enum(), if wide { 12 } else { 8 }).map(move |e| {
            let low = word(e, 4);
            let value = match (wide, signed) {
                (true, _) => (u64::from(word(e, 8)) << 32 | u64::from(low)) as i64,
                (false, true) => i64::from(low as i32),
                (false, false) => i64::from(low),
            };
            (word(e, 0), value)
        })
    }

    fn entries(&self, applies: bool, size: usize) -> std::slice::ChunksExact<'a, u8> {
        (if applies { self.tail } else { &[] }).chunks_exact(size)
    }
}

/// The whole length of the type at the start of `bytes`; nothing if not even its head fits.
pub(crate) fn length(bytes: &[u8]) -> Result<Option<usize>, Error> {
    if bytes.len() < 12 {
        return Ok(None);
    }
    let info = word(bytes, 4);
    let kind = (info >> 24 & 0x1f) as usize;
    let Some(kind) = TypeKind::ALL.get(kind).filter(|k| **k != TypeKind::Void) else {
        let why = format!("it has a type of unknown kind {kind}; a later version may read it");
        return Err(Error::Format { what: "BTF", why });
    };
    let (fixed, each) = kind.tail();
    Ok(Some(12 + fixed + each * (info & 0xffff) as usize))
}

/// The little-endian 32-bit number at byte `at`; 0 past the end.
pub(crate) fn word(bytes: &[u8], at: usize) -> u32 {
    match bytes.get(at..at + 4) {
        Some(&[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]),
        _ => 0,
    }
}
