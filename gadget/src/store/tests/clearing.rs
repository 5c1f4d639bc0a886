//! What goes, what stays, and what is found to be damaged.

use super::*;

#[test]
fn pruning_takes_what_nobody_named_and_tells_what_it_freed() {
    let (_folder, mut store, orphan) = with_orphan();
    store.add(&image("c"), None).unwrap();
    assert_eq!(store.prune().unwrap().entries, [image("c").digest()]);
    assert!(orphan.exists(), "it is fresh");
    assert_eq!(blobs(&store), 13);
    store.grace = Duration::ZERO;
    let pruned = store.prune().unwrap();
    assert_eq!((pruned.entries.len(), pruned.blobs, pruned.bytes), (0, 1, 9));
    assert_eq!((blobs(&store), store.list().len()), (12, 2));
    assert_eq!(store.prune().unwrap(), Pruned::default());
    let nowhere = store.path().join("none");
    assert_eq!(Store::open(&nowhere).unwrap().prune().unwrap(), Pruned::default());
    assert!(!nowhere.exists());
}

#[test]
fn several_are_removed_at_once() {
    let (_folder, mut store) = store();
    for n in ["a", "b", "c"] {
        store.add(&image(n), Some(&name(n))).unwrap();
    }
    store.tag(&name("a"), &name("d")).unwrap();
    let removed = store.remove_all(&[name("a"), name("x"), name("b"), name("a"), name("d")]).unwrap();
    let told: Vec<_> = removed.iter().map(|r| r.as_ref().ok().map(|r| r.untagged_only)).collect();
    assert_eq!(told, [Some(true), None, Some(false), None, Some(false)]);
    assert_eq!((store.list().len(), blobs(&store)), (1, 6));
}

#[test]
fn damaged_images_are_in_nobodys_way() {
    for damage in [&b""[..], b"{", b"{}", br#"{"manifests":[{"digest":"sha256:x","size":1}]}"#] {
        let (_folder, mut store, orphan) = with_orphan();
        store.grace = Duration::ZERO;
        let bad = store.blob_path(image("b").digest()).unwrap();
        fs::remove_file(&bad).unwrap();
        fs::write(&bad, damage).unwrap();
        assert_eq!(store.list().iter().filter(|e| e.damage.is_some()).count(), 1);
        assert!(!store.remove(&name("a")).unwrap().untagged_only);
        assert!(!orphan.exists());
        store.prune().unwrap();
        store.remove(&name("b")).unwrap();
        assert_eq!((blobs(&store), store.list().len()), (0, 0));
    }
}

#[test]
fn a_check_names_what_is_wrong() {
    let (_folder, mut store, orphan) = with_orphan();
    let (a, b) = (image("a"), image("b"));
    let clean = store.check(&[]).unwrap();
    assert_eq!((clean.entries, clean.blobs, clean.damage.len(), clean.orphans.len()), (2, 12, 0, 1));
    assert!(clean.orphans[0].fresh && orphan.ends_with(&clean.orphans[0].digest[7..]));
    // One byte in the program of one, and another's configuration missing.
    let program = store.blob_path(&image::digest(b"ELF a amd64")).unwrap();
    fs::remove_file(&program).unwrap();
    fs::write(&program, b"ELF A amd64").unwrap();
    fs::remove_file(store.blob_path(&image::digest(b"name: b")).unwrap()).unwrap();
    store.tag(&name("a"), &name("c")).unwrap();
    let found = store.check(&[]).unwrap();
    let told: Vec<_> = found.damage.iter().map(|d| format!("{}: {}", d.image, d.what)).collect();
    let repository = "ghcr.io/inspektor-gadget/gadget";
    let changed =
        format!("blob {:?} is damaged: its content has another digest", image::digest(b"ELF a amd64"));
    let missing = format!("blob {:?} is missing", image::digest(b"name: b"));
    let of = |name: &str, what: &str| format!("{repository}/{name}:latest: {what}");
    assert_eq!(told, [of("a", &changed), of("b", &missing), of("b", &missing), of("c", &changed)]);
    assert_eq!(store.list().iter().filter(|e| e.damage.is_some()).count(), 1, "a list does not hash");
    assert_eq!(store.check(&[name("b")]).unwrap().damage.len(), 2);
    assert!(matches!(store.check(&[name("z")]), Err(Error::NotFound(_))));
    store.add(&a, Some(&name("a"))).unwrap();
    store.add(&b, Some(&name("b"))).unwrap();
    assert!(store.check(&[]).unwrap().damage.is_empty());
}

#[test]
fn a_check_finds_entries_that_are_none() {
    let (_folder, mut store, orphan) = with_orphan();
    store.grace = Duration::ZERO;
    let mut index = read_index(store.path()).unwrap();
    let good = index.manifests[0].clone();
    let nowhere = Descriptor { digest: "sha256:../../x".into(), ..good.clone() };
    let mut unnamed = good;
    unnamed.annotations.insert(REF_NAME.into(), "no\u{1b} name".into());
    index.manifests.extend([nowhere, unnamed]);
    fs::write(store.path().join(INDEX), image::to_json(&index)).unwrap();
    let mut store = Store { grace: Duration::ZERO, ..Store::open(store.path()).unwrap() };
    let told: Vec<_> = store.check(&[]).unwrap().damage.into_iter().map(|d| d.what).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].contains("is not a digest") && told[1].contains("is not an image name"), "{told:?}");
    assert!(told[2].contains("twice"), "{told:?}");
    let swept = store.sweep().unwrap();
    assert_eq!((swept.blobs, orphan.exists()), (1, false));
    assert_eq!(store.check(&[]).unwrap().damage.len(), 1);
}
