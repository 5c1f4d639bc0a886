//! Values in tests, which do not care how wide a number is.

use crate::{Kind, text::until_nul};

/// A field's value in a test: `7.into()`, `"text".into()`, `true.into()`.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Of a `bool`.
    Bool(bool),
    /// Of any integer.
    Int(i128),
    /// Of either float.
    Float(f64),
    /// Of `String` and `CString`.
    Text(String),
    /// Of `Bytes`.
    Bytes(Vec<u8>),
}

macro_rules! from {
    ($($type:ty => $variant:ident,)*) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

from! {
    bool => Bool,
    i8 => Int, i16 => Int, i32 => Int, i64 => Int, u8 => Int, u16 => Int, u32 => Int, u64 => Int,
    f32 => Float, f64 => Float,
    &str => Text, String => Text,
    &[u8] => Bytes, Vec<u8> => Bytes,
}

/// The bytes of `value` in a field of this kind, if it is one.
pub(crate) fn encode(kind: Kind, value: &Value) -> Option<Vec<u8>> {
    macro_rules! int {
        ($type:ty, $number:expr) => {
            <$type>::try_from($number).ok()?.to_le_bytes().to_vec()
        };
    }
    Some(match (kind, value) {
        (Kind::Bool, Value::Bool(on)) => vec![(*on).into()],
        (Kind::Int8, Value::Int(n)) => int!(i8, *n),
        (Kind::Int16, Value::Int(n)) => int!(i16, *n),
        (Kind::Int32, Value::Int(n)) => int!(i32, *n),
        (Kind::Int64, Value::Int(n)) => int!(i64, *n),
        (Kind::Uint8, Value::Int(n)) => int!(u8, *n),
        (Kind::Uint16, Value::Int(n)) => int!(u16, *n),
        (Kind::Uint32, Value::Int(n)) => int!(u32, *n),
        (Kind::Uint64, Value::Int(n)) => int!(u64, *n),
        (Kind::Float32, Value::Float(n)) => (*n as f32).to_le_bytes().to_vec(),
        (Kind::Float64, Value::Float(n)) => n.to_le_bytes().to_vec(),
        (Kind::String | Kind::CString, Value::Text(text)) => text.as_bytes().to_vec(),
        (Kind::Bytes | Kind::CString, Value::Bytes(bytes)) => bytes.clone(),
        _ => return None,
    })
}

/// What the bytes of a field of this kind say.
pub(crate) fn decode(kind: Kind, bytes: &[u8]) -> Value {
    let unsigned = || {
        let mut word = [0; 16];
        word[..bytes.len().min(16)].copy_from_slice(&bytes[..bytes.len().min(16)]);
        i128::from_le_bytes(word)
    };
    let signed = || {
        let unused = 128 - 8 * bytes.len().clamp(1, 16) as u32;
        unsigned() << unused >> unused
    };
    match kind {
        Kind::Bool => Value::Bool(bytes.first() == Some(&1)),
        Kind::Int8 | Kind::Int16 | Kind::Int32 | Kind::Int64 => Value::Int(signed()),
        Kind::Uint8 | Kind::Uint16 | Kind::Uint32 | Kind::Uint64 => Value::Int(unsigned()),
        Kind::Float32 => Value::Float(f32::from_bits(unsigned() as u32).into()),
        Kind::Float64 => Value::Float(f64::from_bits(unsigned() as u64)),
        Kind::String | Kind::CString => Value::Text(until_nul(bytes).into_owned()),
        Kind::Bytes => Value::Bytes(bytes.to_vec()),
    }
}
