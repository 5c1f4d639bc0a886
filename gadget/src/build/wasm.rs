//! WebAssembly modules: ready ones, and those that Go or Rust compile.

use super::{
    Error, read, sudo,
    tool::{Folders, Place, output, which},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The name under which a module is left in the output folder.
const MODULE: &str = "program.wasm";

/// The module that build.yaml names, compiled if it is a source: a `.wasm` file, a `.go` file, a `.rs` file, a
/// `Cargo.toml` or the folder of one. It is left in `out`.
pub(super) fn module(place: &Place, folder: &Path, name: &str, out: &Path) -> Result<Vec<u8>, Error> {
    let path = folder.join(name);
    let extension = Path::new(name).extension().and_then(|e| e.to_str()).unwrap_or_default();
    if extension == "wasm" {
        return read(&path)?.ok_or(Error::NoWasm(path));
    }
    if !path.exists() {
        return Err(Error::NoWasm(path));
    }
    place.prepare()?;
    let folders = Folders { work: folder, headers: None, out };
    let made = match extension {
        "go" => go(place, &folders, Path::new(name), out)?,
        _ => cargo(
            place,
            &folders,
            &manifest(folder, &path).ok_or_else(|| Error::WasmSource(name.to_owned()))?,
        )?,
    };
    let bytes = read(&made)?.ok_or_else(|| Error::NoWasm(made.clone()))?;
    let kept = out.join(MODULE);
    fs::write(&kept, &bytes)
        .map_err(|source| Error::Io { what: format!("writing {}", kept.display()), source })?;
    Ok(bytes)
}

fn go(place: &Place, folders: &Folders<'_>, name: &Path, out: &Path) -> Result<PathBuf, Error> {
    let go = program(place, "go", "https://go.dev/dl or your distribution has it")?;
    let variables = [("CGO_ENABLED", "0"), ("GOOS", "wasip1"), ("GOARCH", "wasm")];
    let mut variables: Vec<_> = variables.map(|(name, value)| (name, value.to_owned())).into();
    if let Place::Container { .. } = place {
        variables.extend([("HOME", "/tmp".to_owned()), ("GOCACHE", "/tmp/go".to_owned())]);
    }
    let mut command = place.command(&go, &variables, folders)?;
    command
        .args(["build", "-C"])
        .arg(name.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")));
    // Neither folders nor the state of a repository are told in the module.
    command.args(["-trimpath", "-buildvcs=false", "-buildmode=c-shared", "-ldflags", "-w -s", "-o"]);
    command.arg(place.seen(folders)[2].join(MODULE));
    run(&mut command, &name.to_string_lossy(), "")?;
    Ok(out.join(MODULE))
}

fn cargo(place: &Place, folders: &Folders<'_>, manifest: &Path) -> Result<PathBuf, Error> {
    // A container has compilers of its own.
    let caller = matches!(place, Place::Here).then(|| sudo::caller(folders.work)).flatten();
    let theirs =
        caller.as_ref().map(|user| sudo::cargo_folder(user).join("cargo")).filter(|path| path.is_file());
    let cargo = theirs.map_or_else(|| program(place, "cargo", "https://rustup.rs has it"), Ok)?;
    let [work, _, out] = place.seen(folders);
    let relative = manifest.strip_prefix(folders.work).unwrap_or(manifest);
    let home = caller.as_ref().map(|user| user.dir.join(".cargo"));
    let home = home.or_else(|| std::env::var_os("CARGO_HOME").map(PathBuf::from));
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    // Folders of this machine are in no message of a panic.
    let mut flags = vec![format!("--remap-path-prefix={}=.", work.display())];
    flags.extend(home.map(|home| format!("--remap-path-prefix={}=/cargo", home.display())));
    let flags: Vec<_> = flags.iter().map(|flag| format!("{flag:?}")).collect();
    let mut command = place.command(&cargo, &[], folders)?;
    if let Some(user) = &caller {
        sudo::run_as(&mut command, user);
    }
    command
        .args([
            "build",
            "--release",
            "--target",
            "wasm32-wasip1",
            "--message-format",
            "json-render-diagnostics",
        ])
        .arg("--config")
        .arg(format!("target.wasm32-wasip1.rustflags=[{}]", flags.join(",")))
        .arg("--manifest-path")
        .arg(work.join(relative));
    if let Place::Container { .. } = place {
        command.arg("--target-dir").arg(out.join("target"));
    }
    let hint = "if the target is missing: rustup target add wasm32-wasip1";
    let said = run(&mut command, &relative.to_string_lossy(), hint)?;
    let artifact = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let files = artifact.filter_map(|message| Some(message.get("filenames")?.as_array()?.clone())).flatten();
    let modules =
        files.filter_map(|file| Some(file.as_str()?.to_owned())).filter(|file| file.ends_with(".wasm"));
    let module = modules.reduce(|_, last| last).ok_or_else(|| Error::NoModule(manifest.to_owned()))?;
    Ok(match Path::new(&module).strip_prefix(&out) {
        Ok(below) => folders.out.join(below),
        Err(_) => PathBuf::from(module),
    })
}

/// The manifest of the crate that a path is in, no further up than the gadget's folder.
fn manifest(folder: &Path, path: &Path) -> Option<PathBuf> {
    if path.is_dir() || path.ends_with("Cargo.toml") || path.extension().is_some_and(|e| e == "rs") {
        let start = path.ancestors().take_while(|at| at.starts_with(folder));
        return start
            .map(|at| at.join("Cargo.toml"))
            .chain([path.to_owned()])
            .find(|at| at.is_file() && at.ends_with("Cargo.toml"));
    }
    None
}

fn program(place: &Place, name: &'static str, whence: &'static str) -> Result<PathBuf, Error> {
    match place {
        Place::Here => which(name).ok_or(Error::NoCompiler { name, whence }),
        Place::Container { .. } => Ok(name.into()),
    }
}

/// Runs a compiler and returns its standard output.
fn run(command: &mut Command, source: &str, hint: &'static str) -> Result<String, Error> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let done = output(command)?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr).trim_end().to_owned();
        return Err(Error::Wasm { source_file: source.to_owned(), tool, said, hint });
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
