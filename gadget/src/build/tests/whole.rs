//! Whole builds: other machines, other compilers, and the real tool's bytes.

use super::{build, folder, options};
use crate::{
    build::{Container, Options, Pull},
    image::{Image, Parts},
};
use std::{collections::BTreeMap, fs, io::Read, os::unix::fs::PermissionsExt, path::Path};

/// Everything that a gadget commonly includes, on both architectures.
const KERNEL: &str = r#"
#include <vmlinux.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <gadget/buffer.h>
#include <gadget/common.h>
#include <gadget/filter.h>
#include <gadget/macros.h>
#include <gadget/mntns.h>
#include <gadget/types.h>
SEC("kprobe/do_unlinkat") int BPF_KPROBE(unlinked, int at, struct filename *name)
{
	return BPF_CORE_READ(name, refcnt.counter) + PT_REGS_PARM2(ctx);
}
char _license[] SEC("license") = "GPL";
"#;
const UAPI: &str = r#"
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <asm/unistd.h>
#include <errno.h>
#include <stdint.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <bpf/bpf_helpers.h>
#include <gadget/types.h>
SEC("socket") int prog(struct __sk_buff *skb) { uint8_t a = AF_INET; return skb->len + a + EPERM + __NR_openat; }
char _license[] SEC("license") = "GPL";
"#;

#[test]
fn carried_headers_are_enough() {
    for source in [KERNEL, UAPI] {
        let built = build(folder(&[("program.bpf.c", source)]).path(), &options()).unwrap();
        assert_eq!(built.warnings, "");
    }
    // Architectures differ where the kernel's do: registers, and numbers of system calls.
    let out = tempfile::tempdir().unwrap();
    let options = Options { output: Some(out.path().join("new")), ..options() };
    build(folder(&[("program.bpf.c", UAPI)]).path(), &options).unwrap();
    let object = |name| fs::read(out.path().join("new").join(name)).unwrap();
    assert_ne!(object("amd64.bpf.o"), object("arm64.bpf.o"));
}

#[test]
fn this_trees_own_sources_compile() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    build(&root, &options()).unwrap();
    build(&root.join("examples/trace_files"), &options()).unwrap();
}

#[test]
fn permissions_and_depth_of_folders_do_not_matter() {
    let files = [("program.bpf.c", KERNEL), ("gadget.yaml", "name: x\n")];
    let one = folder(&files);
    let other = tempfile::tempdir().unwrap();
    let deep = other.path().join("a folder/with blanks=and signs");
    fs::create_dir_all(&deep).unwrap();
    for (name, text) in files {
        fs::write(deep.join(name), text).unwrap();
        fs::set_permissions(deep.join(name), fs::Permissions::from_mode(0o400)).unwrap();
    }
    let digest = |path: &Path| build(path, &options()).unwrap().image.digest().to_owned();
    assert_eq!(digest(one.path()), digest(&deep));
}

#[test]
fn a_builder_image_sees_sources_headers_and_results() {
    let tools = tempfile::tempdir().unwrap();
    let (engine, said) = (tools.path().join("docker"), tools.path().join("said"));
    // An engine that notes what it is told, and leaves the object that a compiler would.
    let script = format!(
        "#!/bin/sh\necho \"$*\" >>{said}\nfor a in \"$@\"; do case $a in *:/out) printf ELF >\"${{a%:/out}}/amd64.bpf.o\"; printf ELF >\"${{a%:/out}}/arm64.bpf.o\";; esac; done\n",
        said = said.display()
    );
    // Not written by this process: see the tests of credential helpers.
    let write = "printf %s \"$1\" >\"$0\" && chmod 755 \"$0\"";
    let written = std::process::Command::new("sh").args(["-c", write]).arg(&engine).arg(script).status();
    assert!(written.unwrap().success());
    let container = Container { image: "builder:v1".into(), pull: Pull::Always, engine: Some(engine) };
    let options = Options { container: Some(container), validate_metadata: false, ..options() };
    let sources = folder(&[("program.bpf.c", UAPI)]);
    build(sources.path(), &options).unwrap();
    let said = fs::read_to_string(said).unwrap();
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some("pull --quiet builder:v1"));
    let compile = lines.find(|line| line.contains("--entrypoint clang") && line.contains("arm64")).unwrap();
    let work = format!("--volume {}:/work:ro", sources.path().canonicalize().unwrap().display());
    for part in [
        work.as_str(),
        ":/headers:ro",
        "builder:v1 -target bpf",
        "-isystem /headers/gadget/arm64",
        "-c program.bpf.c -o /out/arm64.bpf.o",
    ] {
        assert!(compile.contains(part), "{part}: {compile}");
    }
}

#[test]
fn go_compiles_to_the_same_module_in_any_folder() {
    if super::super::tool::which("go").is_none() {
        eprintln!("left out: go is not installed");
        return;
    }
    let module = || {
        let folder = folder(&[("build.yaml", "wasm: go/program.go"), ("gadget.yaml", "name: x")]);
        fs::create_dir(folder.path().join("go")).unwrap();
        fs::write(folder.path().join("go/go.mod"), "module x\n\ngo 1.21\n").unwrap();
        fs::write(folder.path().join("go/program.go"), "package main\n\nfunc main() {}\n").unwrap();
        let image = build(folder.path(), &options()).unwrap().image;
        assert!(image.blobs.iter().any(|blob| blob.bytes.starts_with(b"\0asm")));
        image.digest().to_owned()
    };
    assert_eq!(module(), module());
}

#[test]
fn rust_compiles_to_a_module() {
    let files = [
        ("build.yaml", "wasm: src.rs"),
        ("src.rs", "#[unsafe(no_mangle)]\npub extern \"C\" fn gadgetInit() -> i32 { 0 }\n"),
        (
            "Cargo.toml",
            "[package]\nname = \"guest\"\nedition = \"2024\"\n[lib]\npath = \"src.rs\"\ncrate-type = [\"cdylib\"]\n[workspace]\n",
        ),
        ("gadget.yaml", "name: x"),
    ];
    match [(); 2].map(|()| build(folder(&files).path(), &options())) {
        [Ok(one), Ok(other)] => assert_eq!(one.image.digest(), other.image.digest()),
        [Err(error), _] | [_, Err(error)] => {
            // Without the target, the next step is told.
            let error = error.to_string();
            assert!(error.contains("rustup target add wasm32-wasip1"), "{error}");
            assert!(
                error.contains("target may not be installed") || error.contains("cargo not found"),
                "{error}"
            );
        }
    }
}

#[test]
fn kernel_types_go_into_the_image() {
    let Ok(kernel) = fs::read("/sys/kernel/btf/vmlinux") else {
        eprintln!("left out: this kernel has no BTF");
        return;
    };
    let archive = tempfile::tempdir().unwrap();
    for machine in ["x86_64", "arm64"] {
        let folder = archive.path().join("debian/12").join(machine);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("6.1.0.btf"), &kernel).unwrap();
    }
    let (out, sources) = (tempfile::tempdir().unwrap(), folder(&[("program.bpf.c", KERNEL)]));
    let with = |archive: &Path| Options {
        btfhub_archive: Some(archive.to_owned()),
        output: Some(out.path().to_owned()),
        ..options()
    };
    let image = build(sources.path(), &with(archive.path())).unwrap().image;
    assert_eq!(build(sources.path(), &with(archive.path())).unwrap().image.digest(), image.digest());
    let layer = fs::read(out.path().join("btfs-arm64.tar.gz")).unwrap();
    assert!(image.blobs.iter().any(|blob| blob.bytes == layer));
    let mut entries = tar::Archive::new(flate2::read::GzDecoder::new(layer.as_slice()));
    let mut entry = entries.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(entry.path().unwrap(), Path::new("debian/12/arm64/6.1.0.btf"));
    let mut types = Vec::new();
    entry.read_to_end(&mut types).unwrap();
    let types = crate::btf::Btf::parse(&types).unwrap();
    assert!(types.find(crate::btf::TypeKind::Struct, "filename").is_some() && types.len() < 100);
    let empty = tempfile::tempdir().unwrap();
    let error = build(sources.path(), &with(empty.path())).unwrap_err().to_string();
    assert!(error.contains("no .btf or .btf.tar.xz"), "{error}");
}

/// The real tool's digests of its own trace_sni, whose ELF is not ours to carry: left out where the fixture is not.
#[test]
fn the_real_tools_bytes() {
    let fixture = std::env::var_os("IGX_TEST_FIXTURES").unwrap_or_else(|| "/work/shared/fixtures".into());
    let fixture = Path::new(&fixture).join("observed/trace_sni.epoch1700000000.export.tar.gz");
    let Ok(file) = fs::File::open(&fixture) else {
        eprintln!("left out: {} is not here", fixture.display());
        return;
    };
    let blobs: BTreeMap<String, Vec<u8>> = tar::Archive::new(flate2::read::GzDecoder::new(file))
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().file_name().unwrap().to_string_lossy().into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (name, bytes)
        })
        .collect();
    let blob = |start: &str| blobs.iter().find(|(name, _)| name.starts_with(start)).unwrap().1.clone();
    let objects = ["amd64", "arm64"].map(|a| (a.to_owned(), blob("4f36a5f67094")));
    let parts = Parts { metadata: Some(blob("5987ad4df5bb")), objects: objects.into(), ..Parts::default() };
    let image = Image::assemble(&parts, "2023-11-14T22:13:20Z", "v0.55.0").unwrap();
    assert!(image.digest().starts_with("sha256:bbbd9a85944b"), "{}", image.digest());
    for made in &image.blobs {
        assert_eq!(
            blobs.get(made.digest.trim_start_matches("sha256:")),
            Some(&made.bytes),
            "{}",
            made.digest
        );
    }
    assert_eq!(image.blobs.len(), 4);
}
