//! Looking for damage: in short when images are listed, to the last byte when somebody asks.

use super::{BLOBS, Error, PARTIAL, Store, files, read_index, stage, walk};
use crate::{
    image::{self, Descriptor, EMPTY_TYPE, INDEX_TYPE, Index, MANIFEST_TYPE, REF_NAME, Trust},
    reference::{Reference, is_digest},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

/// How closely to look.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Reads documents; of everything else looks only whether it is there and how long it is.
    Short,
    /// Hashes everything.
    Whole,
}

/// Something that is wrong with an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The image's name as the store has it, or its digest.
    pub image: String,
    /// The name, if it is one: what can be fetched again.
    pub reference: Option<Reference>,
    /// Whether the image was built here, so that no registry has it for sure.
    pub trust: Trust,
    /// Digest of the blob that is wrong; the image's own if its entry is.
    pub blob: String,
    /// What is wrong, as a sentence.
    pub what: String,
}

/// A blob that nothing needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Its digest, by its name.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// Whether it came in the last ten minutes, so that another program may be about to list it.
    pub fresh: bool,
}

/// What [`Store::check`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Entries looked at: images, by each name, and signatures.
    pub entries: usize,
    /// Blobs hashed.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// What is wrong, by image.
    pub damage: Vec<Damage>,
    /// Blobs that nothing needs; only told if everything was checked.
    pub orphans: Vec<Orphan>,
}

impl Store {
    /// Hashes every blob of some images, or of all if none is named, with their signatures. Takes no lock and writes
    /// nothing. `NotFound` if one that is named is not in the store.
    pub fn check(&self, only: &[Reference]) -> Result<Report, Error> {
        let chosen = self.chosen(only)?;
        let mut report = Report { entries: chosen.len(), ..Report::default() };
        let mut hashed = BTreeMap::new();
        for entry in &chosen {
            for (blob, what) in self.faults(entry, Depth::Whole, &mut hashed) {
                report.damage.push(self.damaged(entry, blob, what));
            }
        }
        report.damage.extend(self.twice(&chosen));
        report.blobs = hashed.len();
        report.bytes = hashed.values().map(|(size, _)| size).sum();
        if !report.damage.is_empty() {
            // What somebody removed meanwhile is no damage.
            let now = read_index(&self.root)?;
            let there = |damage: &Damage| now.manifests.iter().any(|d| self.title(d) == damage.image);
            report.damage.retain(there);
        }
        if only.is_empty() {
            report.orphans = self.orphans()?;
        }
        Ok(report)
    }

    /// The entries of some images and all about them, or all entries.
    fn chosen(&self, only: &[Reference]) -> Result<Vec<Descriptor>, Error> {
        if only.is_empty() {
            return Ok(self.index.manifests.clone());
        }
        let mut chosen: Vec<Descriptor> = Vec::new();
        for reference in only {
            let found = self.find(reference).ok_or_else(|| Error::NotFound(reference.to_string()))?;
            let all = [found.clone()].into_iter().chain(self.about(&found.digest));
            chosen.extend(all);
        }
        let mut seen = BTreeSet::new();
        chosen.retain(|d| seen.insert((d.digest.clone(), d.annotations.get(REF_NAME).cloned())));
        Ok(chosen)
    }

    /// What is wrong with an entry, as digests of blobs and sentences. `seen` holds what was found of blobs before.
    pub(super) fn faults(
        &self,
        entry: &Descriptor,
        depth: Depth,
        seen: &mut BTreeMap<String, (u64, Option<String>)>,
    ) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let name = entry.annotations.get(REF_NAME);
        if let Some(name) = name.filter(|name| Reference::parse(name).is_err()) {
            faults.push((entry.digest.clone(), format!("{name:?} is not an image name")));
        }
        if !is_digest(&entry.digest) {
            faults.push((entry.digest.clone(), format!("{:?} is not a digest", entry.digest)));
            return faults;
        }
        let about = matches!(self.subject(entry), Ok(Some(_)));
        if name.is_some() && !about && entry.media_type != INDEX_TYPE {
            let error = image::Error::NotAnIndex {
                digest: entry.digest.clone(),
                media_type: entry.media_type.clone(),
            };
            faults.push((entry.digest.clone(), error.to_string()));
            return faults;
        }
        let parts = match entry.media_type.as_str() {
            INDEX_TYPE => match Index::read(self, entry) {
                Ok(index) => index.manifests,
                Err(error) => return with(faults, entry, error.to_string()),
            },
            _ => vec![entry.clone()],
        };
        let partial = entry.annotations.contains_key(PARTIAL);
        let mut absent = 0;
        for part in &parts {
            if part.media_type != MANIFEST_TYPE && !part.media_type.is_empty() {
                faults.extend(self.blob_fault(part, depth, seen));
                continue;
            }
            match image::manifest_children(self, part) {
                Ok(leaves) => {
                    let told = |d: &Descriptor| d.media_type == EMPTY_TYPE && d.data.is_some();
                    let leaves = leaves.iter().filter(|leaf| !told(leaf));
                    faults.extend(leaves.filter_map(|leaf| self.blob_fault(leaf, depth, seen)));
                }
                Err(image::Error::Missing { .. }) if partial && absent + 1 < parts.len() => absent += 1,
                Err(error) => faults.push((part.digest.clone(), error.to_string())),
            }
            note(seen, part);
        }
        note(seen, entry);
        faults
    }

    fn blob_fault(
        &self,
        blob: &Descriptor,
        depth: Depth,
        seen: &mut BTreeMap<String, (u64, Option<String>)>,
    ) -> Option<(String, String)> {
        if let Some((size, fault)) = seen.get(&blob.digest).filter(|(size, _)| *size == blob.size) {
            let _ = size;
            return fault.clone().map(|what| (blob.digest.clone(), what));
        }
        let path = self.blob_path(&blob.digest);
        let size = path.as_ref().and_then(|path| fs::metadata(path).ok()).map(|found| found.len());
        let fault = match (size, path) {
            (None, _) | (_, None) => Some(format!("blob {:?} is missing", blob.digest)),
            (Some(size), _) if size != blob.size => {
                Some(format!("blob {:?} has {size} bytes and not {}", blob.digest, blob.size))
            }
            (_, Some(path)) if depth == Depth::Whole && !stage::whole(&path, blob) => {
                Some(format!("blob {:?} is damaged: its content has another digest", blob.digest))
            }
            _ => None,
        };
        seen.insert(blob.digest.clone(), (blob.size, fault.clone()));
        fault.map(|what| (blob.digest.clone(), what))
    }

    /// Names that stand for more than one image: which one is meant depends on who reads.
    fn twice(&self, entries: &[Descriptor]) -> Vec<Damage> {
        let mut names = BTreeSet::new();
        let mut again =
            |d: &Descriptor| d.annotations.get(REF_NAME).is_some_and(|name| !names.insert(name.clone()));
        let what = || "its name is in the list twice; tag or remove it, which leaves one".to_owned();
        entries.iter().filter(|d| again(d)).map(|d| self.damaged(d, d.digest.clone(), what())).collect()
    }

    fn damaged(&self, entry: &Descriptor, blob: String, what: String) -> Damage {
        let built_here = self.built_here.contains(&entry.digest);
        Damage {
            image: self.title(entry),
            reference: entry.annotations.get(REF_NAME).and_then(|name| Reference::parse(name).ok()),
            trust: if built_here { Trust::BuiltHere } else { Trust::Unverified },
            blob,
            what,
        }
    }

    fn title(&self, entry: &Descriptor) -> String {
        entry.annotations.get(REF_NAME).unwrap_or(&entry.digest).clone()
    }

    fn orphans(&self) -> Result<Vec<Orphan>, Error> {
        // Files first: what comes in between is then listed, not left over.
        let folder = self.root.join(BLOBS);
        let files: Vec<_> = fs::read_dir(&folder).into_iter().flatten().flatten().collect();
        let old: BTreeSet<_> = files::older(&folder, self.grace).collect();
        let mut needed = BTreeSet::new();
        for entry in read_index(&self.root)?.manifests {
            let title = self.title(&entry);
            walk::reach(self, &entry, &mut needed).map_err(|source| Error::Image { name: title, source })?;
        }
        let orphan = |file: &fs::DirEntry| {
            let name = file.file_name().into_string().ok()?;
            let digest = format!("sha256:{name}");
            let size = file.metadata().ok()?.len();
            let orphan = Orphan { fresh: !old.contains(&name), size, digest };
            (is_digest(&orphan.digest) && !needed.contains(&orphan.digest)).then_some(orphan)
        };
        let mut orphans: Vec<_> = files.iter().filter_map(orphan).collect();
        orphans.sort_by(|a, b| a.digest.cmp(&b.digest));
        Ok(orphans)
    }
}

fn with(mut faults: Vec<(String, String)>, entry: &Descriptor, what: String) -> Vec<(String, String)> {
    faults.push((entry.digest.clone(), what));
    faults
}

/// Counts a document, which is hashed whenever it is read.
fn note(seen: &mut BTreeMap<String, (u64, Option<String>)>, document: &Descriptor) {
    seen.entry(document.digest.clone()).or_insert((document.size, None));
}
