//! Which fields are shown, and as columns in what order: the default, and what `--fields` makes of it.

use std::borrow::Borrow;

use super::{Error, Mode};
use crate::datasource::{DataSource, FieldId, UnknownField, nearest};

/// The fields of each data source, each in its mode: the default ones if `spec`, the value of `--fields`, is empty.
/// `None` for a data source that is kept out of the output.
///
/// `a,b` shows these; `+x` adds to the default and `-x` removes from it. Names are full names or aliases, in any
/// case. Spaces, empty entries and repetitions don't matter. Given both, the plain names come first and replace
/// the default.
///
/// In a document, such as JSON, the default is every field, and the name of a group means all that is in it.
///
/// `open:a,b;start:c` names fields by data source. Names without a data source are meant for those that have them
/// all; plain ones keep the others out.
///
/// # Errors
///
/// A name that no data source has, that of a group, or that of no data source; names without a data source that no
/// single one has.
pub fn select<S: Borrow<DataSource>>(
    sources: &[S],
    spec: &str,
    modes: &[Mode],
) -> Result<Vec<Option<Vec<FieldId>>>, Error> {
    let mut general = Vec::new();
    let mut own: Vec<Vec<Entry<'_>>> = vec![Vec::new(); sources.len()];
    for part in spec.split(';') {
        match part.split_once(':') {
            Some((name, part)) => own[position(sources, name.trim())?].extend(entries(part)),
            None => general.extend(entries(part)),
        }
    }
    let mut missed = Vec::new();
    let mut selected = Vec::new();
    for ((source, own), mode) in sources.iter().map(Borrow::borrow).zip(&own).zip(modes) {
        let table = !mode.is_document();
        selected.push(match chosen(source, if own.is_empty() { &general } else { own }, table) {
            Ok(columns) => Some(columns),
            Err(error) if !own.is_empty() => return Err(error.into()),
            Err(_) => {
                missed.push(source);
                let only_signs = general.iter().all(|entry| entry.sign != Sign::None);
                only_signs.then(|| default(source, table))
            }
        });
    }
    if !missed.is_empty() && missed.len() == own.iter().filter(|own| own.is_empty()).count() {
        return Err(nowhere(&missed, &general));
    }
    Ok(selected)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    None,
    Add,
    Remove,
}

/// One name, with its sign.
#[derive(Clone, Copy)]
struct Entry<'a> {
    text: &'a str,
    sign: Sign,
    name: &'a str,
}

fn entries(part: &str) -> impl Iterator<Item = Entry<'_>> {
    part.split(',').map(str::trim).filter(|text| !text.is_empty()).map(|text| {
        let (sign, name) = match text.split_at_checked(1) {
            Some(("+", name)) => (Sign::Add, name),
            Some(("-", name)) => (Sign::Remove, name),
            _ => (Sign::None, text),
        };
        Entry { text, sign, name: name.trim() }
    })
}

/// The fields that the entries make of one data source.
fn chosen(source: &DataSource, entries: &[Entry<'_>], table: bool) -> Result<Vec<FieldId>, UnknownField> {
    let (mut explicit, mut added, mut removed) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        let list = match entry.sign {
            Sign::None => &mut explicit,
            Sign::Add => &mut added,
            Sign::Remove => &mut removed,
        };
        list.push(match source.resolve(entry.name) {
            Err(UnknownField::Group { .. }) if !table => source.field(entry.name).unwrap_or_default(),
            result => result?,
        });
    }
    let base = if explicit.is_empty() { default(source, table) } else { explicit };
    let is_removed = |id: FieldId| {
        let mut around = std::iter::successors(Some(id), |&id| source.fields.get(id)?.parent);
        if table { removed.contains(&id) } else { around.any(|id| removed.contains(&id)) }
    };
    let mut selected = Vec::new();
    for id in base.into_iter().chain(added) {
        if !selected.contains(&id) && !is_removed(id) {
            selected.push(id);
        }
    }
    Ok(selected)
}

fn default(source: &DataSource, table: bool) -> Vec<FieldId> {
    if table {
        return source.visible();
    }
    let is_shown = |&id: &FieldId| source.is_leaf(id) && !source.fields[id].annotations.is_true("json.skip");
    source.with_value().filter(is_shown).collect()
}

pub(super) fn position<S: Borrow<DataSource>>(sources: &[S], name: &str) -> Result<usize, Error> {
    let names = || sources.iter().map(|source| source.borrow().name.as_str());
    names().position(|known| known.eq_ignore_ascii_case(name)).ok_or_else(|| Error::UnknownSource {
        name: name.to_owned(),
        nearest: nearest(name, names().map(|known| (known, known))),
        available: names().collect::<Vec<_>>().join(", "),
    })
}

/// Why none of these data sources has all the names: one is nowhere, or they are spread.
fn nowhere(sources: &[&DataSource], entries: &[Entry<'_>]) -> Error {
    for entry in entries {
        let errors: Vec<UnknownField> =
            sources.iter().filter_map(|source| source.resolve(entry.name).err()).collect();
        if errors.len() == sources.len() {
            // The most telling one: that of a data source with a similar name.
            let telling =
                errors.into_iter().min_by_key(|error| matches!(error, UnknownField::Unknown { .. }));
            if let Some(error) = telling {
                return error.into();
            }
        }
    }
    let of = |source: &&DataSource| {
        let found = entries.iter().filter(|entry| source.resolve(entry.name).is_ok());
        format!("{}:{}", source.name, found.map(|entry| entry.text).collect::<Vec<_>>().join(","))
    };
    Error::Apart {
        names: entries.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", "),
        example: sources.iter().map(of).collect::<Vec<_>>().join(";"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasource::{Scalar, SourceKind, sample};

    /// The columns of the sample source, and of another one.
    fn select_two(spec: &str) -> Result<Vec<String>, String> {
        let mut other = DataSource::new("start", SourceKind::Single);
        let id = other.add_slot_field(None, "comm", Scalar::String, 0);
        other.fields[id].annotations.set("columns.alias", "command");
        other.add_slot_field(None, "exit", Scalar::String, 0);
        let sources = [sample::sni(), other];
        let selected = select(&sources, spec, &[Mode::Columns; 2]).map_err(|error| error.to_string())?;
        let names = |(source, ids): (&DataSource, Option<Vec<FieldId>>)| match ids {
            Some(ids) => {
                ids.iter().map(|&id| source.fields[id].full_name.as_str()).collect::<Vec<_>>().join(" ")
            }
            None => "(kept out)".to_owned(),
        };
        Ok(sources.iter().zip(selected).map(names).collect())
    }

    fn names(spec: &str) -> String {
        let source = sample::sni();
        let selected = select(&[&source], spec, &[Mode::Columns]).unwrap().remove(0).unwrap();
        selected.iter().map(|&id| source.fields[id].full_name.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_default_is_what_is_not_hidden_by_order() {
        insta::assert_snapshot!(names(""), @"runtime.containerName proc.comm proc.pid proc.tid name");
        assert_eq!(names(" , "), names(""));
    }

    #[test]
    fn plain_names_replace_the_default_in_their_order() {
        insta::assert_snapshot!(names("name, comm,,name"), @"name proc.comm");
    }

    #[test]
    fn signs_change_the_default_and_keep_its_order() {
        insta::assert_snapshot!(names("-name,+timestamp"), @"runtime.containerName proc.comm proc.pid proc.tid timestamp");
        insta::assert_snapshot!(names("+name"), @"runtime.containerName proc.comm proc.pid proc.tid name");
        insta::assert_snapshot!(names("-runtime.containername"), @"proc.comm proc.pid proc.tid name");
    }

    #[test]
    fn plain_names_come_before_added_ones() {
        insta::assert_snapshot!(names("+netns_id,name,comm,-comm"), @"name netns_id");
    }

    #[test]
    fn one_data_source_may_be_named_too() {
        insta::assert_snapshot!(names("sni:name,comm"), @"name proc.comm");
    }

    #[test]
    fn names_go_to_the_data_sources_that_have_them_all() {
        let default = "runtime.containerName proc.comm proc.pid proc.tid name";
        for (spec, sni, start) in [
            ("", default, "comm exit"),
            ("comm", "proc.comm", "comm"),
            ("comm,name", "proc.comm name", "(kept out)"),
            ("exit,comm", "(kept out)", "exit comm"),
            ("-comm", "runtime.containerName proc.pid proc.tid name", "exit"),
            ("-name", "runtime.containerName proc.comm proc.pid proc.tid", "comm exit"),
            ("sni:name;start:exit", "name", "exit"),
            (" START : exit ", default, "exit"),
            ("start:-exit;comm,name", "proc.comm name", "comm"),
            ("start:comm,exit;comm", "proc.comm", "comm exit"),
            ("start:;name", "name", "(kept out)"),
        ] {
            assert_eq!(select_two(spec).unwrap(), [sni, start], "{spec:?}");
        }
    }

    #[test]
    fn names_that_nobody_has_are_errors() {
        let error = |spec| select_two(spec).unwrap_err();
        insta::assert_snapshot!(error("name,exti"), @r#"data source "start" has no field "exti" (did you mean exit?)"#);
        insta::assert_snapshot!(error("name,zzzzzz"), @r#"data source "sni" has no field "zzzzzz"; it shows runtime.containerName, comm, pid, tid, name, and `igx run IMAGE --help` tells what else it has"#);
        insta::assert_snapshot!(error("name,+exit,comm"), @r#"no data source has all the fields name, exit, comm: say which has which, such as "sni:name,comm;start:+exit,comm""#);
        insta::assert_snapshot!(error("start:name"), @r#"data source "start" has no field "name"; it shows command, exit, and `igx run IMAGE --help` tells what else it has"#);
        insta::assert_snapshot!(error("start:exit;exit"), @r#"data source "sni" has no field "exit"; it shows runtime.containerName, comm, pid, tid, name, and `igx run IMAGE --help` tells what else it has"#);
        insta::assert_snapshot!(error("strat:exit"), @r#"the gadget has no data source "strat" (did you mean start?); it has sni, start"#);
        insta::assert_snapshot!(error("+"), @r#"data source "sni" has no field ""; it shows runtime.containerName, comm, pid, tid, name, and `igx run IMAGE --help` tells what else it has"#);
    }

    proptest::proptest! {
        #[test]
        fn no_spec_panics_or_repeats_a_field(spec in "[-+,a-z. é;:]{0,40}|(comm|name|tid|[-+]pid|,|sni:|;)*") {
            let source = sample::sni();
            if let Ok(mut selected) = select(&[&source], &spec, &[Mode::Columns]) {
                let mut ids = selected.remove(0).unwrap_or_default();
                let len = ids.len();
                ids.sort_unstable();
                ids.dedup();
                proptest::prop_assert_eq!(ids.len(), len);
            }
        }
    }
}
