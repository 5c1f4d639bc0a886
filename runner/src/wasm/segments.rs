//! Go's linker leaves out every run of zeros of a module's data: what is left are tens of thousands of segments. An
//! interpreter that takes them one by one, each with a copy of its own, needs a third of the time in which a guest
//! starts. Here they are split off the module, and copied from where they lie into the memory of the instance.
//!
//! Source: WebAssembly core specification, 4.5.4 (instantiation), 5.5 (sections) and 5.5.14 (data).

/// Sections, by number.
const CUSTOM: u8 = 0;
const IMPORTS: u8 = 2;
const START: u8 = 8;
const DATA: u8 = 11;
const DATA_COUNT: u8 = 12;

/// Bytes before the first section: magic and version.
const PREAMBLE: usize = 8;

/// The start of a segment that lies at a fixed place of the first memory: kind 0, then `i32.const`.
const ACTIVE: u8 = 0;
const I32_CONST: u8 = 0x41;
const END: u8 = 0x0b;

/// The segments of a module's first memory.
#[derive(Clone, Copy)]
pub(super) struct Data<'a>(Bytes<'a>);

/// A module without its data, which is then for the host to [`fill`](Data::fill) in before anything runs. `None` if it
/// cannot be told that this comes to the same, or if it is no module at all: who runs it as it is will say so.
pub(super) fn split(module: &[u8]) -> Option<(&[u8], Data<'_>)> {
    let mut rest = Bytes(module.get(PREAMBLE..)?);
    let mut before = PREAMBLE;
    let mut data = None;
    while !rest.0.is_empty() {
        let id = rest.byte()?;
        let len = rest.number()? as usize;
        let body = rest.take(len)?;
        match id {
            // Nothing that runs depends on what is there.
            CUSTOM => {}
            // Behind the data comes nothing else.
            _ if data.is_some() => return None,
            // Instructions may name segments by number.
            DATA_COUNT => return None,
            // It runs at once and would see a memory without its data.
            START => return None,
            // The memory may come from elsewhere, with something in it.
            IMPORTS if imports_more_than_functions(body)? => return None,
            DATA => data = Some((module.get(..before)?, Data::of(body)?)),
            _ => {}
        }
        before = module.len() - rest.0.len();
    }
    data
}

/// Whether anything but functions is imported.
fn imports_more_than_functions(body: &[u8]) -> Option<bool> {
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

impl<'a> Data<'a> {
    /// What a data section of this content says, if it is whole and each place in it is a plain number.
    fn of(body: &'a [u8]) -> Option<Self> {
        let mut rest = Bytes(body);
        let count = rest.number()?;
        let data = Self(rest);
        for _ in 0..count {
            rest.segment()?;
        }
        rest.0.is_empty().then_some(data)
    }

    /// Copies all segments into `memory`, later ones over earlier ones. `None` if one of them lies beyond its end.
    pub(super) fn fill(self, memory: &mut [u8]) -> Option<()> {
        let mut rest = self.0;
        while !rest.0.is_empty() {
            let (start, bytes) = rest.segment()?;
            let start = start as usize;
            memory.get_mut(start..start.checked_add(bytes.len())?)?.copy_from_slice(bytes);
        }
        Some(())
    }
}

/// Bytes that are taken off the front.
#[derive(Clone, Copy)]
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

    /// A segment: where it starts, and its bytes.
    fn segment(&mut self) -> Option<(u32, &'a [u8])> {
        if self.byte()? != ACTIVE || self.byte()? != I32_CONST {
            return None;
        }
        let start = self.signed()? as u32;
        if self.byte()? != END {
            return None;
        }
        let len = self.number()? as usize;
        Some((start, self.take(len)?))
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wasmi::{Engine, Linker, Memory, Module, Store};

    fn started(module: &[u8]) -> Option<(Store<()>, Memory)> {
        let engine = Engine::default();
        let module = Module::new(&engine, module).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Linker::new(&engine).instantiate_and_start(&mut store, &module).ok()?;
        let memory = instance.get_memory(&store, "memory").unwrap();
        Some((store, memory))
    }

    /// The memory that the interpreter makes of a module.
    fn memory(module: &[u8]) -> Option<Vec<u8>> {
        started(module).map(|(store, memory)| memory.data(&store).to_vec())
    }

    /// The memory that is made here.
    fn filled(module: &[u8]) -> Option<Vec<u8>> {
        let (code, data) = split(module).unwrap();
        let (mut store, memory) = started(code).unwrap();
        data.fill(memory.data_mut(&mut store))?;
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
        wat::parse_str(format!("(module (memory (export \"memory\") 1) {more} {segments})")).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_memory_is_the_same(
            parts in prop::collection::vec((0u32..66_000, prop::collection::vec(any::<u8>(), 0..600)), 1..40),
        ) {
            let module = module(&parts, "(func)");
            prop_assert_eq!(filled(&module), memory(&module));
        }

        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..64), cut in 0usize..2000) {
            let list: Vec<_> = (0..100).map(|at| (at * 9, vec![1; 3])).collect();
            let mut module = module(&list, "");
            module.truncate(cut);
            module.extend_from_slice(&bytes);
            if let Some((code, data)) = split(&module) {
                prop_assert!(code.len() < module.len());
                let _ = data.fill(&mut [0; 500]);
            }
        }
    }

    #[test]
    fn the_order_of_segments_counts_and_none_lies_outside() {
        let overlapping = module(&[(8, vec![1; 4]), (10, vec![2; 4]), (9, vec![3])], "");
        assert_eq!(&filled(&overlapping).unwrap()[7..15], [0, 1, 3, 2, 2, 2, 2, 0]);
        for (start, len) in [(65_535, 2), (u32::MAX, 1), (65_537, 0)] {
            let beyond = module(&[(start, vec![1; len])], "");
            assert_eq!((filled(&beyond), memory(&beyond)), (None, None), "{start}");
        }
        assert!(filled(&module(&[(65_536, vec![])], "")).is_some());
    }

    #[test]
    fn what_may_see_the_data_earlier_or_otherwise_stays_whole() {
        let list = [(8, vec![1; 4])];
        assert!(split(&module(&list, "(func)")).is_some());
        assert!(split(&module(&[], "")).is_none());
        for more in [
            "(func (memory.init 0 (i32.const 0) (i32.const 0) (i32.const 1)))",
            "(func $f) (start $f)",
            r#"(global (import "a" "b") i32)"#,
            "(data \"passive\")",
            "(global $g i32 (i32.const 4)) (data (global.get $g) \"x\")",
        ] {
            let text = format!("(module {more} (memory (export \"memory\") 1) (data (i32.const 8) \"a\"))");
            assert!(split(&wat::parse_str(text).unwrap()).is_none(), "{more}");
        }
        // A custom section may stand anywhere, as the names of functions do behind the data.
        let mut named = module(&list, "");
        let code = split(&named).unwrap().0.len();
        named.extend_from_slice(&[CUSTOM, 2, 1, b'x']);
        assert_eq!(split(&named).unwrap().0.len(), code);
        named.extend_from_slice(&[DATA, 1, 0]);
        assert!(split(&named).is_none());
    }
}
