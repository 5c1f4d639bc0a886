//! Colours of cells: only of those that tell of something gone wrong or ended by force, and only where a person looks.
//!
//! What a field means is read from the type of the number beside it, as formatters do.

use crate::datasource::{DataSource, FieldId};

/// A colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tint {
    /// An error number.
    Error,
    /// A signal.
    Signal,
}

impl Tint {
    /// Ends a colour (ECMA-48, SGR: default foreground).
    pub(super) const OFF: &[u8] = b"\x1b[39m";

    /// Begins the colour (ECMA-48, SGR: red, yellow).
    pub(super) fn on(self) -> &'static [u8] {
        match self {
            Self::Error => b"\x1b[31m",
            Self::Signal => b"\x1b[33m",
        }
    }

    /// The colour of a field: the text of an error or a signal has one.
    pub(super) fn of(source: &DataSource, id: FieldId) -> Option<Self> {
        let field = &source.fields[id];
        let named_by = |number: FieldId, formatter: &str| {
            let number = &source.fields[number];
            let target = number.annotations.get(&format!("formatters.{formatter}.target"));
            number.has_tag(&format!("type:gadget_{formatter}"))
                && target.or_else(|| number.name.strip_suffix("_raw")) == Some(field.name.as_str())
        };
        source.children(field.parent).find_map(|number| match number {
            _ if number == id => None,
            _ if named_by(number, "errno") => Some(Self::Error),
            _ if named_by(number, "signal") => Some(Self::Signal),
            _ => None,
        })
    }
}
