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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample;

    fn names(spec: Option<&str>) -> String {
        let source = sample::sni();
        let selected = select(&source, spec).unwrap();
        selected.iter().map(|&id| source.fields[id].full_name.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn error(spec: &str) -> String {
        select(&sample::sni(), Some(spec)).unwrap_err().to_string()
    }

    #[test]
    fn the_default_is_what_is_not_hidden_by_order() {
        insta::assert_snapshot!(names(None), @"runtime.containerName proc.comm proc.pid proc.tid name");
        assert_eq!(names(Some("")), names(None));
        assert_eq!(names(Some(" , ")), names(None));
    }

    #[test]
    fn plain_names_replace_the_default_in_their_order() {
        insta::assert_snapshot!(names(Some("name, comm,,name")), @"name proc.comm");
    }

    #[test]
    fn signs_change_the_default_and_keep_its_order() {
        insta::assert_snapshot!(names(Some("-name,+timestamp")), @"runtime.containerName proc.comm proc.pid proc.tid timestamp");
        insta::assert_snapshot!(names(Some("+name")), @"runtime.containerName proc.comm proc.pid proc.tid name");
        insta::assert_snapshot!(names(Some("-runtime.containername")), @"proc.comm proc.pid proc.tid name");
    }

    #[test]
    fn plain_names_come_before_added_ones() {
        insta::assert_snapshot!(names(Some("+netns_id,name,comm,-comm")), @"name netns_id");
    }

    #[test]
    fn names_are_read_in_any_case() {
        insta::assert_snapshot!(names(Some("NAME,PROC.Comm,Tid")), @"name proc.comm proc.tid");
    }

    #[test]
    fn a_shared_alias_means_the_visible_field() {
        let mut source = sample::sni();
        assert_eq!(select(&source, Some("pid")), Ok(vec![source.field("proc.pid").unwrap()]));
        // Of two visible ones, the one with fewer parents.
        let (own, parent) = (source.field("proc.pid").unwrap(), source.field("proc.parent.pid").unwrap());
        source.fields[parent].hidden = false;
        assert_eq!(select(&source, Some("pid")), Ok(vec![own]));
        source.fields[own].hidden = true;
        assert_eq!(select(&source, Some("pid")), Ok(vec![parent]));
    }

    #[test]
    fn a_field_left_out_takes_those_in_it_along() {
        let mut source = sample::sni();
        let process = source.field("proc").unwrap();
        source.fields[process].unreferenced = true;
        assert!(matches!(select(&source, Some("proc.comm")), Err(Error::UnknownField { .. })));
        assert_eq!(defaults(&source).len(), 2);
    }

    #[test]
    fn a_struct_is_shown_if_another_value_stands_for_it() {
        let mut source = sample::sni();
        let process = source.field("proc").unwrap();
        source.fields[process].hidden = false;
        assert!(!defaults(&source).contains(&process));
        source.fields[process].annotations.set("columns.replace", "proc.comm");
        assert!(defaults(&source).contains(&process));
    }

    #[test]
    fn short_names_lead_back_to_their_field() {
        let source = sample::sni();
        for id in defaults(&source) {
            assert_eq!(select(&source, Some(short_name(&source, id))), Ok(vec![id]));
        }
        assert_eq!(short_name(&source, source.field("proc.parent.pid").unwrap()), "proc.parent.pid");
    }

    #[test]
    fn an_unknown_name_is_met_with_the_nearest_ones() {
        let message = error("conm");
        assert!(
            message.starts_with(r#"no field "conm" in data source "sni" (did you mean proc.comm"#),
            "{message}"
        );
        assert!(message.contains("timestamp_raw, netns_id, proc,"), "{message}");
        assert!(message.ends_with("(`igx run IMAGE --help` says more)"), "{message}");
        assert!(error("containerNam").contains("runtime.containerName"));
        assert!(error("zzzzzz").starts_with(r#"no field "zzzzzz" in data source "sni"; its fields are"#));
        assert!(error("+").contains(r#"no field """#));
    }

    #[test]
    fn a_group_is_met_with_its_members() {
        insta::assert_snapshot!(error("k8s.owner"), @r#""k8s.owner" groups fields of data source "sni" and has no value: name its fields k8s.owner.kind, k8s.owner.name"#);
    }

    proptest::proptest! {
        #[test]
        fn no_spec_panics_or_repeats_a_field(spec in "[-+,a-z. é]{0,40}|(comm|name|tid|[-+]pid|,)*") {
            let source = sample::sni();
            if let Ok(mut ids) = select(&source, Some(&spec)) {
                let len = ids.len();
                ids.sort_unstable();
                ids.dedup();
                proptest::prop_assert_eq!(ids.len(), len);
            }
        }
    }
}
