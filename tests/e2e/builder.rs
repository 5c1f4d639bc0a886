//! `image build --builder-image` with a real engine: what comes out is what this machine's compiler makes.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::support::Igx;

const IMAGE: &str = "igx-e2e-builder:1";

/// This machine's clang and llvm-strip with the libraries that they need, as the files of an image.
const FILES: &str = r#"
    set -e
    root=$(mktemp -d); trap 'rm -rf "$root"' EXIT
    mkdir -p -m 1777 "$root/tmp"
    for tool in clang llvm-strip; do
        found=$(command -v $tool || ls /usr/bin/$tool-[0-9]* | tail -n 1)
        real=$(realpath "$found")
        mkdir -p "$root/usr/bin"; ln -sf "$real" "$root/usr/bin/$tool"
        for file in "$real" $(ldd "$real" | grep -o '/[^ ]*'); do
            mkdir -p "$root$(dirname "$file")"; cp -L "$file" "$root$file"
        done
    done
    headers=$("$root/usr/bin/clang" -print-resource-dir)
    mkdir -p "$root$headers"; cp -rL "$headers/include" "$root$headers"
    tar -C "$root" -c ."#;

/// A docker daemon of its own with the builder image in it.
struct Docker {
    dir: PathBuf,
    host: String,
}

impl Docker {
    fn start() -> Self {
        // The socket's path has to be short.
        let dir = TempDir::with_prefix_in("igx-b", "/tmp").unwrap().keep();
        let docker = Self { host: format!("unix://{}/docker.sock", dir.display()), dir };
        assert!(docker.script("start"), "no docker daemon");
        let mut files = Command::new("sh").args(["-c", FILES]).stdout(Stdio::piped()).spawn().unwrap();
        let mut import = Command::new("docker");
        import.args(["import", "-", IMAGE]).env("DOCKER_HOST", &docker.host);
        let imported = import.stdin(files.stdout.take().unwrap()).output().unwrap();
        assert!(files.wait().unwrap().success() && imported.status.success(), "{imported:?}");
        docker
    }

    fn script(&self, action: &str) -> bool {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/test-docker");
        Command::new(script)
            .arg(action)
            .arg(&self.dir)
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        self.script("stop");
    }
}

#[test]
fn a_container_builds_what_this_machine_builds() {
    let docker = Docker::start();
    let igx = Igx::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/trace_files");
    let engine = igx.home.path().join("engine");
    fs::create_dir(&engine).unwrap();
    let found =
        env::split_paths(&env::var_os("PATH").unwrap()).map(|p| p.join("docker")).find(|p| p.exists());
    symlink(found.unwrap(), engine.join("docker")).unwrap();
    let build = |more: &[&str]| {
        let mut command = igx.command(&["image", "build", source.to_str().unwrap(), "-t", "files"]);
        command.args(more).env("SOURCE_DATE_EPOCH", "1700000000").env("DOCKER_HOST", &docker.host);
        // Nothing of this machine but the engine is found.
        if !more.is_empty() {
            command.env("PATH", &engine);
        }
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let (done, here) = build(&[]);
    assert!(done, "{here}");
    let there = build(&["--builder-image", IMAGE, "--builder-image-pull", "missing"]);
    assert_eq!(there, (true, here));
    let (done, said) = build(&["--builder-image", "igx-e2e-absent:1", "--builder-image-pull", "never"]);
    assert!(!done && said.contains("builder image igx-e2e-absent:1 is not there"), "{said}");
}
