//! A container as JSON and YAML have it. The keys are upstream's; what is empty is left out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value;

use crate::container::Container;

/// One container.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record<'a> {
    pub(super) runtime: Runtime<'a>,
    pub(super) k8s: K8s<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) bundle: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) sandbox_id: &'a str,
    pub(super) mntns: u64,
    pub(super) netns: u32,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) host_network: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) cgroup_path: String,
    #[serde(rename = "cgroupID", skip_serializing_if = "is_zero")]
    pub(super) cgroup_id: u64,
    #[serde(rename = "cgroupV1", skip_serializing_if = "str::is_empty")]
    pub(super) cgroup_v1: &'a str,
    #[serde(rename = "cgroupV2", skip_serializing_if = "str::is_empty")]
    pub(super) cgroup_v2: &'a str,
}

/// What the runtime knows.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Runtime<'a> {
    pub(super) runtime_name: &'a str,
    pub(super) container_id: &'a str,
    pub(super) container_name: &'a str,
    pub(super) container_pid: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) container_image_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) container_image_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) container_image_digest: &'a str,
    pub(super) container_started_at: i64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) container_labels: &'a BTreeMap<String, String>,
}

/// What Kubernetes knows.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct K8s<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) namespace: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) pod_name: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) pod_labels: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) container_name: &'a str,
    #[serde(rename = "podUID", skip_serializing_if = "str::is_empty")]
    pub(super) pod_uid: &'a str,
    #[serde(skip_serializing_if = "Owner::is_empty")]
    pub(super) owner: Owner<'a>,
}

/// What made the pod.
#[derive(Serialize)]
pub(super) struct Owner<'a> {
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
}

impl Owner<'_> {
    fn is_empty(&self) -> bool {
        self.kind.is_empty() && self.name.is_empty()
    }
}

impl<'a> Record<'a> {
    pub(super) fn of(container: &'a Container) -> Self {
        let k8s = &container.k8s;
        Self {
            runtime: Runtime {
                runtime_name: &container.runtime,
                container_id: &container.id,
                container_name: &container.name,
                container_pid: container.pid,
                container_image_name: &container.image_name,
                container_image_id: &container.image_id,
                container_image_digest: &container.image_digest,
                container_started_at: container.started_at,
                container_labels: &container.labels,
            },
            k8s: K8s {
                namespace: &k8s.namespace,
                pod_name: &k8s.pod_name,
                pod_labels: &k8s.pod_labels,
                container_name: &k8s.container_name,
                pod_uid: &k8s.pod_uid,
                owner: Owner { kind: &k8s.owner_kind, name: &k8s.owner_name },
            },
            bundle: &container.bundle,
            sandbox_id: &container.sandbox_id,
            mntns: container.mntns,
            netns: container.netns,
            host_network: container.host_network,
            cgroup_path: container.cgroup.path(),
            cgroup_id: container.cgroup.id,
            cgroup_v1: &container.cgroup.v1,
            cgroup_v2: &container.cgroup.v2,
        }
    }
}

/// A container that came or went.
pub(super) struct Change {
    pub(super) event: &'static str,
    pub(super) at: SystemTime,
    pub(super) container: Arc<Container>,
}

/// The same, as it is written.
#[derive(Serialize)]
pub(super) struct ChangeRecord<'a> {
    timestamp: String,
    event: &'static str,
    container: Record<'a>,
}

impl Change {
    pub(super) fn record(&self) -> ChangeRecord<'_> {
        let timestamp = timestamp(self.at);
        ChangeRecord { timestamp, event: self.event, container: Record::of(&self.container) }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// RFC 3339, in seconds and UTC.
fn timestamp(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    gadget::image::rfc3339(seconds)
}

/// A value as YAML. Texts are quoted as in JSON, which YAML reads alike.
pub(super) fn yaml(value: &Value) -> String {
    let mut text = String::new();
    write_yaml(value, 0, &mut text);
    text
}

/// Writes the lines of a value; the first one is already indented.
fn write_yaml(value: &Value, indent: usize, text: &mut String) {
    let next_line = |text: &mut String, first: bool| {
        if !first {
            text.extend(std::iter::repeat_n(' ', indent));
        }
    };
    match value {
        Value::Array(items) if !items.is_empty() => {
            for (at, item) in items.iter().enumerate() {
                next_line(text, at == 0);
                text.push_str("- ");
                write_yaml(item, indent + 2, text);
            }
        }
        Value::Object(members) if !members.is_empty() => {
            for (at, (key, value)) in members.iter().enumerate() {
                next_line(text, at == 0);
                let is_plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !key.is_empty();
                text.push_str(&if is_plain { key.clone() } else { Value::from(key.as_str()).to_string() });
                text.push(':');
                let is_block = match value {
                    Value::Array(items) => !items.is_empty(),
                    Value::Object(members) => !members.is_empty(),
                    _ => false,
                };
                if is_block {
                    text.push('\n');
                    text.extend(std::iter::repeat_n(' ', indent + 2));
                } else {
                    text.push(' ');
                }
                write_yaml(value, indent + 2, text);
            }
        }
        scalar => {
            text.push_str(&scalar.to_string());
            text.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timestamps_are_dates() {
        let at = |seconds| timestamp(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(at(1_709_251_199), "2024-02-29T23:59:59Z");
    }

    #[test]
    fn yaml_says_the_same_as_json() {
        let value = serde_json::json!([
            {"runtime": {"name": "a\u{1b}\n\"", "labels": {"x/y": "1"}}, "k8s": {}, "pid": 7},
            {"list": [[1, 2], []], "null": null, "": true},
        ]);
        let text = yaml(&value);
        insta::assert_snapshot!(text, @r#"
        - k8s: {}
          pid: 7
          runtime:
            labels:
              "x/y": "1"
            name: "a\u001b\n\""
        - "": true
          list:
            - - 1
              - 2
            - []
          null: null
        "#);
        assert_eq!(serde_saphyr::from_str::<Value>(&yaml(&value[0])).unwrap(), value[0]);
    }
}
