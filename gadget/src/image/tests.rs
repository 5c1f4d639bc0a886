use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

const CREATED_AT: &str = "2023-11-14T22:13:20Z";
const YAML: &[u8] = b"name: trace <sni>\ndescription: a & b\nannotations:\n  extra: 3\n";

/// Blobs in memory.
#[derive(Default)]
struct Memory(HashMap<String, Vec<u8>>);

impl Memory {
    fn of(image: &Image) -> Self {
        Self(image.blobs.iter().map(|blob| (blob.digest.clone(), blob.bytes.clone())).collect())
    }

    fn put(&mut self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let digest = digest(bytes);
        self.0.insert(digest.clone(), bytes.to_vec());
        Descriptor {
            media_type: media_type.into(),
            digest,
            size: bytes.len() as u64,
            ..Descriptor::default()
        }
    }
}

impl Blobs for Memory {
    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        self.0.get(&descriptor.digest).cloned().ok_or_else(|| Error::Missing {
            digest: descriptor.digest.clone(),
            media_type: descriptor.media_type.clone(),
        })
    }
}

fn image() -> Image {
    let objects = ARCHITECTURES.map(|a| (a.to_owned(), b"ELF".to_vec())).into();
    let parts = Parts { metadata: Some(YAML.to_vec()), objects, ..Parts::default() };
    Image::assemble(&parts, CREATED_AT, "v0.1.0").unwrap()
}

fn open(blobs: &Memory, index: &Descriptor, architecture: &str) -> Result<GadgetImage, Error> {
    read(blobs, index, "name", architecture, Trust::Unverified)
}

/// Wraps a manifest into an index for amd64.
fn wrap(blobs: &mut Memory, manifest: &str) -> Descriptor {
    let mut child = blobs.put(MANIFEST_TYPE, manifest.as_bytes());
    child.platform = Some(Platform { architecture: "amd64".into(), os: "linux".into() });
    let index = to_json(&Index { manifests: vec![child], ..Index::default() });
    blobs.put(INDEX_TYPE, &index)
}

#[test]
fn manifest_bytes_are_those_of_go() {
    let image = image();
    let annotations = r#"{"extra":"3","io.inspektor-gadget.builder.version":"v0.1.0","org.opencontainers.image.created":"2023-11-14T22:13:20Z","org.opencontainers.image.description":"a \u0026 b","org.opencontainers.image.documentation":"","org.opencontainers.image.source":"","org.opencontainers.image.title":"trace \u003csni\u003e","org.opencontainers.image.url":""}"#;
    let config = digest(YAML);
    let object = digest(b"ELF");
    let manifest = format!(
        r#"{{"schemaVersion":2,"artifactType":"application/vnd.gadget.v1+binary","config":{{"mediaType":"application/vnd.gadget.config.v1+yaml","digest":"{config}","size":{},"annotations":{annotations}}},"layers":[{{"mediaType":"application/vnd.gadget.ebpf.program.v1+binary","digest":"{object}","size":3}}],"annotations":{annotations}}}"#,
        YAML.len()
    );
    let child = |arch: &str| {
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":{},"annotations":{annotations},"platform":{{"architecture":"{arch}","os":"linux"}}}}"#,
            digest(manifest.as_bytes()),
            manifest.len()
        )
    };
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{},{}],"annotations":{annotations}}}"#,
        child("amd64"),
        child("arm64")
    );
    let blob =
        |digest: &str| image.blobs.iter().find(|b| b.digest == digest).map(|b| b.bytes.clone()).unwrap();
    assert_eq!(String::from_utf8(blob(image.digest())).unwrap(), index);
    assert_eq!(String::from_utf8(blob(&digest(manifest.as_bytes()))).unwrap(), manifest);
    assert_eq!(image.blobs.len(), 4, "equal objects and manifests are stored once");
}

#[test]
fn without_metadata_only_the_date_is_noted() {
    let parts = Parts { wasm: Some(b"wasm".to_vec()), ..Parts::default() };
    let image = Image::assemble(&parts, CREATED_AT, "v0.1.0").unwrap();
    assert_eq!(image.index.annotations.keys().collect::<Vec<_>>(), [CREATED]);
    let read = open(&Memory::of(&image), &image.index, "arm64").unwrap();
    assert_eq!((read.wasm.as_deref(), read.metadata.len()), (Some(&b"wasm"[..]), 0));
    let manifest = String::from_utf8(read.manifest).unwrap();
    assert!(
        manifest.contains(r#""mediaType":"application/vnd.oci.empty.v1+json""#)
            && manifest.contains(r#""data":"e30=""#)
    );
}

#[test]
fn no_layers_is_an_empty_list() {
    let parts = Parts { metadata: Some(b"name: x".to_vec()), ..Parts::default() };
    let image = Image::assemble(&parts, CREATED_AT, "v1").unwrap();
    assert!(image.blobs.iter().any(|b| String::from_utf8_lossy(&b.bytes).contains(r#""layers":[]"#)));
}

#[test]
fn reads_what_it_wrote() {
    let image = image();
    let read = open(&Memory::of(&image), &image.index, "amd64").unwrap();
    assert_eq!((read.metadata.as_slice(), read.object.as_deref()), (YAML, Some(&b"ELF"[..])));
    assert_eq!(read.digest, image.digest());
    assert_eq!(read.warnings, Vec::<String>::new());
}

#[test]
fn every_changed_blob_is_noticed() {
    let image = image();
    for blob in &image.blobs {
        let mut memory = Memory::of(&image);
        memory.0.insert(blob.digest.clone(), blob.bytes.iter().map(|b| b ^ 1).collect());
        assert!(
            matches!(open(&memory, &image.index, "amd64"), Err(Error::Damaged { .. })),
            "{}",
            blob.digest
        );
        memory.0.insert(blob.digest.clone(), blob.bytes[1..].to_vec());
        assert!(matches!(open(&memory, &image.index, "amd64"), Err(Error::Damaged { .. })));
        memory.0.remove(&blob.digest);
        assert!(matches!(open(&memory, &image.index, "amd64"), Err(Error::Missing { .. })));
    }
}

#[test]
fn unknown_layers_are_told_and_doubled_ones_refused() {
    let mut memory = Memory::default();
    let config = memory.put(CONFIG_TYPE, b"name: x");
    let object = serde_json::to_string(&memory.put(OBJECT_TYPE, b"ELF")).unwrap();
    let odd = serde_json::to_string(&memory.put("x/y", b"?")).unwrap();
    let config = serde_json::to_string(&config).unwrap();
    let index =
        wrap(&mut memory, &format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{odd},{object}]}}"#));
    let read = open(&memory, &index, "amd64").unwrap();
    assert_eq!(read.object.as_deref(), Some(&b"ELF"[..]));
    assert_eq!(read.warnings.len(), 3, "{:?}", read.warnings);
    let index = wrap(
        &mut memory,
        &format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{object},{object}]}}"#),
    );
    assert!(matches!(open(&memory, &index, "amd64"), Err(Error::Format { .. })));
    let error = open(&memory, &index, "s390x").unwrap_err().to_string();
    assert_eq!(error, r#"no manifest for architecture "s390x"; the image has: "amd64""#);
}

#[test]
fn control_characters_of_an_image_reach_no_terminal() {
    let evil = || "\u{1b}[2J\u{9b}\n".to_owned();
    let mut memory = Memory::default();
    let layer = serde_json::to_string(&memory.put(&evil(), b"?")).unwrap();
    let config = serde_json::to_string(&memory.put(&evil(), b"name: x")).unwrap();
    let kind = serde_json::to_string(&evil()).unwrap();
    let manifest =
        format!(r#"{{"schemaVersion":2,"artifactType":{kind},"config":{config},"layers":[{layer}]}}"#);
    let index = wrap(&mut memory, &manifest);
    let mut said = open(&memory, &index, "amd64").unwrap().warnings;
    assert_eq!(said.len(), 4, "{said:?}");

    let child = Descriptor {
        platform: Some(Platform { architecture: evil(), os: evil() }),
        ..memory.put(&evil(), b"{}")
    };
    let index = to_json(&Index { manifests: vec![child], ..Index::default() });
    let elsewhere = memory.put(INDEX_TYPE, &index);
    let text = serde_json::to_vec(&evil()).unwrap();
    let text = memory.put(INDEX_TYPE, &text);
    let unreadable = Descriptor { digest: evil(), media_type: INDEX_TYPE.into(), ..Descriptor::default() };
    let other = Descriptor { digest: evil(), media_type: evil(), ..Descriptor::default() };
    for descriptor in [&elsewhere, &text, &unreadable, &other] {
        said.push(open(&memory, descriptor, "amd64").unwrap_err().to_string());
    }
    let (digest, media_type) = (evil(), evil());
    said.push(Error::TooLarge { digest, media_type, size: 2, limit: 1 }.to_string());
    said.push(Error::Missing { digest: evil(), media_type: evil() }.to_string());
    said.push(Error::Io { digest: evil(), source: std::io::ErrorKind::Other.into() }.to_string());
    for text in &said {
        assert!(!text.contains(char::is_control), "{text:?}");
    }
}

#[test]
fn a_huge_blob_is_refused_unread() {
    let huge = Descriptor {
        media_type: INDEX_TYPE.into(),
        digest: digest(b""),
        size: 1 << 40,
        ..Descriptor::default()
    };
    assert!(matches!(open(&Memory::default(), &huge, "amd64"), Err(Error::TooLarge { .. })));
    let escape = Descriptor {
        media_type: INDEX_TYPE.into(),
        digest: "sha256:../../etc".into(),
        size: 1,
        ..Descriptor::default()
    };
    assert!(matches!(open(&Memory::default(), &escape, "amd64"), Err(Error::Damaged { .. })));
}

#[test]
fn many_manifests_or_layers_are_refused() {
    let mut memory = Memory::default();
    let layer = serde_json::to_string(&memory.put(OBJECT_TYPE, b"ELF")).unwrap();
    let config = serde_json::to_string(&memory.put(CONFIG_TYPE, b"name: x")).unwrap();
    let mut layers = |n: usize| {
        let layers = vec![layer.as_str(); n].join(",");
        memory.put(
            MANIFEST_TYPE,
            format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layers}]}}"#).as_bytes(),
        )
    };
    let (most, more) = (layers(64), layers(65));
    let mut index = |child: &Descriptor, n: usize| {
        memory.put(INDEX_TYPE, &to_json(&Index { manifests: vec![child.clone(); n], ..Index::default() }))
    };
    let (good, wide, deep) = (index(&most, 64), index(&most, 65), index(&more, 1));
    let found: Vec<_> = children(&memory, &good).unwrap().into_iter().map(|d| d.media_type).collect();
    assert_eq!(found, [MANIFEST_TYPE, CONFIG_TYPE, OBJECT_TYPE], "each digest once");
    let error = |index| children(&memory, index).unwrap_err().to_string();
    assert!(error(&wide).contains("it has 65 manifests, more than the 64 allowed"), "{}", error(&wide));
    assert!(error(&deep).contains("it has 65 layers, more than the 64 allowed"), "{}", error(&deep));
}

#[test]
fn a_manifest_that_is_a_layer_too_is_followed() {
    let mut memory = Memory::default();
    let config = serde_json::to_string(&memory.put(CONFIG_TYPE, b"name: x")).unwrap();
    let manifest = |memory: &mut Memory, layer: &Descriptor| {
        let layer = serde_json::to_string(layer).unwrap();
        memory.put(
            MANIFEST_TYPE,
            format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]}}"#).as_bytes(),
        )
    };
    let object = memory.put(OBJECT_TYPE, b"ELF");
    let inner = manifest(&mut memory, &object);
    let outer = manifest(&mut memory, &inner);
    let index = to_json(&Index { manifests: vec![outer, inner], ..Index::default() });
    let index = memory.put(INDEX_TYPE, &index);
    assert!(children(&memory, &index).unwrap().contains(&object));
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400), json in "[\\[\\]{}\":,a-z0-9]{0,200}") {
        for bytes in [bytes.as_slice(), json.as_bytes()] {
            let mut memory = Memory::default();
            let index = memory.put(INDEX_TYPE, bytes);
            let _ = open(&memory, &index, "amd64");
        }
        let mut memory = Memory::default();
        let index = wrap(&mut memory, &json);
        let _ = open(&memory, &index, "amd64");
    }
}
