//! Go's linker leaves out every run of zeros of a module's data: what is left are tens of thousands of segments, and
//! reading them one by one would be a third of the time in which a guest starts. Here neighbours are put together, with
//! the zeros between them.
//!
//! Source: WebAssembly core specification, 5.5 (sections) and 5.5.14 (data).

use std::ops::Range;

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

/// Puts the segments of a module together, which then makes the same memory; leaves it alone if it cannot be told that
/// it would, or if it is no module at all: who runs it will say so. The rest of the module stays where it is, as
/// copying megabytes is most of what a start costs.
pub fn merge(module: &mut Vec<u8>) {
    if let Some((place, data)) = merged(module) {
        module.splice(place, data);
    }
}

/// Where the data section lies, and what is to be in its place.
fn merged(module: &[u8]) -> Option<(Range<usize>, Vec<u8>)> {
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
            DATA => return Some((before..after, section(body)?)),
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

/// The data section of this content, with neighbours put together.
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
        segments.push(Segment { start, bytes: rest.take(len)? });
    }
    if !rest.0.is_empty() {
        return None;
    }
    segments.sort_by_key(|segment| segment.start);
    let mut total = 0;
    let mut end = 0u32;
    for segment in &segments {
        // Where two overlap, their order matters.
        let gap = segment.start.checked_sub(end)?;
        total += segment.bytes.len() + gap.min(MAX_GAP) as usize;
        if total > MAX_DATA {
            return None;
        }
        end = segment.end()?;
    }
    let mut data = Vec::with_capacity(total);
    let mut runs = 0;
    for run in segments.chunk_by(|one, next| one.end().is_some_and(|end| next.start - end <= MAX_GAP)) {
        runs += 1;
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        data.extend_from_slice(&[ACTIVE, I32_CONST]);
        put_signed(&mut data, first.start as i32);
        data.push(END);
        put_number(&mut data, last.end()? - first.start);
        let begin = data.len();
        for segment in run {
            data.resize(begin + (segment.start - first.start) as usize, 0);
            data.extend_from_slice(segment.bytes);
        }
    }
    let mut head = Vec::new();
    put_number(&mut head, runs);
    let mut section = vec![DATA];
    put_number(&mut section, u32::try_from(head.len() + data.len()).ok()?);
    section.append(&mut head);
    data.splice(..0, section);
    Some(data)
}

/// Bytes of memory.
struct Segment<'a> {
    start: u32,
    bytes: &'a [u8],
}

impl Segment<'_> {
    /// Where it ends; `None` if that is beyond all memory.
    fn end(&self) -> Option<u32> {
        self.start.checked_add(u32::try_from(self.bytes.len()).ok()?)
    }
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

    fn merged(module: &[u8]) -> Vec<u8> {
        let mut module = module.to_vec();
        merge(&mut module);
        module
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
