mod metadata;
mod whole;

use super::*;

const SOURCE: &str = r#"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("socket") int prog(struct __sk_buff *skb) { return skb->len; }
char _license[] SEC("license") = "GPL";
"#;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn options() -> Options {
    Options {
        builder_version: "v1".into(),
        created: Some("2023-11-14T22:13:20Z".into()),
        ..Options::default()
    }
}

fn fault(files: &[(&str, &str)]) -> String {
    let folder = folder(files);
    let error = build(folder.path(), &options()).unwrap_err().to_string();
    error.replace(&folder.path().canonicalize().unwrap().display().to_string(), "DIR")
}

#[test]
fn the_same_sources_give_the_same_digest_in_any_folder() {
    let files = [("program.bpf.c", SOURCE), ("gadget.yaml", "name: x\n")];
    let [one, two] = [(); 2].map(|()| folder(&files)).map(|f| build(f.path(), &options()).unwrap());
    assert_eq!(one.image.digest(), two.image.digest());
    assert!(one.image.blobs.iter().any(|blob| blob.bytes.starts_with(b"\x7fELF")));
    assert_eq!(one.warnings, "");
}

#[test]
fn says_what_is_wrong() {
    insta::assert_snapshot!(fault(&[]), @"nothing to build in DIR: there is no program.bpf.c, no gadget.yaml, and build.yaml names no wasm module");
    insta::assert_snapshot!(fault(&[("build.yaml", "wasm: -x.wasm")]), @r#"build.yaml: file name "-x.wasm" must not begin with '-' or '@'; write ./ before it"#);
    insta::assert_snapshot!(fault(&[("build.yaml", "wasm: x.go")]), @"wasm module DIR/x.go does not exist; correct wasm in build.yaml, or leave it out");
    insta::assert_snapshot!(fault(&[("build.yaml", "wasm: x.wasm")]), @"wasm module DIR/x.wasm does not exist; correct wasm in build.yaml, or leave it out");
    insta::assert_snapshot!(fault(&[("gadget.yaml", "description: x")]), @"gadget.yaml: the gadget has no name; add name: at the top");
    assert!(build(Path::new("/nonexistent"), &options()).unwrap_err().to_string().contains("/nonexistent"));
    let compile = fault(&[("program.bpf.c", "int x = nope;"), ("gadget.yaml", "name: x")]);
    assert!(
        compile.contains("for amd64") && compile.contains("use of undeclared identifier 'nope'"),
        "{compile}"
    );
}

#[test]
fn metadata_alone_is_a_gadget() {
    let folder = folder(&[("meta.yaml", "name: x"), ("my-build.yaml", "metadata: meta.yaml\nunknown: 1\n")]);
    let options = Options { file: Some(folder.path().join("my-build.yaml")), ..options() };
    assert_eq!(build(folder.path(), &options).unwrap().image.blobs.len(), 3);
}
