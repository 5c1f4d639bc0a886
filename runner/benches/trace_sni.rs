//! Events of trace_sni on all of their way, from bytes in memory to bytes of text: what benches and tests share.

use std::{path::Path, sync::Arc};

use runner::{
    datasource::{Annotations, DataSource, Event, Field, FieldId, Scalar, Slots, SourceKind},
    operator::{
        Operator,
        enrich::{self, Enrich, NoContainers},
        format::Format,
        run,
        users::Users,
    },
    output::{Display, Mode, Terminal, View, Writer},
};

/// Bytes of an event's struct.
const SIZE: usize = 208;

/// The operators and the writer of trace_sni.
pub(crate) struct Pipeline {
    operators: Vec<Box<dyn Operator>>,
    writer: Writer,
    slots: Slots,
    data: [u8; SIZE],
}

impl Pipeline {
    /// Events as they are written in `mode`, on a terminal of so many columns.
    pub(crate) fn new(mode: Mode, columns: Option<u16>) -> Self {
        let mut source = source();
        let operators = [
            Enrich::attach(&mut source, &enrich::Place::Host, Box::new(NoContainers)),
            Format::attach(&mut source, None),
            Users::attach(&mut source, Path::new("/")),
        ];
        let terminal = columns.map(|columns| Arc::new(Terminal::new(columns)));
        let display = Display { terminal, colour: columns.is_some(), ..Display::default() };
        let writer = Writer::new(&source, &View { mode, fields: None }, &display);
        let mut data = [0; SIZE];
        data[16..20].copy_from_slice(b"curl");
        data[40..48].copy_from_slice(&4_026_531_841_u64.to_ne_bytes());
        data[56..60].copy_from_slice(b"bash");
        data[80..95].copy_from_slice(b"www.example.com");
        let operators = operators.into_iter().flatten().collect();
        Self { operators, writer, slots: Slots::new(source.slots), data }
    }

    /// Appends the text of an event: the `n`th, five microseconds after the one before.
    #[inline]
    pub(crate) fn event(&mut self, n: u64, out: &mut Vec<u8>) {
        self.data[..8].copy_from_slice(&(1_000_000_000_000 + n * 5_000).to_ne_bytes());
        self.data[32..36].copy_from_slice(&(n as u32 / 16).to_ne_bytes());
        self.slots.clear();
        let mut event = Event { data: &self.data, slots: &mut self.slots };
        let _ = run(&mut self.operators, &mut event);
        self.writer.event(&event, out);
    }
}

/// The fields of the struct that trace_sni sends, under any runner.
fn source() -> DataSource {
    let mut source = DataSource::new("sni", SourceKind::Single);
    source.static_size = SIZE;
    add(&mut source, None, "timestamp_raw", Scalar::Uint64, (0, 8), "timestamp");
    add(&mut source, None, "netns_id", Scalar::Uint32, (8, 4), "netns_id");
    let process = add(&mut source, None, "proc", Scalar::Bytes, (16, 64), "");
    add(&mut source, Some(process), "comm", Scalar::CString, (16, 16), "comm");
    add(&mut source, Some(process), "pid", Scalar::Uint32, (32, 4), "pid");
    add(&mut source, Some(process), "tid", Scalar::Uint32, (36, 4), "tid");
    add(&mut source, Some(process), "mntns_id", Scalar::Uint64, (40, 8), "mntns_id");
    let creds = add(&mut source, Some(process), "creds", Scalar::Bytes, (48, 8), "");
    add(&mut source, Some(creds), "uid", Scalar::Uint32, (48, 4), "uid");
    add(&mut source, Some(creds), "gid", Scalar::Uint32, (52, 4), "gid");
    let parent = add(&mut source, Some(process), "parent", Scalar::Bytes, (56, 24), "");
    add(&mut source, Some(parent), "comm", Scalar::CString, (56, 16), "pcomm");
    add(&mut source, Some(parent), "pid", Scalar::Uint32, (72, 4), "ppid");
    add(&mut source, Some(parent), "tid", Scalar::Uint32, (76, 4), "ptid");
    let name = add(&mut source, None, "name", Scalar::CString, (80, 128), "");
    source.fields[name].annotations.set("columns.width", "30");
    source
}

/// Adds a field of the type `gadget_<template>`, at an offset and of a size in bytes.
fn add(
    source: &mut DataSource,
    parent: Option<FieldId>,
    name: &str,
    scalar: Scalar,
    (offset, size): (u32, u32),
    template: &str,
) -> FieldId {
    let full_name = match parent {
        Some(parent) => format!("{}.{name}", source.fields[parent].full_name),
        None => name.to_owned(),
    };
    let mut annotations = Annotations::static_defaults();
    annotations.expand(template);
    let hidden = annotations.is_true("columns.hidden") || scalar == Scalar::Bytes;
    let tags = vec![format!("type:gadget_{template}")];
    let field = Field::at(name, scalar, offset, size);
    source.fields.push(Field { full_name, parent, hidden, tags, annotations, ..field });
    source.fields.len() - 1
}
