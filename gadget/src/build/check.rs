//! The metadata beside the program: what the file says of parameters must hold, and what the program has can be
//! written into the file.

use super::Error;
use crate::{
    btf::{Btf, Type, TypeKind, elf::Elf},
    metadata::{self, Editor, Metadata},
    object::{Object, StructField},
};

/// Data sources of a program, and the names of their fields.
fn data_sources(object: &Object) -> Vec<(&str, Vec<&StructField>)> {
    let tracers = object.tracers.iter().map(|t| (t.name.as_str(), t.structure.iter().collect()));
    let iters = object.iters.iter().map(|i| (i.name.as_str(), i.structure.iter().collect()));
    let maps = object.map_iters.iter().map(|m| (m.name.as_str(), m.key.iter().chain(&m.value).collect()));
    tracers.chain(maps).chain(iters).collect()
}

/// The metadata file with what the program has and `text` does not say, each to be filled in by its author.
pub(super) fn complete(text: &str, object: Option<&[u8]>) -> Result<String, Error> {
    let mut editor = Editor::new(text.to_owned())?;
    let about = [
        ("name", "TODO: Fill the gadget name"),
        ("description", "TODO: Fill the gadget description"),
        ("homepageURL", "TODO: Fill the gadget homepage URL"),
        ("documentationURL", "TODO: Fill the gadget documentation URL"),
        ("sourceURL", "TODO: Fill the gadget source code URL"),
    ];
    for (key, todo) in about {
        editor.add(&[key], todo)?;
    }
    let Some(object) = object.map(Object::parse).transpose()? else { return Ok(editor.text().to_owned()) };
    for (source, fields) in data_sources(&object) {
        for field in fields.into_iter().filter(|field| field.parent.is_none()) {
            if !editor.has(&["datasources", source, "fields", &field.name]) {
                let path = ["datasources", source, "fields", &field.name, "annotations", "description"];
                editor.add(&path, "TODO: Fill field description")?;
            }
        }
    }
    for param in &object.params {
        let variable = param.variable.as_str();
        if ["params.ebpf", "ebpfParams"].iter().any(|section| {
            let path: Vec<_> = section.split('.').chain([variable]).collect();
            editor.has(&path)
        }) {
            continue;
        }
        editor.add(&["params", "ebpf", variable, "key"], variable)?;
        let path = ["params", "ebpf", variable, "description"];
        editor.add(&path, "TODO: Fill parameter description")?;
    }
    Ok(editor.text().to_owned())
}

/// Refuses metadata that does not fit the program. Gives warnings of names that look mistyped.
pub(super) fn check(text: &str, object: Option<&[u8]>) -> Result<Vec<String>, Error> {
    let metadata = Metadata::parse(text.as_bytes())?;
    let mut faults = Vec::new();
    if metadata.name.trim().is_empty() {
        faults.push(metadata::Error::at(text, &["name"], "the gadget has no name; add name: at the top"));
    }
    for (section, params) in [("ebpf", &metadata.params.ebpf), ("wasm", &metadata.params.wasm)] {
        for (name, _) in params.iter().filter(|(_, param)| param.key.trim().is_empty()) {
            let why = format!("param {name:?} has an empty key; give params.{section}.{name} a key");
            faults.push(metadata::Error::at(text, &place_of(text, section, name), &why));
        }
    }
    let mut warnings = Vec::new();
    if let Some(bytes) = object {
        let elf = Elf::parse(bytes).map_err(crate::object::Error::from)?;
        let btf = elf.btf().map_err(crate::object::Error::from)?;
        for (name, _) in metadata.params.ebpf.iter() {
            if let Some(why) = variable_fault(&btf, name) {
                faults.push(metadata::Error::at(text, &place_of(text, "ebpf", name), &why));
            }
        }
        warnings = mistyped(text, &metadata, &Object::parse(bytes)?);
    }
    faults.sort_by_key(|fault| match fault {
        metadata::Error::At { line, .. } => *line,
        _ => 0,
    });
    match faults.len() {
        0 => Ok(warnings),
        1 => Err(faults.remove(0).into()),
        _ => Err(metadata::Error::Several(faults).into()),
    }
}

/// Keys under which a parameter stands; the old section is known too.
fn place_of<'a>(text: &str, section: &'a str, name: &'a str) -> Vec<&'a str> {
    let old = ["ebpfParams", name];
    let is_old = section == "ebpf" && Editor::new(text.to_owned()).is_ok_and(|editor| editor.has(&old));
    if is_old { old.to_vec() } else { vec!["params", section, name] }
}

/// Why a variable is no parameter.
fn variable_fault(btf: &Btf<'_>, name: &str) -> Option<String> {
    const GLOBAL: u32 = 1;
    let named = |t: &Type<'_>| btf.name(*t) == name || btf.name(*t).to_lowercase() == name.to_lowercase();
    let Some(variable) = btf.types().find(|t| t.kind == TypeKind::Var && named(t)) else {
        let known: Vec<_> = btf
            .types()
            .filter(|t| t.kind == TypeKind::Var)
            .filter_map(|t| btf.name(t).strip_prefix("gadget_param_"))
            .collect();
        let near = near(name, &known).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        return Some(format!("variable {name:?} not found in eBPF object{near}"));
    };
    if variable.words().next() != Some(GLOBAL) {
        return Some(format!("{name:?} is not a global variable; take away static"));
    }
    let (mut is_const, mut is_volatile) = (false, false);
    let mut next = variable.target();
    for _ in 0..64 {
        let Some(t) = next.and_then(|id| btf.get(id)) else { break };
        is_const |= t.kind == TypeKind::Const;
        is_volatile |= t.kind == TypeKind::Volatile;
        next = match t.array() {
            Some((element, _, _)) => Some(element),
            None if t.is_modifier() => t.target(),
            None => break,
        };
    }
    let missing = if !is_const {
        "const"
    } else if !is_volatile {
        "volatile"
    } else {
        return None;
    };
    Some(format!("{name:?} is not {missing}; declare it const volatile"))
}

/// Names of data sources and fields that the program does not have, but almost.
fn mistyped(text: &str, metadata: &Metadata, object: &Object) -> Vec<String> {
    let known = data_sources(object);
    let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
    let mut warnings = Vec::new();
    let mut warn = |path: &[&str], what: &str, name: &str, near: &str| {
        let why = format!("the program has no {what} {name:?}; did you mean {near:?}?");
        warnings.push(format!("warning: {}", metadata::Error::at(text, path, &why)));
    };
    for (source, said) in metadata.datasources.iter() {
        let Some((_, fields)) = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(source)) else {
            if let Some(near) = near(source, &names) {
                warn(&["datasources", source], "data source", source, near);
            }
            continue;
        };
        let full: Vec<_> = fields.iter().map(|field| field.full_name.as_str()).collect();
        for (field, _) in said.fields.iter() {
            // Operators make fields of their own out of what ends in _raw.
            let raw = format!("{field}_raw");
            let is = |name: &&str| name.eq_ignore_ascii_case(field) || name.eq_ignore_ascii_case(&raw);
            if !full.iter().any(is)
                && let Some(near) = near(field, &full)
            {
                warn(&["datasources", source, "fields", field], "field", field, near);
            }
        }
    }
    warnings
}

/// The name that differs from `name` in one letter, or in two if it is long.
fn near<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let allowed = if name.len() >= 6 { 2 } else { 1 };
    let distances = known.iter().map(|other| (distance(name, other), *other));
    distances.filter(|(distance, _)| (1..=allowed).contains(distance)).min().map(|(_, other)| other)
}

/// How many letters must be put in, taken out or changed (Levenshtein); too long names are far from all.
fn distance(one: &str, other: &str) -> usize {
    if one.len() > 128 || other.len() > 128 {
        return usize::MAX;
    }
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
