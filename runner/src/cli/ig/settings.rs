//! The settings of `ig`: `~/.ig/config.yaml` and variables whose names begin with `INSPEKTOR_GADGET_`.
//!
//! A flag has the key of what it belongs to: `operator.oci.verify-image`, `runtime.x`, or for those of the program its
//! own name. Keys are nested or have dots, and their case does not matter. As upstream, what is not known is passed over.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::Value;

/// What the names of variables begin with.
const PREFIX: &str = "INSPEKTOR_GADGET_";

/// The operator that a setting is of. Flags that belong to a single run are no settings.
const OPERATORS: [(&str, &[&str]); 5] = [
    (
        "oci",
        &[
            "allowed-gadgets",
            "annotate",
            "authfile",
            "disallow-pulling",
            "insecure-registries",
            "notation-certificates",
            "notation-policy-document",
            "public-keys",
            "pull",
            "validate-metadata",
            "verify-image",
        ],
    ),
    (
        "localmanager",
        &[
            "containerd-namespace",
            "containerd-socketpath",
            "crio-socketpath",
            "docker-socketpath",
            "enrich-with-k8s-apiserver",
            "kubeconfig",
            "podman-socketpath",
            "runtime-protocol",
            "runtimes",
        ],
    ),
    ("env", &["env-vars"]),
    ("socketenricher", &["socket-enricher-fields"]),
    (
        "otel-metrics",
        &["otel-metrics-export-internals", "otel-metrics-listen", "otel-metrics-listen-address"],
    ),
];

/// Flags of the program.
const ROOT: [&str; 4] = ["auto-mount-filesystems", "auto-wsl-workaround", "pprof-addr", "verbose"];

/// The file that is read unless another is named.
pub(in super::super) fn default_path() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".ig/config.yaml"))
}

/// All flags that can be set, with their keys.
fn keys() -> impl Iterator<Item = (&'static str, String)> {
    let of_operators = OPERATORS.iter().flat_map(|(operator, flags)| {
        flags.iter().map(move |flag| (*flag, format!("operator.{operator}.{flag}")))
    });
    of_operators.chain(ROOT.iter().map(|flag| (*flag, (*flag).to_owned())))
}

/// Flags whose values are lists.
const LISTS: [&str; 6] = [
    "allowed-gadgets",
    "annotate",
    "insecure-registries",
    "notation-certificates",
    "public-keys",
    "socket-enricher-fields",
];

/// All settings as YAML with upstream's keys: what `config default` prints. `default` gives the default of a flag.
pub(in super::super) fn defaults(default: impl Fn(&str) -> String) -> String {
    let line = |indent: &str, flag: &str| {
        let default = default(flag);
        let items: Vec<&str> = default.split(',').filter(|item| !item.is_empty()).collect();
        let value = match LISTS.contains(&flag) {
            true => serde_json::json!(items),
            false => serde_json::json!(default),
        };
        format!("{indent}{flag}: {value}\n")
    };
    let (before, after): (Vec<&str>, Vec<&str>) = ROOT.iter().partition(|flag| **flag < "operator");
    let mut operators = OPERATORS;
    operators.sort_unstable();
    let mut text: String = before.into_iter().map(|flag| line("", flag)).collect();
    text.push_str("operator:\n");
    for (operator, flags) in operators {
        text.push_str(&format!("    {operator}:\n"));
        text.extend(flags.iter().map(|flag| line("        ", flag)));
    }
    text.extend(after.into_iter().map(|flag| line("", flag)));
    text
}

/// The variable of each flag that can be set.
pub(in super::super) fn variables() -> impl Iterator<Item = (&'static str, String)> {
    keys().map(|(flag, key)| (flag, format!("{PREFIX}{}", key.replace(['-', '.'], "_").to_uppercase())))
}

/// The flags that a file sets, and their values.
pub(in super::super) fn of_file(root: &Value) -> Vec<(&'static str, Value)> {
    let mut flat = BTreeMap::new();
    flatten("", root, &mut flat);
    keys().filter_map(|(flag, key)| Some((flag, flat.get(&key).copied()?.clone()))).collect()
}

fn flatten<'a>(prefix: &str, value: &'a Value, flat: &mut BTreeMap<String, &'a Value>) {
    match value {
        Value::Object(keys) => {
            for (key, value) in keys {
                let key = key.to_lowercase();
                let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
                flatten(&key, value, flat);
            }
        }
        _ => {
            flat.insert(prefix.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_nested_or_dotted_in_any_case() {
        let file = serde_json::json!({
            "verbose": true,
            "operator": {"OCI": {"Verify-Image": "false", "nosuch": 1}, "localmanager.runtimes": "docker"},
            "operator.oci.public-keys": ["a", "b"],
            "output": "json",
        });
        let mut found = of_file(&file);
        found.sort_by_key(|(flag, _)| *flag);
        assert_eq!(
            found,
            [
                ("public-keys", serde_json::json!(["a", "b"])),
                ("runtimes", "docker".into()),
                ("verbose", true.into()),
                ("verify-image", "false".into()),
            ]
        );
    }

    #[test]
    fn defaults_can_be_read_back() {
        let default = |flag: &str| match flag {
            "socket-enricher-fields" => "cwd=512,exepath=512".to_owned(),
            "verify-image" => "true".to_owned(),
            _ => String::new(),
        };
        let text = defaults(default);
        assert!(text.starts_with("auto-mount-filesystems: \"\"\n"), "{text}");
        assert!(text.contains("operator:\n    env:\n        env-vars: \"\"\n    localmanager:\n"), "{text}");
        let read: BTreeMap<_, _> = of_file(&serde_saphyr::from_str(&text).unwrap()).into_iter().collect();
        assert_eq!(read.len(), keys().count());
        assert_eq!(read["socket-enricher-fields"], serde_json::json!(["cwd=512", "exepath=512"]));
        assert_eq!((&read["verify-image"], &read["public-keys"]), (&"true".into(), &serde_json::json!([])));
    }

    #[test]
    fn variables_have_upstreams_names() {
        let of = |flag: &str| variables().find(|(name, _)| *name == flag).unwrap().1;
        assert_eq!(of("verify-image"), "INSPEKTOR_GADGET_OPERATOR_OCI_VERIFY_IMAGE");
        assert_eq!(of("verbose"), "INSPEKTOR_GADGET_VERBOSE");
        assert_eq!(of("otel-metrics-listen"), "INSPEKTOR_GADGET_OPERATOR_OTEL_METRICS_OTEL_METRICS_LISTEN");
    }
}
