//! What runtimes know of Kubernetes: labels and annotations that the kubelet and the runtimes themselves put on
//! containers.
//!
//! Source of the keys: the kubelet's `pkg/kubelet/types/labels.go`, containerd's `pkg/cri/annotations`, CRI-O's
//! `pkg/annotations`.

use std::collections::BTreeMap;

/// What is known of the pod that a container belongs to. All empty outside a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::container) struct Pod {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) container_name: String,
    pub(super) labels: BTreeMap<String, String>,
    /// Kind and name of what made the pod.
    pub(super) owner: Option<(&'static str, String)>,
    pub(super) sandbox_id: String,
    pub(super) is_sandbox: bool,
}

impl Pod {
    /// From a container's labels.
    pub(super) fn of_labels(labels: &BTreeMap<String, String>) -> Self {
        let text = |key: &str| labels.get(key).cloned().unwrap_or_default();
        Self {
            namespace: text("io.kubernetes.pod.namespace"),
            name: text("io.kubernetes.pod.name"),
            uid: text("io.kubernetes.pod.uid"),
            container_name: text("io.kubernetes.container.name"),
            sandbox_id: text("io.kubernetes.sandbox.id"),
            is_sandbox: labels.get("io.kubernetes.docker.type").is_some_and(|kind| kind == "podsandbox")
                || labels.get("io.cri-containerd.kind").is_some_and(|kind| kind == "sandbox"),
            ..Self::default()
        }
    }

    /// Adds what a container's annotations tell and is not known yet.
    pub(super) fn add_annotations(&mut self, annotations: &BTreeMap<String, String>) {
        let find = |keys: &[&str]| keys.iter().find_map(|key| annotations.get(*key)).cloned();
        let fill = |text: &mut String, keys: &[&str]| {
            if text.is_empty() {
                *text = find(keys).unwrap_or_default();
            }
        };
        fill(&mut self.namespace, &["io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"]);
        fill(&mut self.name, &["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"]);
        fill(&mut self.uid, &["io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"]);
        fill(&mut self.container_name, &["io.kubernetes.cri.container-name", "io.kubernetes.container.name"]);
        fill(&mut self.sandbox_id, &["io.kubernetes.cri.sandbox-id", "io.kubernetes.cri-o.SandboxID"]);
        self.is_sandbox |= find(&["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"])
            .is_some_and(|kind| kind == "sandbox");
    }

    /// Adds the pod's labels, which the runtime keeps with the sandbox, and what they tell of who made the pod.
    pub(super) fn add_pod_labels(&mut self, labels: BTreeMap<String, String>) {
        // The kubelet's own, which are no labels of the pod, and those of containerd.
        let own = |key: &str| !key.starts_with("io.kubernetes.") && !key.starts_with("io.cri-containerd.");
        self.labels = labels.into_iter().filter(|(key, _)| own(key)).collect();
        self.owner = owner(&self.name, &self.labels);
    }
}

/// The image's name that CRI runtimes note on a container.
pub(super) fn image_name(annotations: &BTreeMap<String, String>) -> Option<&String> {
    ["io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName"]
        .iter()
        .find_map(|key| annotations.get(*key))
}

/// Who made a pod, where a label that only that controller sets says so.
fn owner(pod: &str, labels: &BTreeMap<String, String>) -> Option<(&'static str, String)> {
    if let Some(job) = labels.get("batch.kubernetes.io/job-name").or_else(|| labels.get("job-name")) {
        return Some(("Job", job.clone()));
    }
    let (stem, _) = pod.rsplit_once('-')?;
    if labels.get("statefulset.kubernetes.io/pod-name").is_some_and(|name| name == pod) {
        return Some(("StatefulSet", stem.to_owned()));
    }
    let hash = labels.get("pod-template-hash").filter(|hash| !hash.is_empty())?;
    stem.strip_suffix(hash.as_str()).filter(|name| name.len() > 1 && name.ends_with('-'))?;
    Some(("ReplicaSet", stem.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn labels_win_over_annotations() {
        let mut pod =
            Pod::of_labels(&map(&[("io.kubernetes.pod.name", "a"), ("io.kubernetes.pod.uid", "u")]));
        pod.add_annotations(&map(&[
            ("io.kubernetes.cri.sandbox-name", "b"),
            ("io.kubernetes.cri.sandbox-namespace", "n"),
            ("io.kubernetes.cri.sandbox-id", "s"),
            ("io.kubernetes.cri.container-type", "container"),
        ]));
        let expected = Pod {
            name: "a".into(),
            uid: "u".into(),
            namespace: "n".into(),
            sandbox_id: "s".into(),
            ..Pod::default()
        };
        assert_eq!(pod, expected);
    }

    #[test]
    fn sandboxes_of_every_runtime_are_told() {
        for labels in [[("io.kubernetes.docker.type", "podsandbox")], [("io.cri-containerd.kind", "sandbox")]]
        {
            assert!(Pod::of_labels(&map(&labels)).is_sandbox);
        }
        for key in ["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"] {
            let mut pod = Pod::default();
            pod.add_annotations(&map(&[(key, "sandbox")]));
            assert!(pod.is_sandbox);
        }
    }

    #[test]
    fn owner_is_said_only_where_a_controller_says_it() {
        let told = |pod: &str, labels: &[(&str, &str)]| {
            owner(pod, &map(labels)).map(|(kind, name)| format!("{kind}/{name}"))
        };
        assert_eq!(
            told("web-5d9c-x2x", &[("pod-template-hash", "5d9c")]).as_deref(),
            Some("ReplicaSet/web-5d9c")
        );
        assert_eq!(told("web-5d9c-x2x", &[("pod-template-hash", "other")]), None);
        assert_eq!(
            told("db-0", &[("statefulset.kubernetes.io/pod-name", "db-0")]).as_deref(),
            Some("StatefulSet/db")
        );
        assert_eq!(told("run-xyz", &[("job-name", "run")]).as_deref(), Some("Job/run"));
        assert_eq!(told("db-0", &[("app", "db")]), None);
        assert_eq!(told("plain", &[("pod-template-hash", "")]), None);
    }
}
