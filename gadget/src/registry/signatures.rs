//! Signatures of an image from its registry into the store: cosign's tag, what refers to the image by the registry's
//! word, and where a registry keeps no such list, the tag that stands in for it. Whether they are any good is not
//! asked here.
//!
//! Formats: cosign's signature specification, OCI distribution specification 1.1 (referrers), sigstore bundles.

use super::{
    Client, Error, Fault, Silent, failure,
    fetch::{self, AT_ONCE},
    http::{Http, Request, Scope},
    pull,
    retry::retried,
};
use crate::{
    image::{self, Descriptor, EMPTY_TYPE, Index, MANIFEST_TYPE, Manifest},
    reference::Reference,
    store::{Entered, Stage, Store},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{
    Method, StatusCode,
    header::{ACCEPT, HeaderValue},
};

/// Most signatures of one image.
const MAX_SIGNATURES: usize = 64;
/// Largest blob of a signature, bytes.
const MAX_BLOB: u64 = 1 << 20;
/// What the types of signatures, or of their layers, begin with. Others that refer to an image, such as lists of its
/// parts, are left.
const SIGNATURES: [&str; 3] = [
    "application/vnd.dev.cosign.",
    "application/vnd.dev.sigstore.bundle",
    "application/vnd.cncf.notary.signature",
];

impl Client {
    /// Fetches the signatures of the image with this index digest from the repository of `reference` into the store,
    /// and returns how many there are. None is no error.
    ///
    /// # Errors
    /// What [`Fault`] says, but only if no signature was found by the other ways.
    pub fn fetch_signatures(
        &self,
        store: &mut Store,
        reference: &Reference,
        digest: &str,
    ) -> Result<usize, Error> {
        let work = fetch_all(&self.http, store, reference, digest);
        self.wait("fetch the signatures of", &reference.to_string(), work)
    }
}

async fn fetch_all(
    http: &Http,
    store: &mut Store,
    reference: &Reference,
    digest: &str,
) -> Result<usize, Fault> {
    http.source.check()?;
    let scope = Scope::new(reference, false);
    let stage = store.stage()?;
    let mut entries = Vec::new();
    let mut faults = Vec::new();
    let by_tag = by_tag(http, &scope, &stage, reference, digest);
    let (tagged, referrers) = futures_util::future::join(by_tag, referrers(http, &scope, digest)).await;
    match tagged {
        Ok(found) => entries.extend(found),
        Err(fault) => faults.push(fault),
    }
    match referrers {
        Ok(found) => {
            let fetched: Vec<_> =
                stream::iter(found.iter().map(|d| signature(http, &scope, &stage, d, digest)))
                    .buffer_unordered(AT_ONCE)
                    .collect()
                    .await;
            for outcome in fetched {
                match outcome {
                    Ok(Some(descriptor)) => entries.push(Entered { descriptor, name: None }),
                    Ok(None) => {}
                    Err(fault) => faults.push(fault),
                }
            }
        }
        Err(fault) => faults.push(fault),
    }
    match (entries.len(), faults.pop()) {
        (0, Some(fault)) => Err(fault),
        (0, None) => Ok(0),
        (count, _) => {
            store.commit(stage, &entries)?;
            Ok(count)
        }
    }
}

/// `sha256-<hex>` and an ending.
fn tag(digest: &str, ending: &str) -> String {
    format!("{}{ending}", digest.replacen(':', "-", 1))
}

fn is_signature(media_type: &str) -> bool {
    SIGNATURES.iter().any(|known| media_type.starts_with(known))
}

/// Cosign's tag.
async fn by_tag(
    http: &Http,
    scope: &Scope,
    stage: &Stage,
    reference: &Reference,
    digest: &str,
) -> Result<Option<Entered>, Fault> {
    let tag = tag(digest, ".sig");
    let found = match fetch::document(http, scope, &tag, "").await {
        Err(Fault::NotFound { .. }) => return Ok(None),
        found => found?,
    };
    if !matches!(found.media_type.as_str(), MANIFEST_TYPE | "") {
        return Err(Fault::WrongType(found.media_type));
    }
    let descriptor = stage.put(&found.bytes, MANIFEST_TYPE)?;
    content(http, scope, stage, &descriptor).await?;
    let name = Reference::parse(&format!("{}:{tag}", reference.name())).ok();
    Ok(Some(Entered { descriptor, name }))
}

/// What refers to the image and may be a signature.
async fn referrers(http: &Http, scope: &Scope, digest: &str) -> Result<Vec<Descriptor>, Fault> {
    let listed = retried(http.limits, async || {
        let url = http.url(&scope.registry, &format!("{}/referrers/{digest}", scope.repository))?;
        let index = HeaderValue::from_static(image::INDEX_TYPE);
        let response = http.send(&Request::new(scope, Method::GET, url).header(ACCEPT, index)).await?;
        // Registries without such a list say so in many ways.
        let status = response.status();
        if status.is_client_error()
            && !matches!(
                status,
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
            )
        {
            return Ok(None);
        }
        let response = failure::success(http, scope, response, "").await?;
        let bytes = http.document(response, "the list of referrers", image::MAX_JSON).await?;
        Ok(serde_json::from_slice::<Index>(&bytes).ok())
    })
    .await?;
    let listed = match listed {
        Some(index) => index,
        None => match fetch::document(http, scope, &tag(digest, ""), "").await {
            Err(Fault::NotFound { .. }) => return Ok(Vec::new()),
            found => serde_json::from_slice(&found?.bytes).unwrap_or_default(),
        },
    };
    // Cosign 3 lists its bundles as empty; what they are stands in their manifests.
    let maybe = |d: &Descriptor| match d.artifact_type.as_deref() {
        None | Some("" | EMPTY_TYPE) => true,
        Some(kind) => is_signature(kind),
    };
    Ok(listed.manifests.into_iter().filter(maybe).take(MAX_SIGNATURES).collect())
}

/// Fetches one that refers to the image; `None` if it turns out not to.
async fn signature(
    http: &Http,
    scope: &Scope,
    stage: &Stage,
    descriptor: &Descriptor,
    digest: &str,
) -> Result<Option<Descriptor>, Fault> {
    fetch::manifest(http, scope, stage, descriptor).await?;
    let manifest = Manifest::parse(descriptor, &image::checked(stage, descriptor)?)?;
    let mut kinds =
        manifest.artifact_type.iter().chain(manifest.layers.iter().map(|layer| &layer.media_type));
    let ours = kinds.any(|kind| is_signature(kind)) || is_signature(&manifest.config.media_type);
    if !ours || manifest.subject.is_none_or(|subject| subject.digest != digest) {
        return Ok(None);
    }
    content(http, scope, stage, descriptor).await?;
    let annotations = Default::default();
    Ok(Some(Descriptor { media_type: MANIFEST_TYPE.to_owned(), annotations, ..descriptor.clone() }))
}

/// Configuration and layers of a signature.
async fn content(http: &Http, scope: &Scope, stage: &Stage, manifest: &Descriptor) -> Result<(), Fault> {
    let blobs = pull::blobs(stage, &[manifest])?;
    if let Some(large) = blobs.iter().find(|blob| blob.size > MAX_BLOB) {
        return Err(Fault::TooLong {
            what: format!("blob {} of a signature", large.digest),
            limit: MAX_BLOB,
        });
    }
    stream::iter(blobs.iter().map(|blob| fetch::blob(http, scope, stage, blob, &Silent)))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}
