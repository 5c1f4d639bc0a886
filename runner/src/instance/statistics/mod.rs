//! Data sources without any program: what the kernel tells of processes, control groups and the programs in it, read at
//! intervals.
//!
//! gadget.yaml asks for them with `operator.<name>.emitstats: true`; `interval`, `first-interval` and `count` beside it
//! say when they are read.

mod cgroup;
mod process;
mod programs;

use std::sync::Arc;

use gadget::metadata::Metadata;
use serde_json::Value;

use super::gadget::{Origin, Source};
use crate::{
    container::{Collection, Selector},
    datasource::{DataSource, Field, Kind, Scalar, SourceKind},
};

/// What is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistics {
    /// Processes and what they use.
    Processes,
    /// Control groups of containers, and how far they are throttled.
    Cgroups,
    /// Programs in the kernel, and what they use.
    Programs,
}

impl Statistics {
    const ALL: [Self; 3] = [Self::Processes, Self::Cgroups, Self::Programs];

    /// The operator that gadget.yaml turns on.
    pub(super) fn operator(self) -> &'static str {
        match self {
            Self::Processes => "process",
            Self::Cgroups => "cgroup",
            Self::Programs => "ebpf",
        }
    }

    /// How long to wait before it is read, where gadget.yaml does not say.
    pub(super) const INTERVAL: &'static str = "1000ms";

    fn table(self) -> Table {
        match self {
            Self::Processes => process::table(),
            Self::Cgroups => cgroup::table(),
            Self::Programs => programs::table(),
        }
    }

    /// Ready to be read.
    pub(super) fn open(self) -> Reading {
        match self {
            Self::Processes => Reading::Processes(process::Processes::start()),
            Self::Cgroups => Reading::Cgroups,
            Self::Programs => Reading::Programs(programs::Programs::start()),
        }
    }
}

/// The data sources that gadget.yaml asks for.
pub(crate) fn sources(metadata: &Metadata) -> Vec<Source> {
    let asked = |kind: &Statistics| {
        let settings = metadata.operator.get(kind.operator());
        settings.and_then(|settings| settings.get("emitstats")).is_some_and(|emit| *emit == Value::Bool(true))
    };
    let source = |kind: Statistics| {
        let mut data = kind.table().source;
        data.annotate(metadata);
        data.describe_added(0, metadata);
        Source { data, enums: Vec::new(), origin: Origin::Statistics(kind) }
    };
    Statistics::ALL.into_iter().filter(asked).map(source).collect()
}

/// Which processes are shown.
pub(super) struct Shown<'a> {
    pub(super) collection: &'a Collection,
    pub(super) selector: &'a Selector,
    pub(super) host: bool,
}

impl Shown<'_> {
    /// Whether events of this mount namespace are.
    fn has(&self, mntns: u64) -> bool {
        self.host
            || self.collection.by_mntns(mntns).is_some_and(|container| self.selector.matches(&container))
    }

    /// The containers that are.
    fn containers(&self) -> Vec<Arc<crate::container::Container>> {
        let mut list = self.collection.list();
        list.retain(|container| self.host || self.selector.matches(container));
        list
    }
}

/// What is read, and what is remembered from the last time.
pub(super) enum Reading {
    Processes(process::Processes),
    Cgroups,
    Programs(programs::Programs),
}

impl Reading {
    /// What there is now, each entry laid out as its data source says.
    pub(super) fn read(&mut self, shown: &Shown<'_>) -> Vec<Vec<u8>> {
        match self {
            Self::Processes(processes) => processes.read(shown),
            Self::Cgroups => cgroup::read(shown),
            Self::Programs(programs) => programs.read(),
        }
    }
}

/// A data source whose fields lie one behind the other, in the order in which they are added.
struct Table {
    source: DataSource,
}

impl Table {
    fn new(name: &str) -> Self {
        Self { source: DataSource::new(name, SourceKind::Array) }
    }

    /// Adds a field of `size` bytes.
    fn add(mut self, name: &str, scalar: Scalar, size: u32, annotations: &[(&str, &str)]) -> Self {
        let mut of_field = crate::datasource::Annotations::static_defaults();
        annotations.iter().for_each(|(key, value)| of_field.set(*key, *value));
        let offset = u32::try_from(self.source.static_size).unwrap_or(u32::MAX);
        self.source.static_size += size as usize;
        self.source.fields.push(Field {
            hidden: of_field.is_true("columns.hidden"),
            order: i32::try_from(self.source.fields.len()).unwrap_or(i32::MAX).saturating_add(1),
            annotations: of_field,
            ..Field::at(name, scalar, offset, size)
        });
        self
    }

    fn number(self, name: &str, scalar: Scalar, annotations: &[(&str, &str)]) -> Self {
        let size = Kind { scalar, array: false }.size().unwrap_or(8);
        self.add(name, scalar, size as u32, annotations)
    }

    fn text(self, name: &str, size: u32, annotations: &[(&str, &str)]) -> Self {
        self.add(name, Scalar::CString, size, annotations)
    }

    /// Says what the last field is, such as `gadget_bytes`.
    fn of_type(mut self, name: &str) -> Self {
        if let Some(field) = self.source.fields.last_mut() {
            field.tags.push(format!("type:{name}"));
        }
        self
    }
}

/// One entry, written in the order of its table's fields.
struct Row(Vec<u8>);

impl Row {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn number<const N: usize>(&mut self, bytes: [u8; N]) -> &mut Self {
        self.0.extend_from_slice(&bytes);
        self
    }

    /// Text in a field of `size` bytes, cut to it.
    fn text(&mut self, text: &str, size: usize) -> &mut Self {
        let end = self.0.len() + size;
        self.0.extend_from_slice(text.as_bytes().get(..size).unwrap_or(text.as_bytes()));
        self.0.resize(end, 0);
        self
    }
}

/// Milliseconds as minutes, seconds and milliseconds.
fn time(milliseconds: u64) -> String {
    format!("{}:{:02}.{:03}", milliseconds / 60_000, milliseconds / 1000 % 60, milliseconds % 1000)
}

const HIDDEN: (&str, &str) = ("columns.hidden", "true");
const RIGHT: (&str, &str) = ("columns.alignment", "right");
const ONE_DIGIT: (&str, &str) = ("columns.precision", "1");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gadget_yaml_asks_for_them() {
        let yaml = "name: top\noperator:\n  process: {emitstats: true}\n  cgroup: {emitstats: false}\n\
                    datasources:\n  processes:\n    fields:\n      comm: {annotations: {columns.alias: COMMAND}}\n";
        let metadata = Metadata::parse(yaml.as_bytes()).unwrap();
        let found = sources(&metadata);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].origin, Origin::Statistics(Statistics::Processes));
        let comm = found[0].data.field("comm").unwrap();
        assert_eq!(found[0].data.fields[comm].annotations.get("columns.alias"), Some("COMMAND"));
        assert!(sources(&Metadata::default()).is_empty());
    }
}
