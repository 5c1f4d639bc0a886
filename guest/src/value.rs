//! The types that a field's value can have in Rust, and how each crosses to the host.
//!
//! Scalars travel as one 64-bit word (floats as their IEEE 754 bits); texts and bytes through memory. Texts are always
//! of kind `String` on the way, also for fields that are a `char` array in eBPF: the host takes no other.

use crate::{host, text::until_nul};
use std::cell::RefCell;

/// Kinds of fields, with the numbers they have on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum Kind {
    /// `bool`
    Bool = 1,
    /// `i8`
    Int8 = 2,
    /// `i16`
    Int16 = 3,
    /// `i32`
    Int32 = 4,
    /// `i64`
    Int64 = 5,
    /// `u8`
    Uint8 = 6,
    /// `u16`
    Uint16 = 7,
    /// `u32`
    Uint32 = 8,
    /// `u64`
    Uint64 = 9,
    /// `f32`
    Float32 = 10,
    /// `f64`
    Float64 = 11,
    /// Text of any length.
    String = 12,
    /// A `char` array: text up to the first NUL. In Rust a `String`, as any text.
    CString = 13,
    /// Bytes of any length.
    Bytes = 14,
}

impl Kind {
    /// The number on the wire.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The kind of this number, unless nothing that a guest may have.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        use Kind::*;
        let all = [
            Bool, Int8, Int16, Int32, Int64, Uint8, Uint16, Uint32, Uint64, Float32, Float64, String,
            CString, Bytes,
        ];
        all.into_iter().find(|kind| kind.number() == number)
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that a [`Field`](crate::Field) can have: `bool`, integers and floats of any width, `String`, `Vec<u8>`.
pub trait Value: Sized + sealed::Sealed {
    /// What a field of this type is set to: the value itself, `&str` for texts, `&[u8]` for bytes.
    type Arg<'a>;
    /// The kind that a field of this type has when a guest adds it.
    const KIND: Kind;

    #[doc(hidden)]
    fn get(field: u32, data: u32) -> Option<Self>;
    #[doc(hidden)]
    fn set(field: u32, data: u32, value: Self::Arg<'_>) -> bool;
}

macro_rules! scalars {
    ($($type:ty, $kind:ident, $from:expr, $to:expr;)*) => {$(
        impl sealed::Sealed for $type {}
        impl Value for $type {
            type Arg<'a> = $type;
            const KIND: Kind = Kind::$kind;

            fn get(field: u32, data: u32) -> Option<Self> {
                let from: fn(u64) -> $type = $from;
                host::get_scalar(field, data, Self::KIND.number()).map(from)
            }

            fn set(field: u32, data: u32, value: $type) -> bool {
                let to: fn($type) -> u64 = $to;
                host::set_scalar(field, data, Self::KIND.number(), to(value))
            }
        }
    )*};
}

// The host may or may not extend the sign: only the low bits count. It gives back what it was given here.
scalars! {
    bool, Bool, |word| word != 0, u64::from;
    i8, Int8, |word| word as i8, |value| value as u64;
    i16, Int16, |word| word as i16, |value| value as u64;
    i32, Int32, |word| word as i32, |value| value as u64;
    i64, Int64, |word| word as i64, |value| value as u64;
    u8, Uint8, |word| word as u8, u64::from;
    u16, Uint16, |word| word as u16, u64::from;
    u32, Uint32, |word| word as u32, u64::from;
    u64, Uint64, |word| word, |value| value;
    f32, Float32, |word| f32::from_bits(word as u32), |value| value.to_bits().into();
    f64, Float64, f64::from_bits, f64::to_bits;
}

impl sealed::Sealed for String {}
impl Value for String {
    type Arg<'a> = &'a str;
    const KIND: Kind = Kind::String;

    fn get(field: u32, data: u32) -> Option<Self> {
        with_text(field, data, str::to_owned)
    }

    fn set(field: u32, data: u32, value: &str) -> bool {
        host::set_buffer(field, data, Kind::String.number(), value.as_bytes())
    }
}

impl sealed::Sealed for Vec<u8> {}
impl Value for Vec<u8> {
    type Arg<'a> = &'a [u8];
    const KIND: Kind = Kind::Bytes;

    fn get(field: u32, data: u32) -> Option<Self> {
        with_bytes(field, data, Kind::Bytes, <[u8]>::to_vec)
    }

    fn set(field: u32, data: u32, value: &[u8]) -> bool {
        host::set_buffer(field, data, Kind::Bytes.number(), value)
    }
}

/// Room for what the host writes, bytes: as much as a ring buffer's event has, nearly always.
const ROOM: usize = 16 << 10;
/// The most room that is ever given, bytes: a guest has 16 MiB in all.
const MAX_ROOM: usize = 4 << 20;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends `read` room until it says how much of it was used; more room as long as it fails and there is more. The host
/// does not say why a call failed: too little room looks like a wrong handle.
pub(crate) fn with_room<R>(
    read: impl Fn(&mut [u8]) -> Option<usize>,
    then: impl FnOnce(&[u8]) -> R,
) -> Option<R> {
    // Taken out, so that `then` may come back here; what it makes meanwhile is thrown away.
    let mut scratch = SCRATCH.take();
    if scratch.len() < ROOM {
        scratch.resize(ROOM, 0);
    }
    let len = loop {
        match read(&mut scratch) {
            Some(len) => break Some(len),
            None if scratch.len() < MAX_ROOM => {
                let more = (scratch.len() * 16).min(MAX_ROOM);
                scratch.resize(more, 0);
            }
            None => break None,
        }
    };
    let result = len.and_then(|len| scratch.get(..len)).map(then);
    // A guest that once met a long value must not keep megabytes for it.
    scratch.truncate(ROOM);
    scratch.shrink_to_fit();
    SCRATCH.set(scratch);
    result
}

fn with_bytes<R>(field: u32, data: u32, kind: Kind, then: impl FnOnce(&[u8]) -> R) -> Option<R> {
    with_room(|room| host::get_buffer(field, data, kind.number(), room), then)
}

/// Reads a text up to its first NUL; what is not UTF-8 in it is replaced by U+FFFD.
pub(crate) fn with_text<R>(field: u32, data: u32, then: impl FnOnce(&str) -> R) -> Option<R> {
    with_bytes(field, data, Kind::String, |bytes| then(&until_nul(bytes)))
}
