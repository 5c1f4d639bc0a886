//! Driving clang and llvm-strip.

use super::Error;
use std::{
    env, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The public headers of this project, by path below `include`.
const HEADERS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/headers.rs"));
/// Suffixes of clang's name, in order of preference: 16 is what is tested.
const VERSIONS: [&str; 6] = ["-16", "-19", "-18", "-17", "-15", ""];

/// A compiler and the stripper of the same version.
pub(super) struct Tools {
    clang: PathBuf,
    strip: PathBuf,
}

/// A temporary folder with the headers; removed when dropped.
pub(super) struct Work(tempfile::TempDir);

impl Tools {
    pub(super) fn find() -> Result<Self, Error> {
        let (clang, suffix) = VERSIONS
            .into_iter()
            .find_map(|suffix| Some((which(&format!("clang{suffix}"))?, suffix)))
            .ok_or(Error::NoTool("clang"))?;
        let strip = which(&format!("llvm-strip{suffix}"))
            .or_else(|| which("llvm-strip"))
            .ok_or(Error::NoTool("llvm-strip"))?;
        Ok(Self { clang, strip })
    }

    /// Compiles one source in `folder` and returns the stripped object and the compiler's warnings.
    pub(super) fn compile(
        &self,
        work: &Work,
        folder: &Path,
        source: &str,
        architecture: &'static str,
    ) -> Result<(Vec<u8>, String), Error> {
        let (machine, target) = match architecture {
            "arm64" => ("aarch64", "arm64"),
            _ => ("x86_64", "x86"),
        };
        let include = work.0.path();
        let object = include.join(format!("{architecture}.bpf.o"));
        let mut clang = Command::new(&self.clang);
        clang
            .current_dir(folder)
            // v3 has 32-bit arithmetic, which spares the verifier shifts; every kernel since 5.1 has it.
            .args(["-target", "bpf", "-mcpu=v3", "-Wall", "-g", "-O2"])
            .arg(format!("-D__TARGET_ARCH_{target}"))
            // The object names neither this folder nor the temporary one, so it is the same wherever it is built.
            .arg("-fdebug-compilation-dir=.")
            .arg(format!("-ffile-prefix-map={}=.", folder.display()))
            .arg(format!("-ffile-prefix-map={}=/usr/include", include.display()))
            .arg("-I")
            .arg(include)
            .arg("-I")
            .arg(include.join("gadget").join(architecture))
            .arg(format!("-I/usr/include/gadget/{architecture}"))
            .arg(format!("-I/usr/include/{machine}-linux-gnu"));
        if machine != env::consts::ARCH {
            // Only <asm/types.h> and the like are missing for a foreign machine, and they say the same everywhere.
            clang.arg(format!("-idirafter/usr/include/{}-linux-gnu", env::consts::ARCH));
        }
        clang.arg("-c").arg(source).arg("-o").arg(&object);
        let warnings = run(&mut clang, source, architecture)?;
        run(Command::new(&self.strip).arg("-g").arg(&object), source, architecture)?;
        let what = || format!("reading {}", object.display());
        let bytes = fs::read(&object).map_err(|source| Error::Io { what: what(), source })?;
        Ok((bytes, warnings))
    }
}

impl Work {
    pub(super) fn new() -> Result<Self, Error> {
        let make = || {
            let folder = tempfile::Builder::new().prefix("igx-build-").tempdir()?;
            let libbpf = libbpf_sys::API_HEADERS.iter().map(|(name, text)| (format!("bpf/{name}"), *text));
            let own = HEADERS.iter().map(|(name, text)| ((*name).to_owned(), *text));
            for (name, text) in libbpf.chain(own) {
                let path = folder.path().join(name);
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                fs::write(path, text)?;
            }
            Ok::<_, io::Error>(Self(folder))
        };
        make()
            .map_err(|source| Error::Io { what: "writing headers to a temporary folder".to_owned(), source })
    }
}

/// Runs a tool and returns what it said on its error stream.
fn run(command: &mut Command, source: &str, architecture: &'static str) -> Result<String, Error> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|source| Error::Io { what: format!("starting {tool}"), source })?;
    let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    if !output.status.success() {
        return Err(Error::Compile { source_file: source.to_owned(), architecture, tool, output: said });
    }
    Ok(said)
}

/// Finds a program in `$PATH`.
fn which(name: &str) -> Option<PathBuf> {
    let runnable = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(runnable)
}
