//! Names of enumerators: a field that holds an enumeration gets a text field beside it.
//!
//! Which fields those are and what their values are called comes from BTF, so the caller brings it along.

use std::sync::Arc;

use crate::datasource::{Accessor, Annotations, DataSource, Event, FieldId, Slot};

use super::{Operator, Verdict, add_text_beside};

/// A field that holds an enumeration.
#[derive(Clone, Debug)]
pub struct EnumField {
    /// The field with the number.
    pub field: FieldId,
    /// Name of the text field.
    pub target: String,
    /// The text field, once it is there.
    pub text: Option<FieldId>,
    /// Whether the value is a set of flags, not one of them.
    pub bitfield: bool,
    /// What stands between the flags of a set.
    pub separator: String,
    /// Names and values, in the order of their declaration.
    pub values: Vec<(String, i64)>,
}

/// The operator that names enumerators.
pub struct Enums(Vec<Named>);

struct Named {
    source: Accessor,
    slot: usize,
    names: Names,
}

enum Names {
    /// Sorted by value; the name declared first for each.
    One(Vec<(i64, Arc<str>)>),
    /// In the order of declaration.
    Set { separator: String, flags: Vec<(u64, String)> },
}

impl Enums {
    /// Adds a text field for each of `fields`, and leaves out those whose name is taken. To be used where somebody
    /// wants the fields before the values are known.
    pub fn add_fields(ds: &mut DataSource, fields: &mut Vec<EnumField>) {
        fields.retain_mut(|field| {
            if field.text.is_none() {
                let added = add_text_beside(ds, field.field, &field.target, Annotations::default());
                field.text = added.map(|(id, _)| id);
            }
            field.text.is_some()
        });
    }

    /// Adds a text field for each of `fields`. `None` if there is nothing to do.
    pub fn attach(ds: &mut DataSource, mut fields: Vec<EnumField>) -> Option<Box<dyn Operator>> {
        Self::add_fields(ds, &mut fields);
        let named: Vec<Named> = fields.into_iter().filter_map(|field| Named::new(ds, field)).collect();
        (!named.is_empty()).then(|| Box::new(Self(named)) as Box<dyn Operator>)
    }
}

impl Operator for Enums {
    fn name(&self) -> &'static str {
        "enums"
    }

    fn process(&mut self, event: &mut Event<'_>) -> Verdict {
        for named in &self.0 {
            named.fill(event);
        }
        Verdict::Pass
    }
}

impl Named {
    fn new(ds: &DataSource, field: EnumField) -> Option<Self> {
        let source = ds.accessor(field.field);
        let slot = ds.slot(field.text?)?;
        let names = if field.bitfield {
            let flags = field.values.into_iter().map(|(name, value)| (value as u64, name)).collect();
            Names::Set { separator: field.separator, flags }
        } else {
            let mut names: Vec<_> = field.values.into_iter().map(|(n, v)| (v, Arc::from(n))).collect();
            names.sort_by_key(|&(value, _)| value);
            names.dedup_by_key(|&mut (value, _)| value);
            Names::One(names)
        };
        Some(Self { source, slot, names })
    }

    fn fill(&self, event: &mut Event<'_>) {
        let value = self.source.u64(event);
        match &self.names {
            Names::One(names) => {
                let name = match names.binary_search_by_key(&(value as i64), |&(v, _)| v) {
                    Ok(at) => Slot::Shared(names[at].1.clone()),
                    Err(_) => Slot::Static("UNKNOWN"),
                };
                event.slots.set(self.slot, name);
            }
            Names::Set { separator, flags } => event.slots.set_text(self.slot, |out| {
                let mut set = flags.iter().filter(|(flag, _)| value & flag == *flag);
                if let Some((_, first)) = set.next() {
                    out.extend_from_slice(first.as_bytes());
                }
                for (_, name) in set {
                    out.extend_from_slice(separator.as_bytes());
                    out.extend_from_slice(name.as_bytes());
                }
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Source, bytes, event, text};
    use super::*;
    use crate::datasource::Scalar;

    fn named(scalar: Scalar, raw: &[u8], bitfield: bool, values: &[(&str, i64)]) -> String {
        let mut ds = Source::new("s").number("op_raw", scalar, "op").done();
        let values = values.iter().map(|&(n, v)| (n.to_owned(), v)).collect();
        let field =
            EnumField { field: 0, target: "op".into(), text: None, bitfield, separator: "|".into(), values };
        let mut enums = Enums::attach(&mut ds, vec![field]).unwrap();
        assert!(ds.fields[0].hidden && !ds.fields[1].hidden);
        event(&ds, &bytes(&ds, &[("op_raw", raw)]), |e| {
            assert_eq!(enums.process(e), Verdict::Pass);
            text(&ds, e, "op")
        })
    }

    #[test]
    fn one_of_them() {
        let values = [("WRITE", 1), ("READ", 0), ("PUT", 1), ("MINUS", -1)];
        for (raw, name) in [(0, "READ"), (1, "WRITE"), (2, "UNKNOWN"), (-1, "MINUS")] {
            assert_eq!(named(Scalar::Int32, &i32::to_ne_bytes(raw), false, &values), name);
        }
    }

    #[test]
    fn a_set_of_them() {
        let values = [("NONE", 0), ("B", 2), ("A", 1), ("AB", 3)];
        for (raw, names) in [(0, "NONE"), (1, "NONE|A"), (3, "NONE|B|A|AB"), (4, "NONE")] {
            assert_eq!(named(Scalar::Uint16, &u16::to_ne_bytes(raw), true, &values), names);
        }
        assert_eq!(named(Scalar::Uint16, &u16::to_ne_bytes(4), true, &values[1..]), "");
    }

    #[test]
    fn nothing_to_name() {
        assert!(Enums::attach(&mut Source::new("s").done(), Vec::new()).is_none());
    }
}
