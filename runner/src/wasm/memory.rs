//! A guest's memory, as its calls point into it. Every pointer and length is the guest's word: nothing is read or
//! written before it is checked.

use wasmi::Caller;

use super::state::State;

/// Instructions that a call of a host function costs, besides what it copies.
const CALL_FUEL: u64 = 50;

/// Instructions that this many copied bytes cost.
const BYTES_PER_FUEL: u64 = 16;

/// Longest name of a field, data source, map, parameter or tag, bytes.
pub(super) const MAX_NAME: usize = 256;

/// A span of the guest's memory, as `length << 32 | pointer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) u64);

impl Span {
    pub(super) fn new(pointer: u32, length: u32) -> Self {
        Self(u64::from(length) << 32 | u64::from(pointer))
    }

    pub(super) fn len(self) -> usize {
        (self.0 >> 32) as usize
    }

    fn start(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }

    /// The bytes; none at all, wherever it points, if the length is 0.
    pub(super) fn bytes(self, memory: &[u8]) -> Option<&[u8]> {
        if self.len() == 0 {
            return Some(&[]);
        }
        memory.get(self.start()..self.start().checked_add(self.len())?)
    }

    /// The bytes as a name: bounded, and UTF-8.
    pub(super) fn name(self, memory: &[u8]) -> Option<&str> {
        let bytes = self.bytes(memory).filter(|bytes| bytes.len() <= MAX_NAME)?;
        std::str::from_utf8(bytes).ok()
    }

    /// Copies `value` to the start of the span, if it has room.
    pub(super) fn put(self, memory: &mut [u8], value: &[u8]) -> Option<()> {
        if value.is_empty() {
            return Some(());
        }
        if value.len() > self.len() {
            return None;
        }
        memory.get_mut(self.start()..self.start().checked_add(value.len())?)?.copy_from_slice(value);
        Some(())
    }
}

/// A guest's memory and state, within a call of a host function.
pub(super) struct Inside<'a> {
    pub(super) memory: &'a mut [u8],
    pub(super) state: &'a mut State,
}

/// Instructions that a call costs for which the host has to work long: to make something in the kernel, to read a
/// file, to wait a millisecond.
pub(super) const SLOW_FUEL: u64 = 500_000;

/// Takes so many instructions from the guest.
///
/// # Errors
/// When the guest has used up its instructions.
pub(super) fn pay(caller: &mut Caller<'_, State>, price: u64) -> Result<(), wasmi::Error> {
    let left = caller.get_fuel()?.checked_sub(price);
    caller.set_fuel(left.unwrap_or(0))?;
    left.map(drop).ok_or_else(|| wasmi::TrapCode::OutOfFuel.into())
}

/// Takes the price of a call that copies `bytes`, and opens the guest's memory. A guest without one has none.
///
/// # Errors
/// When the guest has used up its instructions.
pub(super) fn enter<'a>(caller: &'a mut Caller<'_, State>, bytes: usize) -> Result<Inside<'a>, wasmi::Error> {
    if caller.data().memory.is_none() {
        let memory = caller.get_export("memory").and_then(wasmi::Extern::into_memory);
        caller.data_mut().memory = memory;
    }
    let memory = caller.data().memory;
    // A length is the guest's word: what does not lie in its memory is not copied.
    let bytes = bytes.min(memory.map_or(0, |memory| memory.data_size(&*caller)));
    pay(caller, CALL_FUEL + bytes as u64 / BYTES_PER_FUEL)?;
    let Some(memory) = memory else {
        return Ok(Inside { memory: &mut [], state: caller.data_mut() });
    };
    let (memory, state) = memory.data_and_store_mut(caller);
    Ok(Inside { memory, state })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_span_reaches_beyond_the_memory(packed: u64, size in 0usize..64) {
            let mut memory = vec![1; size];
            let span = Span(packed);
            if let Some(bytes) = span.bytes(&memory) {
                prop_assert_eq!(bytes.len(), span.len());
            }
            let _ = span.put(&mut memory, b"abc");
        }
    }

    #[test]
    fn spans() {
        let mut memory = *b"hello";
        assert_eq!(Span::new(1, 3).bytes(&memory), Some(&b"ell"[..]));
        assert_eq!(Span::new(1, 5).bytes(&memory), None);
        assert_eq!(Span::new(u32::MAX, u32::MAX).bytes(&memory), None);
        assert_eq!(Span(0).name(&memory), Some(""));
        assert_eq!(Span::new(9, 0).bytes(&memory), Some(&[][..]));
        assert_eq!(Span::new(1, 1).put(&mut memory, b"xy"), None);
        assert_eq!(Span::new(3, 9).put(&mut memory, b"xyz"), None);
        assert_eq!(Span::new(0, 2).put(&mut memory, b"xy"), Some(()));
        assert_eq!(&memory, b"xyllo");
        assert_eq!(Span::new(0, 300).name(&[b'x'; 400]), None);
        assert_eq!(Span::new(0, 1).name(&[0xff]), None);
    }
}
