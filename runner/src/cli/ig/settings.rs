//! The settings of `ig`: `~/.ig/config.yaml` and variables whose names begin with `INSPEKTOR_GADGET_`.
//!
//! A flag has the key of what it belongs to: `operator.oci.verify-image`, `runtime.x`, or for those of the program its
//! own name. Keys are nested or have dots, and their case does not matter. As upstream, what is not known is passed over.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::Value;

/// What the names of variables begin with.
const PREFIX: &str = "INSPEKTOR_GADGET_";

/// The operator that a setting is of. Flags that belong to a single run are no settings.
const OPERATORS: [(&str, &[&str]); 6] = [
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
    ("ustack", &["debuginfod-cache-path", "symbolizers"]),
    (
        "otel-metrics",
        &[
            "otel-metrics-exporter",
            "otel-metrics-listen",
            "otel-metrics-listen-address",
            "otel-metrics-print-interval",
        ],
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
    fn variables_have_upstreams_names() {
        let of = |flag: &str| variables().find(|(name, _)| *name == flag).unwrap().1;
        assert_eq!(of("verify-image"), "INSPEKTOR_GADGET_OPERATOR_OCI_VERIFY_IMAGE");
        assert_eq!(of("verbose"), "INSPEKTOR_GADGET_VERBOSE");
        assert_eq!(of("otel-metrics-listen"), "INSPEKTOR_GADGET_OPERATOR_OTEL_METRICS_OTEL_METRICS_LISTEN");
    }
}
