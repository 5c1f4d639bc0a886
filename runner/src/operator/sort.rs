//! Sorts batches by fields, as `--sort` says: `reads,-pid` is by reads, and where they are the same by pid, the highest
//! first. Events that are the same in all these fields keep their order.

use std::cmp::Ordering;

use super::{Operator, Verdict};
use crate::datasource::{Accessor, DataSource, Event, Packet, SourceKind, UnknownField, Value};

/// Why a data source cannot be sorted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[allow(missing_docs)] // the messages say what the fields are
pub enum Error {
    #[error("--sort: {0}")]
    Field(#[from] UnknownField),
    #[error("--sort: {source_name:?} sends its events one by one; only what comes in batches can be sorted")]
    Single { source_name: String },
    #[error(
        "--sort: field {field:?} of data source {source_name:?} holds raw bytes or a list, which have no order"
    )]
    Kind { field: String, source_name: String },
}

/// The operator that sorts batches.
pub struct Sort(Vec<Key>);

struct Key {
    field: Accessor,
    descending: bool,
}

impl Sort {
    /// Compiles the fields to sort by, joined by commas. `None` if there are none. To be called once all fields are
    /// added.
    ///
    /// # Errors
    /// When the data source has no such field or no batches.
    pub fn attach(ds: &DataSource, fields: &str) -> Result<Option<Box<dyn Operator>>, Error> {
        let names = fields.split(',').map(str::trim).filter(|name| !name.is_empty());
        let keys = names.map(|name| Key::compile(ds, name)).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Ok(None);
        }
        if ds.kind != SourceKind::Array {
            return Err(Error::Single { source_name: ds.name.clone() });
        }
        Ok(Some(Box::new(Self(keys))))
    }

    fn order(&self, a: &Packet, b: &Packet) -> Ordering {
        let by_key = |key: &Key| {
            let order = compare(a.value(&key.field), b.value(&key.field));
            if key.descending { order.reverse() } else { order }
        };
        self.0.iter().map(by_key).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}

impl Key {
    fn compile(ds: &DataSource, name: &str) -> Result<Self, Error> {
        let (name, descending) = match name.strip_prefix('-') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let id = ds.resolve_shown(name)?;
        let field = ds.accessor(id);
        if !field.kind().is_comparable() {
            let (field, source_name) = (ds.fields[id].full_name.clone(), ds.name.clone());
            return Err(Error::Kind { field, source_name });
        }
        Ok(Self { field, descending })
    }
}

fn compare(a: Value<'_>, b: Value<'_>) -> Ordering {
    match (a, b) {
        (Value::Unsigned(a), Value::Unsigned(b)) => a.cmp(&b),
        (Value::Signed(a), Value::Signed(b)) => a.cmp(&b),
        (Value::Float(a), Value::Float(b)) => a.total_cmp(&b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(&b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        // An accessor gives values of its kind, so nothing else comes here.
        _ => Ordering::Equal,
    }
}

impl Operator for Sort {
    fn name(&self) -> &'static str {
        "sort"
    }

    fn process(&mut self, _: &mut Event<'_>) -> Verdict {
        Verdict::Pass
    }

    fn arrange(&mut self, batch: &mut Vec<Packet>) {
        batch.sort_by(|a, b| self.order(a, b));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Source, bytes};
    use super::*;
    use crate::datasource::Scalar;

    fn source() -> DataSource {
        let mut ds = Source::new("files")
            .field("comm", Scalar::CString, 8, "gadget_comm")
            .number("pid", Scalar::Uint32, "gadget_pid")
            .number("delta", Scalar::Int16, "s16")
            .group("src")
            .done();
        ds.kind = SourceKind::Array;
        ds
    }

    fn sorted(by: &str) -> String {
        let ds = source();
        let events: [(&[u8], u32, i16); 5] =
            [(b"b", 2, 0), (b"a", 9, -1), (b"b", 1, 3), (b"a", 9, 5), (b"c", 10, 0)];
        let mut batch: Vec<Packet> = events
            .iter()
            .map(|(comm, pid, delta)| {
                let values: [(&str, &[u8]); 3] =
                    [("comm", comm), ("pid", &pid.to_ne_bytes()), ("delta", &delta.to_ne_bytes())];
                Packet { data: bytes(&ds, &values), ..Packet::new(&ds) }
            })
            .collect();
        Sort::attach(&ds, by).unwrap().unwrap().arrange(&mut batch);
        let pid = ds.accessor(1);
        let text = |p: &mut Packet| format!("{}{}", char::from(p.data[0]), pid.u64(&p.event()));
        batch.iter_mut().map(text).collect::<Vec<_>>().join(" ")
    }

    fn error(by: &str) -> String {
        Sort::attach(&source(), by).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn by_fields_in_their_order() {
        assert_eq!(sorted("pid"), "b1 b2 a9 a9 c10");
        assert_eq!(sorted("-pid"), "c10 a9 a9 b2 b1");
        assert_eq!(sorted("comm,pid"), "a9 a9 b1 b2 c10");
        assert_eq!(sorted("-comm,pid"), "c10 b1 b2 a9 a9");
        assert_eq!(sorted("delta"), "a9 b2 c10 b1 a9");
    }

    #[test]
    fn what_is_the_same_keeps_its_order() {
        assert_eq!(sorted("comm"), "a9 a9 b2 b1 c10");
        assert_eq!(sorted("-comm"), "c10 b2 b1 a9 a9");
    }

    #[test]
    fn nothing_to_sort_by_is_no_operator() {
        assert!(Sort::attach(&source(), " , ").unwrap().is_none());
    }

    #[test]
    fn messages() {
        let mut single = source();
        single.kind = SourceKind::Single;
        let of_single = Sort::attach(&single, "pid").map(|_| ()).unwrap_err().to_string();
        let all = [error("pdi"), error("pid,-nosuch"), error("src"), of_single];
        insta::assert_snapshot!(all.join("\n"), @r#"
        --sort: data source "files" has no field "pdi" (did you mean pid?)
        --sort: data source "files" has no field "nosuch"; it shows comm, pid, delta, src, and `igx run IMAGE --help` tells what else it has
        --sort: field "src" of data source "files" holds raw bytes or a list, which have no order
        --sort: "files" sends its events one by one; only what comes in batches can be sorted
        "#);
    }
}
