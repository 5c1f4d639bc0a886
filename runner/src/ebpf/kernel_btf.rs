//! The types of this machine's kernel, cut down to what one object asks for.
//!
//! libbpf would parse the kernel's whole BTF (about 6 MB) to relocate an object: tens of milliseconds and as many
//! megabytes. Here the few types that the object names are picked out once per kernel build and object, and kept on
//! disk: a few kilobytes that load in microseconds. What the runner itself defines (`struct gadget_socket_value`) is
//! added on the way, since a BTF file given to libbpf replaces the kernel's.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use gadget::btf::minimal::{self, SyntheticStruct};
use nix::sys::memfd::{MFdFlags, memfd_create};
use sha2::{Digest, Sha256};

use super::Error;

/// Where the kernel shows its own types.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// ELF notes of the running kernel: the build id among them tells one build from another.
const KERNEL_NOTES: &str = "/sys/kernel/notes";

/// A cache of cut-down kernel types.
pub struct KernelBtf {
    cache: Option<PathBuf>,
}

/// Types for one object, in memory. Keep it until the object is loaded.
pub struct ObjectBtf {
    types: Vec<u8>,
    file: File,
}

impl ObjectBtf {
    /// The types themselves, as BTF.
    pub fn bytes(&self) -> &[u8] {
        &self.types
    }

    /// A path for `ObjectBuilder::btf_custom_path`, valid while this value lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }
}

impl KernelBtf {
    /// A cache kept in `folder`; without one, types are picked out anew each time.
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { cache: folder }
    }

    /// The types that `elf` asks for, `extra` among them, and whole enums of these names.
    pub fn for_object(
        &self,
        elf: &[u8],
        extra: &[SyntheticStruct],
        enums: &[&str],
    ) -> Result<ObjectBtf, Error> {
        let cached = self.cache.as_deref().and_then(|folder| entry(folder, elf, extra, enums));
        let types = match cached.as_deref().map(fs::read) {
            Some(Ok(types)) if gadget::btf::Btf::parse(&types).is_ok() => types,
            _ => {
                let types = pick(elf, extra, enums)?;
                if let Some(path) = &cached
                    && let Err(error) = keep(path, &types)
                {
                    tracing::debug!("cannot keep {}: {error}", path.display());
                }
                types
            }
        };
        in_memory(types).map_err(|e| Error::Relocate(format!("no memory file: {e}")))
    }
}

fn pick(elf: &[u8], extra: &[SyntheticStruct], enums: &[&str]) -> Result<Vec<u8>, Error> {
    let kernel = fs::read(VMLINUX).map_err(|source| Error::KernelBtf { path: VMLINUX, source })?;
    minimal::minimal(elf, &kernel, extra, enums).map_err(|e| Error::Relocate(e.to_string()))
}

/// The cache entry's path, or `None` where the kernel's build cannot be told.
fn entry(folder: &Path, elf: &[u8], extra: &[SyntheticStruct], enums: &[&str]) -> Option<PathBuf> {
    let mut hash = Sha256::new();
    hash.update(fs::read(KERNEL_NOTES).ok()?);
    hash.update(fs::read("/proc/version").ok()?);
    hash.update(env!("CARGO_PKG_VERSION"));
    hash.update(format!("{extra:?}{enums:?}"));
    hash.update(elf);
    let name: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    Some(folder.join(name))
}

/// Writes beside and renames, so that a reader never meets half an entry.
fn keep(path: &Path, types: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;

    let Some(folder) = path.parent() else { return Ok(()) };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let partial = path.with_extension(format!("partial-{}", std::process::id()));
    fs::write(&partial, types)?;
    fs::rename(&partial, path)
}

fn in_memory(types: Vec<u8>) -> io::Result<ObjectBtf> {
    let mut file = File::from(memfd_create(c"igx-btf", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(&types)?;
    Ok(ObjectBtf { types, file })
}
