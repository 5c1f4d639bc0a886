use super::*;
use crate::{
    image::{self, Descriptor, INDEX_TYPE, Index, MANIFEST_TYPE, REF_NAME, to_json},
    reference::Reference,
    store::{
        Entered, Store,
        tests::{blobs, image, name, store},
    },
};
use proptest::prelude::*;
use std::io::{Read, Write};

/// Puts a manifest that signs `digest` into a store, by cosign's tag or as a referrer, and returns its digest.
fn sign(store: &mut Store, subject: &Descriptor, tag: Option<&str>) -> String {
    let stage = store.stage().unwrap();
    let config = stage.put(b"{}", "application/vnd.oci.image.config.v1+json").unwrap();
    let layer = stage.put(format!("signed {tag:?} {}", subject.digest).as_bytes(), "text/plain").unwrap();
    let about = Descriptor { annotations: Default::default(), platform: None, ..subject.clone() };
    let manifest = image::Manifest {
        schema_version: 2,
        media_type: None,
        artifact_type: None,
        config,
        layers: vec![layer],
        subject: tag.is_none().then_some(about),
        annotations: Default::default(),
    };
    let descriptor = stage.put(&to_json(&manifest), MANIFEST_TYPE).unwrap();
    let digest = descriptor.digest.clone();
    store.commit(stage, &[Entered { descriptor, name: tag.map(name) }]).unwrap();
    digest
}

/// A store with one image, signed in both ways, and a signature that is signed itself.
fn signed() -> (tempfile::TempDir, Store, [String; 3]) {
    let (folder, mut store) = store();
    store.add(&image("b"), Some(&name("b"))).unwrap();
    let image = image("a");
    store.add(&image, Some(&name("a"))).unwrap();
    let tag = format!("a:{}.sig", image.digest().replace(':', "-"));
    let by_tag = sign(&mut store, &image.index, Some(&tag));
    let referrer = sign(&mut store, &image.index, None);
    let second = Descriptor { digest: referrer.clone(), media_type: MANIFEST_TYPE.into(), ..image.index };
    let chained = sign(&mut store, &second, None);
    (folder, store, [by_tag, referrer, chained])
}

fn exported(store: &Store, names: &[Reference]) -> Vec<u8> {
    let mut tar = Vec::new();
    export(store, names, &mut tar).unwrap();
    tar
}

/// A tar of the files given.
fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        builder.append(&header, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn files_of(tar: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(tar);
    let read = |mut entry: tar::Entry<'_, &[u8]>| {
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), bytes)
    };
    archive.entries().unwrap().map(|entry| read(entry.unwrap())).collect()
}

/// The files of an export, the path of whose blob that begins with `ELF` is told too.
fn some_files() -> (Vec<(String, Vec<u8>)>, usize) {
    let (_folder, mut store) = store();
    store.add(&image("a"), Some(&name("a"))).unwrap();
    let files = files_of(&exported(&store, &[name("a")]));
    let at = files.iter().position(|(_, bytes)| bytes.starts_with(b"ELF")).unwrap();
    (files, at)
}

fn pack(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    tar_of(&files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect::<Vec<_>>())
}

/// What an import says that must fail, having left nothing.
fn refused(tar: &[u8]) -> String {
    let (_folder, mut store) = store();
    store.add(&image("old"), Some(&name("old"))).unwrap();
    let error = import(&mut store, tar).unwrap_err().to_string();
    let store = Store::open(store.path()).unwrap();
    assert_eq!((store.list().len(), blobs(&store)), (1, 6), "{error}");
    assert_eq!(std::fs::read_dir(store.path().join("ingest")).unwrap().count(), 0, "{error}");
    error
}

#[test]
fn an_export_is_made_of_the_bytes_that_upstream_writes() {
    let (_folder, mut store) = store();
    store.add(&image("a"), Some(&name("a"))).unwrap();
    let tar = exported(&store, &[name("a")]);
    let paths: Vec<_> = files_of(&tar).into_iter().map(|(path, _)| path).collect();
    assert!(paths.is_sorted() && paths.len() == 8 && paths[6..] == ["index.json", "oci-layout"], "{paths:?}");
    // Of the first header, whatever is not its name, size and sum.
    assert_eq!(&tar[100..124], b"0000444\x000000000\x000000000\x00");
    assert_eq!(&tar[135..148], b"\x0000000000000\x00");
    assert_eq!(&tar[154..158], b"\0 0\0");
    assert_eq!(
        &tar[257..301],
        b"ustar\x0000root\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0root"
    );
    assert_eq!(&tar[329..345], b"0000000\x000000000\x00");
    let layout = &tar[tar.len() - 2048..];
    assert!(layout.starts_with(b"oci-layout\0") && layout[1024..].iter().all(|byte| *byte == 0));
    let index: Index = serde_json::from_slice(&files_of(&tar)[6].1).unwrap();
    assert!(index.manifests.is_sorted_by_key(|d| d.digest.clone()));
    let kinds: Vec<_> =
        index.manifests.iter().map(|d| (d.platform.is_some(), d.media_type.as_str())).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == (true, MANIFEST_TYPE)).count(), 2);
    assert_eq!(kinds.iter().filter(|kind| **kind == (false, INDEX_TYPE)).count(), 1);
}

#[test]
fn the_export_of_the_real_tool_comes_out_as_it_went_in() {
    let fixtures = std::env::var("IGX_TEST_FIXTURES").unwrap_or("/work/shared/fixtures".to_owned());
    let file = format!("{fixtures}/observed/trace_sni.epoch1700000000.export.tar.gz");
    let Ok(zipped) = std::fs::read(&file) else { return eprintln!("no {file}: left out") };
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(zipped.as_slice()).read_to_end(&mut plain).unwrap();
    let (_folder, mut store) = store();
    assert_eq!(import(&mut store, zipped.as_slice()).unwrap(), [name("trace_sni")]);
    assert_eq!(exported(&store, &[name("trace_sni")]), plain);
}

#[test]
fn signatures_go_along_and_come_out_as_they_went_in() {
    let (_folder, signed_store, [by_tag, referrer, chained]) = signed();
    let tar = exported(&signed_store, &[name("a")]);
    let (_other, mut store) = store();
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zipped.write_all(&tar).unwrap();
    assert_eq!(import(&mut store, zipped.finish().unwrap().as_slice()).unwrap(), [name("a")]);
    assert_eq!(store.list().len(), 1, "signatures are not listed");
    let digest = image("a").digest().to_owned();
    let related = |digest| store.related(digest).into_iter().map(|d| d.digest).collect::<Vec<_>>();
    let mut both = [by_tag, referrer.clone()];
    both.sort();
    let mut found = related(&digest);
    found.sort();
    assert_eq!(found, both);
    assert_eq!(related(&referrer), [chained]);
    assert_eq!(exported(&store, &[name("a")]), tar);
    assert_eq!(exported(&signed_store, &[name("a"), name("a")]), tar);
    assert_eq!(store.list()[0].trust, image::Trust::Unverified);
    store.remove(&name("a")).unwrap();
    assert_eq!(blobs(&store), 0, "signatures left with their image");
}

#[test]
fn several_names_of_several_images() {
    let (_folder, mut store) = store();
    store.add(&image("a"), Some(&name("a"))).unwrap();
    store.add(&image("b"), Some(&name("b"))).unwrap();
    store.tag(&name("a"), &name("c:v1")).unwrap();
    let tar = exported(&store, &[name("c:v1"), name("b"), name("a")]);
    let (_other, mut other) = super::super::tests::store();
    assert_eq!(import(&mut other, tar.as_slice()).unwrap(), [name("a"), name("b"), name("c:v1")]);
    let nothing = export(&store, &[name("d")], &mut Vec::new()).unwrap_err();
    assert!(matches!(nothing, Error::Store(crate::store::Error::NotFound(_))), "{nothing}");
}

#[test]
fn a_fallback_index_brings_what_it_lists() {
    let (_folder, mut store) = store();
    let image = image("a");
    store.add(&image, Some(&name("a"))).unwrap();
    let referrer = sign(&mut store, &image.index, None);
    let entry = store.about(image.digest()).remove(0);
    let stage = store.stage().unwrap();
    let index = Index { manifests: vec![entry], ..Index::default() };
    let descriptor = stage.put(&to_json(&index), INDEX_TYPE).unwrap();
    let tag = name(&format!("a:{}", image.digest().replace(':', "-")));
    store.commit(stage, &[Entered { descriptor, name: Some(tag) }]).unwrap();
    assert_eq!(store.related(image.digest()).iter().map(|d| &d.digest).collect::<Vec<_>>(), [&referrer]);
    let (_other, mut other) = super::super::tests::store();
    import(&mut other, exported(&store, &[name("a")]).as_slice()).unwrap();
    assert_eq!(other.related(image.digest())[0].digest, referrer);
    assert_eq!(other.list().len(), 1);
}

#[test]
fn a_damaged_image_is_not_exported() {
    let (_folder, mut store) = store();
    store.add(&image("a"), Some(&name("a"))).unwrap();
    let layer = store.blob_path(&image::digest(b"ELF a arm64")).unwrap();
    std::fs::remove_file(&layer).unwrap();
    let mut out = Vec::new();
    assert!(export(&store, &[name("a")], &mut out).unwrap_err().to_string().contains("is missing"));
    for content in [&b"ELF a arm65"[..], b"ELF a arm6", b"ELF a arm64!"] {
        std::fs::write(&layer, content).unwrap();
        let error = export(&store, &[name("a")], &mut out).unwrap_err().to_string();
        assert!(error.contains("is damaged"), "{error}");
    }
}

#[test]
fn what_has_no_place_in_an_archive_is_refused() {
    let (files, _) = some_files();
    let with = |path: &str| pack(&[files.clone(), vec![(path.to_owned(), b"x".to_vec())]].concat());
    assert!(refused(&with("../evil")).contains("leads out of the archive"));
    assert!(refused(&with("/etc/passwd")).contains("leads out of the archive"));
    assert!(refused(&with("blobs/sha256/../../x")).contains("leads out of the archive"));
    assert!(refused(&with("index.json")).contains("it is there twice"));
    assert!(refused(&with("./index.json")).contains("it is there twice"));
    for kind in
        [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Char, tar::EntryType::GNUSparse]
    {
        let mut tar = pack(&files);
        let mut header = tar::Header::new_ustar();
        header.set_path("blobs").unwrap();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_cksum();
        tar.splice(0..0, header.as_bytes().iter().copied());
        assert!(refused(&tar).contains("only files and folders"), "{kind:?}");
    }
    // Folders and files of other tools are no harm.
    let (_folder, mut store) = store();
    let mut tar = with("./manifest.json");
    let mut header = tar::Header::new_ustar();
    header.set_path("./blobs/").unwrap();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_cksum();
    tar.splice(0..0, header.as_bytes().iter().copied());
    assert_eq!(import(&mut store, tar.as_slice()).unwrap(), [name("a")]);
}

#[test]
fn a_wrong_or_missing_blob_is_refused() {
    let (files, at) = some_files();
    let mut changed = files.clone();
    changed[at].1[0] ^= 1;
    assert!(refused(&pack(&changed)).contains("its content has digest"));
    let mut lacking = files;
    lacking.remove(at);
    assert!(refused(&pack(&lacking)).contains("did not come with it"));
    // A blob that the store has already excuses no wrong one.
    let (_folder, mut store) = store();
    store.add(&image("a"), Some(&name("a"))).unwrap();
    assert!(import(&mut store, pack(&changed).as_slice()).is_err());
    assert_eq!(import(&mut store, pack(&lacking).as_slice()).unwrap(), [name("a")]);
}

#[test]
fn an_archive_of_something_else_is_told() {
    let (files, _) = some_files();
    assert!(refused(b"").contains("has no oci-layout"));
    assert!(refused(b"not a tar at all").contains("reading the archive"));
    assert!(refused(&[0x1f, 0x8b, 8, 0, 1]).contains("reading the archive"));
    assert!(refused(&pack(&files[..7])).contains("has no oci-layout"));
    let layout = |text: &str| {
        let mut files = files.clone();
        files[7].1 = text.into();
        pack(&files)
    };
    assert!(refused(&layout(r#"{"imageLayoutVersion":"2.0.0"}"#)).contains("2.0.0"));
    assert!(refused(&layout("{}")).contains("oci-layout"));
    let index = |text: &str| {
        let mut files = files.clone();
        files[6].1 = text.into();
        pack(&files)
    };
    assert!(refused(&index(r#"{"schemaVersion":2,"manifests":[]}"#)).contains("lists no image"));
    assert!(refused(&index("[")).contains("index.json"));
    let text = String::from_utf8(files[6].1.clone()).unwrap();
    assert!(refused(&index(&text.replace("/gadget/a:", "/gadget/A:"))).contains("must be lower case"));
    assert_eq!(text.matches(REF_NAME).count(), 1);
}

#[test]
fn lengths_are_believed_only_so_far() {
    let lie = |path: &str, size: u64| {
        let mut header = tar::Header::new_ustar();
        header.set_path(path).unwrap();
        header.set_size(size);
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    let blob = format!("blobs/sha256/{}", "0".repeat(64));
    assert!(refused(&lie(&blob, MAX + 1)).contains("256 MiB"));
    assert!(refused(&lie(&blob, 100)).contains("reading the archive"));
    assert!(refused(&lie("index.json", 1 << 40)).contains("more than"));
    assert!(refused(&lie("index.json", 100)).contains("reading the archive"));
    let endless = lie("other", 1 << 33);
    let (_folder, mut store) = store();
    // Ten times what is allowed: not read to its end.
    let zeros = io::repeat(0).take(1 << 20);
    let error = import(&mut store, endless.as_slice().chain(zeros)).unwrap_err().to_string();
    assert!(error.contains("reading the archive"), "{error}");
}

const MAX: u64 = 256 << 20;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Cut anywhere before its last file is whole, an archive is refused and nothing of it stays.
    #[test]
    fn cut_short_anywhere(cut in 0.0..1.0) {
        let tar = pack(&some_files().0);
        let whole = tar.len() - 1024 - 512 + 30;
        let error = refused(&tar[..(whole as f64 * cut) as usize]);
        prop_assert!(error.contains("archive") || error.contains("blob"), "{}", error);
    }

    /// Any byte changed, an import fails or brings the very same image.
    #[test]
    fn one_byte_changed(at in 0.0..1.0, bit in 0u8..8) {
        let mut tar = pack(&some_files().0);
        let at = (tar.len() as f64 * at) as usize;
        tar[at] ^= 1 << bit;
        let (_folder, mut store) = store();
        if let Ok(names) = import(&mut store, tar.as_slice()) {
            for found in names {
                if let Ok(Some(read)) = store.get(&found, "amd64") {
                    let image = image("a");
                    prop_assert_eq!(read.digest.as_str(), image.digest());
                }
            }
        }
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        let (_folder, mut store) = store();
        prop_assert!(import(&mut store, bytes.as_slice()).is_err());
    }
}
