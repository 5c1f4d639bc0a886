//! Where libraries are in a file system that is not ours: that of a container.
//!
//! Format of the loader's cache: glibc's `dl-cache.h`, version 1.1.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::Mode,
};

/// Bytes of the loader's cache that are read.
const MAX_CACHE: u64 = 16 << 20;

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;

/// An entry's flags: an ELF library for glibc of this machine.
const FLAGS: u32 = if cfg!(target_arch = "aarch64") { 0x0a03 } else { 0x0303 };

/// Where libraries are in systems without such a cache (musl's).
const FOLDERS: [&str; 6] = ["lib", "usr/lib", "usr/local/lib", "lib64", "usr/lib64", "usr/local/lib64"];

/// Opens `path` below the folder `root`, never outside of it: links in there are read as whoever lives there reads
/// them.
pub(crate) fn open_below(root: &File, path: &Path) -> io::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let how = OpenHow::new().flags(flags).mode(Mode::empty()).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    let file = File::from(openat2(root.as_fd(), path, how)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    Ok(file)
}

/// Where the library `name`, such as `libc`, may be below `root`, likeliest first.
pub(crate) fn paths_of(root: &File, name: &str) -> Vec<PathBuf> {
    let mut cache = Vec::new();
    let read = open_below(root, Path::new("etc/ld.so.cache"))
        .and_then(|file| file.take(MAX_CACHE).read_to_end(&mut cache));
    let mut paths = if read.is_ok() { in_cache(&cache, name) } else { Vec::new() };
    paths.extend(FOLDERS.iter().flat_map(|folder| {
        // The names that distributions give: with a version, or without.
        [".so", ".so.6", ".so.3", ".so.2", ".so.1.1", ".so.1", ".so.0"]
            .map(|end| Path::new(folder).join(format!("{name}{end}")))
    }));
    if name == "libc" {
        let machine = std::env::consts::ARCH;
        paths.push(format!("lib/ld-musl-{machine}.so.1").into());
    }
    paths
}

/// The paths of the library `name` in a loader's cache.
fn in_cache(cache: &[u8], name: &str) -> Vec<PathBuf> {
    let number = |at: usize| cache.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_ne_bytes);
    let text = |at: u32| {
        let rest = cache.get(at as usize..)?;
        std::str::from_utf8(rest.split(|&byte| byte == 0).next()?).ok()
    };
    if !cache.starts_with(MAGIC) {
        return Vec::new();
    }
    let count = (number(MAGIC.len()).unwrap_or(0) as usize).min(cache.len() / ENTRY);
    let path = |index: usize| {
        let at = HEADER + index * ENTRY;
        let key = text(number(at + 4)?)?;
        let is_named = key
            .strip_prefix(name)?
            .strip_prefix(".so")
            .is_some_and(|end| end.is_empty() || end.starts_with('.'));
        (is_named && number(at)? == FLAGS).then(|| text(number(at + 8)?).map(PathBuf::from))?
    };
    (0..count).filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_leads_nowhere_outside() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("etc/passwd"), "theirs").unwrap();
        symlink("/etc/passwd", folder.path().join("link")).unwrap();
        symlink("../../../../../../etc/passwd", folder.path().join("up")).unwrap();
        let root = File::open(folder.path()).unwrap();
        for name in ["link", "up"] {
            let mut text = String::new();
            open_below(&root, Path::new(name)).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "theirs");
        }
        assert!(open_below(&root, Path::new("etc")).is_err());
        assert!(open_below(&root, Path::new("nosuch")).is_err());
    }

    #[test]
    fn libraries_of_this_machine_are_found() {
        let root = File::open("/").unwrap();
        let found = paths_of(&root, "libc").into_iter().find(|path| open_below(&root, path).is_ok());
        assert!(found.is_some());
        assert!(!paths_of(&root, "nosuchlib").iter().any(|path| open_below(&root, path).is_ok()));
        // The name is whole: libcrypt is not libc.
        assert!(paths_of(&root, "libc").iter().all(|path| !path.to_string_lossy().contains("libcrypt")));
    }

    proptest::proptest! {
        #[test]
        fn no_cache_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let mut cache = MAGIC.to_vec();
            cache.extend(bytes);
            let _ = in_cache(&cache, "libc");
        }
    }
}
