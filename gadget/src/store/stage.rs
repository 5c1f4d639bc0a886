//! Where blobs gather before they are in the store: a folder of one process, on the store's filesystem.
//!
//! A download or an unpacked archive is written here while it is hashed, and becomes part of the store in one step,
//! by [`Store::commit`], or not at all. The folder is held by a lock on itself, which the kernel lets go of however
//! its process ends: the next writer sweeps what nobody holds. Age would be no measure: a slow download is alive.

use super::{BLOBS, Error, Store, files};
use crate::{
    image::{self, Blobs, Descriptor},
    reference::is_digest,
};
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// What the names of these folders begin with.
pub(super) const PREFIX: &str = "igx-stage-";
/// Bytes that are hashed at a time.
pub(super) const PIECE: usize = 64 << 10;

/// Blobs on their way into a store. Dropped, they are gone.
#[derive(Debug)]
pub struct Stage {
    root: PathBuf,
    folder: tempfile::TempDir,
    _held: Flock<File>,
    /// Hexadecimal digests of the blobs that have a writer.
    open: Arc<Mutex<BTreeSet<String>>>,
}

impl Store {
    /// Opens a private place for blobs that are to come into this store, making the store's folder if need be.
    pub fn stage(&self) -> Result<Stage, Error> {
        // Under the store's lock, for else a sweeper could find the folder before it is held.
        let lock = files::lock(&self.root)?;
        let ingest = self.root.join(files::INGEST);
        let failed = |source| Error::Write { path: ingest.clone(), source };
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&ingest).map_err(failed)?;
        let held = File::open(folder.path()).map_err(failed)?;
        let held =
            Flock::lock(held, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| failed(errno.into()))?;
        drop(lock);
        Ok(Stage { root: self.root.clone(), folder, _held: held, open: Arc::default() })
    }
}

impl Stage {
    /// Whether a blob is there, in full and undamaged, in the stage or in the store. One of the store is held on to,
    /// so that nobody can remove it meanwhile.
    pub fn has(&self, descriptor: &Descriptor) -> bool {
        let Some(path) = self.path(&descriptor.digest) else { return false };
        if path.exists() {
            return true;
        }
        let Some(stored) = super::blob_path(&self.root, &descriptor.digest) else { return false };
        if !whole(&stored, descriptor) {
            return false;
        }
        // A link may be refused where a copy is allowed: the blob may be somebody else's.
        let held = fs::hard_link(&stored, &path).or_else(|_| self.copy(&stored, &path));
        held.is_ok() && whole(&path, descriptor)
    }

    /// Opens a blob for writing. What an earlier writer of this stage left unfinished is taken up again: see
    /// [`BlobWriter::offset`].
    pub fn writer(&self, descriptor: &Descriptor) -> Result<BlobWriter, Error> {
        let content = |why: &str| Error::Content { digest: descriptor.digest.clone(), why: why.to_owned() };
        let target = self
            .path(&descriptor.digest)
            .ok_or_else(|| content("its digest is not sha256: and 64 of 0-9 and a-f"))?;
        let key = descriptor.digest.clone();
        if !self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone()) {
            return Err(content("it is being written already"));
        }
        let slot = Slot { open: Arc::clone(&self.open), key };
        let part = target.with_extension("part");
        let failed = |source| Error::Write { path: part.clone(), source };
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&part)
            .map_err(failed)?;
        let mut hash = Sha256::new();
        let mut written = hash_all(&mut file, &mut hash, descriptor.size).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() != written {
            // It has more than it may: no beginning of this blob.
            file.set_len(0).map_err(failed)?;
            io::Seek::rewind(&mut file).map_err(failed)?;
            (hash, written) = (Sha256::new(), 0);
        }
        Ok(BlobWriter {
            descriptor: descriptor.clone(),
            part,
            target,
            file: Some(file),
            hash,
            written,
            _slot: slot,
        })
    }

    /// Adds a small blob from memory and returns what points at it.
    pub fn put(&self, bytes: &[u8], media_type: &str) -> Result<Descriptor, Error> {
        let descriptor = Descriptor {
            media_type: media_type.to_owned(),
            digest: image::digest(bytes),
            size: bytes.len() as u64,
            ..Descriptor::default()
        };
        if !self.has(&descriptor) {
            let mut writer = self.writer(&descriptor)?;
            writer.restart()?;
            writer.write(bytes)?;
            writer.finish()?;
        }
        Ok(descriptor)
    }

    /// Moves a blob into the store, if it is here. The caller holds the store's lock.
    pub(super) fn deliver(&self, digest: &str) -> Result<(), Error> {
        let (Some(from), Some(to)) = (self.path(digest), super::blob_path(&self.root, digest)) else {
            return Ok(());
        };
        match fs::rename(&from, &to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::Write { path: to, source: error })
            }
            _ => Ok(()),
        }
    }

    /// Makes the renames into the store last through a power cut.
    pub(super) fn delivered(&self) -> Result<(), Error> {
        let path = self.root.join(BLOBS);
        File::open(&path).and_then(|folder| folder.sync_all()).map_err(|source| Error::Write { path, source })
    }

    /// Whether a blob is there, without looking at its content: what is in the stage has been checked.
    pub(super) fn holds(&self, digest: &str) -> bool {
        let stored = || super::blob_path(&self.root, digest).is_some_and(|path| path.is_file());
        self.path(digest).is_some_and(|path| path.exists()) || stored()
    }

    /// The folder of the store that this belongs to.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, digest: &str) -> Option<PathBuf> {
        let hex = digest.strip_prefix("sha256:").filter(|_| is_digest(digest))?;
        Some(self.folder.path().join(hex))
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut copy = tempfile::NamedTempFile::new_in(self.folder.path())?;
        io::copy(&mut File::open(from)?, &mut copy)?;
        copy.as_file().set_permissions(fs::Permissions::from_mode(0o444))?;
        copy.as_file().sync_all()?;
        copy.persist(to).map_err(|error| error.error)?;
        Ok(())
    }
}

impl Blobs for Stage {
    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, image::Error> {
        match self.path(&descriptor.digest).filter(|path| path.exists()) {
            Some(path) => super::read_blob(Some(&path), descriptor),
            None => super::read_blob(super::blob_path(&self.root, &descriptor.digest).as_deref(), descriptor),
        }
    }
}

/// One blob that is being written, hashed on its way. Dropped before [`BlobWriter::finish`], what was written stays
/// in the stage for the next writer.
#[derive(Debug)]
pub struct BlobWriter {
    descriptor: Descriptor,
    part: PathBuf,
    target: PathBuf,
    file: Option<File>,
    hash: Sha256,
    written: u64,
    _slot: Slot,
}

impl BlobWriter {
    /// Bytes that are there already.
    pub fn offset(&self) -> u64 {
        self.written
    }

    /// Forgets what is there: the other side cannot continue in the middle.
    pub fn restart(&mut self) -> Result<(), Error> {
        if let (Some(file), true) = (&mut self.file, self.written > 0) {
            let rewound = file.set_len(0).and_then(|()| io::Seek::rewind(file));
            rewound.map_err(|source| Error::Write { path: self.part.clone(), source })?;
        }
        (self.hash, self.written) = (Sha256::new(), 0);
        Ok(())
    }

    /// Appends. `Content` if this would be more than the blob is said to have: nothing of it is written then.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let length = self.written.saturating_add(bytes.len() as u64);
        if length > self.descriptor.size {
            return Err(self.content(format!("more than the {} bytes it should have", self.descriptor.size)));
        }
        if let Some(file) = &mut self.file {
            file.write_all(bytes).map_err(|source| Error::Write { path: self.part.clone(), source })?;
        }
        self.hash.update(bytes);
        self.written = length;
        Ok(())
    }

    /// Checks size and digest and puts the blob into the stage; a wrong one is removed.
    pub fn finish(mut self) -> Result<(), Error> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let wrong = match self.written == self.descriptor.size {
            false => Some(format!("it has {} bytes and not {}", self.written, self.descriptor.size)),
            true => {
                let actual = image::hex_digest(std::mem::take(&mut self.hash));
                (actual != self.descriptor.digest).then(|| format!("its content has digest {actual}"))
            }
        };
        if let Some(why) = wrong {
            let _ = fs::remove_file(&self.part);
            return Err(self.content(why));
        }
        let put = || {
            file.set_permissions(fs::Permissions::from_mode(0o444))?;
            file.sync_all()?;
            fs::rename(&self.part, &self.target)
        };
        put().map_err(|source| Error::Write { path: self.part.clone(), source })
    }

    fn content(&self, why: String) -> Error {
        Error::Content { digest: self.descriptor.digest.clone(), why }
    }
}

/// The sole right to write a blob of a stage.
#[derive(Debug)]
struct Slot {
    open: Arc<Mutex<BTreeSet<String>>>,
    key: String,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// Removes the folders of dead processes and returns how many there were. The caller holds the store's lock.
pub(super) fn sweep(ingest: &Path) -> usize {
    let dead = |path: &Path| {
        let folder = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC)
            .open(path);
        let held = folder.ok().and_then(|f| Flock::lock(f, FlockArg::LockExclusiveNonblock).ok());
        held.is_some() && fs::remove_dir_all(path).is_ok()
    };
    let ours = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(PREFIX);
    let entries = fs::read_dir(ingest).into_iter().flatten().flatten();
    entries.filter(|entry| ours(&entry.file_name()) && dead(&entry.path())).count()
}

/// Whether a file has the size and the content that a descriptor tells.
pub(super) fn whole(path: &Path, descriptor: &Descriptor) -> bool {
    let check = || {
        let mut file = Hashing::open(path)?;
        if file.file.metadata()?.len() != descriptor.size {
            return Ok(false);
        }
        io::copy(&mut file, &mut io::sink())?;
        Ok::<_, io::Error>(file.digest() == descriptor.digest)
    };
    check().unwrap_or(false)
}

/// A file that is hashed while it is read.
pub(super) struct Hashing {
    file: File,
    hash: Sha256,
}

impl Hashing {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: files::open_regular(path)?, hash: Sha256::new() })
    }

    /// Digest of what was read.
    pub(super) fn digest(self) -> String {
        image::hex_digest(self.hash)
    }
}

impl Read for Hashing {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(piece)?;
        self.hash.update(&piece[..read]);
        Ok(read)
    }
}

/// Hashes from where a file stands, at most `limit` bytes, and returns how many there were.
fn hash_all(file: &mut impl Read, hash: &mut Sha256, limit: u64) -> io::Result<u64> {
    let mut piece = vec![0; PIECE];
    let mut total = 0;
    let mut from = file.take(limit);
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(total),
            Ok(n) => {
                hash.update(&piece[..n]);
                total += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
