//! Compiles the runner's own eBPF programs to CO-RE objects in `OUT_DIR`, one `NAME.bpf.o` for each name in
//! `OBJECTS`; and the guest of the gadget that the binary carries to `trace_sni.wasm`.
#![allow(clippy::expect_used, clippy::panic, reason = "a build script fails by ending")]

fn main() {
    #[cfg(feature = "ebpf")]
    {
        compile();
        compile_guest();
    }
}

/// Objects, each of `bpf/NAME.bpf.c` of the workspace, and what is defined for it.
#[cfg(feature = "ebpf")]
const OBJECTS: [(&str, &str, Option<&str>); 5] = [
    ("dispatcher", "dispatcher", None),
    ("socket_iter", "socket_iter", None),
    ("socket_owner", "socket_owner", None),
    // What most gadgets do not ask for would make every start slower.
    ("socket_iter_paths", "socket_iter", Some("WITH_PATHS")),
    ("socket_owner_paths", "socket_owner", Some("WITH_PATHS")),
];

#[cfg(feature = "ebpf")]
fn compile() {
    use std::{env, path::PathBuf};

    let runner = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let bpf = runner.parent().expect("the runner lies in the workspace").join("bpf");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    for header in ["include", "cgroup.h", "kernel.h", "path.h", "socket_entry.h"] {
        println!("cargo::rerun-if-changed={}", bpf.join(header).display());
    }
    for (object, name, defined) in OBJECTS {
        let source = bpf.join(format!("{name}.bpf.c"));
        println!("cargo::rerun-if-changed={}", source.display());
        libbpf_cargo::SkeletonBuilder::new()
            .source(&source)
            .obj(out.join(format!("{object}.bpf.o")))
            .clang("clang-16")
            .clang_args(
                [
                    "-Wall".to_owned(),
                    "-Werror".to_owned(),
                    format!("-I{}", bpf.join("include").display()),
                    // <asm/types.h> lies in Debian's multiarch folder, which clang does not search for -target bpf.
                    format!("-I/usr/include/{arch}-linux-gnu"),
                ]
                .into_iter()
                .chain(defined.map(|name| format!("-D{name}"))),
            )
            .build()
            .unwrap_or_else(|error| {
                panic!("cannot compile {}: {error:#}; 'sudo make setup' installs clang-16", source.display())
            });
    }
}

/// `guest/trace_sni` of the workspace. It has a workspace of its own, and its target's compiler flags.
#[cfg(feature = "ebpf")]
fn compile_guest() {
    use std::{env, fs, path::PathBuf, process::Command};

    const TARGET: &str = "wasm32-wasip1";
    let runner = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let root = runner.parent().expect("the runner lies in the workspace");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let folder = root.join("guest/trace_sni");
    for part in ["guest/src", "guest/Cargo.toml", "guest/trace_sni", "sni/src", "sni/Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", root.join(part).display());
    }
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    // Folders of this machine are in no message of a panic.
    let mut flags = format!("--remap-path-prefix={}=.", root.display());
    if let Some(home) = home {
        flags.push_str(&format!("\u{1f}--remap-path-prefix={}=/cargo", home.display()));
    }
    let status = Command::new(env::var_os("CARGO").expect("cargo sets CARGO"))
        .args(["build", "--release", "--locked", "--quiet", "--target", TARGET, "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(out.join("guest"))
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        // What is meant for the binary.
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_BUILD_TARGET")
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "cannot compile {}; if the target is missing: rustup target add {TARGET}",
        folder.display()
    );
    let module = out.join("guest").join(TARGET).join("release/trace_sni_guest.wasm");
    fs::copy(&module, out.join("trace_sni.wasm")).expect("cargo has written the module");
}
