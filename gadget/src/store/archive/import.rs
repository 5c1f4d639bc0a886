//! Reading an archive that anybody may have written.

use super::{Error, INDEX, LAYOUT};
use crate::{
    image::{self, Descriptor, Index, REF_NAME},
    reference::{Reference, is_digest},
    store::{Entered, MAX_INDEX, Stage, Store, garbage, stage, walk},
};
use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use std::{
    collections::BTreeSet,
    io::{self, BufRead, BufReader, Read},
};
use tar::{Archive, EntryType};

/// Largest blob, bytes: what is larger could not be used.
const MAX_BLOB: u64 = 256 << 20;
/// Most bytes of an archive when it is unpacked.
const MAX_TOTAL: u64 = 8 << 30;
/// Most entries of an archive.
const MAX_ENTRIES: usize = 100_000;
const MAX_LAYOUT: u64 = 4 << 10;
const GZIP: &[u8] = &[0x1f, 0x8b];

/// Takes every image of an archive into the store, with its signatures, and returns the names, sorted. All or nothing.
/// A name that is in the store already goes over to the archive's image. Nothing is trusted that was not before.
pub fn import(store: &mut Store, from: impl Read) -> Result<Vec<Reference>, Error> {
    let mut from = BufReader::with_capacity(stage::PIECE, from);
    let zipped = from.fill_buf().map_err(Error::Read)?.starts_with(GZIP);
    let stage = store.stage()?;
    let index = match zipped {
        true => unpack(&stage, MultiGzDecoder::new(from))?,
        false => unpack(&stage, from)?,
    };
    let entries = entries(&stage, &index)?;
    let image = |name: &Reference| name.tag().is_none_or(|tag| garbage::about(tag).is_none());
    let mut names: Vec<_> = entries.iter().filter_map(|e| e.name.clone()).filter(image).collect();
    names.sort_by_cached_key(Reference::to_string);
    store.commit(stage, &entries)?;
    Ok(names)
}

/// Puts all blobs into the stage and returns the archive's index.
fn unpack(stage: &Stage, from: impl Read) -> Result<Index, Error> {
    let (mut index, mut layout) = (None, None);
    let mut seen = BTreeSet::new();
    let mut archive = Archive::new(Bounded { from, left: MAX_TOTAL });
    // As they lie there: the crate would gather long names and extensions in memory, however long they are.
    for (count, entry) in archive.entries().map_err(Error::Read)?.raw(true).enumerate() {
        let mut entry = entry.map_err(Error::Read)?;
        if count >= MAX_ENTRIES {
            return Err(Error::TooMuch("100000 entries"));
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let refuse = |why: &str| Error::Entry { path: path.clone(), why: why.to_owned() };
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {}
            // No name that matters is long, and nothing else that extensions tell does.
            EntryType::Directory
            | EntryType::XHeader
            | EntryType::XGlobalHeader
            | EntryType::GNULongName
            | EntryType::GNULongLink => continue,
            _ => return Err(refuse("only files and folders belong into an image layout")),
        }
        let Some(name) = place(&path) else {
            return Err(refuse("the path leads out of the archive"));
        };
        if !seen.insert(name.to_owned()) {
            return Err(refuse("it is there twice"));
        }
        match name {
            INDEX => index = Some(small(&mut entry, MAX_INDEX, &path)?),
            LAYOUT => layout = Some(small(&mut entry, MAX_LAYOUT, &path)?),
            _ => {
                let hex = name.strip_prefix("blobs/sha256/").map(|hex| format!("sha256:{hex}"));
                if let Some(digest) = hex.filter(|digest| is_digest(digest)) {
                    let size = entry.size();
                    if size > MAX_BLOB {
                        return Err(refuse("it has more than the 256 MiB allowed"));
                    }
                    blob(stage, &Descriptor { digest, size, ..Descriptor::default() }, &mut entry)?;
                }
            }
        }
    }
    check_layout(&layout.ok_or(Error::Lacks(LAYOUT))?)?;
    serde_json::from_slice(&index.ok_or(Error::Lacks(INDEX))?)
        .map_err(|error| Error::Entry { path: INDEX.to_owned(), why: error.to_string() })
}

fn blob(stage: &Stage, descriptor: &Descriptor, from: &mut impl Read) -> Result<(), Error> {
    let mut writer = stage.writer(descriptor)?;
    let mut piece = vec![0; stage::PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(0) if writer.offset() < descriptor.size => {
                return Err(Error::Read(io::ErrorKind::UnexpectedEof.into()));
            }
            Ok(0) => return Ok(writer.finish()?),
            Ok(read) => writer.write(&piece[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::Read(error)),
        }
    }
}

fn small(from: &mut tar::Entry<'_, impl Read>, limit: u64, path: &str) -> Result<Vec<u8>, Error> {
    let size = from.size();
    if size > limit {
        return Err(Error::Entry { path: path.to_owned(), why: format!("it has more than {limit} bytes") });
    }
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).map_err(Error::Read)?;
    match bytes.len() as u64 == size {
        true => Ok(bytes),
        false => Err(Error::Read(io::ErrorKind::UnexpectedEof.into())),
    }
}

/// The path within the archive; `None` if it leads elsewhere.
fn place(path: &str) -> Option<&str> {
    let path = path.strip_prefix("./").unwrap_or(path);
    let within = !path.starts_with('/') && !path.contains('\0') && path.split('/').all(|part| part != "..");
    within.then_some(path)
}

fn check_layout(bytes: &[u8]) -> Result<(), Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Layout {
        image_layout_version: String,
    }
    let bad = |why: String| Error::Entry { path: LAYOUT.to_owned(), why };
    let layout: Layout = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
    match layout.image_layout_version.as_str() {
        "1.0.0" => Ok(()),
        other => Err(bad(format!("it is a layout of version {other:?}, and 1.0.0 is known"))),
    }
}

/// What of an archive's index the store is to list: parts of an image are not, as the image lists them.
fn entries(stage: &Stage, index: &Index) -> Result<Vec<Entered>, Error> {
    let bad = |descriptor: &Descriptor| {
        let name = descriptor.annotations.get(REF_NAME).unwrap_or(&descriptor.digest).clone();
        move |source| Error::Image { name, source }
    };
    let mut parts = BTreeSet::new();
    for descriptor in &index.manifests {
        let document: Result<_, image::Error> = walk::Document::read(stage, descriptor);
        let document = document.map_err(bad(descriptor))?;
        parts.extend(document.parts().map(|part| part.digest.clone()));
    }
    let mut entries = Vec::new();
    for descriptor in &index.manifests {
        let Some(typed) = descriptor.annotations.get(REF_NAME) else {
            let document = walk::Document::read(stage, descriptor).map_err(bad(descriptor))?;
            if document.subject.is_some() || !parts.contains(&descriptor.digest) {
                entries.push(Entered { descriptor: descriptor.clone(), name: None });
            }
            continue;
        };
        let name = Reference::parse(typed)
            .map_err(|error| Error::Entry { path: INDEX.to_owned(), why: error.to_string() })?;
        // What was stored by digest has no name of its own.
        let name = Some(name).filter(|name| name.digest().is_none());
        entries.push(Entered { descriptor: descriptor.clone(), name });
    }
    if entries.is_empty() {
        return Err(Error::Entry { path: INDEX.to_owned(), why: "it lists no image".to_owned() });
    }
    Ok(entries)
}

/// Ends with an error instead of going on for ever.
struct Bounded<R> {
    from: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(piece)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other("it has more than 8 GiB when it is unpacked")),
        }
        Ok(read)
    }
}
