//! BTF, the type format that compilers put into eBPF objects and kernels publish about themselves.
//!
//! A [`Btf`] borrows the raw bytes and keeps one 32-bit offset a type, so a kernel's whole BTF (some 150,000 types)
//! costs half a megabyte and a few milliseconds to index, and nothing is allocated to look at a type. The bytes
//! may come from an image that nobody has vetted: every offset, id and chain is bounded, and a wrong one reads as
//! absent.
//!
//! Source of the layout: the kernel's Documentation/bpf/btf.rst and include/uapi/linux/btf.h. Only little-endian
//! BTF is read, because gadgets are built for little-endian targets only.

use std::collections::HashSet;

pub mod elf;
pub(crate) mod ext;
pub mod minimal;
pub mod relocation;
mod select;
mod types;
pub mod write;

pub(crate) use types::{BOOL, CHAR, SIGNED, word};
pub use types::{Enumerator, Member, Param, SecVar, Type, TypeKind};

/// The first two bytes of every BTF blob, as a little-endian number.
pub(crate) const MAGIC: u16 = 0xeb9f;
/// The header's size in bytes; a later version may append to it.
pub(crate) const HEADER: usize = 24;
/// The longest chain of typedefs, qualifiers or array dimensions that is followed. Real ones stay under ten; a
/// longer one is a cycle.
pub(crate) const CHAIN: usize = 64;

/// The longest name that is read, in bytes; a longer one reads as empty. The kernel allows 512, and without a bound
/// a hostile file could have the same long string scanned once for each of its types.
pub(crate) const NAME: usize = 1024;

/// Why bytes are not BTF, ELF or relocations that this crate reads.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The bytes end before what their header promises.
    #[error("{what} is cut short: it needs {need} bytes and has {have}; fetch or build the file again")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes that the header asks for.
        need: u64,
        /// Bytes that are there.
        have: u64,
    },
    /// The bytes are of another format, byte order or version.
    #[error("{what} is not what was expected: {why}")]
    Format {
        /// What was being read.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The ELF has no section of this name.
    #[error("the ELF object has no section {0}; compile it with `-g` and strip it with `llvm-strip -g` only")]
    NoSection(&'static str),
}

/// Indexed BTF over borrowed bytes.
#[derive(Debug)]
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a str,
    /// Where the type with id `index + 1` starts within `types`.
    offsets: Vec<u32>,
}

impl<'a> Btf<'a> {
    /// Indexes raw BTF, as found in an ELF section `.BTF` or in /sys/kernel/btf/vmlinux.
    ///
    /// # Errors
    /// When the header is not little-endian BTF version 1, when a part lies outside of the bytes, when a type has
    /// an unknown kind (its length cannot be known), or when the strings are not UTF-8.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let format = |why: &str| Error::Format { what: "BTF", why: why.to_owned() };
        let truncated = |need| Error::Truncated { what: "BTF", need, have: bytes.len() as u64 };
        if bytes.len() < HEADER {
            return Err(truncated(HEADER as u64));
        }
        match u16::from_le_bytes([bytes[0], bytes[1]]) {
            MAGIC => {}
            x if x.swap_bytes() == MAGIC => {
                return Err(format("it is big-endian; only little-endian is supported"));
            }
            x => return Err(format(&format!("the magic number is {x:#06x}, not {MAGIC:#06x}"))),
        }
        if bytes[2] != 1 {
            return Err(format(&format!("its version is {}, not 1", bytes[2])));
        }
        let word = |at| u64::from(word(bytes, at));
        let header = word(4);
        if header < HEADER as u64 {
            return Err(format(&format!("its header says it is {header} bytes long")));
        }
        let part = |offset: u64, length: u64| {
            let (start, end) = (header + offset, header + offset + length);
            bytes.get(start as usize..end as usize).ok_or_else(|| truncated(end))
        };
        let types = part(word(8), word(12))?;
        let strings = part(word(16), word(20))?;
        let strings = str::from_utf8(strings).map_err(|_| format("its strings are not UTF-8"))?;
        if !strings.starts_with('\0') || !strings.ends_with('\0') {
            return Err(format("its strings do not start and end with a zero byte"));
        }
        Ok(Self { types, strings, offsets: index(types)? })
    }

    /// How many types there are, `void` not counted; ids go from 1 to this number.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there is no type at all.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// The string at `offset` of the string section; empty if there is none, or it is longer than any name.
    pub fn string(&self, offset: u32) -> &'a str {
        let Some(rest) = self.strings.get(offset as usize..) else { return "" };
        rest.bytes().take(NAME).position(|b| b == 0).map_or("", |end| &rest[..end])
    }

    /// The type with this id. Id 0 is `void`; an id past the last one gives nothing.
    pub fn get(&self, id: u32) -> Option<Type<'a>> {
        if id == 0 {
            return Some(Type::VOID);
        }
        let start = *self.offsets.get(id as usize - 1)? as usize;
        let end = self.offsets.get(id as usize).map_or(self.types.len(), |end| *end as usize);
        Type::read(id, self.types.get(start..end)?)
    }

    /// The types and strings, as they are stored.
    pub(crate) fn parts(&self) -> (&'a [u8], &'a [u8]) {
        (self.types, self.strings.as_bytes())
    }

    /// Every type but `void`, in the order of ids.
    pub fn types(&self) -> impl Iterator<Item = Type<'a>> + '_ {
        (1..=self.offsets.len() as u32).filter_map(|id| self.get(id))
    }

    /// The first type of this kind and name.
    pub fn find(&self, kind: TypeKind, name: &str) -> Option<Type<'a>> {
        self.types().find(|t| t.kind == kind && self.name(*t) == name)
    }

    /// The first enumeration of this name, be its values 32 or 64 bits wide.
    pub fn find_enum(&self, name: &str) -> Option<Type<'a>> {
        self.types().find(|t| t.is_enum() && self.name(*t) == name)
    }

    /// A type's name; empty if it is anonymous.
    pub fn name(&self, of: Type<'a>) -> &'a str {
        self.string(of.name_off)
    }

    /// A struct's or union's members in order; none for other kinds.
    pub fn members(&self, of: Type<'a>) -> impl ExactSizeIterator<Item = Member<'a>> + '_ {
        of.raw_members().map(|raw| Member {
            name: self.string(raw.name_off),
            type_id: raw.type_id,
            bit_offset: raw.bit_offset,
            bitfield_size: raw.bitfield_size,
        })
    }

    /// The member called `name`, be it inside of anonymous structs; where it starts is counted from the start of `of`.
    pub fn find_member(&self, of: Type<'a>, name: &str) -> Option<Member<'a>> {
        let mut route = Vec::new();
        select::find(self, of, name, &mut route, &mut HashSet::new())?;
        let mut members =
            route.iter().map(|(id, index)| self.members(self.get(*id)?).nth(usize::from(*index)));
        let outermost = members.next()??;
        members.try_fold(outermost, |outer, inner| {
            let inner = inner?;
            Some(Member { bit_offset: outer.bit_offset.checked_add(inner.bit_offset)?, ..inner })
        })
    }

    /// An enumeration's values in order; none for other kinds.
    pub fn enumerators(&self, of: Type<'a>) -> impl ExactSizeIterator<Item = Enumerator<'a>> + '_ {
        of.raw_enumerators().map(|(name_off, value)| Enumerator { name: self.string(name_off), value })
    }

    /// The type behind typedefs, qualifiers and type tags; nothing for a broken or circular chain.
    pub fn resolve(&self, id: u32) -> Option<Type<'a>> {
        let mut t = self.get(id)?;
        for _ in 0..CHAIN {
            if !t.is_modifier() {
                return Some(t);
            }
            t = self.get(t.size_or_type)?;
        }
        None
    }

    /// A type's size in bytes, arrays multiplied out; nothing for what has no size (functions, `void`, forward
    /// declarations), for circular chains and for sizes past 32 bits.
    pub fn size_of(&self, id: u32) -> Option<u32> {
        let mut count = 1u32;
        let mut id = id;
        for _ in 0..CHAIN {
            let t = self.resolve(id)?;
            if let Some((element, _, length)) = t.array() {
                count = count.checked_mul(length)?;
                id = element;
                continue;
            }
            return t.own_size()?.checked_mul(count);
        }
        None
    }
}

fn index(types: &[u8]) -> Result<Vec<u32>, Error> {
    // The smallest type takes 12 bytes and the mean one in kernels some 25: this guess makes one reallocation at
    // most, and the surplus is given back.
    let mut offsets = Vec::with_capacity(types.len() / 24);
    let mut at = 0;
    while at < types.len() {
        let Some(length) = types::length(&types[at..])? else {
            return Err(Error::Truncated {
                what: "BTF type",
                need: at as u64 + 12,
                have: types.len() as u64,
            });
        };
        offsets.push(at as u32);
        at += length;
        if at > types.len() {
            return Err(Error::Truncated { what: "BTF type", need: at as u64, have: types.len() as u64 });
        }
    }
    offsets.shrink_to_fit();
    Ok(offsets)
}

#[cfg(test)]
mod tests;
