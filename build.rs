//! Compiles `bpf/trace_sni.bpf.c` into a CO-RE object and, for tests and benches, a typed skeleton.
#![allow(clippy::expect_used, reason = "a build script fails by ending")]

fn main() {
    #[cfg(feature = "object")]
    compile();
}

#[cfg(feature = "object")]
fn compile() {
    use std::{env, path::PathBuf};

    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-changed=gadget.yaml");
    libbpf_cargo::SkeletonBuilder::new()
        .source(root.join("bpf/trace_sni.bpf.c"))
        .obj(out.join("trace_sni.bpf.o"))
        .clang("clang-16")
        .clang_args([
            "-Wall".to_owned(),
            "-Werror".to_owned(),
            format!("-I{}", root.join("bpf/include").display()),
            // <asm/types.h> lies in Debian's multiarch folder, which clang does not search for -target bpf.
            format!("-I/usr/include/{arch}-linux-gnu"),
        ])
        .build_and_generate(out.join("trace_sni.skel.rs"))
        .expect("cannot compile bpf/trace_sni.bpf.c; 'sudo make setup' installs clang-16");
}
