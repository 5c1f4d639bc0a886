//! What belongs to which image, and what belongs to none any more.
//!
//! A signature is an entry of its own. It is about an image, its subject: by its tag (`sha256-<hex>` with or without
//! an ending, as cosign and the distribution specification's fallback have it) or by the field `subject` of its
//! manifest. It stays as long as its subject is there and leaves with it.

use super::{BLOBS, Store, files, walk};
use crate::{
    image::{self, Descriptor, INDEX_TYPE, Index, REF_NAME},
    reference::{Reference, is_digest},
};
use std::collections::BTreeSet;

/// What else must leave an index, besides what was asked for.
pub(super) enum Extent {
    /// What was about the images that leave.
    Gone,
    /// Also images without a name, and what is about an image that is not there.
    Nameless,
}

impl Store {
    /// What may be a signature of an image, or anything else about it: entries of its digest's tags, those that a
    /// fallback index lists, and manifests whose `subject` it is. Nothing is said about their content.
    pub fn related(&self, digest: &str) -> Vec<Descriptor> {
        let mut found: Vec<Descriptor> = Vec::new();
        let mut add = |descriptor: &Descriptor| {
            if !found.iter().any(|d| d.digest == descriptor.digest) {
                found.push(descriptor.clone());
            }
        };
        for entry in self.about(digest) {
            let fallback = entry.media_type == INDEX_TYPE && entry.annotations.contains_key(REF_NAME);
            match walk::Document::read(self, &entry) {
                Ok(document) if fallback => document.parts().for_each(&mut add),
                _ => add(&entry),
            }
        }
        found
    }

    /// The entries that are about an image.
    pub(super) fn about(&self, digest: &str) -> Vec<Descriptor> {
        let about = |entry: &&Descriptor| self.subject(entry).ok().flatten().as_deref() == Some(digest);
        self.index.manifests.iter().filter(about).cloned().collect()
    }

    /// Digest of the image that an entry is about; `None` if it is an image itself.
    pub(super) fn subject(&self, entry: &Descriptor) -> Result<Option<String>, image::Error> {
        if let Some(name) = entry.annotations.get(REF_NAME) {
            // Few names are of that form; taking each apart would be most of the work of a list.
            let tag = name.contains(":sha256-").then(|| Reference::parse(name).ok());
            return Ok(tag.flatten().and_then(|name| about(name.tag()?)));
        }
        if !walk::is_document(entry) {
            return Ok(None);
        }
        Ok(walk::Document::read(self, entry)?.subject.map(|subject| subject.digest))
    }

    /// Takes out of an index what leaves together with the `gone` images, and returns the blobs that nothing in it
    /// reaches any more.
    ///
    /// Besides what the `gone` images needed, these are the leftovers of writers that were broken off. This program
    /// puts blobs in place under the lock, which is held now, but others that know OCI layouts do not ask for it:
    /// what came in of late may be theirs, waiting for its place in the index.
    pub(super) fn garbage(
        &self,
        index: &mut Index,
        gone: &[Descriptor],
        extent: &Extent,
    ) -> Result<BTreeSet<String>, image::Error> {
        let everything = matches!(extent, Extent::Nameless);
        let (mut needed, mut left) = (BTreeSet::new(), BTreeSet::new());
        for descriptor in gone {
            walk::reach(self, descriptor, &mut left)?;
        }
        // Entries that stand for themselves, parts of others, and those about others.
        let (mut kept, mut parts, mut about) = (Vec::new(), Vec::new(), Vec::new());
        for entry in std::mem::take(&mut index.manifests) {
            let nameless = !entry.annotations.contains_key(REF_NAME);
            match self.subject(&entry)? {
                Some(subject) => about.push((subject, entry)),
                None if nameless && (everything || entry.media_type != INDEX_TYPE) => parts.push(entry),
                None => kept.push(entry),
            }
        }
        for entry in &kept {
            walk::reach(self, entry, &mut needed)?;
        }
        for entry in parts {
            if needed.contains(&entry.digest) {
                kept.push(entry);
            } else if everything || left.contains(&entry.digest) {
                walk::reach(self, &entry, &mut left)?;
            } else {
                walk::reach(self, &entry, &mut needed)?;
                kept.push(entry);
            }
        }
        // A signature may itself be signed.
        while let Some(at) = about.iter().position(|(subject, _)| needed.contains(subject)) {
            let (_, entry) = about.swap_remove(at);
            walk::reach(self, &entry, &mut needed)?;
            kept.push(entry);
        }
        while let Some(at) = about.iter().position(|(subject, _)| everything || left.contains(subject)) {
            let (_, entry) = about.swap_remove(at);
            walk::reach(self, &entry, &mut left)?;
        }
        for (_, entry) in about {
            walk::reach(self, &entry, &mut needed)?;
            kept.push(entry);
        }
        index.manifests = kept;
        left.extend(files::older(&self.root.join(BLOBS), self.grace).map(|name| format!("sha256:{name}")));
        left.retain(|digest| !needed.contains(digest));
        Ok(left)
    }
}

/// The digest that a tag such as `sha256-<hex>.sig` is about.
pub(super) fn about(tag: &str) -> Option<String> {
    let hex = tag.strip_prefix("sha256-")?;
    let hex = hex.split_once('.').map_or(hex, |(hex, _)| hex);
    let digest = format!("sha256:{hex}");
    is_digest(&digest).then_some(digest)
}
