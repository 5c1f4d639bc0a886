//! CO-RE relocations: which field, type or enumeration value of the kernel an instruction depends on.
//!
//! Source of the layout: the kernel's Documentation/bpf/btf.rst (section `.BTF.ext`) and `struct bpf_core_relo` in
//! include/uapi/linux/bpf.h.

use super::types::word;
use super::{Error, ext};

const RECORD: usize = 16;

/// What a relocation asks of its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RelocationKind {
    /// Offset, size, existence, sign or shifts of a field, reached through an access path.
    Field,
    /// The id of a type in the object itself.
    TypeIdLocal,
    /// The id of a type in the kernel's BTF.
    TypeIdTarget,
    /// Existence or size of a type.
    Type,
    /// Whether a type has the same shape, members included.
    TypeMatches,
    /// Existence or value of an enumerator.
    EnumValue,
}

/// One CO-RE relocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Relocation {
    /// What is asked.
    pub kind: RelocationKind,
    /// The id of the root type, in the object's BTF.
    pub type_id: u32,
    /// Where the access string starts within the strings of the object's BTF: indices of members and array
    /// elements, joined with colons.
    pub access: u32,
}

/// Every distinct relocation in a section `.BTF.ext`, sorted.
///
/// # Errors
/// When a part lies outside of the bytes, or the records have an unknown size or kind.
pub fn relocations(ext: &[u8]) -> Result<Vec<Relocation>, Error> {
    let mut found = Vec::new();
    for (_, record) in ext::records(ext, ext::Table::Relocations, RECORD)? {
        let kind = kind(word(record, 12)).ok_or_else(|| Error::Format {
            what: ".BTF.ext",
            why: format!("relocation kind {} is unknown; a later version may read it", word(record, 12)),
        })?;
        found.push(Relocation { kind, type_id: word(record, 4), access: word(record, 8) });
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn kind(number: u32) -> Option<RelocationKind> {
    Some(match number {
        0..=5 => RelocationKind::Field,
        6 => RelocationKind::TypeIdLocal,
        7 => RelocationKind::TypeIdTarget,
        8 | 9 => RelocationKind::Type,
        10 | 11 => RelocationKind::EnumValue,
        12 => RelocationKind::TypeMatches,
        _ => return None,
    })
}

/// A type's name without its flavour: compilers see `task_struct___old` as a type of its own, and CO-RE looks for
/// `task_struct`. Three underscores, with another character at either side, start the flavour.
pub fn essential_name(name: &str) -> &str {
    let b = name.as_bytes();
    let separator = |i: usize| b[i] != b'_' && b[i + 1..i + 4] == *b"___" && b[i + 4] != b'_';
    let Some(last) = b.len().checked_sub(5) else { return name };
    (0..=last).rev().find(|i| separator(*i)).and_then(|i| name.get(..i + 1)).unwrap_or(name)
}
