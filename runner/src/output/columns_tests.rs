//! Tables: what they look like on and off a terminal, and that nothing hostile gets through.

use proptest::prelude::*;
use unicode_width::UnicodeWidthChar as _;

use super::columns::Columns;
use super::sample;
use crate::datasource::{DataSource, Event, FieldId, Kind, Scalar, Slots, SourceKind};

fn table(terminal: Option<u16>, container: &str, name: &str) -> String {
    let source = sample::sni();
    let ids = source.visible();
    let mut columns = Columns::new(&source, &ids, terminal, false);
    let mut out = Vec::new();
    columns.header(&mut out);
    for comm in [&b"wget"[..], b"0123456789abcdef"] {
        let data = sample::data(comm, name.as_bytes());
        columns.event(&Event { data: &data, slots: &mut sample::slots(&source, container) }, &mut out);
    }
    String::from_utf8(out).unwrap()
}

fn columns_of(line: &str) -> usize {
    line.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// A source with one field, `v`, of `len` bytes and with these annotations.
fn single(scalar: Scalar, len: usize, annotations: &[(&str, &str)]) -> DataSource {
    let mut source = DataSource::new("one", SourceKind::Single);
    let id = sample::add(&mut source, None, "v", scalar, 0, len as u32);
    for (key, value) in annotations {
        source.fields[id].annotations.set(*key, *value);
    }
    source
}

/// The row of such a source.
fn cell(scalar: Scalar, data: &[u8], annotations: &[(&str, &str)], terminal: Option<u16>) -> String {
    let source = single(scalar, data.len(), annotations);
    let mut out = Vec::new();
    Columns::new(&source, &[0], terminal, false).event(&Event { data, slots: &mut Slots::new(0) }, &mut out);
    String::from_utf8(out).unwrap().trim_end_matches('\n').to_owned()
}

const LONG: &str = "a-container-with-a-name-longer-than-thirty";

#[test]
fn off_a_terminal_columns_have_their_width() {
    insta::assert_snapshot!(table(None, "test-trace-sni", "example.com"), @"
    RUNTIME.CONTAINERNAME          COMM                          PID              TID NAME
    test-trace-sni                 wget                         4321             4322 example.com
    test-trace-sni                 0123456789abcdef             4321             4322 example.com
    ");
}

#[test]
fn off_a_terminal_nothing_is_cut() {
    let name = "a.very.long.host.name.that.needs.more.than.thirty.example.com";
    let text = table(None, LONG, name);
    assert_eq!(text.matches(LONG).count(), 2);
    assert_eq!(text.matches(name).count(), 2);
}

#[test]
fn on_a_terminal_of_80() {
    insta::assert_snapshot!(table(Some(80), LONG, "example.com"), @"
    RUNTIME.CONTAINERNAME   COMM               PID        TID NAME
    a-container-with-a-nam… wget              4321       4322 example.com
    a-container-with-a-nam… 0123456789…       4321       4322 example.com
    ");
}

#[test]
fn on_a_terminal_of_120() {
    insta::assert_snapshot!(table(Some(120), LONG, "example.com"), @"
    RUNTIME.CONTAINERNAME                    COMM                    PID        TID NAME
    a-container-with-a-name-longer-than-thi… wget                   4321       4322 example.com
    a-container-with-a-name-longer-than-thi… 0123456789abcdef       4321       4322 example.com
    ");
}

#[test]
fn on_a_terminal_of_200() {
    insta::assert_snapshot!(table(Some(200), LONG, "example.com"), @"
    RUNTIME.CONTAINERNAME                                                            COMM                    PID        TID NAME
    a-container-with-a-name-longer-than-thirty                                       wget                   4321       4322 example.com
    a-container-with-a-name-longer-than-thirty                                       0123456789abcdef       4321       4322 example.com
    ");
}

#[test]
fn on_a_tiny_terminal_columns_stay_readable_and_numbers_whole() {
    insta::assert_snapshot!(table(Some(30), LONG, "example.com"), @"
    RUN… COMM     PID     TID NAME
    a-c… wget    4321    4322 exa…
    a-c… 012…    4321    4322 exa…
    ");
}

#[test]
fn a_terminal_too_narrow_for_all_shows_what_it_can() {
    insta::assert_snapshot!(table(Some(20), LONG, "example.com"), @"
    RUN… COMM PID TID N…
    a-c… wget 4321 4322…
    a-c… 012… 4321 4322…
    ");
    insta::assert_snapshot!(table(Some(2), LONG, "example.com"), @"
    R…
    a…
    a…
    ");
    assert_eq!(table(Some(0), LONG, "example.com"), table(None, LONG, "example.com"));
}

#[test]
fn a_number_wider_than_its_column_takes_from_the_next() {
    let mut source = single(Scalar::Uint32, 4, &[("columns.width", "3"), ("columns.fixed", "true")]);
    sample::add(&mut source, None, "name", Scalar::CString, 4, 8);
    source.fields[1].annotations.set("columns.width", "8");
    source.fields[1].annotations.set("columns.fixed", "true");
    sample::add(&mut source, None, "last", Scalar::CString, 12, 4);
    let data = [&123_456u32.to_ne_bytes()[..], b"abcdefg\0", b"xyz\0"].concat();
    let mut out = Vec::new();
    let mut columns = Columns::new(&source, &[0, 1, 2], Some(24), false);
    columns.header(&mut out);
    columns.event(&Event { data: &data, slots: &mut Slots::new(0) }, &mut out);
    insta::assert_snapshot!(String::from_utf8(out).unwrap(), @"
    V   NAME     LAST
    123456 abcd… xyz
    ");
}

#[test]
fn errors_and_signals_stand_out_in_colour() {
    let mut source = single(Scalar::Uint32, 4, &[]);
    source.fields[0].name = "error_raw".into();
    source.fields[0].tags.push("type:gadget_errno".into());
    let id = sample::add(&mut source, None, "error", Scalar::CString, 4, 8);
    let row = |data: &[u8; 12], colour| {
        let mut out = Vec::new();
        Columns::new(&source, &[id, 0], Some(80), colour)
            .event(&Event { data, slots: &mut Slots::new(0) }, &mut out);
        String::from_utf8(out).unwrap().split(' ').next().unwrap().to_owned()
    };
    assert_eq!(row(b"\x02\0\0\0ENOENT\0\0", false), "ENOENT");
    assert_eq!(row(b"\x02\0\0\0ENOENT\0\0", true), "\x1b[31mENOENT");
    assert_eq!(row(&[0; 12], true), "");
}

#[test]
fn a_terminal_can_change_its_size() {
    let source = sample::sni();
    let ids = source.visible();
    let mut columns = Columns::new(&source, &ids, Some(200), false);
    columns.resize(Some(80));
    let (mut resized, mut fresh) = (Vec::new(), Vec::new());
    columns.header(&mut resized);
    Columns::new(&source, &ids, Some(80), false).header(&mut fresh);
    assert_eq!(resized, fresh);
}

#[test]
fn hostile_values_stay_on_their_line() {
    let name = "\x1b[2J\n\"ünï\"\u{202e}\u{9b}1m 字字\\";
    insta::assert_snapshot!(table(None, "字\x1b]0;x\x07", name), @r#"
    RUNTIME.CONTAINERNAME          COMM                          PID              TID NAME
    字\x1b]0;x\a                   wget                         4321             4322 \x1b[2J\n\"ünï\"\u202e\u009b1m 字字\\
    字\x1b]0;x\a                   0123456789abcdef             4321             4322 \x1b[2J\n\"ünï\"\u202e\u009b1m 字字\\
    "#);
}

#[test]
fn numbers() {
    assert_eq!(cell(Scalar::Uint32, &255u32.to_ne_bytes(), &[("columns.hex", "true")], None), "0xFF");
    assert_eq!(cell(Scalar::Int32, &(-255i32).to_ne_bytes(), &[("columns.hex", "true")], None), "-0xFF");
    assert_eq!(cell(Scalar::Float64, &2.6f64.to_ne_bytes(), &[], None), "3");
    assert_eq!(cell(Scalar::Float64, &2.645f64.to_ne_bytes(), &[("columns.precision", "2")], None), "2.65");
    assert_eq!(cell(Scalar::Bool, &[1], &[], None), "true");
    assert_eq!(cell(Scalar::Bytes, &[0; 7], &[], None), "<7 bytes>");
    let right = [("columns.alignment", "right"), ("columns.width", "6")];
    assert_eq!(cell(Scalar::Int16, &(-42i16).to_ne_bytes(), &right, None), "   -42");
    // Wider than its column, on a terminal: whole all the same.
    let narrow = [("columns.width", "3"), ("columns.fixed", "true")];
    assert_eq!(cell(Scalar::Uint32, &123_456u32.to_ne_bytes(), &narrow, Some(80)), "123456");
}

#[test]
fn texts_are_cut_where_the_field_says() {
    let cut = |ellipsis, width, text: &str| {
        let annotations =
            [("columns.ellipsis", ellipsis), ("columns.width", width), ("columns.fixed", "true")];
        cell(Scalar::String, text.as_bytes(), &annotations, Some(80))
    };
    assert_eq!(cut("end", "6", "abcdefghij"), "abcde…");
    assert_eq!(cut("start", "6", "abcdefghij"), "…fghij");
    assert_eq!(cut("middle", "6", "abcdefghij"), "abc…ij");
    assert_eq!(cut("middle", "7", "abcdefghij"), "abc…hij");
    assert_eq!(cut("none", "6", "abcdefghij"), "abcdef");
    assert_eq!(cut("", "6", "abcdefghij"), "abcdef");
    assert_eq!(cut("end", "1", "abcdefghij"), "…");
    assert_eq!(cut("middle", "1", "abcdefghij"), "…");
    assert_eq!(cut("start", "1", "abcdefghij"), "…");
    assert_eq!(cut("end", "6", "abcdef"), "abcdef");
    // Wide characters are never halved.
    assert_eq!(cut("end", "6", "字字字字"), "字字…");
    assert_eq!(cut("end", "5", "字字字字"), "字字…");
    assert_eq!(cut("start", "6", "字字字字"), "…字字");
    assert_eq!(cut("none", "5", "字字字字"), "字字");
}

#[test]
fn the_header_is_the_alias_or_the_whole_name() {
    let header = |annotations: &[(&str, &str)], terminal| {
        let mut out = Vec::new();
        Columns::new(&single(Scalar::String, 4, annotations), &[0], terminal, false).header(&mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(header(&[], None), "V\n");
    assert_eq!(header(&[("columns.alias", "alias\x1b")], None), "ALIAS\\x1b\n");
    let narrow = [("columns.alias", "long-header"), ("columns.width", "5"), ("columns.fixed", "true")];
    assert_eq!(header(&narrow, Some(80)), "LONG…\n");
    assert_eq!(header(&narrow, None), "LONG-HEADER\n");
    let right = [("columns.width", "5"), ("columns.alignment", "right")];
    assert_eq!(header(&right, None), "    V\n");
}

#[test]
fn another_field_can_stand_for_one() {
    let mut source = single(Scalar::Bytes, 4, &[("columns.replace", "text")]);
    sample::add(&mut source, None, "text", Scalar::String, 0, 4);
    let mut out = Vec::new();
    Columns::new(&source, &[0], None, false)
        .event(&Event { data: b"1234", slots: &mut Slots::new(0) }, &mut out);
    assert_eq!(out, b"1234\n");
}

#[test]
fn absurd_widths_are_bounded_or_ignored() {
    for width in ["99999999999999999999", "4294967295", "-1", "0", "x", ""] {
        for key in ["columns.width", "columns.minwidth", "columns.maxwidth", "columns.precision"] {
            for terminal in [None, Some(0), Some(80), Some(u16::MAX)] {
                let text = cell(Scalar::Float64, &1f64.to_ne_bytes(), &[(key, width)], terminal);
                assert!(text.trim_start().starts_with('1') && text.len() < 100, "{text}");
            }
        }
    }
}

#[test]
fn without_columns_there_are_empty_lines() {
    let source = sample::sni();
    let mut out = Vec::new();
    Columns::new(&source, &[], Some(80), false).header(&mut out);
    assert_eq!(out, b"\n");
}

proptest! {
    #[test]
    fn a_table_never_holds_control_characters(
        comm in prop::collection::vec(any::<u8>(), 0..=16),
        name in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..=128),
            "\\PC{0,30}".prop_map(String::into_bytes),
            "[\u{1b}\u{9b}\u{202a}-\u{202e}\u{200b}-\u{200f}a字\n]{0,30}".prop_map(String::into_bytes),
        ],
        container in any::<String>(),
        terminal in prop::option::of(0u16..300),
    ) {
        let source = sample::sni();
        let ids: Vec<FieldId> = (0..source.fields.len()).collect();
        let mut out = Vec::new();
        let mut columns = Columns::new(&source, &ids, terminal, false);
        let data = sample::data(&comm, &name[..name.len().min(128)]);
        columns.event(&Event { data: &data, slots: &mut sample::slots(&source, &container) }, &mut out);
        let text = String::from_utf8(out).unwrap();
        let line = text.strip_suffix('\n').unwrap();
        let acts = |c: char| c.is_control() || matches!(u32::from(c), 0x200b..=0x200f | 0x202a..=0x202e);
        prop_assert!(!line.contains(acts), "{}", line);
        prop_assert!(!line.ends_with(' '));
    }

    #[test]
    fn no_line_exceeds_its_terminal(
        name in prop::collection::vec(any::<u8>(), 0..128),
        container in "\\PC{0,40}",
        ids in prop::collection::vec(0usize..30, 1..30),
        terminal in 1u16..520,
        colour in any::<bool>(),
    ) {
        let mut source = sample::sni();
        for field in &mut source.fields {
            // Half of the fields, as if they told of errors.
            field.tags = vec!["type:gadget_errno".into()];
            field.annotations.set("formatters.errno.target", "name");
        }
        let mut columns = Columns::new(&source, &ids, Some(terminal), colour);
        let mut out = Vec::new();
        columns.header(&mut out);
        let data = sample::data(b"0123456789abcdef", &name);
        columns.event(&Event { data: &data, slots: &mut sample::slots(&source, &container) }, &mut out);
        for line in String::from_utf8(out).unwrap().lines() {
            let line = line.replace("\x1b[31m", "").replace("\x1b[39m", "");
            prop_assert!(!line.contains('\x1b') && columns_of(&line) <= usize::from(terminal), "{}", line);
        }
    }

    #[test]
    fn widths_fit_whenever_they_can(
        wishes in prop::collection::vec((1usize..60, 0usize..30, 1usize..60, 1usize..25, any::<bool>()), 1..12),
        line in 0usize..300,
    ) {
        let mut source = DataSource::new("many", SourceKind::Single);
        for (width, min, max, header, text) in &wishes {
            let id = source.fields.len();
            sample::add(&mut source, None, &format!("f{id}"), Scalar::String, 0, 4);
            let field = &mut source.fields[id];
            field.kind = Kind { scalar: if *text { Scalar::CString } else { Scalar::Uint32 }, array: false };
            field.annotations.set("columns.alias", "h".repeat(*header));
            field.annotations.set("columns.width", width.to_string());
            field.annotations.set("columns.minwidth", min.to_string());
            field.annotations.set("columns.maxwidth", max.to_string());
        }
        let ids: Vec<FieldId> = (0..wishes.len()).collect();
        let mut out = Vec::new();
        Columns::new(&source, &ids, Some(line as u16), false).header(&mut out);
        let header = String::from_utf8(out).unwrap();
        // Each keeps its header as far as it may be that wide, or gives way only to what is still readable.
        let least: usize = wishes.iter().map(|(width, _, max, header, text)| {
            let keep = *header.min(width).min(max);
            if *text { keep.min(4) } else { keep }
        }).sum::<usize>() + wishes.len() - 1;
        prop_assert!(line == 0 || columns_of(header.trim_end()) <= line);
        if line < least {
            return Ok(());
        }
        // Where all have the least that they ask for, no header gives way to a value.
        let whole: usize = wishes.iter().map(|(width, min, max, header, _)| {
            header.min(width).min(max).max(min)
        }).sum::<usize>() + wishes.len() - 1;
        for (cell, (width, _, max, header, text)) in header.split_whitespace().zip(&wishes) {
            let keep = *header.min(width).min(max);
            let least = if line >= whole || !text { keep } else { keep.min(4) };
            prop_assert!(columns_of(cell) >= least, "{}", header);
        }
    }
}
