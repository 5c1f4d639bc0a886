//! What happens to an event between the kernel and the screen: containers, readable names, filters.
//!
//! An operator is attached to a data source once, before the gadget starts: it adds fields, hides others, and
//! compiles what it needs to accessors and slots. While the gadget runs, [`Operator::process`] sees every event; it
//! neither allocates nor looks up a name nor enters the kernel. Operators run in the order in which they were
//! attached, and none knows another: what they share are the fields' tags and annotations.

mod comparison;
pub mod enrich;
pub mod enums;
pub mod environment;
pub mod expression;
pub mod filter;
pub mod format;
pub mod limit;
mod pattern;
pub mod sort;
pub mod stack;
#[cfg(test)]
mod testing;
pub mod users;

use crate::datasource::{Annotations, DataSource, Event, FieldId, Packet, Scalar};

/// Whether an event goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// To the next operator.
    Pass,
    /// No further: no later operator sees it, and it is not shown.
    Drop,
}

/// One step of the pipeline.
pub trait Operator: Send {
    /// Its name in logs and errors, such as `formatters`.
    fn name(&self) -> &'static str;

    /// Looks at one event, and fills the slots of the fields that this operator added. On the hot path.
    fn process(&mut self, event: &mut Event<'_>) -> Verdict;

    /// Told before the first event which fields anybody reads: others need no value.
    fn narrow(&mut self, _is_read: &dyn Fn(FieldId) -> bool) {}

    /// Looks at a whole batch, once all that pass of it have been processed one by one.
    fn arrange(&mut self, _batch: &mut Vec<Packet>) {}
}

/// Sends an event through all operators, in order, until one drops it.
#[inline]
pub fn run(operators: &mut [Box<dyn Operator>], event: &mut Event<'_>) -> Verdict {
    for operator in operators {
        if operator.process(event) == Verdict::Drop {
            return Verdict::Drop;
        }
    }
    Verdict::Pass
}

/// The name of the field that shows `source` in readable form: what its annotation `key` says, or its own name
/// without `_raw`.
fn target_name(ds: &DataSource, source: FieldId, key: &str) -> Option<String> {
    let field = &ds.fields[source];
    match field.annotations.get(key) {
        Some(name) if !name.is_empty() => Some(name.to_owned()),
        _ => field.name.strip_suffix("_raw").filter(|n| !n.is_empty()).map(str::to_owned),
    }
}

/// Adds the text field `name` beside `source`, hides `source`, and returns the new field with its slot.
///
/// The new field has the source's parent and order; a source without an order is followed by its text at the end,
/// where a new field goes by default. The source stays visible if its own annotation says that it is not hidden.
/// `None`, and nothing changes, if the name is taken.
fn add_text_beside(
    ds: &mut DataSource,
    source: FieldId,
    name: &str,
    annotations: Annotations,
) -> Option<(FieldId, usize)> {
    let order = match ds.fields[source].order {
        0 => i32::try_from(ds.fields.len()).unwrap_or(i32::MAX),
        order => order,
    };
    let parent = ds.fields[source].parent;
    if ds.children(parent).any(|id| ds.fields[id].name.eq_ignore_ascii_case(name)) {
        tracing::debug!("field {:?} gets no text: there is a {name:?} already", ds.fields[source].full_name);
        return None;
    }
    let slot = ds.slots;
    let id = ds.add_slot_field(parent, name, Scalar::String, order);
    ds.fields[id].hidden = annotations.is_true("columns.hidden");
    if annotations != Annotations::default() {
        ds.fields[id].annotations = annotations;
    }
    let source = &mut ds.fields[source];
    source.hidden = source.annotations.get("columns.hidden") != Some("false");
    Some((id, slot))
}

/// Fields that carry `tag` and that something may still use.
fn tagged(ds: &DataSource, tag: &str) -> Vec<FieldId> {
    (0..ds.fields.len()).filter(|&id| ds.fields[id].has_tag(tag) && !ds.fields[id].unreferenced).collect()
}

#[cfg(test)]
mod tests {
    use super::testing::{Source, event};
    use super::*;

    struct Step(Verdict, std::sync::Arc<std::sync::atomic::AtomicUsize>);

    impl Operator for Step {
        fn name(&self) -> &'static str {
            "step"
        }

        fn process(&mut self, _: &mut Event<'_>) -> Verdict {
            self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            self.0
        }
    }

    #[test]
    fn a_dropped_event_goes_no_further() {
        let seen = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let step = |v| Box::new(Step(v, seen.clone())) as Box<dyn Operator>;
        let mut operators = [step(Verdict::Pass), step(Verdict::Drop), step(Verdict::Pass)];
        let ds = Source::new("open").done();
        assert_eq!(event(&ds, &[], |e| run(&mut operators, e)), Verdict::Drop);
        assert_eq!(seen.load(std::sync::atomic::Ordering::Relaxed), 2);
        assert_eq!(event(&ds, &[], |e| run(&mut operators[..1], e)), Verdict::Pass);
    }

    #[test]
    fn text_takes_parent_and_order_of_its_source() {
        let mut ds = Source::new("open").group("proc").number("proc.x_raw", Scalar::Uint32, "t").done();
        let source = ds.field("proc.x_raw").unwrap();
        ds.fields[source].order = 7;
        let (id, slot) = add_text_beside(&mut ds, source, "x", Annotations::default()).unwrap();
        assert_eq!(ds.fields[id].full_name, "proc.x");
        assert_eq!(ds.fields[id].order, 7);
        assert_eq!(ds.slot(id), Some(slot));
        assert!(ds.fields[source].hidden && !ds.fields[id].hidden);
    }

    #[test]
    fn text_of_a_source_without_order_goes_to_the_end() {
        let mut ds = Source::new("open").number("x_raw", Scalar::Uint32, "t").done();
        ds.fields[0].annotations.set("columns.hidden", "false");
        let (id, _) = add_text_beside(&mut ds, 0, "x", Annotations::default()).unwrap();
        assert_eq!(ds.fields[id].order, id as i32);
        assert!(!ds.fields[0].hidden);
    }

    #[test]
    fn a_name_that_is_taken_is_left_alone() {
        let mut ds =
            Source::new("open").number("x_raw", Scalar::Uint32, "t").number("X", Scalar::Uint32, "t").done();
        assert!(add_text_beside(&mut ds, 0, "x", Annotations::default()).is_none());
        assert!(!ds.fields[0].hidden && ds.fields.len() == 2);
    }

    #[test]
    fn target_names() {
        let mut ds = Source::new("open")
            .number("x_raw", Scalar::Uint32, "t")
            .number("y", Scalar::Uint32, "t")
            .number("_raw", Scalar::Uint32, "t")
            .done();
        assert_eq!(target_name(&ds, 0, "formatters.t.target").as_deref(), Some("x"));
        assert_eq!(target_name(&ds, 1, "formatters.t.target"), None);
        assert_eq!(target_name(&ds, 2, "formatters.t.target"), None);
        ds.fields[1].annotations.set("formatters.t.target", "z");
        assert_eq!(target_name(&ds, 1, "formatters.t.target").as_deref(), Some("z"));
    }
}
