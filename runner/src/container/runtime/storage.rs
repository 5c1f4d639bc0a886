//! What podman and CRI-O write down of their containers: the storage folder that both share.
//!
//! Source: `github.com/containers/storage`, its `containers.json` and `images.json`. It tells names and images without a
//! daemon and without the lock that a start holds; labels it does not tell.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Details;
use super::files;
use super::kubernetes::Pod;
use super::podman::with_algorithm;

/// An entry of `containers.json`. Everything may be missing.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    id: String,
    names: Vec<String>,
    image: String,
    /// JSON in a string, and the owner's business.
    metadata: String,
}

/// What podman and CRI-O put there.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct Metadata {
    image_name: String,
    pod_name: String,
    pod_id: String,
    namespace: String,
    metadata_name: String,
    name: String,
    pod: bool,
}

/// An entry of `images.json`.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Image {
    id: String,
    digest: String,
}

/// The container whose bundle is at `bundle`, if that is in a storage folder: `ROOT/DRIVER-containers/ID/userdata`.
pub(super) fn find(bundle: &Path) -> Option<Details> {
    let (root, driver, id) = parts(bundle)?;
    let folder = |kind: &str| root.join(format!("{driver}-{kind}")).join(format!("{kind}.json"));
    let (bytes, owner) = files::read(&folder("containers")).ok()?;
    let entries: Vec<Entry> = serde_json::from_slice(&bytes).ok()?;
    let entry = entries.into_iter().find(|entry| entry.id == id)?;
    let digest = files::read(&folder("images")).ok().and_then(|(bytes, _)| {
        let images: Vec<Image> = serde_json::from_slice(&bytes).ok()?;
        images.into_iter().find(|image| image.id == entry.image).map(|image| image.digest)
    });
    Some(Details { image_digest: digest.unwrap_or_default(), owner, ..entry.into_details() })
}

impl Entry {
    fn into_details(self) -> Details {
        let told: Metadata = serde_json::from_str(&self.metadata).unwrap_or_default();
        // Only CRI-O's have pods; podman's own are not written here.
        let is_crio = !told.pod_id.is_empty();
        let pod = Pod {
            namespace: told.namespace,
            name: told.pod_name,
            container_name: if is_crio { told.metadata_name.clone() } else { String::new() },
            is_sandbox: is_crio && (told.pod || told.pod_id == self.id),
            sandbox_id: told.pod_id,
            ..Pod::default()
        };
        let name = [pod.container_name.clone(), told.name].into_iter().find(|name| !name.is_empty());
        Details {
            id: self.id,
            name: name.or_else(|| self.names.into_iter().next()).unwrap_or_default(),
            runtime: if is_crio { "cri-o" } else { "podman" },
            image_name: told.image_name,
            image_id: with_algorithm(self.image),
            pod,
            ..Details::default()
        }
    }
}

fn parts(bundle: &Path) -> Option<(PathBuf, &str, &str)> {
    let container = bundle.parent().filter(|_| bundle.ends_with("userdata"))?;
    let containers = container.parent()?;
    let driver = containers.file_name()?.to_str()?.strip_suffix("-containers")?;
    Some((containers.parent()?.to_owned(), driver, container.file_name()?.to_str()?))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn podmans_name_and_image_are_found_by_the_bundle() {
        let dir = tempfile::tempdir().unwrap();
        let image = "1".repeat(64);
        let write = |kind: &str, text: &str| {
            let folder = dir.path().join(format!("overlay-{kind}"));
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join(format!("{kind}.json")), text).unwrap();
        };
        write(
            "containers",
            &format!(
                r#"[{{"id":"a"}},{{"id":"c","names":["web"],"image":"{image}",
                "metadata":"{{\"image-name\":\"localhost/web:1\",\"name\":\"web\"}}"}}]"#
            ),
        );
        write("images", &format!(r#"[{{"id":"{image}","digest":"sha256:22"}}]"#));
        let details = find(&dir.path().join("overlay-containers/c/userdata")).unwrap();
        assert_eq!((details.name.as_str(), details.runtime), ("web", "podman"));
        assert_eq!(details.image_name, "localhost/web:1");
        assert_eq!(
            (details.image_digest.as_str(), details.image_id),
            ("sha256:22", format!("sha256:{image}"))
        );
        assert!(find(&dir.path().join("overlay-containers/none/userdata")).is_none());
        assert!(find(Path::new("/run/bundle")).is_none());
    }

    #[test]
    fn crios_pods_are_told() {
        let entry = |metadata: &str| Entry {
            id: "c".into(),
            names: vec!["k8s_x".into()],
            metadata: metadata.into(),
            ..Entry::default()
        };
        let details =
            entry(r#"{"pod-name":"p","pod-id":"s","namespace":"n","metadata-name":"web"}"#).into_details();
        assert_eq!((details.name.as_str(), details.runtime, details.is_sandbox()), ("web", "cri-o", false));
        assert!(entry(r#"{"pod-id":"c"}"#).into_details().is_sandbox());
        assert_eq!(entry("no JSON").into_details().name, "k8s_x");
    }
}
