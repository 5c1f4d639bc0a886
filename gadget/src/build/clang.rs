//! Driving clang and llvm-strip.

use super::{
    Error,
    headers::{Headers, of_architecture},
    tool::{Folders, Place, output, which},
};
use crate::image::ARCHITECTURES;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

/// Suffixes of clang's name, in order of preference: 16 is what is tested.
const VERSIONS: [&str; 6] = ["-16", "-19", "-18", "-17", "-15", ""];

/// A compiler and the stripper of the same version.
struct Tools {
    clang: PathBuf,
    strip: PathBuf,
}

/// Objects by architecture, and the compiler's warnings.
pub(super) type Compiled = (BTreeMap<String, Vec<u8>>, String);

/// Compiles one source in `folder` for every architecture, side by side. Objects are left in `out`.
pub(super) fn compile(place: &Place, folder: &Path, source: &str, out: &Path) -> Result<Compiled, Error> {
    let tools = Tools::find(place)?;
    place.prepare()?;
    let headers = Headers::for_source(&folder.join(source))?;
    let folders = Folders { work: folder, headers: Some(headers.path()), out };
    match tools.compile_all(place, &folders, source, false) {
        // Something is included that is not carried. It may be on this machine, as it may be in a builder image; the
        // first complaint is the better one if it is not.
        Err(error) if error.to_string().contains("file not found") => {
            let headers = Headers::all()?;
            let folders = Folders { headers: Some(headers.path()), ..folders };
            let (objects, warnings) = tools.compile_all(place, &folders, source, true).map_err(|_| error)?;
            let note = "note: the program includes headers of this machine's /usr/include, so that its digest \
                        depends on the machine; copy them beside the source to change that";
            Ok((objects, [warnings.as_str(), note].join("\n").trim_start().to_owned()))
        }
        done => done,
    }
}

impl Tools {
    fn find(place: &Place) -> Result<Self, Error> {
        if let Place::Container { .. } = place {
            return Ok(Self { clang: "clang".into(), strip: "llvm-strip".into() });
        }
        let (clang, suffix) = VERSIONS
            .into_iter()
            .find_map(|suffix| Some((which(&format!("clang{suffix}"))?, suffix)))
            .ok_or(Error::NoTool("clang"))?;
        let strip = which(&format!("llvm-strip{suffix}"))
            .or_else(|| which("llvm-strip"))
            .ok_or(Error::NoTool("llvm-strip"))?;
        Ok(Self { clang, strip })
    }

    fn compile_all(
        &self,
        place: &Place,
        folders: &Folders<'_>,
        source: &str,
        machine: bool,
    ) -> Result<Compiled, Error> {
        let done = thread::scope(|scope| {
            let one = |architecture| {
                scope.spawn(move || self.compile(place, folders, source, architecture, machine))
            };
            ARCHITECTURES.map(one).map(|thread| thread.join())
        });
        let mut objects = BTreeMap::new();
        let mut warnings = String::new();
        for (architecture, result) in ARCHITECTURES.into_iter().zip(done) {
            let (object, said) = result.unwrap_or(Err(Error::Thread(architecture)))?;
            objects.insert(architecture.to_owned(), object);
            // They are the same for each architecture, but where it asks which one it is.
            if !warnings.contains(&said) {
                warnings = [warnings, said].join("\n").trim_start().to_owned();
            }
        }
        Ok((objects, warnings))
    }

    fn compile(
        &self,
        place: &Place,
        folders: &Folders<'_>,
        source: &str,
        architecture: &'static str,
        machine: bool,
    ) -> Result<(Vec<u8>, String), Error> {
        let (triple, target) = match architecture {
            "arm64" => ("aarch64-linux-gnu", "arm64"),
            _ => ("x86_64-linux-gnu", "x86"),
        };
        let [work, headers, out] = place.seen(folders);
        let object = format!("{architecture}.bpf.o");
        let mut clang = place.command(&self.clang, &[("LC_ALL", "C".to_owned())], folders)?;
        clang
            // v3 has 32-bit arithmetic, which spares the verifier shifts; every kernel since 5.1 has it.
            .args(["-target", "bpf", "-mcpu=v3", "-Wall", "-g", "-O2"])
            .arg(format!("-D__TARGET_ARCH_{target}"))
            // The object names neither this folder nor the temporary one, so it is the same wherever it is built.
            .arg("-fdebug-compilation-dir=.")
            .arg(format!("-ffile-prefix-map={}=.", work.display()))
            .arg(format!("-ffile-prefix-map={}=/usr/include", headers.display()))
            // Only clang's own headers and those that are carried: none of this machine's.
            .arg("-nostdlibinc")
            .arg("-isystem")
            .arg(&headers)
            .arg("-isystem")
            .arg(headers.join(of_architecture(architecture)));
        if machine {
            clang.args([&format!("-idirafter/usr/include/{triple}"), "-idirafter/usr/include"]);
        }
        clang.arg("-c").arg(source).arg("-o").arg(out.join(&object));
        let warnings = run(&mut clang, source, architecture)?;
        let mut strip = place.command(&self.strip, &[], folders)?;
        run(strip.arg("-g").arg(out.join(&object)), source, architecture)?;
        let path = folders.out.join(&object);
        let bytes = fs::read(&path).map_err(|source| Error::Read { path, source })?;
        Ok((bytes, warnings))
    }
}

/// Runs a tool and returns what it said on its error stream.
fn run(command: &mut Command, source: &str, architecture: &'static str) -> Result<String, Error> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let output = output(command)?;
    let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    if !output.status.success() {
        return Err(Error::Compile { source_file: source.to_owned(), architecture, tool, output: said });
    }
    Ok(said)
}
