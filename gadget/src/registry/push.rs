//! An image from the store into a registry: blobs first, then the manifests that need them, the index last, so that a
//! name there never leads to half an image.

use super::{
    Client, Error, Fault, Progress, failure,
    fetch::AT_ONCE,
    http::{Http, Request, Scope, host, resolve},
    retry::retried,
};
use crate::{
    image::{self, Descriptor, INDEX_TYPE, Index, MANIFEST_TYPE},
    reference::Reference,
    store::{self, Store},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{
    Method, Response, StatusCode,
    header::{ACCEPT, HeaderValue, LOCATION},
};
use std::{collections::BTreeSet, sync::Arc};

impl Client {
    /// Sends an image with all its architectures, leaving out what the registry has, and returns the digest of the
    /// index.
    ///
    /// # Errors
    /// What [`Fault`] says; also an image that the store has for one architecture only.
    pub fn push(
        &self,
        store: &Store,
        reference: &Reference,
        progress: &dyn Progress,
    ) -> Result<String, Error> {
        self.wait("push", &reference.to_string(), push(&self.http, store, reference, progress))
    }
}

async fn push(
    http: &Http,
    store: &Store,
    reference: &Reference,
    progress: &dyn Progress,
) -> Result<String, Fault> {
    http.source.check()?;
    let name = reference.to_string();
    let top = store.find(reference).ok_or_else(|| store::Error::NotFound(name.clone()))?;
    if top.media_type != INDEX_TYPE {
        return Err(Fault::WrongType(top.media_type.clone()));
    }
    let (manifests, blobs) = parts(store, top)?;
    let scope = Scope::new(reference, true);
    // One alone first: it finds out who one is to the registry, so that the others need not.
    let (first, rest) = blobs.split_at(blobs.len().min(1));
    let mut lacking = Vec::new();
    for batch in [first, rest] {
        let found = stream::iter(batch.iter().map(|blob| lacks(http, &scope, "blobs", blob)))
            .buffered(AT_ONCE)
            .try_collect::<Vec<_>>()
            .await?;
        lacking.extend(batch.iter().zip(found).filter_map(|(blob, lacks)| lacks.then_some(blob)));
    }
    progress.blobs(lacking.len(), lacking.iter().map(|blob| blob.size).sum());
    stream::iter(lacking.into_iter().map(|blob| upload(http, &scope, store, blob, progress)))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    stream::iter(manifests.iter().map(|manifest| put(http, &scope, store, manifest, &manifest.digest)))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    put(http, &scope, store, top, reference.tag().unwrap_or(&top.digest)).await?;
    Ok(top.digest.clone())
}

/// What an index consists of: its manifests, and what these consist of, each once.
fn parts(store: &Store, top: &Descriptor) -> Result<(Vec<Descriptor>, Vec<Descriptor>), image::Error> {
    let (mut manifests, mut blobs) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for mut manifest in Index::read(store, top)?.manifests {
        if !seen.insert(manifest.digest.clone()) {
            continue;
        }
        let below = image::manifest_children(store, &manifest)?;
        blobs.extend(below.into_iter().filter(|blob| seen.insert(blob.digest.clone())));
        manifest.media_type = MANIFEST_TYPE.to_owned();
        manifests.push(manifest);
    }
    Ok((manifests, blobs))
}

/// Whether the registry does not have something yet. `kind` is where it would be.
async fn lacks(http: &Http, scope: &Scope, kind: &str, descriptor: &Descriptor) -> Result<bool, Fault> {
    retried(http.limits, async || {
        let url = http.url(&scope.registry, &format!("{}/{kind}/{}", scope.repository, descriptor.digest))?;
        let request = Request::new(scope, Method::HEAD, url);
        let response = http.send(&request).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(true);
        }
        failure::success(http, scope, response, "").await.map(|_| false)
    })
    .await
}

async fn upload(
    http: &Http,
    scope: &Scope,
    store: &Store,
    descriptor: &Descriptor,
    progress: &dyn Progress,
) -> Result<(), Fault> {
    progress.start(&descriptor.digest, descriptor.size);
    let bytes: Arc<[u8]> = match image::checked(store, descriptor) {
        Ok(bytes) => bytes.into(),
        Err(image::Error::Missing { .. }) if descriptor.digest == image::digest(b"{}") => (*b"{}").into(),
        Err(error) => return Err(error.into()),
    };
    let missing = format!("it does not take blobs for {}; check the name", scope.repository);
    retried(http.limits, async || {
        let start = http.url(&scope.registry, &format!("{}/blobs/uploads/", scope.repository))?;
        let request = Request::new(scope, Method::POST, start);
        let response = failure::success(http, scope, http.send(&request).await?, &missing).await?;
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| Fault::Protocol {
            host: host(response.url()),
            why: "it begins an upload without saying where".to_owned(),
        })?;
        let mut target = resolve(response.url(), location)?;
        target.query_pairs_mut().append_pair("digest", &descriptor.digest);
        let request =
            Request::new(scope, Method::PUT, target).body("application/octet-stream", bytes.clone());
        let response = failure::success(http, scope, http.send(&request).await?, &missing).await?;
        same_digest(&response, descriptor)
    })
    .await?;
    progress.advance(&descriptor.digest, descriptor.size);
    progress.done(&descriptor.digest);
    Ok(())
}

/// Sends a manifest or index under a digest or tag, and asks what came of it.
async fn put(
    http: &Http,
    scope: &Scope,
    store: &Store,
    descriptor: &Descriptor,
    name: &str,
) -> Result<(), Fault> {
    let bytes: Arc<[u8]> = image::checked(store, descriptor)?.into();
    let media_type = if descriptor.media_type == INDEX_TYPE { INDEX_TYPE } else { MANIFEST_TYPE };
    let missing = format!("it does not take images for {}; check the name", scope.repository);
    retried(http.limits, async || {
        let url = http.url(&scope.registry, &format!("{}/manifests/{name}", scope.repository))?;
        let request = Request::new(scope, Method::PUT, url.clone()).body(media_type, bytes.clone());
        let response = failure::success(http, scope, http.send(&request).await?, &missing).await?;
        if response.headers().contains_key(DIGEST) {
            return same_digest(&response, descriptor);
        }
        let request =
            Request::new(scope, Method::HEAD, url).header(ACCEPT, HeaderValue::from_static(media_type));
        let gone = format!("it took {name} and does not have it");
        same_digest(&failure::success(http, scope, http.send(&request).await?, &gone).await?, descriptor)
    })
    .await
}

/// Where a registry says what it took.
const DIGEST: &str = "docker-content-digest";

fn same_digest(response: &Response, descriptor: &Descriptor) -> Result<(), Fault> {
    match response.headers().get(DIGEST).map(|value| String::from_utf8_lossy(value.as_bytes())) {
        Some(found) if found != descriptor.digest => Err(Fault::Digest {
            what: "what the registry took".to_owned(),
            found: found.escape_debug().take(80).collect(),
            wanted: descriptor.digest.clone(),
        }),
        _ => Ok(()),
    }
}
