//! Reading small files that others write, some of them in folders that belong to users: nothing there may block, be
//! followed elsewhere, or fill the memory.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The longest state of one container that is read, and the longest list of all.
const MAX_FILE: u64 = 16 << 20;
/// The most entries of a folder that are looked at.
const MAX_ENTRIES: usize = 100_000;

/// Reads a regular file, and who owns it.
pub(super) fn read(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // One byte more than there is, so that the end is met without asking for more room.
    let mut bytes = Vec::with_capacity(metadata.len() as usize + 1);
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok((bytes, metadata.uid()))
}

/// The folders in a folder; none if it cannot be read.
pub(super) fn folders(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    entries
        .filter_map(Result::ok)
        .take(MAX_ENTRIES)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "text").unwrap();
        assert_eq!(read(&at("file")).unwrap(), (b"text".to_vec(), nix::unistd::geteuid().as_raw()));
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        assert!(read(&at("link")).is_err());
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read(&at("pipe")).is_err());
        fs::create_dir(at("folder")).unwrap();
        assert!(read(&at("folder")).is_err());
        assert_eq!(folders(dir.path()), [at("folder")]);
        assert!(folders(&at("nothing")).is_empty());
    }
}
