//! Blobs on their way into a store.

use super::*;

/// A stage with the blobs of an image, and the entry for it.
fn staged(store: &Store, image: &Image, tag: Option<&str>) -> (Stage, [Entered; 1]) {
    let stage = store.stage().unwrap();
    for blob in &image.blobs {
        stage.put(&blob.bytes, "").unwrap();
    }
    (stage, [Entered { descriptor: image.index.clone(), name: tag.map(name) }])
}

#[test]
fn a_stage_is_committed_whole_and_trusted_by_nobody() {
    let (_folder, mut store) = store();
    let (stage, entries) = staged(&store, &image("a"), Some("a"));
    assert!(store.list().is_empty() && blobs(&store) == 0);
    store.commit(stage, &entries).unwrap();
    assert_eq!((store.list().len(), blobs(&store)), (1, 6));
    let read = store.get(&name("a"), "arm64").unwrap().unwrap();
    assert_eq!((read.object.as_deref(), read.trust), (Some(&b"ELF a arm64"[..]), Trust::Unverified));
    let (stage, entries) = staged(&store, &image("b"), Some("a"));
    store.commit(stage, &entries).unwrap();
    assert_eq!((store.list().len(), blobs(&store)), (1, 6), "the image that was replaced is gone");
    let (stage, entries) = staged(&store, &image("c"), None);
    store.commit(stage, &entries).unwrap();
    assert_eq!(store.list()[0].repository, "");
    assert_eq!(fs::read_dir(store.path().join("ingest")).unwrap().count(), 0);
}

#[test]
fn a_stage_that_lacks_something_is_not_committed() {
    let (_folder, mut store) = store();
    store.add(&image("old"), Some(&name("a"))).unwrap();
    let image = image("a");
    for left_out in &image.blobs {
        let stage = store.stage().unwrap();
        for blob in image.blobs.iter().filter(|b| b.digest != left_out.digest) {
            stage.put(&blob.bytes, "").unwrap();
        }
        let entered = [Entered { descriptor: image.index.clone(), name: Some(name("a")) }];
        let committed = store.commit(stage, &entered);
        // A whole architecture may be left out.
        if left_out.bytes.starts_with(b"{\"schemaVersion\":2,\"art") {
            committed.unwrap();
            assert_eq!(store.list()[0].damage, None);
            assert!(store.check(&[]).unwrap().damage.is_empty());
            store.add(&super::image("old"), Some(&name("a"))).unwrap();
        } else {
            let error = committed.unwrap_err();
            assert!(
                matches!(&error, Error::Incomplete { digest, .. } if *digest == left_out.digest),
                "{error}"
            );
        }
        assert_eq!((store.list().len(), blobs(&store)), (1, 6));
        assert!(store.get(&name("a"), "amd64").unwrap().is_some());
    }
}

#[test]
fn one_architecture_is_no_damage_but_losing_one_is() {
    let (_folder, mut store) = store();
    let image = image("a");
    store.add(&image, Some(&name("a"))).unwrap();
    let arm = Index::read(&store, &image.index).unwrap().manifests.remove(1);
    fs::remove_file(store.blob_path(&arm.digest).unwrap()).unwrap();
    assert!(store.list()[0].damage.as_ref().unwrap().contains("is missing"));
    let (stage, entries) = {
        let stage = store.stage().unwrap();
        assert!(image.blobs.iter().filter(|b| b.digest != arm.digest).all(|b| {
            let size = b.bytes.len() as u64;
            stage.has(&Descriptor { digest: b.digest.clone(), size, ..Descriptor::default() })
        }));
        (stage, [Entered { descriptor: image.index.clone(), name: Some(name("a")) }])
    };
    store.commit(stage, &entries).unwrap();
    assert_eq!(store.list()[0].damage, None);
    let mut tar = Vec::new();
    archive::export(&store, &[name("a")], &mut tar).unwrap();
    assert!(!String::from_utf8_lossy(&tar).contains(PARTIAL));
    let (_other, mut other) = super::store();
    archive::import(&mut other, tar.as_slice()).unwrap();
    assert_eq!(other.list()[0].damage, None);
    store.add(&image, Some(&name("a"))).unwrap();
    fs::remove_file(store.blob_path(&arm.digest).unwrap()).unwrap();
    assert!(store.list()[0].damage.is_some(), "the whole image is wanted again");
}

#[test]
fn a_blob_is_taken_up_where_it_was_left_and_only_if_right() {
    let (_folder, store) = store();
    let stage = store.stage().unwrap();
    let bytes = b"twelve bytes";
    let blob = Descriptor { digest: image::digest(bytes), size: 12, ..Descriptor::default() };
    let mut writer = stage.writer(&blob).unwrap();
    assert!(matches!(stage.writer(&blob), Err(Error::Content { .. })), "one at a time");
    writer.write(&bytes[..5]).unwrap();
    drop(writer);
    assert!(!stage.has(&blob));
    let mut writer = stage.writer(&blob).unwrap();
    assert_eq!(writer.offset(), 5);
    assert!(writer.write(&bytes[4..]).unwrap_err().to_string().contains("more than the 12 bytes"));
    writer.write(&bytes[5..]).unwrap();
    writer.finish().unwrap();
    assert!(stage.has(&blob));
    assert_eq!(image::Blobs::blob(&stage, &blob).unwrap(), bytes);
    for (given, said) in [(&b"twelve"[..], "has 6 bytes and not 12"), (b"twelve bites", "digest")] {
        let stage = store.stage().unwrap();
        let mut writer = stage.writer(&blob).unwrap();
        writer.write(given).unwrap();
        let error = writer.finish().unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        let mut writer = stage.writer(&blob).unwrap();
        assert_eq!(writer.offset(), 0, "nothing wrong is kept");
        writer.write(b"no").unwrap();
        writer.restart().unwrap();
        assert_eq!(writer.offset(), 0);
        writer.write(bytes).unwrap();
        writer.finish().unwrap();
    }
    let nowhere = Descriptor { digest: "sha256:../../x".into(), ..blob };
    assert!(matches!(stage.writer(&nowhere), Err(Error::Content { .. })));
}

#[test]
fn a_stage_holds_on_to_what_it_has_found_and_mends_what_is_damaged() {
    let (_folder, mut store) = store();
    let image = image("a");
    store.add(&image, Some(&name("a"))).unwrap();
    let stage = store.stage().unwrap();
    let blob = |n: usize| Descriptor {
        digest: image.blobs[n].digest.clone(),
        size: image.blobs[n].bytes.len() as u64,
        ..Descriptor::default()
    };
    let damaged = store.blob_path(&blob(1).digest).unwrap();
    fs::remove_file(&damaged).unwrap();
    fs::write(&damaged, "x".repeat(image.blobs[1].bytes.len())).unwrap();
    let found: Vec<_> = (0..6).map(|n| stage.has(&blob(n))).collect();
    assert_eq!(found, [true, false, true, true, true, true]);
    Store::open(store.path()).unwrap().remove(&name("a")).unwrap();
    assert_eq!(blobs(&store), 0);
    stage.put(&image.blobs[1].bytes, "").unwrap();
    let entered = [Entered { descriptor: image.index.clone(), name: Some(name("a")) }];
    store.commit(stage, &entered).unwrap();
    assert!(store.check(&[]).unwrap().damage.is_empty());
}

#[test]
fn a_stage_of_the_dead_is_swept_and_one_of_the_living_is_not() {
    let (_folder, mut store) = store();
    let living = store.stage().unwrap();
    let dead = store.path().join("ingest/igx-stage-dead");
    fs::create_dir(&dead).unwrap();
    fs::write(dead.join("x.part"), b"half").unwrap();
    store.add(&image("a"), Some(&name("a"))).unwrap();
    assert!(!dead.exists());
    living.put(b"still here", "").unwrap();
    fs::create_dir(&dead).unwrap();
    assert_eq!(store.prune().unwrap().stages, 1);
    drop(living);
    assert_eq!(fs::read_dir(store.path().join("ingest")).unwrap().count(), 0);
}
