//! Reading `index.json` for what a reader needs of it: with a thousand images, most of the file is annotations that
//! nobody asks for, and making strings of them takes longer than all else.

use super::PARTIAL;
use crate::image::{CREATED, Descriptor, INDEX_TYPE, Index, REF_NAME};
use serde::Deserialize;
use std::{borrow::Cow, collections::BTreeMap};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lean {
    schema_version: u32,
    manifests: Option<Vec<Kept>>,
}

/// What an entry becomes as soon as it is read, so that no second list of them is made.
#[derive(Deserialize)]
#[serde(from = "Entry<'_>")]
struct Kept(Descriptor);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(borrow, default)]
    media_type: Cow<'a, str>,
    #[serde(borrow)]
    digest: Cow<'a, str>,
    size: u64,
    #[serde(borrow)]
    annotations: Option<Annotations<'a>>,
    #[serde(borrow)]
    artifact_type: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Annotations<'a> {
    #[serde(borrow, rename = "org.opencontainers.image.ref.name")]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "org.opencontainers.image.created")]
    created: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "dev.igx.partial")]
    partial: Option<Cow<'a, str>>,
}

/// An index whose entries have no annotations but name, date and [`PARTIAL`]. Not to be written back.
pub(super) fn parse(bytes: &[u8]) -> serde_json::Result<Index> {
    let lean: Lean = serde_json::from_slice(bytes)?;
    let manifests = lean.manifests.unwrap_or_default().into_iter().map(|Kept(entry)| entry).collect();
    let media_type = Some(INDEX_TYPE.to_owned());
    Ok(Index { schema_version: lean.schema_version, media_type, manifests, ..Index::default() })
}

impl From<Entry<'_>> for Kept {
    fn from(entry: Entry<'_>) -> Self {
        let found =
            entry.annotations.map(|a| [(REF_NAME, a.name), (CREATED, a.created), (PARTIAL, a.partial)]);
        let annotations: BTreeMap<_, _> = found
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.to_owned(), value?.into_owned())))
            .collect();
        Self(Descriptor {
            media_type: entry.media_type.into_owned(),
            digest: entry.digest.into_owned(),
            size: entry.size,
            annotations,
            artifact_type: entry.artifact_type.map(Cow::into_owned),
            ..Descriptor::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_what_it_needs_and_the_rest_is_skipped() {
        let full = format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{INDEX_TYPE}","digest":"sha256:a\u0062","size":3,
            "annotations":{{"{REF_NAME}":"a\u0062:c","{CREATED}":"then","{PARTIAL}":"true","other":"\u0062"}},
            "artifactType":"x","platform":{{"architecture":"amd64"}},"urls":["u"]}},
            {{"digest":"d","size":1,"annotations":null}}],"annotations":{{}}}}"#
        );
        let found = parse(full.as_bytes()).unwrap();
        let annotations = [(REF_NAME, "ab:c"), (CREATED, "then"), (PARTIAL, "true")];
        let first = Descriptor {
            media_type: INDEX_TYPE.into(),
            digest: "sha256:ab".into(),
            size: 3,
            annotations: annotations.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            artifact_type: Some("x".into()),
            ..Descriptor::default()
        };
        assert_eq!(found.manifests[0], first);
        assert_eq!((found.manifests[1].digest.as_str(), found.manifests[1].size), ("d", 1));
        assert!(parse(br#"{"schemaVersion":2,"manifests":null}"#).unwrap().manifests.is_empty());
        for bad in ["", "[]", "{}", r#"{"schemaVersion":2,"manifests":[{"digest":"d"}]}"#] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
