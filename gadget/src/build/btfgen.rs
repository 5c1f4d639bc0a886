//! Kernel types for kernels that do not publish their own: out of an archive of kernels' BTF, what one program needs.
//!
//! The archive is laid out as BTFhub's: `DISTRIBUTION/VERSION/MACHINE/KERNEL.btf.tar.xz`, or `KERNEL.btf` unpacked.
//! Source of the layout of the layer: Inspektor Gadget's btfgen, a tar with `DISTRIBUTION/VERSION/MACHINE/KERNEL.btf`.

use super::{Error, tool};
use crate::btf::minimal::minimal;
use flate2::{Compression, GzBuilder};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Deepest folder searched.
const DEPTH: usize = 8;

/// A gzipped tar for each architecture that there is an object for.
pub(super) fn layers(
    archive: &Path,
    objects: &BTreeMap<String, Vec<u8>>,
    out: &Path,
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let fail = |path: &Path, why: String| Error::Btf { path: path.to_owned(), why };
    let mut files = Vec::new();
    walk(archive, DEPTH, &mut files).map_err(|error| fail(archive, error.to_string()))?;
    files.sort();
    let mut layers = BTreeMap::new();
    for (architecture, object) in objects {
        let machine = if architecture == "arm64" { "arm64" } else { "x86_64" };
        let mut tar = tar::Builder::new(GzBuilder::new().mtime(0).write(Vec::new(), Compression::best()));
        tar.mode(tar::HeaderMode::Deterministic);
        let mut count = 0;
        for path in &files {
            let below = path.strip_prefix(archive).unwrap_or(path);
            if !below.iter().any(|part| part == machine) {
                continue;
            }
            let kernel = unpacked(path)?;
            let types = minimal(object, &kernel, &[], &[]).map_err(|error| fail(path, error.to_string()))?;
            let name = below.to_string_lossy();
            let name = name.strip_suffix(".tar.xz").unwrap_or(&name);
            let mut header = tar::Header::new_ustar();
            header.set_size(types.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(0);
            tar.append_data(&mut header, name, types.as_slice())
                .map_err(|error| fail(path, error.to_string()))?;
            count += 1;
        }
        if count == 0 {
            return Err(fail(archive, format!("there is no .btf or .btf.tar.xz under a folder {machine}")));
        }
        let packed = tar.into_inner().and_then(flate2::write::GzEncoder::finish);
        let packed = packed.map_err(|error| fail(archive, error.to_string()))?;
        let kept = out.join(format!("btfs-{machine}.tar.gz"));
        fs::write(&kept, &packed).map_err(|error| fail(&kept, error.to_string()))?;
        layers.insert(architecture.clone(), packed);
    }
    Ok(layers)
}

fn unpacked(path: &Path) -> Result<Vec<u8>, Error> {
    let fail = |why: String| Error::Btf { path: path.to_owned(), why };
    if path.extension().is_some_and(|extension| extension == "btf") {
        return fs::read(path).map_err(|error| fail(error.to_string()));
    }
    let done = tool::output(
        Command::new("tar").arg("--extract").arg("--to-stdout").arg("--xz").arg("--file").arg(path),
    )?;
    match done.status.success() {
        true => Ok(done.stdout),
        false => Err(fail(String::from_utf8_lossy(&done.stderr).trim_end().to_owned())),
    }
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.to_string_lossy();
        if name.ends_with(".btf") || name.ends_with(".btf.tar.xz") {
            files.push(path);
        } else if depth > 0 && path.is_dir() && !path.is_symlink() {
            walk(&path, depth - 1, files)?;
        }
    }
    Ok(())
}
