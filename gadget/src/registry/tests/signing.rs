//! Signatures come along, however the registry lists them; no more of them than anybody needs.

use super::*;
use std::collections::BTreeMap;

/// Path, content and its type.
type Page = (String, Vec<u8>, &'static str);

const LAYER: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// A registry of documents and blobs by path.
fn serving(pages: Vec<Page>) -> Server {
    let pages: BTreeMap<_, _> = pages
        .into_iter()
        .map(|(path, bytes, kind)| (format!("/v2/{REPOSITORY}/{path}"), (bytes, kind)))
        .collect();
    Server::start(move |asked| match pages.get(&asked.path) {
        Some((bytes, kind)) => Answer::ok(bytes.clone()).header("content-type", *kind),
        None => Answer::new(404),
    })
}

/// A signature of an image: its manifest, and its pages.
fn signature(digest: Option<&str>, payload: &[u8]) -> (Vec<u8>, Vec<Page>) {
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MANIFEST_TYPE.to_owned()),
        artifact_type: Some(BUNDLE.to_owned()),
        config: Descriptor { data: Some("e30=".to_owned()), ..point(image::EMPTY_TYPE, b"{}") },
        layers: vec![point(LAYER, payload)],
        subject: digest.map(|digest| Descriptor { digest: digest.to_owned(), ..point(INDEX_TYPE, b"") }),
        annotations: BTreeMap::new(),
    };
    let bytes = to_json(&manifest);
    let pages = vec![
        (format!("manifests/{}", image::digest(&bytes)), bytes.clone(), MANIFEST_TYPE),
        (format!("blobs/{}", image::digest(payload)), payload.to_vec(), "application/octet-stream"),
    ];
    (bytes, pages)
}

fn list(signatures: &[&[u8]]) -> Vec<u8> {
    let entry =
        |bytes: &&[u8]| Descriptor { artifact_type: Some(BUNDLE.to_owned()), ..point(MANIFEST_TYPE, bytes) };
    to_json(&Index { manifests: signatures.iter().map(entry).collect(), ..Index::default() })
}

fn pages(sample: &Sample) -> Vec<Page> {
    let mut pages = vec![("manifests/v1".to_owned(), sample.index.clone(), INDEX_TYPE)];
    pages.extend(
        sample
            .manifests
            .iter()
            .map(|m| (format!("manifests/{}", image::digest(m)), m.clone(), MANIFEST_TYPE)),
    );
    pages.extend(
        sample.blobs.iter().map(|(d, b)| (format!("blobs/{d}"), b.clone(), "application/octet-stream")),
    );
    pages
}

/// Pulls image and signatures; how many came, and how many the store finds.
fn fetched(sample: &Sample, more: Vec<Page>) -> Result<(usize, usize), String> {
    let server = serving(pages(sample).into_iter().chain(more).collect());
    let home = Home::new();
    home.pull(&server).unwrap();
    let mut store = home.store();
    let client = Client::new(config(&server)).unwrap();
    let count = client.fetch_signatures(&mut store, &name(&server), &sample.digest());
    let count = count.map_err(|error| error.to_string().replace(&server.host, "HOST"))?;
    assert_eq!(home.store().list().iter().filter(|entry| entry.tag == "v1").count(), 1);
    Ok((count, home.store().related(&sample.digest()).len()))
}

#[test]
fn an_unsigned_image_has_none() {
    assert_eq!(fetched(&Sample::new(10), vec![]), Ok((0, 0)));
}

#[test]
fn cosigns_tag_is_found() {
    let sample = Sample::new(10);
    let (manifest, mut pages) = signature(None, b"payload");
    pages.push((format!("manifests/{}.sig", sample.digest().replace(':', "-")), manifest, MANIFEST_TYPE));
    assert_eq!(fetched(&sample, pages), Ok((1, 1)));
}

#[test]
fn referrers_are_found_and_others_left() {
    let sample = Sample::new(10);
    let (ours, mut pages) = signature(Some(&sample.digest()), b"ours");
    let (other, more) = signature(Some(&image::digest(b"another image")), b"other");
    pages.extend(more);
    pages.push((format!("referrers/{}", sample.digest()), list(&[&ours, &other]), INDEX_TYPE));
    assert_eq!(fetched(&sample, pages), Ok((1, 1)));
}

#[test]
fn the_tag_that_stands_in_for_referrers_is_found() {
    let sample = Sample::new(10);
    let (ours, mut pages) = signature(Some(&sample.digest()), b"ours");
    pages.push((format!("manifests/{}", sample.digest().replace(':', "-")), list(&[&ours]), INDEX_TYPE));
    assert_eq!(fetched(&sample, pages), Ok((1, 1)));
}

#[test]
fn what_a_list_calls_empty_is_looked_at() {
    let sample = Sample::new(10);
    let (bundle, mut pages) = signature(Some(&sample.digest()), b"bundle");
    let (parts, more) = signature(Some(&sample.digest()), b"a list of parts");
    let mut parts: Manifest = serde_json::from_slice(&parts).unwrap();
    parts.artifact_type = Some("application/spdx+json".to_owned());
    parts.layers[0].media_type = "application/spdx+json".to_owned();
    let parts = to_json(&parts);
    pages.extend(more);
    pages.push((format!("manifests/{}", image::digest(&parts)), parts.clone(), MANIFEST_TYPE));
    let mut listed: Index = serde_json::from_slice(&list(&[&bundle, &parts])).unwrap();
    listed.manifests.iter_mut().for_each(|d| d.artifact_type = Some(image::EMPTY_TYPE.to_owned()));
    pages.push((format!("manifests/{}", sample.digest().replace(':', "-")), to_json(&listed), INDEX_TYPE));
    assert_eq!(fetched(&sample, pages), Ok((1, 1)));
}

#[test]
fn crowds_and_giants_are_left() {
    let sample = Sample::new(10);
    let mut pages = Vec::new();
    let mut all = Vec::new();
    for at in 0..70 {
        let (manifest, more) = signature(Some(&sample.digest()), format!("payload {at}").as_bytes());
        pages.extend(more);
        all.push(manifest);
    }
    let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    pages.push((format!("referrers/{}", sample.digest()), list(&all), INDEX_TYPE));
    assert_eq!(fetched(&sample, pages), Ok((64, 64)));

    let (giant, mut pages) = signature(Some(&sample.digest()), &vec![0; 2 << 20]);
    pages.push((format!("referrers/{}", sample.digest()), list(&[&giant]), INDEX_TYPE));
    insta::assert_snapshot!(fetched(&sample, pages).unwrap_err(), @"cannot fetch the signatures of HOST/team/gadget:v1: blob sha256:5647f05ec18958947d32874eeb788fa396a05d0bab7c1b71f112ceb7e9b31eee of a signature has more than the 1048576 bytes allowed; the rest is not read");
}
