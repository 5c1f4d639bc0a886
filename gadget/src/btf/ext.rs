//! Section `.BTF.ext`: tables that say something of single instructions.
//!
//! Source of the layout: the kernel's Documentation/bpf/btf.rst, section `.BTF.ext`.

use super::Error;
use super::types::word;

/// What a table tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// The line of source that an instruction comes from.
    Lines,
    /// What an instruction asks of the kernel's types.
    Relocations,
}

/// Every record of a table, with where the name of its program section starts within the strings of the object's
/// BTF. A record starts with an instruction's offset in bytes from the start of that section and is at least `size`
/// bytes long.
pub(crate) fn records(ext: &[u8], table: Table, size: usize) -> Result<Vec<(u32, &[u8])>, Error> {
    let format = |why: String| Error::Format { what: ".BTF.ext", why };
    let cut = |need: u64| Error::Truncated { what: ".BTF.ext", need, have: ext.len() as u64 };
    if ext.len() < 8 {
        return Err(cut(8));
    }
    if word(ext, 0) & 0xffff != u32::from(super::MAGIC) {
        return Err(format("its magic number is wrong".to_owned()));
    }
    let at = match table {
        Table::Lines => 16,
        Table::Relocations => 24,
    };
    let header = word(ext, 4) as usize;
    if header < at + 8 {
        return Ok(Vec::new()); // from before such tables were invented
    }
    if ext.len() < at + 8 {
        return Err(cut(at as u64 + 8));
    }
    let start = header as u64 + u64::from(word(ext, at));
    let end = start + u64::from(word(ext, at + 4));
    let mut rest = ext.get(start as usize..end as usize).ok_or_else(|| cut(end))?;
    let Some((length, sections)) = rest.split_at_checked(4) else { return Ok(Vec::new()) };
    let length = word(length, 0) as usize;
    if length < size {
        return Err(format(format!("a record takes {length} bytes there, not {size}")));
    }
    let mut found = Vec::new();
    rest = sections;
    while let Some((head, tail)) = rest.split_at_checked(8) {
        let all = u64::from(word(head, 4)) * length as u64;
        let (records, tail) = tail.split_at_checked(all as usize).ok_or_else(|| cut(all))?;
        found.extend(records.chunks_exact(length).map(|record| (word(head, 0), record)));
        rest = tail;
    }
    Ok(found)
}
