//! Go's linker leaves out every run of zeros of a module's data: what is left are tens of thousands of segments, and
//! reading them one by one would be a third of the time in which a guest starts. Here neighbours are put together, with
//! the zeros between them.
//!
//! Source: WebAssembly core specification, 5.5 (sections) and 5.5.14 (data).

use std::borrow::Cow;

/// Sections, by number.
const IMPORTS: u8 = 2;
const DATA: u8 = 11;
const DATA_COUNT: u8 = 12;

/// Bytes before the first section: magic and version.
const PREAMBLE: usize = 8;

/// Zeros that are put between two segments at most.
const MAX_GAP: u32 = 4096;

/// Most that the segments of one module come to, bytes: guests have no more memory.
const MAX_DATA: usize = 16 << 20;

/// Modules with fewer segments are not worth it.
const MANY: u32 = 64;

/// The start of a segment that lies at a fixed place of the first memory: kind 0, then `i32.const`.
const ACTIVE: u8 = 0;
const I32_CONST: u8 = 0x41;
const END: u8 = 0x0b;

/// The module with fewer segments, which makes the same memory; as it is if it cannot be told that it would, or
/// if it is no module at all: who runs it will say so.
pub(super) fn merged(module: &[u8]) -> Cow<'_, [u8]> {
    merge(module).map_or(Cow::Borrowed(module), Cow::Owned)
}

fn merge(module: &[u8]) -> Option<Vec<u8>> {
    let mut rest = Bytes(module.get(PREAMBLE..)?);
    let mut before = PREAMBLE;
    loop {
        let id = rest.byte()?;
        let len = rest.number()? as usize;
        let body = rest.take(len)?;
        let after = module.len() - rest.0.len();
        match id {
            // Instructions may name segments by number.
            DATA_COUNT => return None,
            // The memory may come from elsewhere, with something in it.
            IMPORTS if imports_memory(body)? => return None,
            DATA => {
                let data = section(body)?;
                let mut merged = Vec::with_capacity(module.len() + data.len());
                merged.extend_from_slice(&module[..before]);
                merged.push(DATA);
                put_number(&mut merged, u32::try_from(data.len()).ok()?);
                merged.extend_from_slice(&data);
                merged.extend_from_slice(&module[after..]);
                return Some(merged);
            }
            _ => {}
        }
        before = after;
    }
}

/// Whether anything but functions is imported.
fn imports_memory(body: &[u8]) -> Option<bool> {
    const FUNCTION: u8 = 0;
    let mut rest = Bytes(body);
    for _ in 0..rest.number()? {
        for _ in ["module", "name"] {
            let len = rest.number()? as usize;
            rest.take(len)?;
        }
        if rest.byte()? != FUNCTION {
            return Some(true);
        }
        rest.number()?;
    }
    Some(false)
}

/// The content of a data section, with neighbours put together.
fn section(body: &[u8]) -> Option<Vec<u8>> {
    let mut rest = Bytes(body);
    let count = rest.number()?;
    if count < MANY {
        return None;
    }
    let mut segments = Vec::new();
    for _ in 0..count {
        if rest.byte()? != ACTIVE || rest.byte()? != I32_CONST {
            return None;
        }
        let start = rest.signed()? as u32;
        if rest.byte()? != END {
            return None;
        }
        let len = rest.number()? as usize;
        segments.push((start, rest.take(len)?));
    }
    if !rest.0.is_empty() {
        return None;
    }
    segments.sort_by_key(|(start, _)| *start);
    let mut runs: Vec<(u32, Vec<u8>)> = Vec::new();
    let (mut end, mut total) = (0u32, 0usize);
    for (start, bytes) in segments {
        // Where two overlap, their order matters.
        let gap = start.checked_sub(end)?;
        total += bytes.len() + gap.min(MAX_GAP) as usize;
        if total > MAX_DATA {
            return None;
        }
        match runs.last_mut().filter(|_| gap <= MAX_GAP) {
            Some((_, data)) => {
                data.resize(data.len() + gap as usize, 0);
                data.extend_from_slice(bytes);
            }
            None => runs.push((start, bytes.to_vec())),
        }
        end = start.checked_add(u32::try_from(bytes.len()).ok()?)?;
    }
    let mut out = Vec::with_capacity(body.len() * 2);
    put_number(&mut out, u32::try_from(runs.len()).ok()?);
    for (start, data) in runs {
        out.extend_from_slice(&[ACTIVE, I32_CONST]);
        put_signed(&mut out, start as i32);
        out.push(END);
        put_number(&mut out, u32::try_from(data.len()).ok()?);
        out.extend_from_slice(&data);
    }
    Some(out)
}

/// Bytes that are taken off the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of 32 bits in LEB128. What has more is refused, here as everywhere.
    fn number(&mut self) -> Option<u32> {
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value).ok();
            }
        }
        None
    }

    /// The same with a sign.
    fn signed(&mut self) -> Option<i32> {
        let mut value = 0i64;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            value |= i64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                let unused = 64 - (shift + 7);
                return i32::try_from(value << unused >> unused).ok();
            }
        }
        None
    }
}

fn put_number(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_signed(out: &mut Vec<u8>, mut value: i32) {
    while !(-64..64).contains(&value) {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8 & 0x7f);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wasmi::{Engine, Linker, Module, Store};

    /// The first page of memory that a module makes, and whether it is large enough.
    fn memory(module: &[u8]) -> Option<Vec<u8>> {
        let engine = Engine::default();
        let module = Module::new(&engine, module).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Linker::new(&engine).instantiate_and_start(&mut store, &module).ok()?;
        let memory = instance.get_memory(&store, "memory").unwrap();
        Some(memory.data(&store).to_vec())
    }

    fn module(segments: &[(u32, Vec<u8>)], more: &str) -> Vec<u8> {
        let segments: String = segments
            .iter()
            .map(|(start, bytes)| {
                let bytes: String = bytes.iter().map(|b| format!("\\{b:02x}")).collect();
                format!("(data (i32.const {}) \"{bytes}\")", *start as i32)
            })
            .collect();
        let text = format!("(module (memory (export \"memory\") 1) {segments} {more})");
        wat::parse_str(text).unwrap()
    }

    fn segments(module: &[u8]) -> usize {
        Module::new(&Engine::default(), module).unwrap();
        let mut rest = Bytes(&module[PREAMBLE..]);
        while let Some(id) = rest.byte() {
            let len = rest.number().unwrap() as usize;
            let body = rest.take(len).unwrap();
            if id == DATA {
                return Bytes(body).number().unwrap() as usize;
            }
        }
        0
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_memory_is_the_same(
            parts in prop::collection::vec((0u32..600, prop::collection::vec(any::<u8>(), 0..8)), 64..100),
            shuffled: bool,
            overlapping: bool,
        ) {
            let mut at = 0;
            let mut list: Vec<_> = parts
                .into_iter()
                .map(|(gap, bytes)| {
                    let start = at + gap;
                    at = start + bytes.len() as u32;
                    (start, bytes)
                })
                .collect();
            if shuffled {
                list.reverse();
            }
            if let Some((start, _)) = overlapping.then(|| list[7].clone()) {
                list.push((start, vec![9; 600]));
            }
            let module = module(&list, "");
            prop_assert_eq!(memory(&merged(&module)), memory(&module));
        }

        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..64), cut in 0usize..2000) {
            let list: Vec<_> = (0..100).map(|at| (at * 9, vec![1; 3])).collect();
            let mut module = module(&list, "");
            module.truncate(cut);
            module.extend_from_slice(&bytes);
            let _ = merged(&module);
        }
    }

    #[test]
    fn neighbours_are_put_together() {
        let list: Vec<_> = (0..100).map(|at| (at * 9, vec![1; 3])).collect();
        assert_eq!(segments(&module(&list, "")), 100);
        assert_eq!(segments(&merged(&module(&list, ""))), 1);
        // Neither what lies far apart, nor what instructions may name.
        let far: Vec<_> = (0..100).map(|at| (at / 50 * 10_000 + at, vec![1])).collect();
        assert_eq!(segments(&merged(&module(&far, ""))), 2);
        let named = "(func (memory.init 5 (i32.const 0) (i32.const 0) (i32.const 1)))";
        assert_eq!(segments(&merged(&module(&list, named))), 100);
        // Beyond the end of memory, both fail.
        let beyond: Vec<_> = (0..100).map(|at| (65_500 + at, vec![1])).collect();
        let beyond = module(&beyond, "");
        assert_eq!((segments(&merged(&beyond)), memory(&merged(&beyond)), memory(&beyond)), (1, None, None));
        // Few bytes must not become many.
        let sparse: Vec<_> = (0..5000).map(|at| (at * 4000, vec![1])).collect();
        assert_eq!(segments(&merged(&module(&sparse, ""))), 5000);
        let mut high = list;
        high.push((u32::MAX - 1, vec![1]));
        assert_eq!(segments(&merged(&module(&high, ""))), 2);
    }
}
