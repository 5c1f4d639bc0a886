//! Files that are whole or not there.

use super::{BLOBS, Error};
use nix::fcntl::{Flock, FlockArg};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Where unfinished files lie; upstream's stores have the same folder.
pub(super) const INGEST: &str = "ingest";
/// Unfinished files of ours, to be told from those of others.
pub(super) const PREFIX: &str = "igx-";

/// Reads a regular file of at most `limit` bytes; `FileTooLarge` if it has more.
pub(super) fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    // Room for all of it at once, and for one byte more, so that its end is seen without growing.
    let expected = file.metadata()?.len().min(limit).saturating_add(1);
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// Opens a regular file for reading, and nothing else.
pub(super) fn open_regular(path: &Path) -> io::Result<File> {
    // A pipe in place of a blob would block for ever.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("not a regular file")),
    }
}

/// The one path of a store, however it was typed: its lock and the file of trust beside it must be the same for
/// whoever means the same folder. A store that is still to be made is named by the folder that it will be made in.
pub(super) fn canonical(path: &Path) -> io::Result<PathBuf> {
    if let Ok(found) = path.canonicalize() {
        return Ok(found);
    }
    let path = std::path::absolute(path)?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(path) };
    Ok(parent.canonicalize().map_or_else(|_| path.clone(), |parent| parent.join(name)))
}

/// The right to write, until it is dropped.
pub(super) struct Lock {
    _held: Flock<File>,
    /// How many stages of dead processes were cleared away.
    pub(super) swept: usize,
}

/// Makes the folder if need be, waits for other writers, and clears away what a killed writer left unfinished.
pub(super) fn lock(root: &Path) -> Result<Lock, Error> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Write { path, source }
    };
    if !root.is_dir() {
        if let Some(parent) = root.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        match DirBuilder::new().mode(0o700).create(root) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(root)(error)),
            _ => {}
        }
    }
    let path = root.join("index.json.lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.map_err(at(&path))?;
    let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| at(&path)(errno.into()))?;
    for folder in [BLOBS, INGEST] {
        let folder = root.join(folder);
        fs::create_dir_all(&folder).map_err(at(&folder))?;
    }
    let ingest = root.join(INGEST);
    for entry in fs::read_dir(&ingest).into_iter().flatten().flatten() {
        // Files are written under the lock only; folders are stages, which live apart from it.
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(Lock { _held: lock, swept: super::stage::sweep(&ingest) })
}

/// Puts a file in place in one step: a reader sees the old one or the new one. It is on the disk when this returns.
pub(super) fn replace(root: &Path, path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    replace_by(&root.join(INGEST), path, bytes, mode)
        .map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// As [`replace`], with the folder, on the same filesystem, where the unfinished file lies.
pub(super) fn replace_by(folder: &Path, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(PREFIX).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(path)
}

/// Names of the files in a folder that have lain there, unchanged, for at least `age`. By the time of the last change
/// of the inode, which nobody can set: an unpacked file's time of modification is as old as its archive says.
pub(super) fn older(folder: &Path, age: Duration) -> impl Iterator<Item = String> {
    let now = SystemTime::now();
    fs::read_dir(folder).into_iter().flatten().flatten().filter_map(move |entry| {
        let found = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        let changed = UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(found.ctime()).ok()?))?;
        // A time in the future tells nothing about the age.
        now.duration_since(changed)
            .is_ok_and(|lain| lain >= age)
            .then(|| entry.file_name().into_string().ok())?
    })
}

/// Makes a rename or removal in the folder of `path` last through a power cut.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
