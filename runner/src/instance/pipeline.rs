//! One data source's way from kernel bytes to text: operators, then the writer. This is the hot path.

use std::path::Path;

use gadget::{btf::Btf, metadata::Metadata};

use super::{
    gadget::{Gadget, Source},
    lookup::Containers,
    run::Options,
};
use crate::{
    container::Lookup,
    datasource::{DataSource, EnumField, Event, FieldId, Slots},
    operator::{
        self, Operator, Verdict,
        enrich::{ContainerFields, ContainerLookup, Enrich, Place},
        enums::{self, Enums},
        filter::{self, Filter},
        format::Format,
        users::Users,
    },
    output::{self, Mode, Writer, fields},
};

/// Why events cannot be shown as asked.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what each is
pub enum Error {
    #[error(transparent)]
    Filter(#[from] filter::Error),
    #[error(transparent)]
    Output(#[from] output::Error),
}

/// What one data source's events pass through.
pub(super) struct Pipeline {
    operators: Vec<Box<dyn Operator>>,
    slots: Slots,
    writer: Writer,
    size: usize,
    padded: Vec<u8>,
    /// Events written.
    pub(super) written: u64,
    /// Events that an operator dropped.
    pub(super) dropped: u64,
}

/// What the gadget sends, with the fields that operators add: what a person may choose columns and filters from.
pub fn data_sources(gadget: &Gadget) -> Vec<DataSource> {
    let of = |source| enrich(source, &gadget.metadata, Box::new(Nobody), None).0;
    gadget.sources.iter().map(of).collect()
}

/// Builds the operators and the writer of each data source. `kernel_types` is BTF with the kernel's own view of the
/// enums that events hold.
pub(super) fn prepare(
    gadget: &Gadget,
    options: &Options,
    lookup: impl Fn() -> Lookup,
    kernel_types: Option<&[u8]>,
) -> Result<Vec<Pipeline>, Error> {
    let enriched =
        |source| enrich(source, &gadget.metadata, Box::new(Containers::new(lookup())), kernel_types);
    let (sources, operators): (Vec<DataSource>, Vec<_>) = gadget.sources.iter().map(enriched).unzip();
    let columns = fields::select(&sources, options.fields.as_deref().unwrap_or_default())?;
    let parts = sources.iter().zip(operators).zip(columns);
    parts.map(|((data, operators), columns)| Pipeline::new(data, operators, columns, options)).collect()
}

/// The operators that add to a data source, and what they make of it.
fn enrich(
    source: &Source,
    metadata: &Metadata,
    containers: Box<dyn ContainerLookup>,
    kernel_types: Option<&[u8]>,
) -> (DataSource, Vec<Box<dyn Operator>>) {
    let mut data = source.data.clone();
    let mut operators: Vec<Box<dyn Operator>> = Vec::new();
    let enums = named_enums(&data, &source.enums, kernel_types);
    operators.extend(Enums::attach(&mut data, enums));
    operators.extend(Enrich::attach(&mut data, &Place::Host, containers));
    operators.extend(Format::attach(&mut data));
    operators.extend(Users::attach(&mut data, Path::new("/")));
    data.describe_added(source.data.fields.len(), metadata);
    (data, operators)
}

/// Knows no container.
struct Nobody;

impl ContainerLookup for Nobody {
    fn generation(&self) -> u64 {
        0
    }

    fn by_mntns(&mut self, _: u64) -> Option<&ContainerFields> {
        None
    }

    fn by_netns(&mut self, _: u32) -> Option<&ContainerFields> {
        None
    }
}

impl Pipeline {
    /// `columns` are those to show; a data source without any choice of columns is kept out of a table.
    fn new(
        data: &DataSource,
        mut operators: Vec<Box<dyn Operator>>,
        columns: Option<Vec<FieldId>>,
        options: &Options,
    ) -> Result<Self, Error> {
        if let Some(rules) = options.filters.get(&data.name) {
            operators.extend(Filter::attach(data, rules)?);
        }
        let mode = match columns {
            // Only tables have columns to choose: the other modes show every field of every data source.
            None if options.mode == Mode::Columns => Mode::None,
            _ => options.mode,
        };
        let writer = Writer::new(mode, data, &columns.unwrap_or_default(), options.width);
        Ok(Self {
            operators,
            slots: Slots::new(data.slots),
            writer,
            size: data.static_size,
            padded: Vec::new(),
            written: 0,
            dropped: 0,
        })
    }

    /// Writes what comes before the first event.
    pub(super) fn header(&mut self, out: &mut Vec<u8>) {
        self.writer.header(out);
    }

    /// Takes one event as the kernel sent it and appends its text to `out`.
    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        // An older program may send a shorter struct: what it lacks reads as zero.
        let data = if bytes.len() >= self.size {
            bytes
        } else {
            self.padded.clear();
            self.padded.extend_from_slice(bytes);
            self.padded.resize(self.size, 0);
            &self.padded
        };
        self.slots.clear();
        let mut event = Event { data, slots: &mut self.slots };
        match operator::run(&mut self.operators, &mut event) {
            Verdict::Pass => {
                self.writer.event(&event, out);
                self.written += 1;
            }
            Verdict::Drop => self.dropped += 1,
        }
    }
}

/// The enum fields that get a text beside them: those whose text has a name. The kernel's own names of the values
/// win over those that the object was built with.
fn named_enums(
    data: &DataSource,
    fields: &[EnumField],
    kernel_types: Option<&[u8]>,
) -> Vec<enums::EnumField> {
    let kernel = kernel_types.and_then(|types| Btf::parse(types).ok());
    fields
        .iter()
        .filter_map(|e| {
            let field = &data.fields[e.field];
            let target =
                field.annotations.get("ebpf.formatter.enum").or_else(|| field.name.strip_suffix("_raw"))?;
            let of_kernel = kernel.as_ref().and_then(|btf| {
                let found = btf.find_enum(&e.enumeration.name)?;
                Some(btf.enumerators(found).map(|v| (v.name.to_owned(), v.value)).collect())
            });
            Some(enums::EnumField {
                field: e.field,
                target: target.to_owned(),
                bitfield: e.enumeration.bitfield,
                separator: field
                    .annotations
                    .get("ebpf.formatter.bitfield.separator")
                    .unwrap_or("|")
                    .to_owned(),
                values: of_kernel.unwrap_or_else(|| e.enumeration.values.clone()),
            })
        })
        .collect()
}
