//! The operators of a data source: which ones it has, and in what order they work.

use gadget::{btf::Btf, metadata::Metadata};

use super::{gadget::Source, pipeline::Error, run::Arrays, stacks::Kept, step::Placed};
use crate::{
    container::host,
    datasource::{DataSource, EnumField, SourceKind, per_source},
    operator::{
        Operator,
        enrich::{ContainerLookup, Enrich, NoContainers, Place},
        enums::{self, Enums},
        environment::Environment,
        format::{Format, Times},
        limit::Limit,
        sort::Sort,
        stack::{KernelStacks, NoStacks, Stack},
        users::Users,
    },
};

/// What operators work with, as far as it is known.
pub(super) struct Given<'a> {
    /// Knows the containers.
    pub(super) containers: Box<dyn ContainerLookup>,
    /// Knows the stacks.
    pub(super) stacks: Option<Kept>,
    /// BTF with the kernel's own view of the enums that events hold.
    pub(super) kernel_types: Option<&'a [u8]>,
    /// How times are written, where that was chosen.
    pub(super) times: Option<Times>,
    /// Variables of the environment that may be shown.
    pub(super) environment: &'a [String],
}

impl Given<'_> {
    /// What there is before a gadget is loaded.
    pub(super) fn nothing() -> Self {
        Self {
            containers: Box::new(NoContainers),
            stacks: None,
            kernel_types: None,
            times: None,
            environment: &[],
        }
    }
}

/// Adds what sorts and cuts the batches of the data sources that have any.
pub(super) fn arrange(
    data: &[DataSource],
    operators: &mut [Vec<Placed>],
    options: &Arrays,
) -> Result<(), Error> {
    let arrays: Vec<usize> = (0..data.len()).filter(|&at| data.get(at).is_some_and(is_array)).collect();
    let names: Vec<&str> = arrays.iter().filter_map(|&at| Some(data.get(at)?.name.as_str())).collect();
    let sort = per_source("sort", &options.sort, ';', &names)?;
    let limit = per_source("max-entries", &options.max_entries, ',', &names)?;
    for (at, (sort, limit)) in arrays.into_iter().zip(sort.into_iter().zip(limit)) {
        let (Some(data), Some(operators)) = (data.get(at), operators.get_mut(at)) else { continue };
        operators.extend(Sort::attach(data, sort.unwrap_or_default())?.map(|sort| (9500, sort)));
        operators.extend(Limit::attach(limit.unwrap_or("-1"))?.map(|limit| (9600, limit)));
    }
    Ok(())
}

/// Whether a data source has batches to show.
fn is_array(data: &DataSource) -> bool {
    data.kind == SourceKind::Array && !data.unreferenced
}

/// The operators that add to a data source, and what they make of it.
pub(super) fn enrich(source: &Source, metadata: &Metadata, given: Given<'_>) -> (DataSource, Vec<Placed>) {
    let mut data = source.data.clone();
    let mut operators: Vec<Placed> = Vec::new();
    let mut add = |priority, operator: Option<Box<dyn Operator>>| {
        operators.extend(operator.map(|operator| (priority, operator)));
    };
    let enums = named_enums(&data, &source.enums, given.kernel_types);
    add(0, Enums::attach(&mut data, enums));
    let kernel_stacks = KernelStacks::attach(&mut data);
    add(-1, Enrich::attach(&mut data, &Place::Host, given.containers));
    add(0, Format::attach(&mut data, given.times));
    add(1, Environment::attach(&mut data, given.environment));
    add(5, Users::attach(&mut data, &host::root()));
    let stacks = match given.stacks {
        Some(stacks) => Stack::attach(&mut data, kernel_stacks, stacks),
        None => Stack::attach(&mut data, kernel_stacks, NoStacks),
    };
    add(100, stacks);
    data.describe_added(source.data.fields.len(), metadata);
    (data, operators)
}

/// The enum fields that get a text beside them: those whose text has a name. The kernel's own names of the values
/// win over those that the object was built with.
pub(super) fn named_enums(
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
                text: e.text,
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
