//! Changes to a store. Each takes the lock, reads `index.json` again, puts new blobs in place, replaces `index.json`,
//! and only then removes blobs that nothing points at any more: broken off anywhere, the store is whole.

use super::{BLOBS, Error, GRACE, INDEX, LAYOUT, LAYOUT_JSON, Store, files, read_index, trust};
use crate::{
    image::{self, Blob, Descriptor, INDEX_TYPE, Image, Index, MANIFEST_TYPE, REF_NAME, to_json},
    reference::Reference,
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

impl Store {
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
        let lock = self.refresh()?;
        let found = self.find(reference).ok_or_else(|| Error::NotFound(reference.to_string()))?.clone();
        let mut index = self.index.clone();
        match reference.digest() {
            Some(digest) => index.manifests.retain(|d| d.digest != digest),
            None => index.manifests.retain(|d| d != &found),
        }
        let untagged_only = index.manifests.iter().any(|d| d.digest == found.digest);
        self.save(index, (!untagged_only).then(|| found.clone()))?;
        drop(lock);
        Ok(Removed { digest: found.digest, untagged_only })
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
        let garbage = self.garbage(&mut index, &gone);
        let layout = self.root.join(LAYOUT);
        if !layout.exists() {
            files::replace(&self.root, &layout, LAYOUT_JSON, 0o644)?;
        }
        index.media_type = Some(INDEX_TYPE.to_owned());
        files::replace(&self.root, &self.root.join(INDEX), &to_json(&index), 0o644)?;
        self.index = index;
        for descriptor in &gone {
            if self.built_here.remove(&descriptor.digest) {
                // A note about an image that is gone does no harm: it is about these very bytes.
                let _ = trust::write(&self.root, &self.built_here);
            }
        }
        for path in garbage.iter().filter_map(|digest| self.blob_path(digest)) {
            // A blob that cannot be removed takes space and does no harm.
            let _ = fs::remove_file(path);
        }
        Ok(())
    }

    /// Blobs that nothing in the index reaches, now that the `gone` images have left it; the untagged manifests of
    /// these leave with them. If an image cannot be followed, it might need any blob: then none.
    ///
    /// Besides what the `gone` images needed, these are the leftovers of writers that were broken off. This program
    /// writes blobs under the lock, which is held now, but others that know OCI layouts do not ask for it: what came
    /// in of late may be theirs, waiting for its place in the index.
    fn garbage(&self, index: &mut Index, gone: &[Descriptor]) -> BTreeSet<String> {
        if gone.is_empty() {
            return BTreeSet::new();
        }
        let mut left: BTreeSet<String> = gone.iter().map(|d| d.digest.clone()).collect();
        for descriptor in gone {
            let children = image::children(self, descriptor).unwrap_or_default();
            left.extend(children.into_iter().map(|d| d.digest));
        }
        let mut needed = BTreeSet::new();
        for other in index.manifests.iter().filter(|d| d.media_type != MANIFEST_TYPE) {
            let Ok(children) = image::children(self, other) else { return BTreeSet::new() };
            needed.insert(other.digest.clone());
            needed.extend(children.into_iter().map(|d| d.digest));
        }
        let orphan = |d: &Descriptor| {
            let manifest = d.media_type == MANIFEST_TYPE && !d.annotations.contains_key(REF_NAME);
            manifest && left.contains(&d.digest) && !needed.contains(&d.digest)
        };
        index.manifests.retain(|d| !orphan(d));
        for other in index.manifests.iter().filter(|d| d.media_type == MANIFEST_TYPE) {
            let Ok(children) = image::manifest_children(self, other) else { return BTreeSet::new() };
            needed.insert(other.digest.clone());
            needed.extend(children.into_iter().map(|d| d.digest));
        }
        left.extend(files::older(&self.root.join(BLOBS), self.grace).map(|name| format!("sha256:{name}")));
        left.retain(|digest| !needed.contains(digest));
        left
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
