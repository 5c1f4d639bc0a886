//! How a field's annotations come about: defaults, templates, and what gadget.yaml says.
//!
//! Names and values are those of the metadata format, version 1 (field annotations and templates).

use std::collections::BTreeMap;

/// A field's annotations, such as `columns.width`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations(BTreeMap<String, String>);

impl Annotations {
    /// What every field starts with.
    pub fn static_defaults() -> Self {
        Self::from([("columns.width", "16"), ("columns.ellipsis", "end"), ("columns.alignment", "left")])
    }

    /// The value of an annotation.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Sets an annotation, replacing what was there.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.insert(key.into(), value.into());
    }

    /// Whether an annotation says `true`.
    pub fn is_true(&self, key: &str) -> bool {
        self.get(key) == Some("true")
    }

    /// All annotations, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// Adds what the template `name` stands for; `false` if there is no such template.
    pub fn expand(&mut self, name: &str) -> bool {
        let Some(entries) = template(name) else { return false };
        for (key, value) in entries {
            self.set(*key, *value);
        }
        true
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Annotations {
    fn from(entries: [(&str, &str); N]) -> Self {
        Self(entries.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
    }
}

type Entries = &'static [(&'static str, &'static str)];

fn template(name: &str) -> Option<Entries> {
    Some(match name {
        "timestamp" => &[
            ("columns.width", "35"),
            ("columns.maxwidth", "35"),
            ("columns.ellipsis", "end"),
            ("columns.hidden", "true"),
            ("description", "Microseconds since Unix epoch"),
        ],
        "bytes" => &[("columns.width", "10"), ("columns.alignment", "right")],
        "duration" => &[("columns.width", "20"), ("columns.alignment", "right")],
        "node" | "pod" => &[("columns.width", "30"), ("columns.ellipsis", "middle")],
        "container" | "namespace" | "containerImageName" | "containerImageDigest" => {
            &[("columns.width", "30")]
        }
        "containerPid" => {
            &[("columns.width", "6"), ("columns.hidden", "true"), ("columns.alignment", "right")]
        }
        "containerStartedAt" => &[("columns.hidden", "true"), ("columns.width", "35")],
        "comm" => &[("description", "Process name"), ("columns.maxwidth", "16")],
        "pcomm" => {
            &[("description", "Parent process name"), ("columns.maxwidth", "16"), ("columns.hidden", "true")]
        }
        "pid" => &[("description", "Process ID"), ("columns.minwidth", "7"), ("columns.alignment", "right")],
        "tid" => &[("description", "Thread ID"), ("columns.minwidth", "7"), ("columns.alignment", "right")],
        "ppid" => &[
            ("description", "Parent process ID"),
            ("columns.minwidth", "7"),
            ("columns.alignment", "right"),
            ("columns.hidden", "true"),
        ],
        "ptid" => &[
            ("description", "Parent thread ID"),
            ("columns.minwidth", "7"),
            ("columns.alignment", "right"),
            ("columns.hidden", "true"),
        ],
        "uid" => &[("description", "User ID"), ("columns.minwidth", "8"), ("columns.alignment", "right")],
        "gid" => &[("description", "Group ID"), ("columns.minwidth", "8"), ("columns.alignment", "right")],
        "ns" => &[("columns.hidden", "true"), ("columns.width", "12"), ("columns.alignment", "right")],
        "mntns_id" => &[
            ("description", "Mount namespace ID"),
            ("columns.hidden", "true"),
            ("columns.width", "12"),
            ("columns.alignment", "right"),
        ],
        "netns_id" => &[
            ("description", "Network namespace ID"),
            ("columns.hidden", "true"),
            ("columns.width", "12"),
            ("columns.alignment", "right"),
        ],
        "l4endpoint" => &[
            ("columns.minwidth", "22"),
            ("columns.width", "40"),
            ("columns.maxwidth", "52"),
            ("columns.ellipsis", "middle"),
        ],
        "syscall" => &[("description", "Syscall"), ("columns.width", "18"), ("columns.maxwidth", "28")],
        "errorString" => &[("columns.width", "12")],
        "user_stack" => &[("description", "User stack trace"), ("columns.hidden", "true")],
        _ => return None,
    })
}
