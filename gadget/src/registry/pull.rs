//! An image from a registry into the store: the index, the manifests that are wanted, and then, several at once, every
//! blob that is not there yet.

use super::{
    Client, Error, Fault, Progress,
    fetch::{self, AT_ONCE},
    http::{Http, Scope},
};
use crate::{
    image::{self, Blobs, CREATED, Descriptor, EMPTY_TYPE, INDEX_TYPE, Index, Manifest},
    reference::Reference,
    store::{Entered, Stage, Store},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::BTreeSet;

/// Largest image with all its architectures, bytes.
const MAX_IMAGE: u64 = 1 << 30;
/// Most annotations of an index that are noted in the store's list, bytes.
const MAX_NOTES: usize = 16 << 10;

/// Which architectures to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platforms<'a> {
    /// All that the image has: it can be pushed and exported again.
    All,
    /// One, by its Go name.
    Only(&'a str),
}

/// What was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Digest of the index.
    pub digest: String,
    /// What was strange but no obstacle.
    pub warnings: Vec<String>,
}

impl Client {
    /// Fetches an image into the store. Whole, checked and listed under its name, or not at all; a reference with a
    /// digest is listed by its digest.
    ///
    /// # Errors
    /// What [`Fault`] says; the store is as it was then.
    pub fn pull(
        &self,
        store: &mut Store,
        reference: &Reference,
        platforms: Platforms<'_>,
        progress: &dyn Progress,
    ) -> Result<Pulled, Error> {
        self.wait("pull", &reference.to_string(), pull(&self.http, store, reference, platforms, progress))
    }
}

async fn pull(
    http: &Http,
    store: &mut Store,
    reference: &Reference,
    platforms: Platforms<'_>,
    progress: &dyn Progress,
) -> Result<Pulled, Fault> {
    http.source.check()?;
    let scope = Scope::new(reference, false);
    let name = reference.digest().or(reference.tag()).unwrap_or_default();
    let missing = match reference.digest() {
        Some(digest) => format!("there is no image {digest} in {}; check the digest", reference.name()),
        None => format!("there is no {name:?} in {}; check the name and the tag", reference.name()),
    };
    let top = fetch::document(http, &scope, name, &missing).await?;
    if top.media_type != INDEX_TYPE {
        return Err(Fault::WrongType(top.media_type));
    }
    let stage = store.stage()?;
    let mut descriptor = stage.put(&top.bytes, INDEX_TYPE)?;
    let index = Index::read(&stage, &descriptor)?;
    let manifests = wanted(&index, platforms)?;
    stream::iter(manifests.iter().map(|child| fetch::manifest(http, &scope, &stage, child)))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    let blobs = blobs(&stage, &manifests)?;
    progress.blobs(blobs.len(), blobs.iter().map(|blob| blob.size).sum());
    stream::iter(blobs.iter().map(|blob| fetch::blob(http, &scope, &stage, blob, progress)))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    let mut warnings = Vec::new();
    descriptor.annotations = index.annotations;
    if descriptor.annotations.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > MAX_NOTES {
        warnings
            .push("the image has more annotations than the store's list takes; they are left out".to_owned());
        descriptor.annotations.retain(|key, value| key == CREATED && value.len() < 64);
    }
    let name = reference.digest().is_none().then(|| reference.clone());
    store.commit(stage, &[Entered { descriptor, name }])?;
    Ok(Pulled { digest: top.digest, warnings })
}

impl Scope {
    pub(super) fn new(reference: &Reference, push: bool) -> Self {
        Self { registry: reference.domain().to_owned(), repository: reference.repository().to_owned(), push }
    }
}

/// The manifests of an index to be fetched, each once.
fn wanted<'a>(index: &'a Index, platforms: Platforms<'_>) -> Result<Vec<&'a Descriptor>, Fault> {
    let architecture = |d: &'a Descriptor| d.platform.as_ref().map(|p| p.architecture.as_str());
    let suits = |d: &&Descriptor| match platforms {
        Platforms::All => true,
        Platforms::Only(wanted) => d.platform.as_ref().is_some_and(|p| p.architecture == wanted),
    };
    let mut seen = BTreeSet::new();
    let found: Vec<_> = index.manifests.iter().filter(suits).filter(|d| seen.insert(&d.digest)).collect();
    match platforms {
        Platforms::Only(wanted) if found.is_empty() => {
            let found: Vec<_> =
                index.manifests.iter().filter_map(architecture).map(|name| format!("{name:?}")).collect();
            let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
            Err(image::Error::Architecture { wanted: wanted.to_owned(), found }.into())
        }
        _ => Ok(found),
    }
}

/// Configurations and layers that are to be fetched, each once; what is implausible is refused before anything is.
pub(super) fn blobs(stage: &Stage, manifests: &[&Descriptor]) -> Result<Vec<Descriptor>, Fault> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    let mut total = 0u64;
    for descriptor in manifests {
        let manifest = Manifest::parse(descriptor, &stage.blob(descriptor)?)?;
        for blob in [manifest.config].into_iter().chain(manifest.layers) {
            fetch::plausible(&blob)?;
            if !seen.insert(blob.digest.clone()) {
                continue;
            }
            total = total.saturating_add(blob.size);
            if total > MAX_IMAGE {
                return Err(Fault::TooLong { what: "the image".to_owned(), limit: MAX_IMAGE });
            }
            // Some tools write it nowhere, because everybody knows it.
            if blob.media_type == EMPTY_TYPE && blob.digest == image::digest(b"{}") {
                stage.put(b"{}", EMPTY_TYPE)?;
            } else if !stage.has(&blob) {
                found.push(blob);
            }
        }
    }
    Ok(found)
}
