//! JSON as Go's `encoding/json` writes it, for digests must not depend on who built the image.
//!
//! serde_json differs in one thing: Go escapes `<`, `>`, `&` and the two Unicode line separators.

use serde::Serialize;
use serde_json::ser::Formatter;
use std::io::{self, Write};

struct Go;

impl Formatter for Go {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (before, after) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut chars = after.chars();
            if let Some(special) = chars.next() {
                write!(writer, "\\u{:04x}", u32::from(special))?;
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Serialises without white space, fields in the order of the struct.
///
/// The types of this crate cannot fail: their keys are strings and their numbers are finite.
pub fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Go);
    match value.serialize(&mut serializer) {
        Ok(()) => out,
        Err(error) => unreachable!("serialising to memory: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::to_json;
    use proptest::prelude::*;

    #[test]
    fn escapes_as_go_does() {
        let text = "a<b>&c\u{2028}\u{2029}\"\\\n\t\u{1}\u{7f}é\u{8}\u{c}";
        let expected =
            r#""a\u003cb\u003e\u0026c\u2028\u2029\"\\\n\t\u0001"#.to_owned() + "\u{7f}é" + r#"\b\f""#;
        assert_eq!(String::from_utf8(to_json(&text)).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn any_text_survives(text in any::<String>()) {
            let json = to_json(&text);
            prop_assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
        }
    }
}
