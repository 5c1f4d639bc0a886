//! Documents and blobs out of a registry, into a stage. A document is bounded and hashed in memory; a blob is hashed
//! while it streams, and taken up again where its connection broke.

use super::{
    Fault, Progress, failure,
    http::{Http, Request, Scope, host},
    retry::{Backoff, retried},
};
use crate::{
    image::{self, Descriptor, INDEX_TYPE, MANIFEST_TYPE},
    reference::is_digest,
    store::{BlobWriter, Stage},
};
use reqwest::{
    Method, Response, StatusCode,
    header::{ACCEPT, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE},
};
use serde::Deserialize;

/// What a registry may answer with. Docker's own are asked for too: an answer of that kind can be told from none.
const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                        application/vnd.docker.distribution.manifest.list.v2+json, \
                        application/vnd.docker.distribution.manifest.v2+json";
/// How many blobs are fetched or sent at once.
pub(super) const AT_ONCE: usize = 4;
/// Bytes after which a connection that breaks does not count as one more failure.
const HEADWAY: u64 = 1 << 20;

/// An index or a manifest.
pub(super) struct Document {
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) bytes: Vec<u8>,
}

/// Fetches an index or a manifest by tag or digest. `missing` is said if there is none; with a digest, the content has
/// it.
pub(super) async fn document(
    http: &Http,
    scope: &Scope,
    name: &str,
    missing: &str,
) -> Result<Document, Fault> {
    retried(http.limits, async || {
        let url = http.url(&scope.registry, &format!("{}/manifests/{name}", scope.repository))?;
        let request =
            Request::new(scope, Method::GET, url).header(ACCEPT, HeaderValue::from_static(ACCEPTED));
        let response = failure::success(http, scope, http.send(&request).await?, missing).await?;
        let header =
            |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let said = header("docker-content-digest");
        let declared = header(CONTENT_TYPE.as_str());
        let what = format!("{}:{name}", scope.repository);
        let bytes = http.document(response, &what, image::MAX_JSON).await?;
        let digest = image::digest(&bytes);
        let wanted =
            if is_digest(name) { Some(name.to_owned()) } else { said.filter(|said| is_digest(said)) };
        match wanted {
            Some(wanted) if wanted != digest => Err(Fault::Digest { what, found: digest, wanted }),
            _ => Ok(Document { media_type: media_type(declared.as_deref(), &bytes), digest, bytes }),
        }
    })
    .await
}

/// What a document is: by what it says of itself and, if it does not, by what the registry says.
fn media_type(declared: Option<&str>, bytes: &[u8]) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Own {
        media_type: String,
    }
    match serde_json::from_slice::<Own>(bytes) {
        Ok(own) => own.media_type,
        Err(_) => declared.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned(),
    }
}

/// Refuses a descriptor that cannot be of anything in a gadget, before anything of it is fetched.
pub(super) fn plausible(descriptor: &Descriptor) -> Result<(), image::Error> {
    image::plausible(descriptor, image::limit(&descriptor.media_type))
}

/// Fetches a manifest that an index lists, and puts it into the stage.
pub(super) async fn manifest(
    http: &Http,
    scope: &Scope,
    stage: &Stage,
    descriptor: &Descriptor,
) -> Result<(), Fault> {
    plausible(descriptor)?;
    if !matches!(descriptor.media_type.as_str(), "" | MANIFEST_TYPE) {
        return Err(Fault::WrongType(descriptor.media_type.clone()));
    }
    if descriptor.size > image::MAX_JSON {
        return Err(Fault::TooLong { what: descriptor.digest.clone(), limit: image::MAX_JSON });
    }
    if stage.has(descriptor) {
        return Ok(());
    }
    let missing =
        format!("it lacks {} of the image, which is damaged there; push it again", descriptor.digest);
    let found = document(http, scope, &descriptor.digest, &missing).await?;
    if found.bytes.len() as u64 != descriptor.size {
        return Err(Fault::Length {
            what: descriptor.digest.clone(),
            found: found.bytes.len().to_string(),
            wanted: descriptor.size,
        });
    }
    if matches!(found.media_type.as_str(), "" | MANIFEST_TYPE | "application/octet-stream" | "text/plain")
        || descriptor.media_type == MANIFEST_TYPE && found.media_type != INDEX_TYPE
    {
        stage.put(&found.bytes, MANIFEST_TYPE)?;
        return Ok(());
    }
    Err(Fault::WrongType(found.media_type))
}

/// Fetches a blob into the stage, from where an earlier connection left off.
pub(super) async fn blob(
    http: &Http,
    scope: &Scope,
    stage: &Stage,
    descriptor: &Descriptor,
    progress: &dyn Progress,
) -> Result<(), Fault> {
    progress.start(&descriptor.digest, descriptor.size);
    let mut writer = stage.writer(descriptor)?;
    progress.advance(&descriptor.digest, writer.offset());
    let mut backoff = Backoff::new(http.limits);
    while writer.offset() < descriptor.size || descriptor.size == 0 {
        let before = writer.offset();
        let outcome = part(http, scope, descriptor, &mut writer, progress).await;
        if writer.offset().saturating_sub(before) >= HEADWAY {
            backoff.forget();
        }
        match outcome {
            Ok(()) => break,
            Err(fault) => backoff.pause(fault).await?,
        }
    }
    let wanted = descriptor.digest.clone();
    writer.finish().map_err(|error| match error {
        crate::store::Error::Content { why, .. } => {
            let found = why.strip_prefix("its content has digest ").unwrap_or(&why).to_owned();
            Fault::Digest { what: format!("blob {wanted}"), found, wanted }
        }
        other => other.into(),
    })?;
    progress.done(&descriptor.digest);
    Ok(())
}

/// One connection's worth of a blob; `Ok` if it is complete now.
async fn part(
    http: &Http,
    scope: &Scope,
    descriptor: &Descriptor,
    writer: &mut BlobWriter,
    progress: &dyn Progress,
) -> Result<(), Fault> {
    let what = || format!("blob {}", descriptor.digest);
    let (offset, size) = (writer.offset(), descriptor.size);
    let url = http.url(&scope.registry, &format!("{}/blobs/{}", scope.repository, descriptor.digest))?;
    let mut request = Request::new(scope, Method::GET, url);
    if offset > 0 {
        let range = HeaderValue::try_from(format!("bytes={offset}-"));
        request = request.header(RANGE, range.map_err(|error| Fault::Client(error.to_string()))?);
    }
    let missing = format!("it lacks {} of the image, which is damaged there; push it again", what());
    let mut response = failure::success(http, scope, http.send(&request).await?, &missing).await?;
    // A registry that does not resume starts over: what is there already is passed by, and hashed with the rest.
    let mut skip = if response.status() == StatusCode::PARTIAL_CONTENT {
        if !starts_at(&response, offset) {
            let why = "it sends another part of a blob than it was asked for".to_owned();
            return Err(Fault::Protocol { host: host(response.url()), why });
        }
        0
    } else {
        offset
    };
    let wanted = size - offset + skip;
    if let Some(length) = response.content_length().filter(|length| *length != wanted) {
        return Err(Fault::Length {
            what: what(),
            found: (size - wanted + length).to_string(),
            wanted: size,
        });
    }
    while let Some(chunk) = http.chunk(&mut response).await? {
        let chunk = chunk.as_ref();
        let passed = skip.min(chunk.len() as u64);
        skip -= passed;
        let fresh = chunk.get(usize::try_from(passed).unwrap_or(usize::MAX)..).unwrap_or_default();
        if fresh.len() as u64 > size - writer.offset() {
            return Err(Fault::Length { what: what(), found: "more".to_owned(), wanted: size });
        }
        writer.write(fresh)?;
        progress.advance(&descriptor.digest, fresh.len() as u64);
    }
    if writer.offset() < size {
        let why = format!("it ended after {} of {size} bytes of {}", writer.offset(), what());
        return Err(Fault::Broken { host: host(response.url()), why });
    }
    Ok(())
}

fn starts_at(response: &Response, offset: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let start = range.and_then(|r| r.trim().strip_prefix("bytes ")).and_then(|r| r.split('-').next());
    start.and_then(|start| start.trim().parse::<u64>().ok()) == Some(offset)
}
