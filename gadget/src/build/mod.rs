//! From sources to an image: the C is compiled for every architecture, and put together with the metadata and the
//! WebAssembly module.
//!
//! It needs nothing but clang and llvm-strip: the headers that a gadget includes are carried here. The same sources
//! and compiler give the same bytes on any machine, so that two people can compare digests.

mod btfgen;
mod check;
mod clang;
mod error;
mod headers;
mod sudo;
#[cfg(test)]
mod tests;
mod tool;
mod wasm;

pub use error::Error;
pub use tool::{Container, Pull};

use crate::image::{Image, Parts, created};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// Largest source or module read into memory, bytes.
const MAX_FILE: u64 = 64 << 20;

/// How to build.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file to use as `build.yaml`. If absent, that in the folder, if there is one.
    pub file: Option<PathBuf>,
    /// Version of the program that builds, for the image's annotation, such as `v0.55.0`.
    pub builder_version: String,
    /// When it is built, RFC 3339. If absent, `SOURCE_DATE_EPOCH` or now.
    pub created: Option<String>,
    /// Where objects and modules are kept; made if absent there. If `None`, they are thrown away.
    pub output: Option<PathBuf>,
    /// Whether to create the metadata file or complete it with what the program has and the file does not say.
    pub update_metadata: bool,
    /// Whether to refuse metadata that the program does not bear out.
    pub validate_metadata: bool,
    /// Folder of kernels' BTF (a checkout of the btfhub archive), to put what the program needs of it into the image.
    pub btfhub_archive: Option<PathBuf>,
    /// Where to compile instead of on this machine.
    pub container: Option<Container>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            file: None,
            builder_version: String::new(),
            created: None,
            output: None,
            update_metadata: false,
            validate_metadata: true,
            btfhub_archive: None,
            container: None,
        }
    }
}

/// What a build gives.
#[derive(Debug, Clone)]
pub struct Built {
    /// The image.
    pub image: Image,
    /// The compiler's warnings; empty if there were none.
    pub warnings: String,
}

/// build.yaml. Unknown keys are passed over, as upstream does.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct Plan {
    ebpfsource: String,
    wasm: String,
    metadata: String,
}

impl Default for Plan {
    fn default() -> Self {
        Self { ebpfsource: "program.bpf.c".into(), wasm: String::new(), metadata: "gadget.yaml".into() }
    }
}

/// Builds the gadget in the folder `path`.
pub fn build(path: &Path, options: &Options) -> Result<Built, Error> {
    let folder = path.canonicalize().map_err(|source| Error::Folder { path: path.to_owned(), source })?;
    if !folder.is_dir() {
        return Err(Error::Folder { path: folder, source: io::ErrorKind::NotADirectory.into() });
    }
    let plan = plan(&folder, options.file.as_deref())?;
    let metadata_path = folder.join(&plan.metadata);
    let mut metadata = read(&metadata_path)?;
    if let Some(yaml) = &metadata {
        // What can be known before compiling is told before it.
        crate::metadata::Metadata::parse(yaml)?;
        if options.validate_metadata && !options.update_metadata {
            check::check(&String::from_utf8_lossy(yaml), None)?;
        }
    }
    let scratch = tempfile::Builder::new().prefix("igx-build-").tempdir();
    let scratch =
        scratch.map_err(|source| Error::Io { what: "making a temporary folder".to_owned(), source })?;
    let out = match &options.output {
        None => scratch.path().to_owned(),
        Some(kept) => {
            let fail = |source| Error::Io { what: format!("output folder {}", kept.display()), source };
            fs::create_dir_all(kept).and_then(|()| kept.canonicalize()).map_err(fail)?
        }
    };
    let place = tool::Place::new(options.container.as_ref())?;
    let wasm = match plan.wasm.as_str() {
        "" => None,
        name => Some(wasm::module(&place, &folder, name, &out)?),
    };
    let (objects, mut warnings) = match folder.join(&plan.ebpfsource).is_file() {
        true => clang::compile(&place, &folder, &plan.ebpfsource, &out)?,
        false => Default::default(),
    };
    if metadata.is_none() && wasm.is_none() && objects.is_empty() {
        return Err(Error::Empty { folder, ebpf: plan.ebpfsource, metadata: plan.metadata });
    }
    // What markers and parameters there are does not depend on the architecture.
    let object = objects.values().next().map(Vec::as_slice);
    if options.update_metadata {
        let old = metadata.take().unwrap_or_default();
        let new = check::complete(&String::from_utf8_lossy(&old), object)?.into_bytes();
        if new != old {
            replace(&metadata_path, &new)?;
        }
        metadata = Some(new);
    }
    if let Some(yaml) = metadata.as_ref().filter(|_| options.validate_metadata) {
        for warning in check::check(&String::from_utf8_lossy(yaml), object)? {
            warnings = [warnings, warning].join("\n").trim_start().to_owned();
        }
    }
    let btfgen = match &options.btfhub_archive {
        Some(_) if objects.is_empty() => return Err(Error::NothingForBtf),
        Some(archive) => btfgen::layers(archive, &objects, &out)?,
        None => BTreeMap::new(),
    };
    let created = options.created.clone().map_or_else(created, Ok)?;
    let parts = Parts { metadata, objects, wasm, btfgen };
    let image = Image::assemble(&parts, &created, &options.builder_version)?;
    Ok(Built { image, warnings })
}

fn plan(folder: &Path, file: Option<&Path>) -> Result<Plan, Error> {
    let path = file.map_or_else(|| folder.join("build.yaml"), Path::to_owned);
    let plan: Plan = match read(&path)? {
        None if file.is_some() => return Err(Error::Read { path, source: io::ErrorKind::NotFound.into() }),
        None => Plan::default(),
        Some(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let parsed: Result<Option<Plan>, _> = serde_saphyr::from_str(&text);
            parsed.map_err(|error| Error::Plan { path, why: error.to_string() })?.unwrap_or_default()
        }
    };
    for value in [&plan.ebpfsource, &plan.wasm, &plan.metadata] {
        if value.starts_with(['-', '@']) {
            return Err(Error::Option(value.clone()));
        }
    }
    Ok(plan)
}

/// Writes a file of the author's whole or not at all, with the permissions that it has.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    use std::{io::Write, os::unix::fs::PermissionsExt};
    let write = || {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mode = fs::metadata(&path).map_or(0o644, |found| found.permissions().mode());
        let folder = path.parent().ok_or(io::ErrorKind::NotFound)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        file.persist(&path).map_err(|error| error.error)
    };
    write().map(drop).map_err(|source| Error::Io { what: format!("writing {}", path.display()), source })
}

/// The content of a file, or `None` if there is no such file.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let fail = |source| Error::Read { path: path.to_owned(), source };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fail(error)),
        Ok(found) if found.len() > MAX_FILE => return Err(fail(io::ErrorKind::FileTooLarge.into())),
        Ok(_) => {}
    }
    fs::read(path).map(Some).map_err(fail)
}
