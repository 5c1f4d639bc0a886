//! What podman and CRI-O write down of their containers: the storage folder that both share.
//!
//! Source: `github.com/containers/storage`, its `containers.json`, `volatile-containers.json` and `images.json`. It
//! tells names and images without a daemon and without the lock that a start holds; labels it does not tell.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::super::collection::under;
use super::Details;
use super::files;
use super::kubernetes::Pod;
use super::podman::with_algorithm;

/// The list of containers that are gone when the machine is.
const VOLATILE: &str = "volatile-containers.json";
/// Where root's storage keeps what is.
const RUN_ROOT: &str = "/run/containers/storage";

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

/// The container whose bundle is at `bundle`, as the host below `host_root` calls it, if that is in a storage folder:
/// `ROOT/DRIVER-containers/ID/userdata`.
pub(super) fn find(host_root: &Path, bundle: &Path) -> Option<Details> {
    let bundle = under(host_root, bundle);
    let (root, driver, id) = parts(&bundle)?;
    let folder = root.join(format!("{driver}-containers"));
    let run_folder =
        run_root(host_root, fs::metadata(&folder).ok()?.uid()).join(format!("{driver}-containers"));
    // Those that go with their end, such as by `--rm`, are in a list of their own since c/storage 1.44; all are with
    // `transient_store`, and then it is in another folder.
    let lists =
        [folder.join("containers.json"), folder.join(VOLATILE), run_folder.join(VOLATILE)].into_iter();
    let (entry, owner) = lists.filter_map(|list| entry(&list, id)).next()?;
    let digest =
        files::read(&root.join(format!("{driver}-images/images.json"))).ok().and_then(|(bytes, _)| {
            let images: Vec<Image> = serde_json::from_slice(&bytes).ok()?;
            images.into_iter().find(|image| image.id == entry.image).map(|image| image.digest)
        });
    Some(Details { image_digest: digest.unwrap_or_default(), owner, ..entry.into_details() })
}

/// The entry of container `id` in a list, and whose list it is.
fn entry(list: &Path, id: &str) -> Option<(Entry, u32)> {
    let (bytes, owner) = files::read(list).ok()?;
    let entries: Vec<Entry> = serde_json::from_slice(&bytes).ok()?;
    Some((entries.into_iter().find(|entry| entry.id == id)?, owner))
}

/// Where `user`'s storage keeps what is gone when the machine is, unless a configuration says otherwise.
fn run_root(host_root: &Path, user: u32) -> PathBuf {
    let path = if user == 0 { RUN_ROOT.to_owned() } else { format!("/run/user/{user}/containers") };
    under(host_root, Path::new(&path))
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
        // podman's own note of the name is that of the time it was made: `podman rename` changes only the names.
        let names = [pod.container_name.clone()].into_iter().chain(self.names).chain([told.name]);
        Details {
            id: self.id,
            name: names.into_iter().find(|name| !name.is_empty()).unwrap_or_default(),
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

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn podmans_name_and_image_are_found_by_the_bundle() {
        let dir = tempfile::tempdir().unwrap();
        let image = "1".repeat(64);
        write(
            &dir.path().join("s/overlay-containers/containers.json"),
            &format!(
                r#"[{{"id":"a"}},{{"id":"c","names":["web"],"image":"{image}",
                "metadata":"{{\"image-name\":\"localhost/web:1\",\"name\":\"web\"}}"}}]"#
            ),
        );
        write(
            &dir.path().join("s/overlay-images/images.json"),
            &format!(r#"[{{"id":"{image}","digest":"sha256:22"}}]"#),
        );
        let find = |bundle: &str| find(dir.path(), Path::new(bundle));
        let details = find("/s/overlay-containers/c/userdata").unwrap();
        assert_eq!((details.name.as_str(), details.runtime), ("web", "podman"));
        assert_eq!(details.image_name, "localhost/web:1");
        assert_eq!(
            (details.image_digest.as_str(), details.image_id),
            ("sha256:22", format!("sha256:{image}"))
        );
        assert!(find("/s/overlay-containers/none/userdata").is_none());
        assert!(find("/run/bundle").is_none());
    }

    #[test]
    fn those_that_go_with_their_end_are_in_other_lists() {
        let dir = tempfile::tempdir().unwrap();
        let user = nix::unistd::geteuid().as_raw();
        let folder = dir.path().join("s/overlay-containers");
        write(&folder.join("containers.json"), "[]");
        write(&folder.join(VOLATILE), r#"[{"id":"c","names":["rm"]}]"#);
        let run_folder = run_root(dir.path(), user).join("overlay-containers");
        write(&run_folder.join(VOLATILE), r#"[{"id":"t","names":["transient"]}]"#);
        let name = |id: &str| {
            find(dir.path(), Path::new(&format!("/s/overlay-containers/{id}/userdata"))).unwrap().name
        };
        assert_eq!((name("c").as_str(), name("t").as_str()), ("rm", "transient"));
        fs::remove_file(folder.join("containers.json")).unwrap();
        assert_eq!(name("c"), "rm");
        assert!(run_root(Path::new("/h"), 1000).ends_with("h/run/user/1000/containers"));
    }

    #[test]
    fn a_name_that_was_changed_is_not_podmans_first() {
        let metadata = r#"{"image-name":"web:1","name":"first"}"#.to_owned();
        let entry = |names: &[&str]| Entry {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            metadata: metadata.clone(),
            ..Entry::default()
        };
        assert_eq!(entry(&["second"]).into_details().name, "second");
        assert_eq!(entry(&[]).into_details().name, "first");
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
