//! Events as YAML, a document each.
//!
//! Keys are sorted and nested as in JSON. Text is quoted only where YAML (1.1 or 1.2) would read it as something
//! else, and always escaped where a terminal would act on it.

use super::document::{Document, Layout};
use super::json::new_line;
use super::{escape, number};
use crate::datasource::{DataSource, Event, FieldId, Kind, Scalar, Value};

/// Writes events as YAML.
#[derive(Debug)]
pub struct Yaml {
    document: Document,
}

impl Yaml {
    /// A document an event, each after a `---`. Of the fields, those of `only`.
    pub fn new(source: &DataSource, only: Option<&[FieldId]>) -> Self {
        Self { document: Document::new(source, only, &Block) }
    }

    /// Appends one event and a newline.
    #[inline]
    pub fn event(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        self.document.write(event, out, |step, out| match step.accessor.value(event) {
            Value::Array(scalar, bytes) => array(scalar, bytes, step.depth, out),
            value => scalar(step.accessor.kind().scalar, value, out),
        });
    }
}

struct Block;

impl Layout for Block {
    fn open(&self, depth: usize, text: &mut Vec<u8>) {
        if depth == 0 {
            text.extend_from_slice(b"---");
        }
    }

    fn key(&self, depth: usize, _first: bool, name: &str, leaf: Option<Kind>, text: &mut Vec<u8>) {
        new_line(depth, text);
        string(name.as_bytes(), text);
        text.push(b':');
        // An array's elements go on lines of their own.
        if leaf.is_some_and(|kind| !kind.array) {
            text.push(b' ');
        }
    }

    fn close(&self, _depth: usize, empty: bool, text: &mut Vec<u8>) {
        if empty {
            text.extend_from_slice(b" {}");
        }
    }

    fn end(&self, text: &mut Vec<u8>) {
        text.push(b'\n');
    }
}

fn scalar(kind: Scalar, value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Unsigned(v) => number::unsigned(v, out),
        Value::Signed(v) => number::signed(v, out),
        Value::Text(v) => string(v, out),
        Value::Bool(v) => number::boolean(v, out),
        Value::Float(v) => number::float(v, kind == Scalar::Float32, number::yaml_exponent, out),
        Value::Bytes(v) | Value::Array(_, v) => hex(v, out),
    }
}

/// Hexadecimal digits, quoted if all of them happen to look like a number.
fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    number::hex(bytes, out);
    if is_other_than_text(&out[start..]) {
        out.insert(start, b'"');
        out.push(b'"');
    }
}

fn array(kind: Scalar, bytes: &[u8], depth: usize, out: &mut Vec<u8>) {
    let Some(size) = number::element_size(kind) else {
        out.push(b' ');
        return hex(bytes, out);
    };
    if bytes.len() < size {
        out.extend_from_slice(b" []");
    }
    for raw in bytes.chunks_exact(size) {
        new_line(depth, out);
        out.extend_from_slice(b"- ");
        scalar(kind, number::element(kind, raw), out);
    }
}

/// Appends text as a scalar in the plainest style that reads back as the same text. A byte that is not UTF-8 becomes U+FFFD.
fn string(bytes: &[u8], out: &mut Vec<u8>) {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(escape::is_printable) && !is_other_than_text(bytes) => {
            if is_plain(bytes) {
                out.extend_from_slice(bytes);
            } else {
                single_quoted(bytes, out);
            }
        }
        _ => double_quoted(bytes, out),
    }
}

fn single_quoted(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'\'');
    for &b in bytes {
        out.push(b);
        if b == b'\'' {
            out.push(b);
        }
    }
    out.push(b'\'');
}

fn double_quoted(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                _ if escape::is_printable(c) => {
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                _ => escape::code_point(c, out),
            }
        }
        for _ in chunk.invalid() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

/// Whether printable text needs no quotes as a value in a block: no sign of YAML's own at its start, no `: ` or
/// ` #` within, no space at either end.
fn is_plain(text: &[u8]) -> bool {
    let (Some(first), Some(last)) = (text.first(), text.last()) else { return false };
    let followed_by_space = text.get(1).is_none_or(|&b| b == b' ');
    let starts_plain = match first {
        b' ' | b'#' | b',' | b'[' | b']' | b'{' | b'}' | b'&' | b'*' | b'!' | b'|' | b'>' | b'\'' | b'"'
        | b'%' | b'@' | b'`' => false,
        b'-' | b'?' | b':' => !followed_by_space,
        _ => true,
    };
    let is_marker = text.starts_with(b"---") || text.starts_with(b"...");
    let has_sign = text.windows(2).any(|pair| pair == b": " || pair == b" #");
    starts_plain && !is_marker && !has_sign && !matches!(last, b' ' | b':')
}

/// Whether plain text would be read as null, a boolean, a number, a date or a merge key by any version of YAML.
fn is_other_than_text(text: &[u8]) -> bool {
    const WORDS: [&str; 13] =
        ["", "~", "null", "true", "false", "y", "n", "yes", "no", "on", "off", "<<", "="];
    let Some(first) = text.first() else { return true };
    if WORDS.iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes())) {
        return true;
    }
    matches!(first, b'0'..=b'9' | b'+' | b'-' | b'.') && (is_number(text) || is_date(text))
}

/// Numbers as YAML 1.1 or 1.2 writes them: decimal, other bases, floats, sexagesimal; underscores anywhere.
fn is_number(text: &[u8]) -> bool {
    let unsigned = text.strip_prefix(b"+").or_else(|| text.strip_prefix(b"-")).unwrap_or(text);
    if [&b".inf"[..], b".nan", b"inf", b"nan", b"infinity"].iter().any(|w| unsigned.eq_ignore_ascii_case(w)) {
        return true;
    }
    if let [b'0', b'x' | b'X' | b'o' | b'O' | b'b' | b'B', digits @ ..] = unsigned {
        return digits.iter().all(|b| b.is_ascii_hexdigit() || *b == b'_');
    }
    let mut rest = unsigned;
    let mut digits = skip_digits(&mut rest);
    // 12:30:45
    if digits > 0 && rest.first() == Some(&b':') {
        return rest.iter().all(|b| matches!(b, b'0'..=b'9' | b':' | b'.' | b'_'));
    }
    if let [b'.', fraction @ ..] = rest {
        rest = fraction;
        digits += skip_digits(&mut rest);
    }
    if digits == 0 {
        return false;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        rest = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
        return skip_digits(&mut rest) > 0 && rest.is_empty();
    }
    rest.is_empty()
}

fn skip_digits(text: &mut &[u8]) -> usize {
    let end = text.iter().position(|b| !(b.is_ascii_digit() || *b == b'_')).unwrap_or(text.len());
    let digits = text[..end].iter().filter(|b| b.is_ascii_digit()).count();
    *text = &text[end..];
    digits
}

/// `2024-01-01`, with or without a time.
fn is_date(text: &[u8]) -> bool {
    matches!(text, [y @ .., _] if y.len() >= 5 && y[..4].iter().all(u8::is_ascii_digit) && y[4] == b'-')
        && text
            .iter()
            .all(|b| matches!(b, b'0'..=b'9' | b'-' | b':' | b'.' | b'+' | b' ' | b'T' | b't' | b'Z' | b'z'))
}
