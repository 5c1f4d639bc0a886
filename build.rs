//! Compiles `bpf/trace_sni.bpf.c` into a CO-RE object and, for tests and benches, a typed skeleton.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    #[cfg(feature = "object")]
    compile()?;
    Ok(())
}

#[cfg(feature = "object")]
fn compile() -> Result<(), Box<dyn Error>> {
    use std::{env, path::PathBuf};

    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let arch = env::var("CARGO_CFG_TARGET_ARCH")?;
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-changed=gadget.yaml");
    libbpf_cargo::SkeletonBuilder::new()
        .source(root.join("bpf/trace_sni.bpf.c"))
        .obj(out.join("trace_sni.bpf.o"))
        .clang("clang-16")
        .clang_args([
            // 32-bit arithmetic, which spares the verifier shifts; every kernel since 5.1 has it.
            "-mcpu=v3".to_owned(),
            "-Wall".to_owned(),
            "-Werror".to_owned(),
            format!("-I{}", root.join("bpf/include").display()),
            // <asm/types.h> lies in Debian's multiarch folder, which clang does not search for -target bpf.
            format!("-I/usr/include/{arch}-linux-gnu"),
        ])
        .build_and_generate(out.join("trace_sni.skel.rs"))
        .map_err(|error| {
            format!("cannot compile bpf/trace_sni.bpf.c; 'sudo make setup' installs clang-16: {error:#}")
        })?;
    Ok(())
}
