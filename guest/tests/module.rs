//! The example's guest as a module: what it exports, what it needs, how large it is. Skipped, saying so, where Rust
//! cannot compile for wasm32-wasip1.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{env, fs, path::Path, process::Command};

const TARGET: &str = "wasm32-wasip1";

fn module() -> Option<Vec<u8>> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let libraries =
        Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output().unwrap();
    if !Path::new(String::from_utf8(libraries.stdout).unwrap().trim()).is_dir() {
        eprintln!("skipped: no {TARGET} here; `rustup target add {TARGET}` brings it");
        return None;
    }
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("who_opens");
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/who_opens/guest");
    let built = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--locked", "--target", TARGET, "--target-dir"])
        .arg(&out)
        .current_dir(guest)
        .status()
        .unwrap();
    assert!(built.success());
    Some(fs::read(out.join(TARGET).join("release/who_opens.wasm")).unwrap())
}

/// A number in LEB128, taken off the front.
fn number(bytes: &mut &[u8]) -> usize {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn name<'a>(bytes: &mut &'a [u8]) -> &'a str {
    let len = number(bytes);
    let (name, rest) = bytes.split_at(len);
    *bytes = rest;
    std::str::from_utf8(name).unwrap()
}

/// A section of a module, by its number: 2 imports, 7 exports (WebAssembly core specification, 5.5).
fn section(module: &[u8], wanted: u8) -> &[u8] {
    let mut rest = &module[8..];
    while let Some((&id, mut body)) = rest.split_first() {
        let len = number(&mut body);
        if id == wanted {
            return &body[..len];
        }
        rest = &body[len..];
    }
    panic!("no section {wanted}");
}

#[test]
fn the_module_is_small_and_has_what_hosts_call() {
    let Some(module) = module() else { return };
    assert!(module.len() < 80_000, "{} bytes", module.len());

    let mut exports = section(&module, 7);
    let exports: Vec<_> = (0..number(&mut exports))
        .map(|_| {
            let export = name(&mut exports);
            exports = &exports[1..];
            number(&mut exports);
            export
        })
        .collect();
    for wanted in [
        "memory",
        "gadgetAPIVersion",
        "gadgetInit",
        "gadgetPreStart",
        "gadgetStart",
        "gadgetStop",
        "gadgetPostStop",
        "dataSourceCallback",
        "igxDataSourceCallback",
        "igxHost",
    ] {
        assert!(exports.contains(&wanted), "{wanted} is not among {exports:?}");
    }

    let mut imports = section(&module, 2);
    let imports: Vec<_> = (0..number(&mut imports))
        .map(|_| {
            let import = (name(&mut imports), name(&mut imports));
            assert_eq!(imports[0], 0, "{import:?} is a function");
            imports = &imports[1..];
            number(&mut imports);
            import
        })
        .collect();
    assert!(imports.contains(&("ig", "fieldSet")), "{imports:?}");
    for (from, function) in imports {
        assert!(
            ["ig", "wasi_snapshot_preview1"].contains(&from),
            "{from} {function}: hosts have no such module"
        );
        assert_ne!(function, "newMap", "what a guest does not use it does not ask for");
    }
}
