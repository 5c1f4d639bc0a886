//! An event as a nested document: the plan that JSON and YAML share.
//!
//! Only values differ from event to event. All else (braces, keys, indentation) is laid out once, so that writing
//! an event alternates between copying a run of literal text and writing one value.

use std::collections::BTreeMap;

use super::append::Literal;
use crate::datasource::{Accessor, DataSource, Event, FieldId, Kind, Place};

/// What a format puts around values. `depth` is the number of objects around; the document itself is at 0.
pub(super) trait Layout {
    /// Starts an object.
    fn open(&self, depth: usize, text: &mut Vec<u8>);
    /// Puts a key into the object at `depth`, with what separates it from the member before. `leaf` is the kind of
    /// its value, or none for an object.
    fn key(&self, depth: usize, first: bool, name: &str, leaf: Option<Kind>, text: &mut Vec<u8>);
    /// Ends an object.
    fn close(&self, depth: usize, empty: bool, text: &mut Vec<u8>);
    /// Ends the document.
    fn end(&self, text: &mut Vec<u8>);
}

/// A value, and the literal text before it.
#[derive(Debug)]
pub(super) struct Step {
    literal: Literal,
    /// Reads the value.
    pub(super) accessor: Accessor,
    /// The depth of the object that the value is in.
    pub(super) depth: usize,
}

/// A document compiled from a data source.
#[derive(Debug)]
pub(super) struct Document {
    steps: Vec<Step>,
    tail: Literal,
    /// Bytes of all literal text.
    size: usize,
}

impl Document {
    /// Lays out the fields of `source`: those of `only`, with all that they hold; without it, all but the ones that
    /// are unreferenced or marked `json.skip`. Keys are sorted by their bytes.
    pub(super) fn new(source: &DataSource, only: Option<&[FieldId]>, layout: &impl Layout) -> Self {
        let mut members = vec![BTreeMap::new(); source.fields.len()];
        let mut top = BTreeMap::new();
        let wanted = only.map(|only| wanted(source, only));
        for (id, field) in source.fields.iter().enumerate() {
            let named = only.is_some_and(|only| only.contains(&id));
            let skipped = field.annotations.is_true("json.skip") && !named;
            if field.unreferenced || skipped || wanted.as_ref().is_some_and(|wanted| !wanted[id]) {
                continue;
            }
            // A field that an operator adds under a name already taken replaces the one before: a key twice in
            // an object is read differently by each parser.
            match field.parent {
                None => top.insert(field.name.as_str(), id),
                Some(parent) => members.get_mut(parent).and_then(|m| m.insert(field.name.as_str(), id)),
            };
        }
        let mut compiler = Compiler {
            source,
            layout,
            members: &members,
            has_children: source.fields.iter().filter_map(|f| f.parent).collect(),
            text: Vec::new(),
            steps: Vec::new(),
            literal: 0,
        };
        compiler.object(&top, 0);
        layout.end(&mut compiler.text);
        let Compiler { text, steps, literal, .. } = compiler;
        Self { steps, tail: Literal::new(&text[literal..]), size: text.len() }
    }

    /// Appends an event, writing each value with `write`.
    #[inline]
    pub(super) fn write(&self, event: &Event<'_>, out: &mut Vec<u8>, write: impl Fn(&Step, &mut Vec<u8>)) {
        out.reserve(self.size + event.data.len());
        for step in &self.steps {
            step.literal.append(out);
            write(step, out);
        }
        self.tail.append(out);
    }
}

/// The fields of `only`, those in them, and those around them.
fn wanted(source: &DataSource, only: &[FieldId]) -> Vec<bool> {
    let mut wanted = vec![false; source.fields.len()];
    // A parent comes before its children.
    for (id, field) in source.fields.iter().enumerate() {
        wanted[id] = only.contains(&id) || field.parent.is_some_and(|parent| wanted[parent]);
    }
    for &id in only {
        let mut around = source.fields.get(id).and_then(|field| field.parent);
        for _ in 0..source.fields.len() {
            let Some(parent) = around else { break };
            wanted[parent] = true;
            around = source.fields[parent].parent;
        }
    }
    wanted
}

type Members<'a> = BTreeMap<&'a str, FieldId>;

struct Compiler<'a, L> {
    source: &'a DataSource,
    layout: &'a L,
    members: &'a [Members<'a>],
    has_children: std::collections::HashSet<FieldId>,
    text: Vec<u8>,
    steps: Vec<Step>,
    /// Where the literal text since the last value starts.
    literal: usize,
}

impl<L: Layout> Compiler<'_, L> {
    fn object(&mut self, members: &Members<'_>, depth: usize) {
        self.layout.open(depth, &mut self.text);
        for (index, (name, &id)) in members.iter().enumerate() {
            let field = &self.source.fields[id];
            let is_object = field.place == Place::Nowhere || self.has_children.contains(&id);
            let leaf = (!is_object).then_some(field.kind);
            self.layout.key(depth, index == 0, name, leaf, &mut self.text);
            if is_object {
                let all = self.members;
                self.object(&all[id], depth + 1);
            } else {
                let literal = Literal::new(&self.text[self.literal..]);
                self.literal = self.text.len();
                self.steps.push(Step { literal, accessor: self.source.accessor(id), depth });
            }
        }
        self.layout.close(depth, members.is_empty(), &mut self.text);
    }
}
