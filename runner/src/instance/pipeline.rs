//! One data source's way from kernel bytes to text: operators, then the writer. This is the hot path.

use std::path::Path;

use gadget::{btf::Btf, metadata::Metadata};

use super::{gadget::Source, lookup::Containers, run::Options};
use crate::{
    container::Lookup,
    datasource::{DataSource, EnumField, Event, Slots},
    operator::{
        self, Operator, Verdict,
        enrich::{self, Enrich},
        enums::{self, Enums},
        filter::{self, Filter},
        format::Format,
        users::Users,
    },
    output::{self, Writer},
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

impl Pipeline {
    /// Builds the operators and the writer of `source`. `kernel_types` is BTF with the kernel's own view of the
    /// enums that events hold.
    pub(super) fn prepare(
        source: &Source,
        metadata: &Metadata,
        options: &Options,
        lookup: Lookup,
        kernel_types: Option<&[u8]>,
    ) -> Result<Self, Error> {
        let mut data = source.data.clone();
        let mut operators: Vec<Box<dyn Operator>> = Vec::new();
        let enums = named_enums(&data, &source.enums, kernel_types);
        operators.extend(Enums::attach(&mut data, enums));
        let containers = Box::new(Containers::new(lookup));
        operators.extend(Enrich::attach(&mut data, &enrich::Place::Host, containers));
        operators.extend(Format::attach(&mut data));
        operators.extend(Users::attach(&mut data, Path::new("/")));
        data.describe_added(source.data.fields.len(), metadata);
        if let Some(rules) = &options.filter {
            operators.extend(Filter::attach(&data, rules)?);
        }
        let fields = output::fields::select(&data, options.fields.as_deref())?;
        let writer = Writer::new(options.mode, &data, &fields, options.width);
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
