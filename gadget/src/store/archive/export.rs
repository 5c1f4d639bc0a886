//! Writing an archive.

use super::{Error, INDEX, LAYOUT};
use crate::{
    image::{self, Descriptor, EMPTY_TYPE, INDEX_TYPE, Index, REF_NAME, to_json},
    reference::Reference,
    store::{self, LAYOUT_JSON, PARTIAL, Store, read_index, stage, walk},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Write},
};

const BLOCK: usize = 512;
/// Mode of blobs, as upstream's stores have them.
const BLOB_MODE: u32 = 0o444;
const FILE_MODE: u32 = 0o644;

/// Writes images, with all that the store has about them, as one tar. Every blob is hashed on its way; the archive is
/// worthless if this fails.
pub fn export(store: &Store, references: &[Reference], out: &mut impl Write) -> Result<(), Error> {
    // With every annotation: what is read when a store is opened has not.
    let store = &Store { index: read_index(&store.root)?, ..store.clone() };
    let mut chosen = Chosen { store, entries: Vec::new(), blobs: BTreeMap::new() };
    for reference in references {
        let entry = store.find(reference).ok_or_else(|| store::Error::NotFound(reference.to_string()))?;
        chosen.image(entry).map_err(|source| Error::Image { name: reference.to_string(), source })?;
    }
    let Chosen { mut entries, blobs, .. } = chosen;
    let name = |d: &Descriptor| d.annotations.get(REF_NAME).cloned();
    entries.sort_by_cached_key(|d| (d.digest.clone(), name(d)));
    entries.dedup_by_key(|d| (d.digest.clone(), name(d)));
    let index = Index { media_type: Some(INDEX_TYPE.to_owned()), manifests: entries, ..Index::default() };
    for (digest, (descriptor, name)) in &blobs {
        let path = format!("blobs/{}", digest.replacen(':', "/", 1));
        let broken = |source| Error::Image { name: name.clone(), source };
        out.write_all(&header(&path, descriptor.size, BLOB_MODE)).map_err(Error::Write)?;
        copy(store, descriptor, out)?.map_err(broken)?;
        pad(descriptor.size, out).map_err(Error::Write)?;
    }
    for (path, bytes) in [(INDEX, to_json(&index).as_slice()), (LAYOUT, LAYOUT_JSON)] {
        let size = bytes.len() as u64;
        let written = out
            .write_all(&header(path, size, FILE_MODE))
            .and_then(|()| out.write_all(bytes))
            .and_then(|()| pad(size, out));
        written.map_err(Error::Write)?;
    }
    out.write_all(&[0; 2 * BLOCK]).and_then(|()| out.flush()).map_err(Error::Write)
}

/// What goes into an archive.
struct Chosen<'a> {
    store: &'a Store,
    entries: Vec<Descriptor>,
    /// By digest, with the name of an image that needs it.
    blobs: BTreeMap<String, (Descriptor, String)>,
}

impl Chosen<'_> {
    /// Takes an entry, and all that is about it or its parts.
    fn image(&mut self, entry: &Descriptor) -> Result<(), image::Error> {
        let (mut waiting, mut seen) = (vec![entry.clone()], BTreeSet::new());
        let title = entry.annotations.get(REF_NAME).unwrap_or(&entry.digest).clone();
        while let Some(entry) = waiting.pop() {
            if !seen.insert((entry.digest.clone(), entry.annotations.get(REF_NAME).cloned())) {
                continue;
            }
            let mut listed = entry.clone();
            listed.annotations.remove(PARTIAL);
            self.entries.push(listed);
            for digest in self.below(&entry, &title)? {
                waiting.extend(self.store.about(&digest));
            }
        }
        Ok(())
    }

    /// Takes the blobs of an entry; returns the digests of all its documents. What an index lists is listed in the
    /// archive too, with its platform.
    fn below(&mut self, entry: &Descriptor, title: &str) -> Result<Vec<String>, image::Error> {
        let mut waiting = vec![entry.clone()];
        let mut documents = Vec::new();
        while let Some(next) = waiting.pop() {
            self.blobs.entry(next.digest.clone()).or_insert_with(|| (next.clone(), title.to_owned()));
            if !walk::is_document(&next) || documents.contains(&next.digest) {
                continue;
            }
            documents.push(next.digest.clone());
            let document = walk::Document::checked(self.store, &next)?;
            // `{}` that is told in the descriptor need not be there.
            let told = |d: &&Descriptor| d.media_type == EMPTY_TYPE && d.data.is_some() && !self.is_here(d);
            for leaf in document.leaves().filter(|leaf| !told(leaf)).cloned().collect::<Vec<_>>() {
                let digest = leaf.digest.clone();
                self.blobs.entry(digest).or_insert_with(|| (leaf, title.to_owned()));
            }
            for part in document.parts() {
                // An image may be here for one architecture only.
                if self.is_here(part) {
                    if !self.entries.iter().any(|d| d.digest == part.digest) {
                        self.entries.push(part.clone());
                    }
                    waiting.push(part.clone());
                }
            }
        }
        Ok(documents)
    }

    fn is_here(&self, descriptor: &Descriptor) -> bool {
        self.store.blob_path(&descriptor.digest).is_some_and(|path| path.exists())
    }
}

/// Copies a blob out of the store. The outer error is of the archive, the inner one of the blob.
fn copy(
    store: &Store,
    descriptor: &Descriptor,
    out: &mut impl Write,
) -> Result<Result<(), image::Error>, Error> {
    let digest = || descriptor.digest.clone();
    let damaged = |why: String| Ok(Err(image::Error::Damaged { digest: digest(), why }));
    let Some(path) = store.blob_path(&descriptor.digest) else {
        return damaged("its digest is not sha256: and 64 of 0-9 and a-f".to_owned());
    };
    let mut file = match stage::Hashing::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let media_type = descriptor.media_type.clone();
            return Ok(Err(image::Error::Missing { digest: digest(), media_type }));
        }
        Err(source) => return Ok(Err(image::Error::Io { digest: digest(), source })),
    };
    let mut piece = vec![0; stage::PIECE];
    let mut left = descriptor.size;
    loop {
        let read = match file.read(&mut piece) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Ok(Err(image::Error::Io { digest: digest(), source })),
        };
        if read == 0 && left == 0 {
            break;
        }
        match left.checked_sub(read as u64) {
            Some(less) if read > 0 => left = less,
            _ => return damaged(format!("it has not the {} bytes it should", descriptor.size)),
        }
        out.write_all(&piece[..read]).map_err(Error::Write)?;
    }
    let actual = file.digest();
    if actual != descriptor.digest {
        return damaged(format!("its content has digest {actual}"));
    }
    Ok(Ok(()))
}

/// A ustar header with the fields as Go writes them: the checksum has six digits, zero byte, blank.
fn header(path: &str, size: u64, mode: u32) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, path.as_bytes());
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{size:011o}").as_bytes());
    put(136, b"00000000000");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(265, b"root");
    put(297, b"root");
    put(329, b"0000000");
    put(337, b"0000000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn pad(size: u64, out: &mut impl Write) -> io::Result<()> {
    let over = (size % BLOCK as u64) as usize;
    out.write_all(&[0; BLOCK][..(BLOCK - over) % BLOCK])
}
