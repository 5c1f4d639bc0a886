//! What there is to choose from, as help tells it: the modes of a gadget's data sources, and their fields.

use crate::{
    datasource::{DataSource, Kind, Scalar},
    output::Mode,
};

/// Columns of help.
const WIDTH: usize = 80;

/// How to choose fields.
pub(super) const FIELDS_HELP: &str =
    "Fields to show, also in JSON and YAML: a,b replaces them, +a adds one, -b leaves one out";

/// What there is to choose modes from.
pub(super) fn output_help(sources: &[DataSource]) -> String {
    let mut help = "How events are written".to_owned();
    if sources.len() > 1 {
        help.push_str(", each data source its own way as in DS:MODE,DS:MODE");
    }
    let modes: Vec<Vec<String>> = sources.iter().map(Mode::names_of).collect();
    let say = |modes: &[String]| {
        let default = modes.first().map(String::as_str).unwrap_or_default();
        format!("[default: {default}] [possible values: {}]", modes.join(", "))
    };
    match modes.first() {
        Some(first) if modes.iter().all(|modes| modes == first) => help.push_str(&format!(" {}", say(first))),
        _ => {
            for (source, modes) in sources.iter().zip(&modes) {
                help.push_str(&format!("; {} {}", source.name, say(modes)));
            }
        }
    }
    help
}

/// How to choose fields.
pub(super) fn fields_help(several: bool) -> String {
    let of_several = if several { "; several data sources as in DS:a,b;DS:c" } else { "" };
    format!("{FIELDS_HELP}{of_several} [default: those with a star in the list at the end]")
}

/// What there is to choose fields from: names, types, and what they mean.
pub(super) fn fields_of(source: &DataSource, several: bool) -> String {
    let visible = source.visible();
    let hidden = source.with_value().filter(|id| !visible.contains(id) && source.is_leaf(*id));
    let of = if several { format!(" of {}", source.name) } else { String::new() };
    let mut text = format!("Fields{of}, those that are shown by default with a star:\n");
    for id in visible.iter().copied().chain(hidden) {
        let field = &source.fields[id];
        let star = if visible.contains(&id) { '*' } else { ' ' };
        let (name, kind) = (source.short_name(id), type_name(field.kind));
        let about = field.annotations.get("description").unwrap_or_default();
        push_wrapped(&mut text, &format!("  {star} {name:<30} {kind:<8}"), about);
    }
    text.push('\n');
    text
}

/// Appends a line that begins with `head`, and `about` behind it, in as many lines as it takes.
fn push_wrapped(text: &mut String, head: &str, about: &str) {
    let mut line = head.to_owned();
    for word in about.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH && line.len() > head.len() {
            text.push_str(line.trim_end());
            text.push('\n');
            line = " ".repeat(head.chars().count());
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

fn type_name(kind: Kind) -> String {
    let name = match kind.scalar {
        Scalar::String | Scalar::CString => "text".to_owned(),
        Scalar::Invalid => "bytes".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    if kind.array { format!("{name}[]") } else { name }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::datasource::{SourceKind, sample};

    /// Two data sources.
    pub(in super::super) fn two() -> [DataSource; 2] {
        let mut other = DataSource::new("start", SourceKind::Single);
        other.add_slot_field(None, "exit", Scalar::String, 0);
        [sample::sni(), other]
    }

    #[test]
    fn help_tells_what_fields_there_are() {
        let sources = two();
        insta::assert_snapshot!(fields_of(&sources[0], false), @"
        Fields, those that are shown by default with a star:
          * runtime.containerName          text
          * comm                           text     Process name
          * pid                            uint32   Process ID
          * tid                            uint32   Thread ID
          * name                           text
            timestamp_raw                  uint64   Microseconds since Unix epoch
            netns_id                       uint32   Network namespace ID
            proc.mntns_id                  uint64   Mount namespace ID
            proc.creds.uid                 uint32   User ID
            proc.creds.gid                 uint32   Group ID
            proc.parent.comm               text     Parent process name
            proc.parent.pid                uint32   Parent process ID
            proc.parent.tid                uint32   Parent thread ID
            k8s.node                       text
            k8s.namespace                  text
            k8s.podName                    text
            k8s.containerName              text
            k8s.hostnetwork                bool
            k8s.podLabels                  text
            k8s.owner.kind                 text
            k8s.owner.name                 text
            runtime.runtimeName            text
            runtime.containerId            text
            runtime.containerPid           uint32
            runtime.containerImageName     text
            runtime.containerImageDigest   text
            runtime.containerStartedAt     int64
            timestamp                      text     Microseconds since Unix epoch
            proc.creds.user                text
            proc.creds.group               text
        ");
        insta::assert_snapshot!(fields_of(&sources[1], true), @"
            Fields of start, those that are shown by default with a star:
              * exit                           text
            ");
        assert!(fields_help(true).contains("; several data sources as in DS:a,b;DS:c ["));
    }

    #[test]
    fn long_descriptions_stay_in_their_column() {
        let mut text = String::new();
        push_wrapped(&mut text, "  * name    text    ", &"one two ".repeat(9));
        push_wrapped(&mut text, "  * name    text    ", &"x".repeat(70));
        push_wrapped(&mut text, "  * name    text    ", "");
        insta::assert_snapshot!(text, @"
          * name    text     one two one two one two one two one two one two one two one
                             two one two
          * name    text     xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
          * name    text
        ");
    }

    #[test]
    fn help_tells_what_modes_there_are() {
        let mut sources = two();
        insta::assert_snapshot!(output_help(&sources[..1]), @"How events are written [default: columns] [possible values: columns, json, jsonpretty, yaml, none]");
        insta::assert_snapshot!(output_help(&sources), @"How events are written, each data source its own way as in DS:MODE,DS:MODE [default: columns] [possible values: columns, json, jsonpretty, yaml, none]");
        sources[1].annotations.insert("cli.supported-output-modes".into(), "raw".into());
        insta::assert_snapshot!(output_help(&sources), @"How events are written, each data source its own way as in DS:MODE,DS:MODE; sni [default: columns] [possible values: columns, json, jsonpretty, yaml, none]; start [default: raw] [possible values: raw, none]");
    }
}
