//! Events as a table: one line each, under a header.
//!
//! Widths, alignment and the like come from the fields' `columns.*` annotations. Values are escaped, so that a line
//! stays a line and a terminal acts on none of it. Off a terminal no value is ever cut.

use std::io::Write as _;

use unicode_width::UnicodeWidthChar as _;

use super::tint::Tint;
use super::width::{self, Wish};
use super::{escape, number};
use crate::datasource::{Accessor, DataSource, Event, Field, FieldId, Kind, Scalar, Value};

/// The width of a column that asks for none.
const DEFAULT_WIDTH: usize = 16;

/// The widest that an image can ask a column to be.
const WIDEST: usize = 1024;

/// Writes events as a table.
#[derive(Debug)]
pub struct Columns {
    columns: Vec<Column>,
    /// The terminal's width, to which lines are cut; none off a terminal.
    line: Option<usize>,
    colour: bool,
    /// One cell, escaped but not yet fitted.
    cell: Vec<u8>,
}

#[derive(Debug)]
struct Column {
    accessor: Accessor,
    style: Style,
    header: String,
    wish: Wish,
    width: usize,
    right: bool,
    ellipsis: Ellipsis,
    tint: Option<Tint>,
}

/// How a value is written.
#[derive(Clone, Copy, Debug)]
struct Style {
    hex: bool,
    precision: usize,
}

/// Where a text too long for its column is cut, and the cut marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ellipsis {
    None,
    Start,
    Middle,
    End,
}

impl Columns {
    /// A table of `fields`, fitted to a terminal of `terminal` characters, or not fitted if there is none. With
    /// `colour`, errors and signals stand out.
    pub fn new(source: &DataSource, fields: &[FieldId], terminal: Option<u16>, colour: bool) -> Self {
        let columns = fields.iter().map(|&id| Column::new(source, id)).collect();
        let mut table = Self { columns, line: None, colour, cell: Vec::with_capacity(256) };
        table.resize(terminal);
        table
    }

    /// Fits the table to a terminal that is now `terminal` characters wide.
    pub fn resize(&mut self, terminal: Option<u16>) {
        // Some terminals say that they have no width at all.
        self.line = terminal.map(usize::from).filter(|&line| line > 0);
        let wishes: Vec<Wish> = self.columns.iter().map(|column| column.wish).collect();
        let widths = match self.line {
            Some(line) => width::fit(&wishes, line),
            None => wishes.iter().map(|wish| wish.width.max(wish.header)).collect(),
        };
        for (column, width) in self.columns.iter_mut().zip(widths) {
            column.width = width;
        }
    }

    /// Appends the header line.
    pub fn header(&mut self, out: &mut Vec<u8>) {
        self.write(None, false, out);
    }

    /// Appends one event and a newline.
    pub fn event(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        self.write(Some(event), self.colour, out);
    }

    /// Appends a line: that of an event, or the header's.
    fn write(&mut self, event: Option<&Event<'_>>, colour: bool, out: &mut Vec<u8>) {
        let Self { columns, line, cell, .. } = self;
        let last = columns.len().saturating_sub(1);
        let start = out.len();
        let (mut planned, mut used) = (0, 0);
        for (index, column) in columns.iter().enumerate() {
            cell.clear();
            let (width, may_cut) = match event {
                Some(event) => (column.style.write(column.accessor.value(event), cell), column.wish.is_text),
                None => (escape::terminal(column.header.as_bytes(), cell), true),
            };
            planned += column.width;
            // A number that needs more than its column takes it from the columns behind it.
            let room = planned.saturating_sub(used).max(1);
            let cut = (line.is_some() && may_cut).then_some(if event.is_some() {
                column.ellipsis
            } else {
                Ellipsis::End
            });
            let tint = column.tint.filter(|_| colour && !cell.is_empty());
            if let Some(tint) = tint {
                out.extend_from_slice(tint.on());
            }
            let padded = index != last;
            used += column.place(cell, width, Room { columns: room, padded }, cut, out);
            if tint.is_some() {
                out.extend_from_slice(Tint::OFF);
            }
            if index != last {
                out.push(b' ');
                used += 1;
                planned += 1;
            }
        }
        used -= trim(start, out);
        match *line {
            Some(line) if used > line && colour => {
                // Half an escape sequence must not be left: without colours there is none.
                out.truncate(start);
                return self.write(event, false, out);
            }
            Some(line) if used > line => {
                cell.clear();
                cell.extend_from_slice(&out[start..]);
                out.truncate(start);
                shorten(cell, used, line.max(1), Ellipsis::End, out);
                trim(start, out);
            }
            _ => {}
        }
        out.push(b'\n');
    }
}

/// Takes away the spaces that empty cells leave at the end of the line that starts at `start`; returns how many.
fn trim(start: usize, out: &mut Vec<u8>) -> usize {
    let before = out.len();
    let end = out[start..].iter().rposition(|&b| b != b' ').map_or(start, |at| start + at + 1);
    out.truncate(end);
    before - end
}

/// The place of one cell in a line.
#[derive(Clone, Copy)]
struct Room {
    columns: usize,
    /// Whether what a left-aligned cell leaves is filled: not at a line's end.
    padded: bool,
}

impl Column {
    fn new(source: &DataSource, id: FieldId) -> Self {
        let field = &source.fields[id];
        let shown = source.stands_for(id).unwrap_or(id);
        let kind = source.fields[shown].kind;
        let header = field.annotations.get("columns.alias").unwrap_or(&field.full_name).to_uppercase();
        let header_columns = escape::terminal(header.as_bytes(), &mut Vec::new());
        let hex = field.annotations.is_true("columns.hex");
        let size = |key| size(field, key, kind, hex);
        let width = size("columns.width").unwrap_or(DEFAULT_WIDTH).max(1);
        let wish = Wish {
            width,
            min: size("columns.minwidth").unwrap_or(0),
            max: size("columns.maxwidth")
                .or_else(|| digits(kind, hex).map(|digits| digits.max(header_columns)))
                .unwrap_or(usize::from(u16::MAX)),
            fixed: field.annotations.is_true("columns.fixed"),
            header: header_columns,
            is_text: is_text(kind),
        };
        let precision = field.annotations.get("columns.precision").and_then(|p| p.parse().ok()).unwrap_or(0);
        Self {
            accessor: source.accessor(shown),
            style: Style { hex, precision: usize::min(precision, 64) },
            header,
            wish,
            width,
            right: field.annotations.get("columns.alignment") == Some("right"),
            ellipsis: match field.annotations.get("columns.ellipsis") {
                Some("none" | "") => Ellipsis::None,
                Some("start") => Ellipsis::Start,
                Some("middle") => Ellipsis::Middle,
                _ => Ellipsis::End,
            },
            tint: Tint::of(source, id),
        }
    }

    /// Appends a cell of `columns` columns, cut or padded to its room; returns how many columns that took.
    fn place(
        &self,
        cell: &[u8],
        columns: usize,
        room: Room,
        cut: Option<Ellipsis>,
        out: &mut Vec<u8>,
    ) -> usize {
        let start = out.len();
        let written = match cut {
            // A wide character may not fit into the last column.
            Some(ellipsis) if columns > room.columns => shorten(cell, columns, room.columns, ellipsis, out),
            _ => {
                if self.right {
                    out.resize(start + room.columns.saturating_sub(columns), b' ');
                }
                out.extend_from_slice(cell);
                columns
            }
        };
        let pad = room.columns.saturating_sub(written);
        if self.right {
            if written != columns && pad > 0 {
                out.splice(start..start, std::iter::repeat_n(b' ', pad));
            }
            written + pad
        } else if room.padded {
            out.resize(out.len() + pad, b' ');
            written + pad
        } else {
            written
        }
    }
}

impl Style {
    /// Appends a value and returns how many terminal columns it takes.
    fn write(self, value: Value<'_>, out: &mut Vec<u8>) -> usize {
        // Writing to a Vec can't fail.
        let _ = match value {
            Value::Text(v) => return escape::terminal(v, out),
            Value::Unsigned(v) if self.hex => write!(out, "{v:#X}"),
            Value::Signed(v) if self.hex => {
                write!(out, "{}0x{:X}", if v < 0 { "-" } else { "" }, v.unsigned_abs())
            }
            Value::Unsigned(v) => {
                number::unsigned(v, out);
                Ok(())
            }
            Value::Signed(v) => {
                number::signed(v, out);
                Ok(())
            }
            Value::Bool(v) => {
                number::boolean(v, out);
                Ok(())
            }
            Value::Float(v) => write!(out, "{v:.*}", self.precision),
            Value::Bytes(v) | Value::Array(_, v) => write!(out, "<{} bytes>", v.len()),
        };
        out.len()
    }
}

/// A width annotation: a number, or `type` for what the type can need. Anything else counts as absent.
fn size(field: &Field, key: &str, kind: Kind, hex: bool) -> Option<usize> {
    match field.annotations.get(key)? {
        "type" => digits(kind, hex),
        number => number.parse::<usize>().ok().filter(|&n| n > 0).map(|n| n.min(WIDEST)),
    }
}

/// The longest value of a type; none if there is no longest.
fn digits(kind: Kind, hex: bool) -> Option<usize> {
    if kind.array {
        return None;
    }
    let (decimal, bytes) = match kind.scalar {
        Scalar::Bool => return Some(5),
        Scalar::Uint8 => (3, 1),
        Scalar::Int8 => (4, 1),
        Scalar::Uint16 => (5, 2),
        Scalar::Int16 => (6, 2),
        Scalar::Uint32 => (10, 4),
        Scalar::Int32 => (11, 4),
        Scalar::Uint64 | Scalar::Int64 => (20, 8),
        Scalar::Float32
        | Scalar::Float64
        | Scalar::String
        | Scalar::CString
        | Scalar::Bytes
        | Scalar::Invalid => return None,
    };
    Some(if hex { decimal.max(2 * bytes + 2) } else { decimal })
}

/// Whether cells of this kind may be cut: half a number is another number.
fn is_text(kind: Kind) -> bool {
    kind.array || matches!(kind.scalar, Scalar::String | Scalar::CString | Scalar::Bytes | Scalar::Invalid)
}

/// Appends as much of `cell` as fits `width`, and returns how many columns that took.
fn shorten(cell: &[u8], columns: usize, width: usize, ellipsis: Ellipsis, out: &mut Vec<u8>) -> usize {
    const MARK: &[u8] = "…".as_bytes();
    // A cell is UTF-8: it was escaped.
    let cell = std::str::from_utf8(cell).unwrap_or_default();
    let room = width.saturating_sub(1);
    match ellipsis {
        Ellipsis::None => front(cell, width, out),
        Ellipsis::End => {
            let written = front(cell, room, out);
            out.extend_from_slice(MARK);
            written + 1
        }
        Ellipsis::Start => {
            out.extend_from_slice(MARK);
            1 + back(cell, columns, room, out)
        }
        Ellipsis::Middle => {
            let written = front(cell, room.div_ceil(2), out);
            out.extend_from_slice(MARK);
            written + 1 + back(cell, columns, room / 2, out)
        }
    }
}

/// Appends the start of `text`, at most `room` columns; returns how many.
fn front(text: &str, room: usize, out: &mut Vec<u8>) -> usize {
    let mut written = 0;
    for (at, c) in text.char_indices() {
        let next = written + c.width().unwrap_or(0);
        if next > room {
            out.extend_from_slice(&text.as_bytes()[..at]);
            return written;
        }
        written = next;
    }
    out.extend_from_slice(text.as_bytes());
    written
}

/// Appends the end of `text`, which takes `columns`, at most `room` columns; returns how many.
fn back(text: &str, columns: usize, room: usize, out: &mut Vec<u8>) -> usize {
    let mut left = columns;
    for (at, c) in text.char_indices() {
        if left <= room {
            out.extend_from_slice(&text.as_bytes()[at..]);
            return left;
        }
        left = left.saturating_sub(c.width().unwrap_or(0));
    }
    0
}
