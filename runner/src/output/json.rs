//! Events as JSON, one object a line or indented.
//!
//! The format is that of Inspektor Gadget, down to the order of keys; where that writes what no parser takes (NaN,
//! arrays of unknown elements), this stays valid.

use super::document::{Document, Layout};
use super::{escape, number};
use crate::datasource::{DataSource, Event, FieldId, Kind, Scalar, SourceKind, Value};

/// Writes events as JSON.
#[derive(Debug)]
pub struct Json {
    document: Document,
    form: Form,
    /// Whether an element of the batch was written.
    continued: bool,
}

/// What is around an element of a batch.
#[derive(Debug)]
struct Form {
    before: &'static [u8],
    end: &'static [u8],
}

impl Json {
    /// One object a line, without spaces; a batch is one array a line. Of the fields, those of `only`.
    pub fn new(source: &DataSource, only: Option<&[FieldId]>) -> Self {
        let line = source.kind == SourceKind::Single;
        let document = Document::new(source, only, &Compact { line });
        Self { document, form: Form { before: b"", end: b"]\n" }, continued: false }
    }

    /// Indented by two spaces; events are separated by newlines only.
    pub fn pretty(source: &DataSource, only: Option<&[FieldId]>) -> Self {
        let depth = usize::from(source.kind == SourceKind::Array);
        let document = Document::new(source, only, &Pretty { depth });
        Self { document, form: Form { before: b"\n  ", end: b"\n]\n" }, continued: false }
    }

    /// Appends one event: of a data source of single ones, with the newline that ends it.
    #[inline]
    pub fn event(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        self.document.write(event, out, |step, out| {
            value(step.accessor.kind(), step.accessor.value(event), out);
        });
    }

    /// Begins a batch.
    pub(super) fn begin(&mut self, out: &mut Vec<u8>) {
        out.push(b'[');
        self.continued = false;
    }

    /// Appends an event of a batch.
    pub(super) fn element(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.continued, true) {
            out.push(b',');
        }
        out.extend_from_slice(self.form.before);
        self.event(event, out);
    }

    /// Ends a batch.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.continued { self.form.end } else { b"]\n" });
    }
}

#[inline]
fn value(kind: Kind, value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Unsigned(v) => number::unsigned(v, out),
        Value::Signed(v) => number::signed(v, out),
        Value::Text(v) => escape::json(v, out),
        Value::Bool(v) => number::boolean(v, out),
        Value::Float(v) => number::float(v, kind.scalar == Scalar::Float32, number::json_exponent, out),
        Value::Bytes(v) => hex(v, out),
        Value::Array(scalar, v) => array(scalar, v, out),
    }
}

fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    number::hex(bytes, out);
    out.push(b'"');
}

/// Elements of a kind that is no number have no known size: they are written as one run of bytes.
fn array(scalar: Scalar, bytes: &[u8], out: &mut Vec<u8>) {
    let Some(size) = number::element_size(scalar) else { return hex(bytes, out) };
    out.push(b'[');
    for (index, raw) in bytes.chunks_exact(size).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        value(Kind { scalar, array: false }, number::element(scalar, raw), out);
    }
    out.push(b']');
}

/// Objects without spaces, each on a line of its own if `line`.
struct Compact {
    line: bool,
}

impl Layout for Compact {
    fn open(&self, _depth: usize, text: &mut Vec<u8>) {
        text.push(b'{');
    }

    fn key(&self, _depth: usize, first: bool, name: &str, _leaf: Option<Kind>, text: &mut Vec<u8>) {
        if !first {
            text.push(b',');
        }
        escape::json(name.as_bytes(), text);
        text.push(b':');
    }

    fn close(&self, _depth: usize, _empty: bool, text: &mut Vec<u8>) {
        text.push(b'}');
    }

    fn end(&self, text: &mut Vec<u8>) {
        if self.line {
            text.push(b'\n');
        }
    }
}

/// Indented objects, `depth` steps deep.
struct Pretty {
    depth: usize,
}

impl Layout for Pretty {
    fn open(&self, _depth: usize, text: &mut Vec<u8>) {
        text.push(b'{');
    }

    fn key(&self, depth: usize, first: bool, name: &str, _leaf: Option<Kind>, text: &mut Vec<u8>) {
        if !first {
            text.push(b',');
        }
        new_line(self.depth + depth + 1, text);
        escape::json(name.as_bytes(), text);
        text.extend_from_slice(b": ");
    }

    fn close(&self, depth: usize, empty: bool, text: &mut Vec<u8>) {
        if !empty {
            new_line(self.depth + depth, text);
        }
        text.push(b'}');
    }

    fn end(&self, text: &mut Vec<u8>) {
        if self.depth == 0 {
            text.push(b'\n');
        }
    }
}

/// Starts a line indented by `depth` steps.
pub(super) fn new_line(depth: usize, text: &mut Vec<u8>) {
    text.push(b'\n');
    for _ in 0..depth {
        text.extend_from_slice(b"  ");
    }
}
