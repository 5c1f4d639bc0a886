mod clearing;
mod staging;

use super::*;
use crate::image::{Blob, Image, Parts, Trust};
use std::os::unix::fs::PermissionsExt;

pub(super) fn image(name: &str) -> Image {
    let objects = image::ARCHITECTURES.map(|a| (a.to_owned(), format!("ELF {name} {a}").into_bytes())).into();
    let parts = Parts { metadata: Some(format!("name: {name}").into_bytes()), objects, ..Parts::default() };
    Image::assemble(&parts, "2023-11-14T22:13:20Z", "v0.1.0").unwrap()
}

pub(super) fn name(typed: &str) -> Reference {
    Reference::parse(typed).unwrap()
}

/// An empty store in a folder of its own.
pub(super) fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("store")).unwrap();
    (folder, store)
}

pub(super) fn blobs(store: &Store) -> usize {
    fs::read_dir(store.path().join("blobs/sha256")).unwrap().count()
}

#[test]
fn a_missing_store_is_empty_and_made_by_writing() {
    let (_folder, mut store) = store();
    assert!(store.list().is_empty() && store.get(&name("a"), "amd64").unwrap().is_none());
    assert!(!store.path().exists());
    store.add(&image("a"), Some(&name("a"))).unwrap();
    assert_eq!(fs::metadata(store.path()).unwrap().permissions().mode() & 0o777, 0o700);
    let again = Store::open(store.path()).unwrap();
    let read = again.get(&name("a"), "arm64").unwrap().unwrap();
    assert_eq!(read.object.as_deref(), Some(&b"ELF a arm64"[..]));
    assert_eq!(read.trust, Trust::BuiltHere);
    assert_eq!(fs::read(store.path().join(LAYOUT)).unwrap(), LAYOUT_JSON);
}

#[test]
fn a_relative_path_is_made_absolute() {
    let here = std::env::current_dir().unwrap().canonicalize().unwrap();
    assert_eq!(Store::open("no-such-store").unwrap().path(), here.join("no-such-store"));
    assert_eq!(Store::open(".").unwrap().path(), here);
    assert_eq!(Store::open("no/such/store").unwrap().path(), here.join("no/such/store"));
    assert!(matches!(Store::open(""), Err(Error::Read { .. })));
}

#[test]
fn trust_is_the_same_by_every_path() {
    let (folder, mut store) = store();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path(), &link).unwrap();
    // Neither path leads to the store until it is made.
    let early = Store::open(link.join("store")).unwrap();
    assert_eq!(early.path(), store.path());
    store.add(&image("a"), Some(&name("a"))).unwrap();
    let direct = folder.path().join("direct");
    std::os::unix::fs::symlink(store.path(), &direct).unwrap();
    for path in [direct, link.join("store"), store.path().join(".")] {
        assert_eq!(Store::open(path).unwrap().list()[0].trust, Trust::BuiltHere);
    }
}

#[test]
fn trust_does_not_come_with_an_archive() {
    let (folder, mut store) = store();
    store.add(&image("a"), Some(&name("a"))).unwrap();
    let copy = folder.path().join("copy");
    let mut other = Store::open(&copy).unwrap();
    assert_eq!(other.copy_from_layout(store.path()).unwrap(), [name("a")]);
    assert_eq!(other.get(&name("a"), "amd64").unwrap().unwrap().trust, Trust::Unverified);
    let noted = folder.path().join("store.trusted.json");
    fs::copy(&noted, copy.join("trusted.json")).unwrap();
    assert_eq!(Store::open(&copy).unwrap().list()[0].trust, Trust::Unverified);
    fs::set_permissions(&noted, fs::Permissions::from_mode(0o622)).unwrap();
    assert_eq!(Store::open(store.path()).unwrap().list()[0].trust, Trust::Unverified);
}

#[test]
fn names_come_and_go_and_blobs_with_the_last() {
    let (_folder, mut store) = store();
    store.add(&image("a"), Some(&name("a"))).unwrap();
    store.add(&image("b"), Some(&name("b"))).unwrap();
    assert_eq!(blobs(&store), 12);
    store.tag(&name("a"), &name("x:1")).unwrap();
    assert!(store.remove(&name("a")).unwrap().untagged_only);
    assert!(store.get(&name("x:1"), "amd64").unwrap().is_some());
    assert!(!store.remove(&name("x:1")).unwrap().untagged_only);
    assert_eq!((blobs(&store), store.list().len()), (6, 1));
    assert!(matches!(store.remove(&name("a")), Err(Error::NotFound(_))));
    store.add(&image("c"), Some(&name("b"))).unwrap();
    assert_eq!((blobs(&store), store.list().len()), (6, 1), "the name went over, the old image went");
    assert!(Store::open(store.path()).unwrap().get(&name("b"), "amd64").unwrap().is_some());
}

/// A store of the images a and b, and of a blob that nothing points at.
fn with_orphan() -> (tempfile::TempDir, Store, PathBuf) {
    let (folder, mut store) = store();
    store.add(&image("a"), Some(&name("a"))).unwrap();
    store.add(&image("b"), Some(&name("b"))).unwrap();
    let orphan = store.blob_path(&image::digest(b"left over")).unwrap();
    fs::write(&orphan, b"left over").unwrap();
    // As an archive from long ago would have it.
    fs::File::open(&orphan).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    (folder, store, orphan)
}

#[test]
fn orphans_go_when_they_are_old() {
    let (_folder, mut store, orphan) = with_orphan();
    store.remove(&name("a")).unwrap();
    assert!(orphan.exists(), "another program may be about to list it");
    assert_eq!(blobs(&store), 7);
    store.add(&image("a"), Some(&name("a"))).unwrap();
    store.grace = Duration::ZERO;
    fs::write(store.path().join(BLOBS).join("note"), b"no blob").unwrap();
    store.remove(&name("a")).unwrap();
    assert!(!orphan.exists());
    assert_eq!(blobs(&store), 7, "those of b, and what is no blob");
    assert!(store.get(&name("b"), "amd64").unwrap().is_some());
    assert_eq!(store.list().iter().filter(|e| e.damage.is_none()).count(), 1);
}

#[test]
fn an_entry_of_another_kind_is_kept_with_what_it_needs_and_is_in_nobodys_way() {
    let (_folder, mut store, orphan) = with_orphan();
    store.grace = Duration::ZERO;
    let leaf = format!(r#"{{"layers":[{{"digest":"{}","size":9}}]}}"#, image::digest(b"left over"));
    let docker = |kind: &str, digest: String, size: usize| Descriptor {
        media_type: format!("application/vnd.docker.distribution.{kind}"),
        digest,
        size: size as u64,
        ..Descriptor::default()
    };
    let manifest = docker("manifest.v2+json", image::digest(leaf.as_bytes()), leaf.len());
    fs::write(store.blob_path(&manifest.digest).unwrap(), leaf).unwrap();
    let junk = docker("manifest.list.v2+json", image::digest(b"junk"), 4);
    fs::write(store.blob_path(&junk.digest).unwrap(), b"junk").unwrap();
    let mut index = read_index(store.path()).unwrap();
    index.manifests.extend([manifest, junk]);
    fs::write(store.path().join(INDEX), image::to_json(&index)).unwrap();
    store.remove(&name("a")).unwrap();
    assert!(orphan.exists());
    assert_eq!((blobs(&store), store.list().len()), (9, 1));
}

#[test]
fn found_by_digest_without_a_name() {
    let (_folder, mut store) = store();
    let image = image("a");
    store.add(&image, None).unwrap();
    let by_digest = name(&format!("a@{}", image.digest()));
    assert_eq!(store.get(&by_digest, "amd64").unwrap().unwrap().digest, image.digest());
    assert_eq!(store.list()[0].repository, "");
    assert!(matches!(store.tag(&by_digest, &by_digest), Err(Error::DigestAsName(_))));
    store.tag(&by_digest, &name("a")).unwrap();
    assert_eq!(store.list().len(), 1, "the nameless entry got the name");
    store.remove(&by_digest).unwrap();
    assert_eq!((store.list().len(), blobs(&store)), (0, 0));
}

#[test]
fn one_damaged_image_spoils_no_other() {
    let (_folder, mut store) = store();
    store.add(&image("a"), Some(&name("a"))).unwrap();
    let bad = image("b");
    store.add(&bad, Some(&name("b"))).unwrap();
    let path = store.blob_path(bad.digest()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, &fs::read(&path).unwrap()[1..]).unwrap();
    let list = store.list();
    assert_eq!(list.iter().map(|e| e.damage.is_some()).collect::<Vec<_>>(), [false, true]);
    let error = store.get(&name("b"), "amd64").unwrap_err().to_string();
    assert!(error.contains("is damaged") && error.contains("fetch or build it again"), "{error}");
    store.add(&bad, Some(&name("b"))).unwrap();
    assert!(store.get(&name("b"), "amd64").unwrap().is_some(), "building again mends it");
}

#[test]
fn control_characters_in_a_digest_are_escaped() {
    let (_folder, mut store) = store();
    let config = r#"{"digest":"\u001b[2J","size":1}"#;
    let put = |media_type: &str, bytes: Vec<u8>| {
        let digest = image::digest(&bytes);
        let size = bytes.len() as u64;
        (
            Descriptor {
                media_type: media_type.into(),
                digest: digest.clone(),
                size,
                ..Descriptor::default()
            },
            Blob { digest, bytes },
        )
    };
    let (manifest, first) =
        put(image::MANIFEST_TYPE, format!(r#"{{"schemaVersion":2,"config":{config}}}"#).into());
    let (index, second) =
        put(INDEX_TYPE, image::to_json(&Index { manifests: vec![manifest], ..Index::default() }));
    store.add(&Image { index, blobs: vec![first, second] }, Some(&name("a"))).unwrap();
    assert_eq!(store.list()[0].damage.as_deref(), Some(r#"blob "\u{1b}[2J" is missing"#));
}

#[test]
fn a_truncated_index_is_told_and_kept() {
    let (_folder, mut store) = store();
    store.add(&image("a"), Some(&name("a"))).unwrap();
    let path = store.path().join(INDEX);
    let half = fs::read(&path).unwrap()[..40].to_vec();
    fs::write(&path, &half).unwrap();
    let error = Store::open(store.path()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }) && error.to_string().contains("index.json"));
    assert!(store.add(&image("b"), None).is_err());
    assert_eq!(fs::read(&path).unwrap(), half);
}

#[test]
fn a_write_that_fails_leaves_the_store_as_it_was() {
    let (_folder, mut store) = store();
    store.add(&image("a"), Some(&name("a"))).unwrap();
    fs::remove_dir_all(store.path().join("ingest")).unwrap();
    fs::write(store.path().join("ingest"), b"in the way").unwrap();
    let error = store.add(&image("b"), Some(&name("b"))).unwrap_err();
    assert!(error.to_string().contains("the store is unchanged"), "{error}");
    let store = Store::open(store.path()).unwrap();
    assert_eq!(store.list().len(), 1);
    assert!(store.get(&name("a"), "amd64").unwrap().is_some());
    let mut nowhere = Store::open("/proc/igx/store").unwrap();
    assert!(matches!(nowhere.add(&image("a"), None), Err(Error::Write { .. })));
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(Store::open(file.path()), Err(Error::NotAFolder(_))));
}

#[test]
fn leftovers_of_a_killed_writer_are_cleared() {
    let (_folder, mut store) = store();
    store.add(&image("a"), Some(&name("a"))).unwrap();
    let ours = store.path().join("ingest/igx-half");
    let theirs = store.path().join("ingest/other");
    fs::write(&ours, b"half").unwrap();
    fs::write(&theirs, b"half").unwrap();
    store.add(&image("b"), None).unwrap();
    assert!(!ours.exists() && theirs.exists());
}

#[test]
fn writers_take_turns() {
    let (_folder, store) = store();
    let path = store.path();
    std::thread::scope(|scope| {
        for n in 0..8 {
            // Opened apart, as two processes would: the lock is by open file.
            scope.spawn(move || {
                let mut store = Store::open(path).unwrap();
                store.add(&image(&format!("g{n}")), Some(&name(&format!("g{n}")))).unwrap();
            });
        }
    });
    let store = Store::open(path).unwrap();
    assert_eq!(store.list().iter().filter(|e| e.damage.is_none()).count(), 8);
}

#[test]
fn untagged_manifests_of_an_export_are_not_listed() {
    let (_folder, mut store) = store();
    let image = image("a");
    store.add(&image, Some(&name("a"))).unwrap();
    let path = store.path().join(INDEX);
    let mut index = read_index(store.path()).unwrap();
    let children = Index::read(&store, &image.index).unwrap().manifests;
    index.manifests.splice(0..0, children);
    fs::write(&path, image::to_json(&index)).unwrap();
    let mut store = Store::open(store.path()).unwrap();
    assert_eq!(store.list().len(), 1);
    store.remove(&name("a")).unwrap();
    assert_eq!((blobs(&store), read_index(store.path()).unwrap().manifests.len()), (0, 0));
}
