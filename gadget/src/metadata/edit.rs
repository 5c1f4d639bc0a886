//! Adding entries to a metadata file as text, so that comments, order and unknown keys stay as their author wrote them.
//!
//! Each addition is read again before it is accepted: the result must say exactly what the file said, and the new
//! entry. Where an author's style leaves no safe place, the file stays as it is and the author is told what to add.

use super::yaml::{self, Node, Value};
use super::{Error, Metadata, decode};
use serde_json::Value as Json;

/// What could not be added where the file's style leaves no place for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot add {path} to the file as it is written; add it by hand: {text}")]
pub struct NoPlace {
    /// The keys, joined with dots.
    pub path: String,
    /// What is to stand there.
    pub text: String,
}

/// A metadata file that is being completed.
#[derive(Debug, Clone)]
pub struct Editor {
    text: String,
}

impl Editor {
    /// Takes a file that can be read; empty text is a file that says nothing.
    ///
    /// # Errors
    /// What reading it says.
    pub fn new(text: String) -> Result<Self, Error> {
        Metadata::parse(text.as_bytes())?;
        Ok(Self { text })
    }

    /// The file as it stands.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether something stands under these keys, in whatever case, be it empty.
    pub fn has(&self, path: &[&str]) -> bool {
        let Ok(Some(root)) = yaml::parse(&self.text) else { return false };
        follow(&root, path).1.len() == path.len()
    }

    /// Puts the scalar `value` under these keys if nothing stands there.
    ///
    /// # Errors
    /// When there is no safe place for it; the text is then as it was.
    pub fn add(&mut self, path: &[&str], value: &str) -> Result<(), NoPlace> {
        if self.has(path) {
            return Ok(());
        }
        let accepted =
            self.candidates(path, value).into_iter().find(|text| self.only_adds(text, path, value));
        let no_place = || NoPlace { path: path.join("."), text: quoted(value) };
        self.text = accepted.ok_or_else(no_place)?;
        Ok(())
    }

    /// Texts with the entry, the best place first. None is checked.
    fn candidates(&self, path: &[&str], value: &str) -> Vec<String> {
        let root = match yaml::parse(&self.text) {
            Ok(Some(root)) if !matches!(root.value, Value::Null) => root,
            _ => {
                let start = if self.text.is_empty() || self.text.ends_with('\n') { "" } else { "\n" };
                return vec![format!("{}{start}{}", self.text, block(path, value, 0))];
            }
        };
        let (parent, keys) = follow(&root, path);
        let rest = &path[keys.len()..];
        let lines: Vec<&str> = self.text.split_inclusive('\n').collect();
        let with = |at: usize, added: &str| {
            let (before, after) = lines.split_at(at.min(lines.len()));
            let before = before.concat();
            let end = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
            format!("{before}{end}{added}{}", after.concat())
        };
        let mut found = Vec::new();
        match &parent.value {
            Value::Map(pairs) => {
                let Some((first, _)) = pairs.first() else {
                    return self.in_braces(parent, rest, value, "").into_iter().collect();
                };
                let (row, column) = place(first);
                let start = lines.get(row).map_or("", |line| line);
                if start.chars().take(column).all(|c| c == ' ') {
                    let added = block(rest, value, column);
                    let last = pairs.iter().map(|(key, _)| place(key).0).max().unwrap_or(row);
                    found.push(with(end_of(&lines, last, column), &added));
                    found.push(with(row, &added));
                }
                found.extend(self.in_braces(parent, rest, value, ", "));
            }
            Value::Null => {
                // Nothing stands behind the key yet.
                if let Some(key) = keys.last() {
                    let (row, column) = place(key);
                    found.push(with(row + 1, &block(rest, value, column + 2)));
                }
            }
            _ => {}
        }
        found
    }

    fn in_braces(&self, map: &Node, rest: &[&str], value: &str, separator: &str) -> Option<String> {
        let (row, column) = place(map);
        let start: usize = self.text.split_inclusive('\n').take(row).map(str::len).sum();
        let line = self.text.get(start..)?;
        let at = start + line.char_indices().nth(column)?.0;
        let (before, after) = (self.text.get(..at)?, self.text.get(at..)?.strip_prefix('{')?);
        let (last, parents) = rest.split_last()?;
        let mut added = String::new();
        parents.iter().for_each(|key| added += &format!("{}: {{", name(key)));
        added += &format!("{}: {}{}", name(last), quoted(value), "}".repeat(parents.len()));
        Some(format!("{before}{{{added}{separator}{after}"))
    }

    /// Whether `text` says what this file says and the new entry, and nothing else.
    fn only_adds(&self, text: &str, path: &[&str], value: &str) -> bool {
        let json = |text: &str| yaml::parse(text).ok()?.map_or(Ok(Json::Null), decode::json).ok();
        let (Some(mut wanted), Some(found)) = (json(&self.text), json(text)) else { return false };
        let mut at = &mut wanted;
        for key in path {
            if at.is_null() {
                *at = Json::Object(Default::default());
            }
            let Some(map) = at.as_object_mut() else { return false };
            at = map.entry(key.to_lowercase()).or_insert(Json::Null);
        }
        *at = Json::String(value.to_owned());
        wanted == found
    }
}

/// Where the keys of `path` stand in a file: line and column from 1; if the last ones are absent, the last one that
/// is there.
pub(crate) fn locate(text: &str, path: &[&str]) -> Option<(usize, usize)> {
    let root = yaml::parse(text).ok()??;
    let (_, keys) = follow(&root, path);
    keys.last().map(|key| place(key)).map(|(row, column)| (row + 1, column + 1))
}

/// The deepest value on the way that a path goes, and the keys met.
fn follow<'a>(root: &'a Node, path: &[&str]) -> (&'a Node, Vec<&'a Node>) {
    let mut at = root;
    let mut keys = Vec::new();
    for wanted in path {
        let Value::Map(pairs) = &at.value else { break };
        let is = |key: &Node| matches!(&key.value, Value::Text(name) if name.to_lowercase() == wanted.to_lowercase());
        let Some((key, value)) = pairs.iter().find(|(key, _)| is(key)) else { break };
        at = value;
        keys.push(key);
    }
    (at, keys)
}

/// Row and column from 0.
fn place(node: &Node) -> (usize, usize) {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).saturating_sub(1);
    (number(node.at.line()), number(node.at.column()))
}

/// The row after a map whose keys stand at `column`, the last one in row `last`.
fn end_of(lines: &[&str], last: usize, column: usize) -> usize {
    let mut end = last + 1;
    for (row, line) in lines.iter().enumerate().skip(last + 1) {
        let text = line.trim_start_matches(' ');
        if text.trim().is_empty() || (text.starts_with('#') && line.len() - text.len() <= column) {
            continue;
        }
        if line.len() - text.len() <= column {
            break;
        }
        end = row + 1;
    }
    end
}

/// A path and its value as indented lines.
fn block(path: &[&str], value: &str, column: usize) -> String {
    let mut text = String::new();
    for (depth, key) in path.iter().enumerate() {
        text += &format!("{}{}:", " ".repeat(column + 2 * depth), name(key));
        text += &if depth + 1 == path.len() { format!(" {}\n", quoted(value)) } else { "\n".to_owned() };
    }
    text
}

/// A key, in quotes where a reader could take it for something else than text.
fn name(key: &str) -> String {
    let plain = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if plain && !is_word(key) { key.to_owned() } else { Json::String(key.to_owned()).to_string() }
}

/// Text as YAML, plain where it can be mistaken for nothing else.
fn quoted(value: &str) -> String {
    let plain = value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !is_word(value);
    if plain { value.to_owned() } else { Json::String(value.to_owned()).to_string() }
}

/// Whether some reader of YAML takes it for a truth value or nothing.
fn is_word(value: &str) -> bool {
    ["null", "true", "false", "yes", "no", "on", "off", "y", "n"].contains(&value.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn added(text: &str, path: &[&str]) -> String {
        let mut editor = Editor::new(text.to_owned()).unwrap();
        editor.add(path, "TODO: x").unwrap();
        editor.text().to_owned()
    }

    #[test]
    fn comments_order_and_unknown_keys_stay() {
        let text = "# about\nname: x # why\nfuture: {a: 1}\ndatasources:\n  sni:\n    # its fields\n    fields:\n      pid:\n        annotations: {}\n\n# the end\nparams:\n";
        insta::assert_snapshot!(added(text, &["datasources", "sni", "fields", "comm", "annotations", "description"]), @r#"
        # about
        name: x # why
        future: {a: 1}
        datasources:
          sni:
            # its fields
            fields:
              pid:
                annotations: {}
              comm:
                annotations:
                  description: "TODO: x"

        # the end
        params:
        "#);
        insta::assert_snapshot!(added(text, &["params", "ebpf", "v", "key"]).lines().last().unwrap(), @r#"      key: "TODO: x""#);
        insta::assert_snapshot!(added(text, &["description"]).lines().last().unwrap(), @r#"description: "TODO: x""#);
    }

    #[test]
    fn every_style_of_map() {
        for text in [
            "",
            "# only a comment",
            "a: {}\n",
            "a: {b: 1}\n",
            "a: {b: {}, e: 2}\n",
            "a:\n",
            "a:\n# note\nz: |\n  text\n\n  more\n",
            "a:\n    z: >-\n        folded\n        text\ny: 1\n",
            "{a: {b: {}}}",
            "---\na:\n  b:\n    z: 'x\n      y'\n",
        ] {
            assert!(added(text, &["a", "c", "d"]).contains("TODO: x"), "{text}");
        }
    }

    #[test]
    fn no_place_is_told() {
        let mut editor = Editor::new("future: 1\n".into()).unwrap();
        let error = editor.add(&["future", "b"], "x").unwrap_err();
        insta::assert_snapshot!(error, @"cannot add future.b to the file as it is written; add it by hand: x");
        assert_eq!(editor.text(), "future: 1\n");
    }

    fn tree() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::Bool),
            any::<i32>().prop_map(Json::from),
            "[ -~]{0,12}".prop_map(Json::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::btree_map("[a-d]{1,2}", inner.clone(), 0..4)
                    .prop_map(|map| Json::Object(map.into_iter().collect())),
                proptest::collection::vec(inner, 0..3).prop_map(Json::Array),
            ]
        })
    }

    /// A tree in block style, with comments and blank lines.
    fn write(tree: &Json, column: usize, out: &mut String) {
        let Json::Object(map) = tree else { return };
        for (key, value) in map {
            *out += &format!("{}# about {key}\n{}{key}:", " ".repeat(column), " ".repeat(column));
            match value {
                Json::Object(inner) if !inner.is_empty() => {
                    *out += " # map\n\n";
                    write(value, column + 3, out);
                }
                other => *out += &format!(" {other}\n"),
            }
        }
    }

    proptest! {
        #[test]
        fn additions_keep_every_line_and_all_that_is_said(
            tree in proptest::collection::btree_map("[a-d]{1,2}", tree(), 0..4),
            path in proptest::collection::vec("[a-e]{1,2}", 1..4),
        ) {
            let mut text = String::new();
            write(&Json::Object(tree.into_iter().collect()), 0, &mut text);
            let path: Vec<_> = path.iter().map(String::as_str).collect();
            let Ok(mut editor) = Editor::new(text.clone()) else { return Ok(()) };
            if editor.has(&path) {
                return Ok(());
            }
            if editor.add(&path, "value").is_ok() {
                prop_assert!(editor.has(&path));
                // Comments are told apart by their line: each is still there, in order.
                let comments = |text: &str| {
                    let lines = text.lines().filter(|l| l.trim_start().starts_with('#'));
                    lines.map(str::to_owned).collect::<Vec<_>>()
                };
                prop_assert_eq!(comments(&text), comments(editor.text()));
                let json = |text: &str| yaml::parse(text).unwrap().map_or(Json::Null, |n| decode::json(n).unwrap());
                prop_assert!(contains(&json(editor.text()), &json(&text)), "{}", editor.text());
            } else {
                prop_assert_eq!(editor.text(), text);
            }
        }
    }

    /// Whether `whole` says all that `part` says.
    fn contains(whole: &Json, part: &Json) -> bool {
        match (whole, part) {
            (_, Json::Null) => true,
            (Json::Object(whole), Json::Object(part)) => {
                part.iter().all(|(key, value)| whole.get(key).is_some_and(|w| contains(w, value)))
            }
            (whole, part) => whole == part,
        }
    }
}
