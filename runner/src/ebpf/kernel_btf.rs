//! The types of this machine's kernel, cut down to what one object asks for.
//!
//! libbpf would parse the kernel's whole BTF (about 6 MB) to relocate an object: tens of milliseconds and as many
//! megabytes. Here the few types that the object names are picked out once per kernel build and object, and kept on
//! disk: a few kilobytes that load in microseconds. What the runner itself defines (`struct gadget_socket_value`) is
//! added on the way, since a BTF file given to libbpf replaces the kernel's.

#![allow(unsafe_code, reason = "mapping a file has no safe wrapper")]

use std::{
    ffi::c_void,
    fs::{self, File},
    io::{self, Write},
    num::NonZeroUsize,
    os::{
        fd::AsRawFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
    ptr::NonNull,
    slice,
};

use gadget::btf::{
    Btf,
    minimal::{self, SyntheticStruct},
};
use nix::sys::{
    memfd::{MFdFlags, memfd_create},
    mman::{MapFlags, ProtFlags, mmap, munmap},
};
use sha2::{Digest, Sha256};

use super::Error;

/// Where the kernel shows its own types.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// ELF notes of the running kernel: the build id among them tells one build from another.
const KERNEL_NOTES: &str = "/sys/kernel/notes";

/// Entries kept in the cache: a few objects of a few images, on more than one kernel.
const ENTRIES: usize = 64;

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
    ///
    /// `None` if the object asks for types that the kernel proper does not have, which may be those of a module:
    /// libbpf then has to look for itself.
    pub fn for_object(
        &self,
        elf: &[u8],
        extra: &[SyntheticStruct],
        enums: &[&str],
    ) -> Result<Option<ObjectBtf>, Error> {
        let asked = format!("{extra:?}{enums:?}");
        let is_whole = |types: &[u8]| Btf::parse(types).is_ok();
        let types = self.kept(&[asked.as_bytes(), elf], is_whole, || pick(elf, extra, enums))?;
        if types.is_empty() {
            return Ok(None);
        }
        in_memory(types).map(Some).map_err(|e| Error::Relocate(format!("no memory file: {e}")))
    }

    /// What `find` makes of all the kernel's types, in bytes that `is_whole` accepts; nothing is kept of an empty one.
    /// `name` tells one fact from another.
    pub(super) fn fact(
        &self,
        name: &str,
        is_whole: impl Fn(&[u8]) -> bool,
        find: impl FnOnce(&Btf<'_>) -> Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        self.kept(&[name.as_bytes()], is_whole, || {
            let kernel = Vmlinux::open().map_err(|source| Error::KernelBtf { path: VMLINUX, source })?;
            let types = Btf::parse(kernel.bytes()).map_err(|error| Error::Relocate(error.to_string()))?;
            Ok(find(&types))
        })
    }

    /// The cache's entry for what is asked, or what `make` gives.
    fn kept(
        &self,
        asked: &[&[u8]],
        is_whole: impl Fn(&[u8]) -> bool,
        make: impl FnOnce() -> Result<Vec<u8>, Error>,
    ) -> Result<Vec<u8>, Error> {
        let entry = self.cache.as_deref().and_then(|folder| entry(folder, asked));
        let kept = entry.as_deref().and_then(|path| fs::read(path).ok());
        if let Some(kept) = kept.filter(|kept| is_whole(kept)) {
            return Ok(kept);
        }
        let made = make()?;
        if let Some(path) = &entry
            && !made.is_empty()
            && let Err(error) = keep(path, &made)
        {
            tracing::debug!("cannot keep {}: {error}", path.display());
        }
        Ok(made)
    }
}

/// Picks the types out of the kernel's; nothing if some are missing there.
fn pick(elf: &[u8], extra: &[SyntheticStruct], enums: &[&str]) -> Result<Vec<u8>, Error> {
    let kernel = Vmlinux::open().map_err(|source| Error::KernelBtf { path: VMLINUX, source })?;
    let picked =
        minimal::stand_in(elf, kernel.bytes(), extra, enums).map_err(|e| Error::Relocate(e.to_string()))?;
    // Only the kernel proper knows what the runner adds, so libbpf cannot be left alone with an object that needs it.
    if picked.missing.is_empty() || !extra.is_empty() {
        return Ok(picked.btf);
    }
    tracing::debug!("types that are not the kernel's own: {}", picked.missing.join(", "));
    Ok(Vec::new())
}

/// The kernel's types: mapped where the kernel can (since 6.16), which costs no memory of ours, or else read.
enum Vmlinux {
    Mapped { start: NonNull<c_void>, len: usize },
    Read(Vec<u8>),
}

impl Vmlinux {
    fn open() -> io::Result<Self> {
        let file = File::open(VMLINUX)?;
        let len = usize::try_from(file.metadata()?.len()).ok().and_then(NonZeroUsize::new);
        let Some(len) = len else { return fs::read(VMLINUX).map(Self::Read) };
        // SAFETY: a private, read-only mapping of a file that the kernel never changes; it is unmapped on drop.
        let mapped = unsafe { mmap(None, len, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE, &file, 0) };
        match mapped {
            Ok(start) => Ok(Self::Mapped { start, len: len.get() }),
            Err(_) => fs::read(VMLINUX).map(Self::Read),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            // SAFETY: the mapping is of this length and lives as long as self.
            Self::Mapped { start, len } => unsafe { slice::from_raw_parts(start.as_ptr().cast(), *len) },
            Self::Read(bytes) => bytes,
        }
    }
}

impl Drop for Vmlinux {
    fn drop(&mut self) {
        if let Self::Mapped { start, len } = self {
            // SAFETY: the mapping was made by open(), and no borrow of it outlives self.
            let unmapped = unsafe { munmap(*start, *len) };
            debug_assert!(unmapped.is_ok());
        }
    }
}

/// The cache entry's path, or `None` where the kernel's build cannot be told.
fn entry(folder: &Path, asked: &[&[u8]]) -> Option<PathBuf> {
    let mut hash = Sha256::new();
    hash.update(fs::read(KERNEL_NOTES).ok()?);
    hash.update(fs::read("/proc/version").ok()?);
    // Another build of this program may pick other types.
    hash.update(env!("CARGO_PKG_VERSION"));
    hash.update(fs::read_link("/proc/self/exe").ok()?.as_os_str().as_bytes());
    hash.update(fs::metadata("/proc/self/exe").ok()?.mtime_nsec().to_ne_bytes());
    asked.iter().for_each(|part| hash.update(part));
    let name: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    Some(folder.join(name))
}

/// Writes beside and renames, so that a reader never meets half an entry.
fn keep(path: &Path, types: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;

    let Some(folder) = path.parent() else { return Ok(()) };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut partial = tempfile::NamedTempFile::new_in(folder)?;
    partial.write_all(types)?;
    partial.as_file().sync_all()?;
    partial.persist(path)?;
    prune(folder)
}

/// Removes the oldest entries: those of kernels, images and builds that are gone.
fn prune(folder: &Path) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
        })
        .collect();
    entries.sort();
    let old = entries.len().saturating_sub(ENTRIES);
    entries[..old].iter().try_for_each(|(_, path)| fs::remove_file(path))
}

fn in_memory(types: Vec<u8>) -> io::Result<ObjectBtf> {
    let mut file = File::from(memfd_create(c"igx-btf", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(&types)?;
    Ok(ObjectBtf { types, file })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(cache: &Path) -> ObjectBtf {
        let value = minimal::socket_value(0, 0);
        KernelBtf::new(Some(cache.to_owned())).for_object(trace_sni::OBJECT, &[value], &[]).unwrap().unwrap()
    }

    fn entries(cache: &Path) -> Vec<PathBuf> {
        fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn what_is_kept_is_used_and_what_is_damaged_is_made_anew() {
        let cache = tempfile::tempdir().unwrap();
        let picked = types(cache.path());
        let kept = entries(cache.path());
        assert_eq!(kept.len(), 1);
        assert_eq!(fs::read(&kept[0]).unwrap(), picked.bytes());

        for damage in [&b""[..], &picked.bytes()[..20]] {
            fs::write(&kept[0], damage).unwrap();
            assert_eq!(types(cache.path()).bytes(), picked.bytes());
            assert_eq!(fs::read(&kept[0]).unwrap(), picked.bytes());
        }
    }

    #[test]
    fn a_fact_is_found_once_and_one_that_is_damaged_again() {
        let cache = tempfile::tempdir().unwrap();
        let kernel = KernelBtf::new(Some(cache.path().to_owned()));
        let fact = |name: &str, value: u8| {
            kernel.fact(name, |bytes| bytes.len() == 1, |types| vec![value; usize::from(!types.is_empty())])
        };
        assert_eq!(
            (fact("a", 1).unwrap(), fact("a", 2).unwrap(), fact("b", 3).unwrap()),
            (vec![1], vec![1], vec![3])
        );
        entries(cache.path()).iter().for_each(|entry| fs::write(entry, "too long").unwrap());
        assert_eq!(fact("a", 2).unwrap(), [2]);
    }

    #[test]
    fn the_cache_does_not_grow_for_ever() {
        let cache = tempfile::tempdir().unwrap();
        for i in 0..ENTRIES + 10 {
            fs::write(cache.path().join(format!("of-an-older-kernel-{i}")), "").unwrap();
        }
        types(cache.path());
        assert_eq!(entries(cache.path()).len(), ENTRIES);
    }
}
