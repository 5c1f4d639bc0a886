//! Makes the tables of docs/compatibility.md: what `ig` prints, as recorded in tests/fixtures/ig, beside what the
//! writers and formatters here make of the same values. A table that is not what the document has fails the test;
//! `UPDATE_DOCS=1 cargo test` writes it there.

use std::{fs, path::PathBuf};

use serde_json::{Map, Value};

use super::{Display, Writer, histogram::tests, views};
use crate::{
    datasource::{DataSource, Event, FieldId, Scalar, Slot, Slots, SourceKind},
    operator::format::shown,
};

macro_rules! fixture {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../tests/fixtures/ig/", $name, ".txt")))
    };
}

/// Recorded documents: name, text, and whether the data source comes in batches.
const DOCUMENTS: [((&str, &str), bool); 8] = [
    (fixture!("trace_open.json"), false),
    (fixture!("trace_open.jsonpretty"), false),
    (fixture!("trace_open.yaml"), false),
    (fixture!("trace_signal.json"), false),
    (fixture!("snapshot_process.json"), true),
    (fixture!("snapshot_process.jsonpretty"), true),
    (fixture!("snapshot_process.yaml"), true),
    (fixture!("snapshot_socket.json"), true),
];

/// A column of a recorded table: its heading, its width, and whether it is on the right.
type Column = (&'static str, usize, bool);

/// Recorded tables, whether they come in batches, and their columns.
const TABLES: [((&str, &str), bool, &[Column]); 4] = [
    (
        fixture!("trace_open.columns"),
        false,
        &[
            ("RUNTIME.CONTAINERNAME", 30, false),
            ("COMM", 16, false),
            ("PID", 16, true),
            ("TID", 16, true),
            ("TID", 16, false),
            ("FD", 16, true),
            ("FNAME", 32, false),
            ("FPATH", 32, false),
            ("ERROR", 12, false),
            ("MODE", 16, false),
        ],
    ),
    (
        fixture!("trace_signal.columns"),
        false,
        &[
            ("RUNTIME.CONTAINERNAME", 30, false),
            ("COMM", 16, false),
            ("PID", 16, true),
            ("TID", 16, true),
            ("TID", 16, false),
            ("TPID", 16, true),
            ("SIG", 10, false),
            ("ERROR", 12, false),
        ],
    ),
    (
        fixture!("snapshot_process.columns"),
        true,
        &[
            ("RUNTIME.CONTAINERNAME", 30, false),
            ("COMM", 16, false),
            ("PID", 16, true),
            ("TID", 16, true),
            ("TID", 16, false),
        ],
    ),
    (
        fixture!("snapshot_socket.columns"),
        true,
        &[("RUNTIME.CONTAINERNAME", 30, false), ("SRC", 40, false), ("DST", 40, false), ("STATE", 10, false)],
    ),
];

/// A formatter, numbers, and what upstream writes for them.
const FORMATTERS: &[(&str, &[(u64, &str)])] = &[
    ("gadget_signal", &[(9, "SIGKILL"), (17, "SIGCHLD"), (99, "signal#99")]),
    ("gadget_errno", &[(0, ""), (2, "ENOENT"), (4095, "error#4095")]),
    ("gadget_syscall", &[(0, "SYS_READ"), (9999, "SYS_UNKNOWN")]),
    ("gadget_bytes", &[(82, "82 B"), (1234, "1.2 kB"), (82_854_982, "83 MB")]),
    (
        "gadget_duration",
        &[
            (999, "999ns"),
            (1_500, "1.50µs"),
            (2_345_678, "2.35ms"),
            (1_500_000_000, "1.5s"),
            (123_100_000_000, "2m3.1s"),
        ],
    ),
    ("gadget_file_mode", &[(0, "----------"), (0o644, "-rw-r--r--"), (0o100_644, "-rw-r--r--")]),
    (
        "gadget_file_flags",
        &[(0, "O_RDONLY"), (0o2_000_000, "O_RDONLY|O_CLOEXEC"), (0o1101, "O_WRONLY|O_CREAT|O_TRUNC")],
    ),
];

/// The documents in a recorded text.
fn parsed(name: &str, text: &str) -> Vec<Value> {
    if name.ends_with(".yaml") {
        return serde_saphyr::from_multiple(text).unwrap();
    }
    serde_json::Deserializer::from_str(text).into_iter().map(Result::unwrap).collect()
}

/// A data source of which `object` could be an event: every value an operator's.
fn source_of(object: &Map<String, Value>, kind: SourceKind) -> (DataSource, Vec<FieldId>) {
    fn add(
        source: &mut DataSource,
        parent: Option<FieldId>,
        object: &Map<String, Value>,
        ids: &mut Vec<FieldId>,
    ) {
        for (name, value) in object {
            let scalar = match value {
                Value::Object(inner) => {
                    let group = source.add_group(parent, name);
                    add(source, Some(group), inner, ids);
                    continue;
                }
                Value::Bool(_) => Scalar::Bool,
                Value::Number(_) => Scalar::Uint64,
                _ => Scalar::String,
            };
            ids.push(source.add_slot_field(parent, name, scalar, 0));
        }
    }
    let (mut source, mut ids) = (DataSource::new("recorded", kind), Vec::new());
    add(&mut source, None, object, &mut ids);
    (source, ids)
}

/// All values of an object, in the order in which [`source_of`] adds fields.
fn leaves(object: &Map<String, Value>) -> Vec<Slot> {
    let slots = object.values().map(|value| match value {
        Value::Object(inner) => leaves(inner),
        Value::Bool(value) => vec![Slot::Bool(*value)],
        Value::Number(number) => vec![Slot::Unsigned(number.as_u64().unwrap())],
        other => vec![Slot::Shared(other.as_str().unwrap().into())],
    });
    slots.flatten().collect()
}

fn fill(source: &DataSource, values: Vec<Slot>) -> Slots {
    let mut slots = Slots::new(source.slots);
    values.into_iter().enumerate().for_each(|(at, value)| slots.set(at, value));
    slots
}

/// Shows events as a run does.
fn write(source: &DataSource, events: Vec<Vec<Slot>>, display: &Display) -> String {
    let view = views(&[source], display).unwrap().remove(0);
    let mut writer = Writer::new(source, &view, display);
    let mut out = Vec::new();
    writer.header(&mut out);
    let batches = source.kind == SourceKind::Array;
    writer.begin(&mut out);
    for values in events {
        let mut slots = fill(source, values);
        let event = &Event { data: &[], slots: &mut slots };
        if batches { writer.element(event, &mut out) } else { writer.event(event, &mut out) }
    }
    writer.end(&mut out);
    String::from_utf8(out).unwrap()
}

/// What `igx` writes for the values in a recorded document.
fn document(name: &str, text: &str, batches: bool) -> String {
    let mut objects = Vec::new();
    for value in parsed(name, text) {
        match value {
            Value::Array(list) => objects.extend(list),
            value => objects.push(value),
        }
    }
    let objects: Vec<Map<String, Value>> =
        objects.into_iter().map(|value| value.as_object().unwrap().clone()).collect();
    let kind = if batches { SourceKind::Array } else { SourceKind::Single };
    let (source, _) = source_of(&objects[0], kind);
    let mode = name.rsplit_once('.').unwrap().1.to_owned();
    let display = Display { mode, ..Display::default() };
    write(&source, objects.iter().map(leaves).collect(), &display)
}

/// What `igx` writes for the rows of a recorded table.
fn table(text: &str, batches: bool, columns: &[Column], display: &Display) -> String {
    let kind = if batches { SourceKind::Array } else { SourceKind::Single };
    let mut source = DataSource::new("recorded", kind);
    for (at, (heading, width, right)) in columns.iter().enumerate() {
        let id = source.add_slot_field(None, &format!("c{at}"), Scalar::String, 0);
        let annotations = &mut source.fields[id].annotations;
        annotations.set("columns.alias", *heading);
        annotations.set("columns.width", width.to_string());
        if *right {
            annotations.set("columns.alignment", "right");
        }
    }
    let rows = text.lines().skip(1).map(|line| {
        let mut characters = line.chars();
        let cell = |&(_, width, _): &Column| {
            let cell: String = characters.by_ref().take(width).collect();
            characters.next();
            // What is escaped in a table was not in the event.
            let text: String = serde_json::from_str(&format!("\"{}\"", cell.trim())).unwrap();
            Slot::Shared(text.into())
        };
        columns.iter().map(cell).collect()
    });
    write(&source, rows.collect(), display)
}

fn without_blanks(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn outputs() -> String {
    let mut rows = vec!["| recorded | bytes of igx | why |\n| --- | --- | --- |\n".to_owned()];
    for ((name, text), batches, columns) in TABLES {
        let ours = table(text, batches, columns, &Display::default());
        let (same, why) = if ours == text {
            ("the same", "")
        } else if without_blanks(text) == ours {
            (
                "the same but for blanks at the ends of lines",
                "they say nothing, and `diff` and editors mark them",
            )
        } else {
            ("different", "")
        };
        rows.push(format!("| `{name}` | {same} | {why} |\n"));
    }
    for ((name, text), batches) in DOCUMENTS {
        let same = if document(name, text, batches) == text { "the same" } else { "different" };
        rows.push(format!("| `{name}` | {same} | |\n"));
    }
    let same = if tests::is_upstreams() { "the same" } else { "different" };
    rows.push(format!("| `profile_blockio.histogram` | {same} | |\n"));
    rows.concat()
}

fn formatters() -> String {
    let code = |text: &str| {
        if text.is_empty() { "nothing".to_owned() } else { format!("`{}`", text.replace('|', "\\|")) }
    };
    let mut rows = vec!["| type | number | ig | igx |\n| --- | --- | --- | --- |\n".to_owned()];
    for (tag, values) in FORMATTERS {
        for (number, ig) in *values {
            let ours = shown(tag, *number);
            let mark = if ours == *ig { "the same".to_owned() } else { code(&ours) };
            rows.push(format!("| `{tag}` | {number} | {} | {mark} |\n", code(ig)));
        }
    }
    rows.concat()
}

/// Puts `table` where `document` has the one of this name.
fn with_table(document: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- {name}: made by a test -->\n\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = document.split_once(&begin).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    format!("{before}{begin}{table}\n{end}{after}")
}

#[test]
fn the_document_on_compatibility_is_true() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/compatibility.md");
    let stands = fs::read_to_string(&path).unwrap();
    let made = with_table(&stands, "output", &outputs());
    let made = with_table(&made, "formatters", &formatters());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &made).unwrap();
    }
    assert!(made == stands, "docs/compatibility.md is stale: UPDATE_DOCS=1 cargo test -p runner compatib");
}

#[test]
fn what_scripts_parse_is_byte_for_byte_the_same() {
    for ((name, text), batches) in DOCUMENTS {
        assert_eq!(document(name, text, batches), text, "{name}");
    }
}

#[test]
fn tables_are_the_same_but_for_blanks_at_the_end() {
    for ((name, text), batches, columns) in TABLES {
        assert_eq!(table(text, batches, columns, &Display::default()), without_blanks(text), "{name}");
    }
}
