//! Which fields are shown as columns, and in what order: the default, and what `--fields` makes of it.

use super::{Error, nearest};
use crate::datasource::{DataSource, FieldId, Place};

/// The columns for `--fields`, or the default ones without it.
///
/// `a,b` shows these; `+x` adds to the default and `-x` removes from it. Names are full names or aliases, in any
/// case. Spaces, empty entries and repetitions don't matter. Given both, the plain names come first and replace
/// the default.
///
/// # Errors
///
/// A name that is neither a field nor an alias, or that of a group.
pub fn select(source: &DataSource, spec: Option<&str>) -> Result<Vec<FieldId>, Error> {
    let (mut explicit, mut added, mut removed) = (Vec::new(), Vec::new(), Vec::new());
    for entry in spec.unwrap_or_default().split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (list, name) = match entry.split_at_checked(1) {
            Some(("+", name)) => (&mut added, name),
            Some(("-", name)) => (&mut removed, name),
            _ => (&mut explicit, entry),
        };
        list.push(resolve(source, name.trim())?);
    }
    let base = if explicit.is_empty() { defaults(source) } else { explicit };
    let mut selected = Vec::new();
    for id in base.into_iter().chain(added) {
        if !selected.contains(&id) && !removed.contains(&id) {
            selected.push(id);
        }
    }
    Ok(selected)
}

/// The fields shown without `--fields`, by order.
pub fn defaults(source: &DataSource) -> Vec<FieldId> {
    let mut ids: Vec<FieldId> = (0..source.fields.len()).filter(|&id| is_visible(source, id)).collect();
    ids.sort_by_key(|&id| source.fields[id].order);
    ids
}

/// The name to show for a field on the command line: its alias if that means this field, else its full name.
pub fn short_name(source: &DataSource, id: FieldId) -> &str {
    let field = &source.fields[id];
    match field.annotations.get("columns.alias") {
        Some(alias) if find(source, alias) == Some(id) => alias,
        _ => &field.full_name,
    }
}

/// Whether a field is a column by default. A struct is one only if another field's value stands for it.
fn is_visible(source: &DataSource, id: FieldId) -> bool {
    let field = &source.fields[id];
    let stands_alone =
        source.children(Some(id)).next().is_none() || field.annotations.get("columns.replace").is_some();
    !field.hidden && stands_alone && is_column(source, id)
}

/// Whether a field can be a column.
fn is_column(source: &DataSource, id: FieldId) -> bool {
    let field = &source.fields[id];
    let has_value = field.place != Place::Nowhere || field.annotations.get("columns.replace").is_some();
    has_value && !is_unreferenced(source, id)
}

/// Whether a field, or one that it is part of, is left out everywhere.
pub(super) fn is_unreferenced(source: &DataSource, id: FieldId) -> bool {
    // Bounded by the number of fields, should parents ever form a ring.
    std::iter::successors(Some(id), |&id| source.fields.get(id)?.parent)
        .take(source.fields.len())
        .any(|id| source.fields.get(id).is_none_or(|field| field.unreferenced))
}

fn depth(source: &DataSource, id: FieldId) -> usize {
    source.fields[id].full_name.matches('.').count()
}

fn resolve(source: &DataSource, name: &str) -> Result<FieldId, Error> {
    if let Some(id) = find(source, name) {
        return Ok(id);
    }
    let columns = || (0..source.fields.len()).filter(|&id| is_column(source, id));
    if let Some(group) = source.field(name).filter(|&id| !is_unreferenced(source, id)) {
        let prefix = format!("{}.", source.fields[group].full_name);
        let members: Vec<&str> = columns()
            .map(|id| source.fields[id].full_name.as_str())
            .filter(|full_name| full_name.starts_with(&prefix))
            .collect();
        return Err(Error::Group {
            name: name.to_owned(),
            source_name: source.name.clone(),
            members: members.join(", "),
        });
    }
    // By full name, by last part and by alias: people leave parts out.
    let spellings = columns().flat_map(|id| {
        let field = &source.fields[id];
        let alias = field.annotations.get("columns.alias").unwrap_or(&field.name);
        [field.full_name.as_str(), field.name.as_str(), alias].map(|spelling| (spelling, &*field.full_name))
    });
    Err(Error::UnknownField {
        name: name.to_owned(),
        source_name: source.name.clone(),
        nearest: nearest::suggest(name, spellings),
        available: columns().map(|id| source.fields[id].full_name.as_str()).collect::<Vec<_>>().join(", "),
    })
}

/// The column of this full name or alias. Of several fields with the same alias, a visible one is meant rather
/// than a hidden one, then the one with the fewest parents, then the first: always the same.
fn find(source: &DataSource, name: &str) -> Option<FieldId> {
    if let Some(id) = source.field(name).filter(|&id| is_column(source, id)) {
        return Some(id);
    }
    (0..source.fields.len())
        .filter(|&id| {
            let alias = source.fields[id].annotations.get("columns.alias");
            alias.is_some_and(|alias| alias.eq_ignore_ascii_case(name)) && is_column(source, id)
        })
        .min_by_key(|&id| (!is_visible(source, id), depth(source, id), id))
}
