//! Writing BTF: types are appended one by one and get consecutive ids, strings are kept once.

use std::collections::HashMap;

use super::{HEADER, MAGIC, TypeKind};

/// BTF under construction.
#[derive(Debug)]
pub struct Writer {
    types: Vec<u8>,
    strings: Vec<u8>,
    known: HashMap<String, u32>,
    /// The id that the next type gets.
    next: u32,
    /// Where this writer's strings start, when they come after somebody else's.
    base: u32,
}

impl Default for Writer {
    fn default() -> Self {
        Self { types: Vec::new(), strings: vec![0], known: HashMap::new(), next: 1, base: 0 }
    }
}

impl Writer {
    /// Starts after `types` types and `strings` bytes of strings that are already there.
    pub(crate) fn after(types: u32, strings: u32) -> Self {
        Self { strings: Vec::new(), next: types + 1, base: strings, ..Self::default() }
    }

    /// The offset of `text` among the strings, which is added if it is not there yet.
    pub fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if let Some(offset) = self.known.get(text) {
            return *offset;
        }
        let offset = self.base + self.strings.len() as u32;
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        self.known.insert(text.to_owned(), offset);
        offset
    }

    /// The id that the next type will get.
    pub fn next_id(&self) -> u32 {
        self.next
    }

    /// Appends a type: its head, and `tail`, the words after it that its kind calls for. Gives its id.
    pub fn put(
        &mut self,
        name: &str,
        kind: TypeKind,
        flag: bool,
        vlen: u16,
        size_or_type: u32,
        tail: &[u32],
    ) -> u32 {
        let name = self.string(name);
        let info = (u32::from(flag) << 31) | (u32::from(kind as u8) << 24) | u32::from(vlen);
        for word in [name, info, size_or_type].iter().chain(tail) {
            self.types.extend_from_slice(&word.to_le_bytes());
        }
        self.next += 1;
        self.next - 1
    }

    /// Appends an integer of `size` bytes; `encoding` is a set of 1 signed, 2 character, 4 boolean.
    pub fn int(&mut self, name: &str, size: u32, encoding: u8) -> u32 {
        self.put(
            name,
            TypeKind::Int,
            false,
            0,
            size,
            &[(u32::from(encoding) << 24) | (size.saturating_mul(8) & 0xff)],
        )
    }

    /// Appends a pointer, typedef, qualifier, or other type of `kind` that only refers to `target`.
    pub fn reference(&mut self, name: &str, kind: TypeKind, target: u32) -> u32 {
        self.put(name, kind, false, 0, target, &[])
    }

    /// Appends an array of `length` elements.
    pub fn array(&mut self, element: u32, index: u32, length: u32) -> u32 {
        self.put("", TypeKind::Array, false, 0, 0, &[element, index, length])
    }

    /// Appends a struct or union. `members` are (name, type, offset word); the word is an offset in bits and, if
    /// `flag` is set, a bit field's width in its highest byte. Members past 65,535 are left out.
    pub fn composite(
        &mut self,
        name: &str,
        kind: TypeKind,
        size: u32,
        flag: bool,
        members: &[(&str, u32, u32)],
    ) -> u32 {
        let members = &members[..members.len().min(usize::from(u16::MAX))];
        let mut tail = Vec::with_capacity(members.len() * 3);
        for (name, id, offset) in members {
            tail.extend([self.string(name), *id, *offset]);
        }
        self.put(name, kind, flag, members.len() as u16, size, &tail)
    }

    /// The types and strings written so far, without a header.
    pub(crate) fn parts(&self) -> (&[u8], &[u8]) {
        (&self.types, &self.strings)
    }

    /// The finished BTF.
    pub fn finish(&self) -> Vec<u8> {
        assemble(&[&self.types], &[&self.strings])
    }
}

/// Puts a header before pieces of types and of strings.
pub(crate) fn assemble(types: &[&[u8]], strings: &[&[u8]]) -> Vec<u8> {
    let length = |parts: &[&[u8]]| parts.iter().map(|p| p.len()).sum::<usize>();
    let (t, s) = (length(types), length(strings));
    let mut out = Vec::with_capacity(HEADER + t + s);
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&[1, 0]);
    for word in [HEADER, 0, t, t, s] {
        out.extend_from_slice(&(word as u32).to_le_bytes());
    }
    for part in types.iter().chain(strings) {
        out.extend_from_slice(part);
    }
    out
}
