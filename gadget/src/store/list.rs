//! What is in a store.

use super::Store;
use crate::{
    image::{self, CREATED, Descriptor, INDEX_TYPE, REF_NAME, Trust},
    reference::Reference,
};
use std::fs;

/// One name of an image, or one image without a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The full name; `None` if the image has none, or one that is not a name.
    pub reference: Option<Reference>,
    /// Registry and repository; empty if the image has no name.
    pub repository: String,
    /// Empty if there is none.
    pub tag: String,
    /// Digest of the index.
    pub digest: String,
    /// RFC 3339, as whoever built the image wrote it; empty if unknown.
    pub created: String,
    /// Whether it was built here.
    pub trust: Trust,
    /// Why it cannot be used, if it cannot.
    pub damage: Option<String>,
}

impl Store {
    /// Everything in the store, by name. A damaged image is listed as such and spoils no other. Manifests that
    /// only belong to a listed image are not listed themselves.
    pub fn list(&self) -> Vec<Entry> {
        let listed = |d: &&Descriptor| d.media_type == INDEX_TYPE || d.annotations.contains_key(REF_NAME);
        let mut entries: Vec<_> = self.index.manifests.iter().filter(listed).map(|d| self.entry(d)).collect();
        entries.sort_by(|a, b| (&a.repository, &a.tag, &a.digest).cmp(&(&b.repository, &b.tag, &b.digest)));
        entries
    }

    fn entry(&self, descriptor: &Descriptor) -> Entry {
        let name = descriptor.annotations.get(REF_NAME);
        let reference = name.and_then(|name| Reference::parse(name).ok());
        let mut damage = self.damage(descriptor);
        if let (Some(name), None) = (name, &reference) {
            damage = damage.or_else(|| Some(format!("{name:?} is not an image name")));
        }
        let built_here = self.built_here.contains(&descriptor.digest);
        Entry {
            repository: reference.as_ref().map(Reference::name).or_else(|| name.cloned()).unwrap_or_default(),
            tag: reference.as_ref().and_then(Reference::tag).unwrap_or_default().to_owned(),
            digest: descriptor.digest.clone(),
            created: descriptor.annotations.get(CREATED).cloned().unwrap_or_default(),
            trust: if built_here { Trust::BuiltHere } else { Trust::Unverified },
            reference,
            damage,
        }
    }

    /// Reads index and manifests, and looks whether the rest is there in full; hashing every layer would make
    /// listing slow, and they are hashed when used.
    fn damage(&self, descriptor: &Descriptor) -> Option<String> {
        let children = match image::children(self, descriptor) {
            Ok(children) => children,
            Err(error) => return Some(error.to_string()),
        };
        children.iter().find_map(|child| {
            let size =
                self.blob_path(&child.digest).and_then(|path| fs::metadata(path).ok()).map(|m| m.len());
            match size {
                _ if child.media_type == image::EMPTY_TYPE => None,
                None => Some(format!("blob {:?} is missing", child.digest)),
                Some(size) if size != child.size => {
                    Some(format!("blob {:?} has {size} bytes and not {}", child.digest, child.size))
                }
                Some(_) => None,
            }
        })
    }
}
