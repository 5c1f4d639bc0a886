//! One part of a value, by a JSONPath (RFC 9535) that starts below the root: `.name`, `[0].fields[*].name`.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use serde_json_path::JsonPath;

/// Longest path, in bytes: nobody types more, and parsing takes stack.
const MAX_PATH: usize = 4096;

/// What `path` leads to: a value, or, if it can lead to several, a list of them.
pub(super) fn find(whole: &Value, path: &str) -> Result<Value> {
    if path.len() > MAX_PATH {
        bail!("jsonpath is {} bytes long: {MAX_PATH} at most are read", path.len());
    }
    let parsed = JsonPath::parse(&format!("${path}")).with_context(|| format!("parsing path {path:?}"))?;
    let mut found = parsed.query(whole).all();
    if several(path) {
        return Ok(Value::Array(found.into_iter().cloned().collect()));
    }
    match found.pop() {
        Some(value) => Ok(value.clone()),
        None => bail!("resolving path {path:?}: unknown key {}", missing(whole, path)),
    }
}

/// Whether a path can lead to more than one place: it has a wildcard, a slice, a filter, a list or a descent outside
/// of quotes.
fn several(path: &str) -> bool {
    let mut quote = None;
    let mut last = ' ';
    for c in path.chars() {
        match (quote, c) {
            (Some(open), _) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '*' | '?' | ':' | ',') => return true,
            (None, '.') if last == '.' => return true,
            (None, _) => {}
        }
        last = c;
    }
    false
}

/// The first step of a path that leads nowhere.
fn missing<'a>(whole: &Value, path: &'a str) -> &'a str {
    let mut start = 0;
    let ends = path.char_indices().skip(1).filter(|(_, c)| matches!(c, '.' | '[')).map(|(at, _)| at);
    for end in ends.chain([path.len()]) {
        let leads = JsonPath::parse(&format!("${}", &path[..end])).is_ok_and(|p| !p.query(whole).is_empty());
        if !leads {
            return path[start..end].trim_matches(['.', '[', ']', '\'', '"']);
        }
        start = end;
    }
    path
}
