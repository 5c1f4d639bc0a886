//! What is known of images: containerd keeps a digest for each name, and the id is in what that leads to.

use std::collections::HashMap;

use serde::Deserialize;

use super::super::Details;
use super::proto::Image;

/// The images of a namespace: digests by name, and by digest the id, which CRI gives it as a further name.
pub(super) struct Images {
    digests: HashMap<String, String>,
    ids: HashMap<String, String>,
}

impl From<Vec<Image>> for Images {
    fn from(images: Vec<Image>) -> Self {
        let (mut digests, mut ids) = (HashMap::new(), HashMap::new());
        for image in images {
            let Some(target) = image.target else { continue };
            if image.name.starts_with("sha256:") {
                ids.insert(target.digest.clone(), image.name.clone());
            }
            digests.insert(image.name, target.digest);
        }
        Self { digests, ids }
    }
}

impl Images {
    pub(super) fn tell(&self, details: &mut Details) {
        if let Some(digest) =
            self.digests.get(&details.image_name).or_else(|| self.digests.get(&details.image_id))
        {
            details.image_digest.clone_from(digest);
            if let Some(id) = self.ids.get(digest) {
                details.image_id.clone_from(id);
            }
        }
    }
}

/// A manifest or an index, of OCI or of docker.
#[derive(Deserialize)]
pub(super) struct Manifest {
    config: Option<Linked>,
    #[serde(default)]
    manifests: Vec<Linked>,
}

#[derive(Deserialize)]
struct Linked {
    digest: String,
    platform: Option<Platform>,
}

#[derive(Deserialize, Default)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

/// What a manifest or an index leads to.
pub(super) enum Next {
    Id(String),
    Manifest(String),
}

impl Manifest {
    pub(super) fn next(self) -> Option<Next> {
        if let Some(config) = self.config {
            return Some(Next::Id(config.digest));
        }
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let is_ours = |linked: &Linked| {
            linked.platform.as_ref().is_some_and(|on| on.os == "linux" && on.architecture == architecture)
        };
        self.manifests.into_iter().find(is_ours).map(|linked| Next::Manifest(linked.digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_leads_to_the_id_and_an_index_to_our_manifest() {
        let next = |text: &str| match serde_json::from_str::<Manifest>(text).ok().and_then(Manifest::next) {
            Some(Next::Id(id)) => format!("id {id}"),
            Some(Next::Manifest(digest)) => format!("manifest {digest}"),
            None => "nothing".to_owned(),
        };
        assert_eq!(next(r#"{"config":{"digest":"sha256:c","size":1},"layers":[]}"#), "id sha256:c");
        let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        let index = format!(
            r#"{{"manifests":[{{"digest":"a","platform":{{"architecture":"s390x","os":"linux"}}}},
                {{"digest":"b","platform":{{"architecture":"{architecture}","os":"linux"}}}}]}}"#
        );
        assert_eq!(next(&index), "manifest b");
        for bad in ["{}", "[]", "", r#"{"manifests":[{"digest":"a"}]}"#] {
            assert_eq!(next(bad), "nothing", "{bad}");
        }
    }
}
