//! What is in a store.

use super::{Store, check::Depth, summary::Summary};
use crate::{
    image::{CREATED, Descriptor, INDEX_TYPE, REF_NAME, Trust},
    reference::Reference,
};
use std::collections::BTreeMap;

/// One name of an image, or one image without a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Registry and repository, or what stands in their place if that is no name; empty if the image has none.
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
    /// only belong to a listed image are not listed themselves, nor are signatures.
    pub fn list(&self) -> Vec<Entry> {
        let listed = |d: &&Descriptor| {
            let image = d.media_type == INDEX_TYPE || d.annotations.contains_key(REF_NAME);
            image && !matches!(self.subject(d), Ok(Some(_)))
        };
        let summary = Summary::read(&self.root);
        let lines = summary.lines();
        let there = |d: &Descriptor| {
            let line = d.digest.strip_prefix("sha256:").and_then(|hex| lines.get(hex));
            d.media_type == INDEX_TYPE && line.is_some_and(|line| summary.is_there(line))
        };
        let entries = self.index.manifests.iter().filter(listed).map(|d| self.entry(d, there(d)));
        let mut entries: Vec<_> = entries.collect();
        entries.sort_by(|a, b| (&a.repository, &a.tag, &a.digest).cmp(&(&b.repository, &b.tag, &b.digest)));
        entries
    }

    /// `there` tells that all its blobs are, so that they need not be looked at.
    fn entry(&self, descriptor: &Descriptor, there: bool) -> Entry {
        let name = descriptor.annotations.get(REF_NAME);
        let reference = name.and_then(|name| Reference::parse(name).ok());
        let damage = match (&reference, name) {
            (Some(_), _) | (None, None) if there => None,
            _ => self.faults(descriptor, Depth::Short, &mut BTreeMap::new()).into_iter().next(),
        };
        let built_here = self.built_here.contains(&descriptor.digest);
        Entry {
            repository: reference.as_ref().map(Reference::name).or_else(|| name.cloned()).unwrap_or_default(),
            tag: reference.as_ref().and_then(Reference::tag).unwrap_or_default().to_owned(),
            digest: descriptor.digest.clone(),
            created: descriptor.annotations.get(CREATED).cloned().unwrap_or_default(),
            trust: if built_here { Trust::BuiltHere } else { Trust::Unverified },
            damage: damage.map(|(_, what)| what),
        }
    }
}
