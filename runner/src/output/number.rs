//! Numbers, hexadecimal and array elements as text, without allocating.

use std::io::Write as _;

use super::append;
use crate::datasource::{Scalar, Value};

/// Appends an unsigned integer.
#[inline]
pub(super) fn unsigned(v: u64, out: &mut Vec<u8>) {
    append::short(itoa::Buffer::new().format(v).as_bytes(), out);
}

/// Appends a signed integer.
#[inline]
pub(super) fn signed(v: i64, out: &mut Vec<u8>) {
    append::short(itoa::Buffer::new().format(v).as_bytes(), out);
}

/// Appends `true` or `false`.
pub(super) fn boolean(v: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if v { b"true" } else { b"false" });
}

/// Appends bytes as two lower-case hexadecimal digits each.
pub(super) fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for b in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]);
    }
}

/// Whether a float is written with an exponent.
pub(super) type Exponent = fn(f64) -> bool;

/// JSON's rule, that of ECMAScript: very large and very small numbers.
pub(super) fn json_exponent(v: f64) -> bool {
    let abs = v.abs();
    abs != 0.0 && !(1e-6..1e21).contains(&abs)
}

/// YAML's rule here: six digits before the point and four zeros after it, except for whole numbers, which were
/// read as integers.
pub(super) fn yaml_exponent(v: f64) -> bool {
    let abs = v.abs();
    let whole = v.fract() == 0.0 && abs < u64::MAX as f64;
    abs != 0.0 && !whole && !(1e-4..1e6).contains(&abs)
}

/// Appends the shortest digits that read back as the same float: of 64 bits, or of 32 if `single`. A number that
/// neither JSON nor a sum can hold, NaN or infinite, is `null`.
pub(super) fn float(v: f64, single: bool, exponent: Exponent, out: &mut Vec<u8>) {
    if !v.is_finite() {
        out.extend_from_slice(b"null");
        return;
    }
    let start = out.len();
    // Writing to a Vec can't fail.
    let _ = match (exponent(v), single) {
        (false, false) => write!(out, "{v}"),
        (false, true) => write!(out, "{}", v as f32),
        (true, false) => write!(out, "{v:e}"),
        (true, true) => write!(out, "{:e}", v as f32),
    };
    // A positive exponent has a sign: 1e+21.
    if let Some(e) = out[start..].iter().position(|&b| b == b'e')
        && out.get(start + e + 1).is_some_and(u8::is_ascii_digit)
    {
        out.insert(start + e + 1, b'+');
    }
}

/// Bytes of one array element; `None` if elements of this kind have no fixed size or are not numbers.
pub(super) fn element_size(scalar: Scalar) -> Option<usize> {
    match scalar {
        Scalar::Bool | Scalar::Int8 | Scalar::Uint8 => Some(1),
        Scalar::Int16 | Scalar::Uint16 => Some(2),
        Scalar::Int32 | Scalar::Uint32 | Scalar::Float32 => Some(4),
        Scalar::Int64 | Scalar::Uint64 | Scalar::Float64 => Some(8),
        Scalar::String | Scalar::CString | Scalar::Bytes | Scalar::Invalid => None,
    }
}

/// One array element, in this machine's byte order. Anything that is no number stays bytes.
pub(super) fn element(scalar: Scalar, raw: &[u8]) -> Value<'_> {
    macro_rules! read {
        ($ty:ty, $variant:ident, $as:ty) => {
            match raw.try_into() {
                Ok(raw) => Value::$variant(<$ty>::from_ne_bytes(raw) as $as),
                Err(_) => Value::Bytes(raw),
            }
        };
    }
    match scalar {
        Scalar::Bool => Value::Bool(raw == [1]),
        Scalar::Int8 => read!(i8, Signed, i64),
        Scalar::Int16 => read!(i16, Signed, i64),
        Scalar::Int32 => read!(i32, Signed, i64),
        Scalar::Int64 => read!(i64, Signed, i64),
        Scalar::Uint8 => read!(u8, Unsigned, u64),
        Scalar::Uint16 => read!(u16, Unsigned, u64),
        Scalar::Uint32 => read!(u32, Unsigned, u64),
        Scalar::Uint64 => read!(u64, Unsigned, u64),
        Scalar::Float32 => read!(f32, Float, f64),
        Scalar::Float64 => read!(f64, Float, f64),
        Scalar::String | Scalar::CString | Scalar::Bytes | Scalar::Invalid => Value::Bytes(raw),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(v: f64, single: bool, exponent: Exponent) -> String {
        let mut out = Vec::new();
        float(v, single, exponent, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn floats_are_written_as_json_expects() {
        for (v, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (1.5e-9, "1.5e-9"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "null"),
            (f64::NEG_INFINITY, "null"),
        ] {
            assert_eq!(text(v, false, json_exponent), expected);
        }
    }

    #[test]
    fn single_floats_do_not_show_the_digits_of_double_ones() {
        assert_eq!(text(f64::from(0.1f32), true, json_exponent), "0.1");
        assert_eq!(text(f64::from(1e21f32), true, json_exponent), "1e+21");
    }

    #[test]
    fn yaml_floats_use_exponents_earlier_but_not_for_whole_numbers() {
        assert_eq!(text(1_234_567.5, false, yaml_exponent), "1.2345675e+6");
        assert_eq!(text(1_000_000.0, false, yaml_exponent), "1000000");
        assert_eq!(text(0.00001, false, yaml_exponent), "1e-5");
        assert_eq!(text(0.5, false, yaml_exponent), "0.5");
    }

    #[test]
    fn hex_is_lower_case() {
        let mut out = Vec::new();
        hex(&[0x00, 0xAB, 0xFF], &mut out);
        assert_eq!(out, b"00abff");
    }
}
