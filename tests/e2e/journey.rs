//! Images on their way through real registries: built, pushed, signed, pulled by somebody else, verified and run.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    peers::{PASSWORD, Registry, USER, ok, peer},
    support::{Igx, with_trace_files},
};

/// What an `igx` needs to be let into a registry.
fn way_in(registry: &Registry) -> Vec<String> {
    match &registry.certificate {
        Some(certificate) => vec!["--ca-file".to_owned(), certificate.display().to_string()],
        None => vec!["--insecure-registries".to_owned(), registry.host.clone()],
    }
}

/// Logs in, and returns the file with the credentials.
fn login(igx: &Igx, registry: &Registry) -> PathBuf {
    let file = igx.home.path().join("config.json");
    let password = igx.home.path().join("password");
    fs::write(&password, PASSWORD).unwrap();
    let mut command = igx.command(&["login", &registry.host, "-u", USER, "--password-stdin", "--authfile"]);
    command.arg(&file).args(way_in(registry)).stdin(fs::File::open(&password).unwrap());
    let output = command.output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("Login Succeeded"), "{said}");
    assert!(!said.contains(PASSWORD));
    file
}

fn with(args: &[&str], more: &[String], authfile: &Path) -> Vec<String> {
    let authfile = ["--authfile".to_owned(), authfile.display().to_string()];
    args.iter().map(|a| (*a).to_owned()).chain(more.iter().cloned()).chain(authfile).collect()
}

fn strings(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

/// A pair of keys of cosign's; returns the folder that they are in.
fn keys(folder: &Path) -> PathBuf {
    ok(peer("cosign").arg("generate-key-pair").env("COSIGN_PASSWORD", "").current_dir(folder));
    folder.join("cosign.pub")
}

/// Signs what a name stands for, with cosign 2 or 3.
fn sign(cosign: &str, folder: &Path, image: &str) {
    let mut command = peer(cosign);
    command.args(["sign", "--yes", "--key", "cosign.key", "--tlog-upload=false"]);
    command.args(["--allow-http-registry", "--allow-insecure-registry"]);
    command.args(["--registry-username", USER, "--registry-password", PASSWORD]);
    if cosign == "cosign3" {
        command.arg("--use-signing-config=false");
    }
    ok(command.arg(image).env("COSIGN_PASSWORD", "").current_dir(folder));
}

#[test]
fn a_gadget_goes_through_registries_that_ask_for_passwords_and_is_run_if_signed() {
    for (registry, cosign) in [(Registry::with_password(), "cosign"), (Registry::with_tokens(), "cosign3")] {
        let author = with_trace_files();
        let name = registry.image("tools/trace_files:v1");
        author.ok(&["image", "tag", "trace_files", &name]);
        let nobody = author.home.path().join("nobody.json");
        fs::write(&nobody, "{}").unwrap();
        let refused = author.fails(&strings(&with(&["image", "push", &name], &way_in(&registry), &nobody)));
        assert!(refused.contains("igx login") && refused.contains(&registry.host), "{refused}");
        let file = login(&author, &registry);
        author.ok(&strings(&with(&["image", "push", &name], &way_in(&registry), &file)));
        let key = keys(author.home.path());
        let key = format!("@{}", key.display());

        // Somebody else, with a store of their own: not signed yet, so refused.
        let user = Igx::new();
        let run =
            with(&["run", &name, "--host", "-t", "1", "--public-keys", &key], &way_in(&registry), &file);
        let said = user.fails(&strings(&run));
        assert!(said.contains("signature"), "{said}");

        sign(cosign, author.home.path(), &name);
        let user = Igx::new();
        let said = user.output(&strings(&run));
        assert!(said.status.success(), "{said:?}");
        assert!(String::from_utf8_lossy(&said.stdout).contains("PID"), "{said:?}");
        // All is in the store now: neither the registry nor its credentials are asked again.
        user.ok(&["run", &name, "--host", "-t", "1", "--public-keys", &key, "--pull", "never"]);
        user.ok(&["image", "verify", &name, "--public-keys", &key]);
        let no_key = user.fails(&["run", &name, "--host", "-t", "1", "--pull", "never"]);
        assert!(no_key.contains("--public-keys"), "{no_key}");

        // Carried over an air gap, the signature comes along.
        let tar = user.home.path().join("gap.tar");
        user.ok(&["image", "export", &name, tar.to_str().unwrap()]);
        let far = Igx::new();
        far.ok(&["image", "import", tar.to_str().unwrap()]);
        far.ok(&["run", &name, "--host", "-t", "1", "--public-keys", &key, "--pull", "never"]);
        far.ok(&["image", "check"]);
    }
}

#[test]
fn the_tools_of_others_read_what_is_pushed() {
    let registry = Registry::plain();
    let igx = with_trace_files();
    let name = registry.image("trace_files:v1");
    igx.ok(&["image", "tag", "trace_files", &name]);
    igx.ok(&["image", "push", &name, "--insecure-registries", &registry.host]);
    let folder = igx.home.path();
    let digest = ok(peer("crane").args(["digest", "--insecure", &name]));
    assert!(igx.ok(&["image", "list", "--no-trunc"]).contains(digest.trim()));
    let manifest = ok(peer("oras").args(["manifest", "fetch", "--plain-http", &name]));
    assert!(manifest.contains("arm64") && manifest.contains("amd64"), "{manifest}");
    let layout = format!("oci:{}:v1", folder.join("layout").display());
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["--insecure-policy", "copy", "--all", "--src-tls-verify=false"]).stdin(Stdio::null());
    ok(skopeo.arg(format!("docker://{name}")).arg(layout));
}

/// Runs a script with the real `ig` as `$IG`, which keeps its store where nobody else sees it. Without a peer there
/// is nothing to compare with.
fn with_ig(script: &str, arguments: &[&str]) -> Option<String> {
    let Some(ig) = std::env::var_os("IGX_PEER").map(|folder| Path::new(&folder).join("ig")) else {
        eprintln!("IGX_PEER does not name a folder with ig: the comparison with it is left out");
        return None;
    };
    let script = format!("set -e; mkdir -p /var/lib/ig; mount -t tmpfs none /var/lib/ig; {script}");
    let mut unshare = Command::new("unshare");
    Some(ok(unshare
        .args(["-m", "sh", "-c", &script, "sh"])
        .args(arguments)
        .env("IG", ig)
        .stdin(Stdio::null())))
}

#[test]
fn the_real_ig_pulls_our_image_and_we_pull_its() {
    let registry = Registry::plain();
    let igx = with_trace_files();
    let (ours, theirs) = (registry.image("ours:v1"), registry.image("theirs:v1"));
    igx.ok(&["image", "tag", "trace_files", &ours]);
    igx.ok(&["image", "push", &ours, "--insecure-registries", &registry.host]);
    let script = "$IG image pull --insecure-registries $1 $2; $IG image tag $2 $3; \
                  $IG image push --insecure-registries $1 $3; $IG image list --no-trunc";
    let Some(listed) = with_ig(script, &[&registry.host, &ours, &theirs]) else { return };
    assert!(listed.contains("ours v1"), "{listed}");
    let user = Igx::new();
    user.ok(&["image", "pull", &theirs, "--insecure-registries", &registry.host]);
    user.ok(&["run", &theirs, "--host", "-t", "1", "--verify-image=false"]);
}
