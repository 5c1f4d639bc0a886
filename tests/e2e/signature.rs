//! Signatures that the real cosign made, versions 2 and 3: fetched from a real registry, verified, carried across an
//! air gap in a file, and refused once anything is changed.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    peers::{Registry, ok, peer},
    support::Igx,
};

/// The gadget that is signed, in a registry, and the key that signs it.
struct Signed {
    registry: Registry,
    image: String,
    digest: String,
    folder: TempDir,
}

impl Signed {
    fn new() -> Self {
        let (registry, folder, igx) = (Registry::plain(), TempDir::new().unwrap(), Igx::new());
        let image = registry.image("gadgets/trace_files:v1");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/trace_files");
        igx.ok(&["image", "build", source.to_str().unwrap(), "-t", &image]);
        igx.ok(&["image", "push", &image, "--insecure-registries", &registry.host]);
        let listed: Value = serde_json::from_str(&igx.ok(&["image", "list", "-o", "json"])).unwrap();
        let ours = |entry: &&Value| entry["Repository"].as_str().unwrap().contains("trace_files");
        let digest =
            listed.as_array().unwrap().iter().find(ours).unwrap()["Digest"].as_str().unwrap().to_owned();
        let signed = Self { registry, image, digest, folder };
        signed.new_key("cosign");
        signed.new_key("other");
        signed
    }

    fn new_key(&self, name: &str) {
        let mut cosign = peer("cosign");
        cosign.args(["generate-key-pair", "--output-key-prefix", name]).current_dir(self.folder.path());
        ok(cosign.env("COSIGN_PASSWORD", ""));
    }

    /// Signs with a version of cosign, `cosign` or `cosign3`, and a key.
    fn sign(&self, version: &str, key: &str) {
        let repository = self.image.strip_suffix(":v1").unwrap();
        let mut cosign = peer(version);
        cosign.args(["sign", "--tlog-upload=false", "--allow-http-registry", "--yes"]);
        if version == "cosign3" {
            cosign.arg("--use-signing-config=false");
        }
        cosign.args(["--key", &format!("{key}.key")]).arg(format!("{repository}@{}", self.digest));
        ok(cosign.env("COSIGN_PASSWORD", "").env("HOME", self.folder.path()).current_dir(self.folder.path()));
    }

    fn public(&self, key: &str) -> String {
        format!("@{}", self.folder.path().join(format!("{key}.pub")).display())
    }

    /// Arguments for `igx` that name the image and trust a key.
    fn with_key(&self, command: &[&str], key: &str) -> Vec<String> {
        let mut args: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
        args.extend([self.image.clone(), "--public-keys".to_owned(), self.public(key)]);
        args
    }

    /// The same, and the registry may be asked.
    fn online(&self, command: &[&str], key: &str) -> Vec<String> {
        let mut args = self.with_key(command, key);
        args.extend(["--insecure-registries".to_owned(), self.registry.host.clone()]);
        args
    }
}

const RUN: [&str; 4] = ["run", "--host", "-t", "1"];
const VERIFY: [&str; 2] = ["image", "verify"];

fn words(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// A store that got the image, and what `igx` fetched of signatures, out of a file.
fn carried(signed: &Signed, from: &Igx) -> Igx {
    let file = signed.folder.path().join("image.tar");
    from.ok(&["image", "export", &signed.image, file.to_str().unwrap()]);
    let other = Igx::new();
    other.ok(&["image", "import", file.to_str().unwrap()]);
    other
}

fn blobs(igx: &Igx) -> Vec<PathBuf> {
    let folder = fs::read_dir(igx.store().join("blobs/sha256")).unwrap();
    folder.map(|entry| entry.unwrap().path()).collect()
}

/// Changes one byte of a file, keeping its length.
fn change(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
}

fn verified_by(version: &str, format: &str) {
    let signed = Signed::new();
    let igx = Igx::new();
    let unsigned = igx.fails(&words(&signed.online(&RUN, "cosign")));
    assert!(unsigned.contains("there is no signature of it in the store"), "{unsigned}");
    assert!(unsigned.contains("--public-keys @cosign.pub, or, if you trust it"), "{unsigned}");

    signed.sign(version, "cosign");
    igx.ok(&words(&signed.online(&RUN, "cosign")));
    // From now on the signature is in the store.
    igx.ok(&words(&signed.with_key(&[&RUN[..], &["--pull=never"]].concat(), "cosign")));
    let said = igx.ok(&words(&signed.with_key(&VERIFY, "cosign")));
    assert!(
        said.starts_with(&format!("Verifying image: {}\nImage verified successfully!\n", signed.image)),
        "{said}"
    );
    assert!(said.contains("Signed by key sha256:") && said.contains(format), "{said}");
    let other = igx.fails(&words(&signed.online(&RUN, "other")));
    assert!(other.contains("it was made with another key"), "{other}");
    let nobody = igx.fails(&["run", &signed.image]);
    assert!(nobody.contains("no public key is known for it"), "{nobody}");
    // A name does not lend its key: this digest has no signature by whom the name belongs to.
    let borrowed = "ghcr.io/inspektor-gadget/gadget/trace_files:v1";
    igx.ok(&["image", "tag", &signed.image, borrowed]);
    let said = igx.fails(&["run", borrowed, "--pull=never"]);
    assert!(said.contains("it was made with another key"), "{said}");

    let far = carried(&signed, &igx);
    let offline = signed.with_key(&VERIFY, "cosign");
    far.ok(&words(&offline));
    far.ok(&words(&signed.with_key(&[&RUN[..], &["--pull=never"]].concat(), "cosign")));
    tamper(&signed, &far);
}

/// Changes each blob in turn, and each time demands that nothing runs.
fn tamper(signed: &Signed, igx: &Igx) {
    let run = signed.with_key(&["run", "--host", "-t", "1", "--pull=never"], "cosign");
    let verify = signed.with_key(&VERIFY, "cosign");
    let all = blobs(igx);
    // Index, two manifests, metadata, two programs; a signature's manifest and payload.
    assert!(all.len() >= 6, "{all:?}");
    let mut refused = 0;
    for path in all {
        let whole = fs::read(&path).unwrap();
        for at in [0, whole.len() / 2, whole.len() - 1] {
            change(&path, at);
            let output = igx.output(&words(&verify));
            assert_eq!(output.status.code(), Some(1), "{}: byte {at}: {output:?}", path.display());
            if at == 0 {
                refused += usize::from(!igx.output(&words(&run)).status.success());
            }
            change(&path, at);
        }
    }
    // The other architecture's blobs are not run, and the empty configuration of a signature says nothing.
    assert!(refused >= 6, "{refused}");
    igx.ok(&words(&verify));
}

#[test]
fn cosign_2_signs_and_what_is_changed_is_refused() {
    verified_by("cosign", "cosign simple signing");
}

#[test]
fn cosign_3_signs_and_what_is_changed_is_refused() {
    verified_by("cosign3", "sigstore bundle (statement)");
}

#[test]
fn one_of_several_signatures_is_enough() {
    let signed = Signed::new();
    signed.sign("cosign", "other");
    signed.sign("cosign", "cosign");
    signed.sign("cosign3", "other");
    let igx = Igx::new();
    igx.ok(&words(&signed.online(&RUN, "cosign")));
    igx.ok(&words(&signed.with_key(&VERIFY, "other")));
}

#[test]
fn a_signature_that_came_later_is_fetched_when_the_old_one_is_not_enough() {
    let signed = Signed::new();
    signed.sign("cosign", "other");
    let igx = Igx::new();
    igx.ok(&words(&signed.online(&RUN, "other")));
    igx.fails(&words(&signed.online(&RUN, "cosign")));
    signed.sign("cosign", "cosign");
    let offline = igx.fails(&words(&signed.online(&[&RUN[..], &["--disallow-pulling"]].concat(), "cosign")));
    assert!(offline.contains("--disallow-pulling keeps from looking"), "{offline}");
    igx.ok(&words(&signed.online(&RUN, "cosign")));
}

#[test]
fn an_attestation_is_no_signature() {
    let signed = Signed::new();
    let predicate = signed.folder.path().join("predicate.json");
    fs::write(&predicate, "{}").unwrap();
    let repository = signed.image.strip_suffix(":v1").unwrap();
    let mut cosign = peer("cosign3");
    cosign.args([
        "attest",
        "--tlog-upload=false",
        "--use-signing-config=false",
        "--allow-http-registry",
        "--yes",
    ]);
    cosign
        .args(["--type", "https://example.com/scan-failed", "--key", "cosign.key", "--predicate"])
        .arg(&predicate);
    cosign.arg(format!("{repository}@{}", signed.digest)).current_dir(signed.folder.path());
    ok(cosign.env("COSIGN_PASSWORD", "").env("HOME", signed.folder.path()));
    let said = Igx::new().fails(&words(&signed.online(&RUN, "cosign")));
    assert!(said.contains("it is an attestation and no signature"), "{said}");
}
