//! Compiles the runner's own eBPF programs to CO-RE objects in `OUT_DIR`, one `NAME.bpf.o` for each name in
//! `OBJECTS`.
#![allow(clippy::expect_used, clippy::panic, reason = "a build script fails by ending")]

fn main() {
    #[cfg(feature = "ebpf")]
    compile();
}

/// `bpf/NAME.bpf.c` of the workspace.
#[cfg(feature = "ebpf")]
const OBJECTS: [&str; 3] = ["dispatcher", "socket_iter", "socket_owner"];

#[cfg(feature = "ebpf")]
fn compile() {
    use std::{env, path::PathBuf};

    let runner = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let bpf = runner.parent().expect("the runner lies in the workspace").join("bpf");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    for header in ["include", "kernel.h", "socket_entry.h"] {
        println!("cargo::rerun-if-changed={}", bpf.join(header).display());
    }
    for name in OBJECTS {
        let source = bpf.join(format!("{name}.bpf.c"));
        println!("cargo::rerun-if-changed={}", source.display());
        libbpf_cargo::SkeletonBuilder::new()
            .source(&source)
            .obj(out.join(format!("{name}.bpf.o")))
            .clang("clang-16")
            .clang_args([
                "-Wall".to_owned(),
                "-Werror".to_owned(),
                format!("-I{}", bpf.join("include").display()),
                // <asm/types.h> lies in Debian's multiarch folder, which clang does not search for -target bpf.
                format!("-I/usr/include/{arch}-linux-gnu"),
            ])
            .build()
            .unwrap_or_else(|error| {
                panic!("cannot compile {}: {error:#}; 'sudo make setup' installs clang-16", source.display())
            });
    }
}
