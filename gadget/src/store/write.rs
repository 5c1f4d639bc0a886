//! Changes to a store. Each takes the lock, reads `index.json` again, puts new blobs in place, replaces `index.json`,
//! and only then removes blobs that nothing points at any more: broken off anywhere, the store is whole.

use super::{
    Error, GRACE, INDEX, LAYOUT, LAYOUT_JSON, PARTIAL, Stage, Store, files, garbage::Extent, read_index,
    summary, trust, walk,
};
use crate::{
    image::{self, Blob, Descriptor, INDEX_TYPE, Image, Index, REF_NAME, to_json},
    reference::{Reference, is_digest},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// What removing a name did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Digest of the image.
    pub digest: String,
    /// Whether only the name went, because the image has others.
    pub untagged_only: bool,
}

/// What pruning freed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Digests of entries that left the list: images without a name, and signatures of images that are not there.
    pub entries: Vec<String>,
    /// Blobs removed.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Unfinished downloads and imports of processes that are dead.
    pub stages: usize,
}

/// What a [`Stage`] brings into the store's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entered {
    /// Points at an index, or at the manifest of a signature.
    pub descriptor: Descriptor,
    /// Its full name, with a tag; `None` lists it by digest only.
    pub name: Option<Reference>,
}

impl Store {
    /// Takes over what a stage has gathered: every blob that the entries lead to, and then the entries, all or
    /// nothing. A name that another image had goes over; that image is removed if it was its last.
    ///
    /// Manifests that an index lists may be absent, for an image may be fetched for one architecture only; one that
    /// is there must be complete. `Incomplete` if it is not, or if an entry itself is missing.
    pub fn commit(&mut self, stage: Stage, entries: &[Entered]) -> Result<(), Error> {
        debug_assert_eq!(stage.root(), self.root, "a stage belongs to the store that opened it");
        let names = entries.iter().map(|e| e.name.as_ref().map(new_name).transpose());
        let names = names.collect::<Result<Vec<_>, _>>()?;
        let lock = self.refresh()?;
        let mut index = self.index.clone();
        let (mut replaced, mut needed) = (Vec::new(), BTreeSet::new());
        for (entry, name) in entries.iter().zip(&names) {
            let title = || name.clone().unwrap_or_else(|| entry.descriptor.digest.clone());
            let missing = walk::missing(&stage, &entry.descriptor)
                .map_err(|source| Error::Image { name: title(), source })?;
            if let Some(digest) = missing {
                return Err(Error::Incomplete { name: title(), digest });
            }
            walk::reach(&stage, &entry.descriptor, &mut needed)
                .map_err(|source| Error::Image { name: title(), source })?;
            let mut listed = entry.descriptor.clone();
            listed.annotations.remove(PARTIAL);
            if walk::is_partial(&stage, &listed) {
                listed.annotations.insert(PARTIAL.to_owned(), "true".to_owned());
            }
            replaced.extend(put_entry(&mut index, &listed, name.as_deref()));
        }
        for digest in &needed {
            stage.deliver(digest)?;
        }
        stage.delivered()?;
        self.save(index, replaced)?;
        drop((lock, stage));
        Ok(())
    }

    /// Adds an image that was built here, under a name or without. A name that another image had goes over to this
    /// one; the other is removed if that was its last.
    pub fn add(&mut self, image: &Image, reference: Option<&Reference>) -> Result<(), Error> {
        let name = reference.map(new_name).transpose()?;
        let lock = self.refresh()?;
        self.put_blobs(&image.blobs)?;
        let mut index = self.index.clone();
        let replaced = put_entry(&mut index, &image.index, name.as_deref());
        self.built_here.insert(image.index.digest.clone());
        self.save(index, replaced)?;
        let noted = trust::write(&self.root, &self.built_here);
        drop(lock);
        noted
    }

    /// Gives an image another name and returns the image's digest.
    pub fn tag(&mut self, source: &Reference, target: &Reference) -> Result<String, Error> {
        let name = new_name(target)?;
        let lock = self.refresh()?;
        let found = self.find(source).ok_or_else(|| Error::NotFound(source.to_string()))?.clone();
        let mut index = self.index.clone();
        let replaced = put_entry(&mut index, &found, Some(&name));
        self.save(index, replaced)?;
        drop(lock);
        Ok(found.digest)
    }

    /// Removes a name, and the image with it if that was its last. By digest, the image goes with all its names.
    pub fn remove(&mut self, reference: &Reference) -> Result<Removed, Error> {
        let mut removed = self.remove_all(std::slice::from_ref(reference))?;
        removed.pop().unwrap_or_else(|| Err(Error::NotFound(reference.to_string())))
    }

    /// Removes several in one step; the inner results tell of each, in their order. The outer error means that
    /// nothing was removed.
    pub fn remove_all(&mut self, references: &[Reference]) -> Result<Vec<Result<Removed, Error>>, Error> {
        let lock = self.refresh()?;
        let mut gone = Vec::new();
        let whole = self.index.clone();
        let mut results = Vec::new();
        for reference in references {
            let Some(found) = self.find(reference).cloned() else {
                results.push(Err(Error::NotFound(reference.to_string())));
                continue;
            };
            match reference.digest() {
                Some(digest) => self.index.manifests.retain(|d| d.digest != digest),
                None => self.index.manifests.retain(|d| d != &found),
            }
            let untagged_only = self.index.manifests.iter().any(|d| d.digest == found.digest);
            results.push(Ok(Removed { digest: found.digest.clone(), untagged_only }));
            gone.push(found);
        }
        let index = std::mem::replace(&mut self.index, whole);
        if !gone.is_empty() {
            self.save(index, gone)?;
        }
        drop(lock);
        Ok(results)
    }

    /// Removes images without a name, signatures of images that are not there, blobs that nothing needs, and what dead
    /// processes left. Blobs of the last ten minutes stay: another program may be about to list them.
    pub fn prune(&mut self) -> Result<Pruned, Error> {
        self.clear(&Extent::Nameless)
    }

    /// As [`Self::prune`], but no image goes: only blobs that nothing needs, what dead processes left, and entries that
    /// point at nothing because their digest is none.
    pub fn sweep(&mut self) -> Result<Pruned, Error> {
        self.clear(&Extent::Gone)
    }

    fn clear(&mut self, extent: &Extent) -> Result<Pruned, Error> {
        if !self.root.exists() {
            return Ok(Pruned::default());
        }
        let lock = self.refresh()?;
        let mut pruned = Pruned { stages: lock.swept, ..Pruned::default() };
        let mut index = self.index.clone();
        index.manifests.retain(|d| is_digest(&d.digest));
        let garbage = self
            .garbage(&mut index, &[], extent)
            .map_err(|source| Error::Image { name: "of the store".to_owned(), source })?;
        let stays = |d: &Descriptor| index.manifests.iter().any(|o| o.digest == d.digest);
        let gone: Vec<_> = self.index.manifests.iter().filter(|d| !stays(d)).cloned().collect();
        pruned.entries = gone.iter().map(|d| d.digest.clone()).collect();
        if !gone.is_empty() {
            self.replace_index(index)?;
            self.forget(&gone);
        }
        for path in garbage.iter().filter_map(|digest| self.blob_path(digest)) {
            let size = fs::symlink_metadata(&path).map_or(0, |found| found.len());
            if fs::remove_file(path).is_ok() {
                pruned.blobs += 1;
                pruned.bytes += size;
            }
        }
        drop(lock);
        Ok(pruned)
    }

    /// Copies every named image of another OCI layout into this store, checking every blob, and returns the names.
    /// Nothing is trusted that was not before. One damaged image and none is copied.
    pub fn copy_from_layout(&mut self, layout: &Path) -> Result<Vec<Reference>, Error> {
        if !layout.join(INDEX).is_file() {
            return Err(Error::NotFound(layout.display().to_string()));
        }
        let (root, index) = (layout.to_owned(), read_index(layout)?);
        let from = Self { root, index, built_here: BTreeSet::new(), grace: GRACE };
        let mut named = Vec::new();
        for descriptor in from.index.manifests.iter().filter(|d| d.media_type == INDEX_TYPE) {
            let name = descriptor.annotations.get(REF_NAME);
            if let Some(reference) = name.and_then(|name| Reference::parse(name).ok()) {
                named.push((reference, descriptor));
            }
        }
        let lock = self.refresh()?;
        let mut index = self.index.clone();
        let mut replaced = Vec::new();
        for (reference, descriptor) in &named {
            let bad = |source| Error::Image { name: reference.to_string(), source };
            let mut all = image::children(&from, descriptor).map_err(bad)?;
            all.push((*descriptor).clone());
            for child in &all {
                let bytes = image::checked(&from, child).map_err(bad)?;
                self.put_blobs(&[Blob { digest: child.digest.clone(), bytes }])?;
            }
            replaced.extend(put_entry(&mut index, descriptor, Some(&reference.to_string())));
        }
        self.save(index, replaced)?;
        drop(lock);
        Ok(named.into_iter().map(|(reference, _)| reference).collect())
    }

    /// Takes the lock and sees what others wrote meanwhile.
    fn refresh(&mut self) -> Result<files::Lock, Error> {
        let lock = files::lock(&self.root)?;
        self.index = read_index(&self.root)?;
        self.built_here = trust::read(&self.root);
        Ok(lock)
    }

    fn put_blobs(&self, blobs: &[Blob]) -> Result<(), Error> {
        for blob in blobs {
            let Some(path) = self.blob_path(&blob.digest) else { continue };
            // A blob that is there in another form is a damaged one: this mends it.
            let there = files::read_bounded(&path, blob.bytes.len() as u64).is_ok_and(|b| b == blob.bytes);
            if !there {
                files::replace(&self.root, &path, &blob.bytes, 0o444)?;
            }
        }
        Ok(())
    }

    /// Replaces `index.json`, then, if images are `gone` with it, removes the blobs that nothing needs any more.
    fn save(&mut self, mut index: Index, gone: impl IntoIterator<Item = Descriptor>) -> Result<(), Error> {
        let gone: Vec<_> =
            gone.into_iter().filter(|d| !index.manifests.iter().any(|o| o.digest == d.digest)).collect();
        // If something cannot be followed for a reason of the machine, it might need any blob: then none goes.
        let garbage = match gone.is_empty() {
            true => BTreeSet::new(),
            false => self.garbage(&mut index, &gone, &Extent::Gone).unwrap_or_default(),
        };
        self.replace_index(index)?;
        self.forget(&gone);
        for path in garbage.iter().filter_map(|digest| self.blob_path(digest)) {
            // A blob that cannot be removed takes space and does no harm.
            let _ = fs::remove_file(path);
        }
        Ok(())
    }

    fn replace_index(&mut self, mut index: Index) -> Result<(), Error> {
        let layout = self.root.join(LAYOUT);
        if !layout.exists() {
            files::replace(&self.root, &layout, LAYOUT_JSON, 0o644)?;
        }
        index.media_type = Some(INDEX_TYPE.to_owned());
        files::replace(&self.root, &self.root.join(INDEX), &to_json(&index), 0o644)?;
        self.index = index;
        summary::write(self, &self.index);
        Ok(())
    }

    fn forget(&mut self, gone: &[Descriptor]) {
        let before = self.built_here.len();
        self.built_here.retain(|digest| !gone.iter().any(|d| d.digest == *digest));
        if self.built_here.len() != before {
            // A note about an image that is gone does no harm: it is about these very bytes.
            let _ = trust::write(&self.root, &self.built_here);
        }
    }
}

fn new_name(reference: &Reference) -> Result<String, Error> {
    match reference.digest() {
        Some(_) => Err(Error::DigestAsName(reference.to_string())),
        None => Ok(reference.to_string()),
    }
}

/// Lists an image under a name, or without one if it has none yet, and returns the entry that had the name before.
fn put_entry(index: &mut Index, descriptor: &Descriptor, name: Option<&str>) -> Option<Descriptor> {
    let mut entry = Descriptor { platform: None, ..descriptor.clone() };
    entry.annotations = without_name(&entry.annotations);
    let Some(name) = name else {
        if !index.manifests.iter().any(|d| d.digest == entry.digest) {
            index.manifests.push(entry);
        }
        return None;
    };
    entry.annotations.insert(REF_NAME.to_owned(), name.to_owned());
    let named = |d: &Descriptor| d.annotations.get(REF_NAME).is_some_and(|n| n == name);
    let replaced = index.manifests.iter().find(|d| named(d)).cloned();
    // The nameless entry of the same image has got its name.
    let nameless = |d: &Descriptor| d.digest == entry.digest && !d.annotations.contains_key(REF_NAME);
    index.manifests.retain(|d| !named(d) && !nameless(d));
    index.manifests.push(entry);
    replaced
}

fn without_name(annotations: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut annotations = annotations.clone();
    annotations.remove(REF_NAME);
    annotations
}
