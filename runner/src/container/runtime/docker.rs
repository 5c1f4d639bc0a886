//! docker: the Docker Engine API, 1.24 and later, over its Unix socket.
//!
//! No version is put in the path, so that the daemon's own is spoken. While a start is held only `/containers/json` may
//! be asked: it reads a snapshot, where inspecting waits for the lock that the daemon holds until the start is over.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::cache::Cache;
use super::http::{self, Failure, Lines};
use super::kubernetes::Pod;
use super::{Answer, Change, Changes, Details, Runtime, Start};

/// `{"type":["container"],"event":["start","rename"]}`, in a URL. podman reads it too.
pub(super) const EVENTS_FILTER: &str = "filters=%7B%22type%22%3A%5B%22container%22%5D%2C\
                                        %22event%22%3A%5B%22start%22%2C%22rename%22%5D%7D";

/// A docker daemon.
pub(super) struct Docker {
    socket: PathBuf,
    digests: Cache,
}

impl Docker {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket, digests: Cache::default() }
    }

    async fn list(&self, path: &str) -> Result<Vec<Details>, Failure> {
        let body = http::get_all(&self.socket, path).await?;
        let listed: Vec<Listed> = serde_json::from_slice(&body)?;
        Ok(listed.into_iter().map(Details::from).collect())
    }

    /// The digest by which the image was pulled; empty for one that never was in a registry.
    async fn digest(&self, image: &str) -> String {
        let found = |body: &[u8]| serde_json::from_slice(body).map(|image: Image| image.digest());
        self.digests.digest(&self.socket, "/images", image, found).await
    }
}

impl Runtime for Docker {
    fn list(&self) -> Answer<'_, Vec<Details>> {
        Box::pin(self.list("/containers/json"))
    }

    fn starting<'a>(&'a self, start: &'a Start) -> Answer<'a, Option<Details>> {
        Box::pin(async {
            let id = url_word(&start.id).ok_or(Failure::Name)?;
            let found = self
                .list(&format!("/containers/json?all=1&filters=%7B%22id%22%3A%5B%22{id}%22%5D%7D"))
                .await?;
            let Some(mut details) = found.into_iter().find(|details| details.id == start.id) else {
                return Ok(None);
            };
            details.image_digest = self.digest(&details.image_id).await;
            Ok(Some(details))
        })
    }

    fn details<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Details>> {
        Box::pin(async {
            let id = url_word(id).ok_or(Failure::Name)?;
            let body = http::get_all(&self.socket, &format!("/containers/{id}/json")).await?;
            let mut details = Details::from(serde_json::from_slice::<Inspected>(&body)?);
            details.image_digest = self.digest(&details.image_id).await;
            Ok(Some(details))
        })
    }

    fn changes(&self) -> Answer<'_, Box<dyn Changes>> {
        Box::pin(async {
            let events = http::get(&self.socket, &format!("/events?{EVENTS_FILTER}")).await?;
            Ok(Box::new(Events { what: "docker", lines: Lines::new(events) }) as Box<dyn Changes>)
        })
    }
}

/// Events, one in a line.
pub(super) struct Events {
    pub(super) what: &'static str,
    pub(super) lines: Lines,
}

impl Changes for Events {
    fn next(&mut self) -> Answer<'_, Option<Change>> {
        Box::pin(async {
            while let Some(line) = self.lines.next().await? {
                match serde_json::from_slice::<Event>(&line) {
                    Ok(event) => return Ok(Some(Change::One(event.actor.id))),
                    Err(error) => tracing::debug!("{} sent an event that cannot be read: {error}", self.what),
                }
            }
            Ok(None)
        })
    }
}

/// `GET /containers/json`: an entry. Everything may be missing or null.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Listed {
    id: String,
    names: Option<Vec<String>>,
    image: Option<String>,
    #[serde(rename = "ImageID")]
    image_id: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

impl From<Listed> for Details {
    fn from(listed: Listed) -> Self {
        // Links give a container further names, such as /other/alias; its own has one slash.
        let names = listed.names.unwrap_or_default();
        let own = names.iter().filter_map(|name| name.strip_prefix('/')).find(|name| !name.contains('/'));
        let labels = listed.labels.unwrap_or_default();
        Self {
            name: own.unwrap_or_default().to_owned(),
            id: listed.id,
            runtime: "docker",
            image_name: without_digest(listed.image.unwrap_or_default()),
            image_id: listed.image_id.unwrap_or_default(),
            pod: Pod::of_labels(&labels),
            labels,
            ..Self::default()
        }
    }
}

/// `GET /containers/ID/json`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Inspected {
    id: String,
    name: String,
    image: Option<String>,
    config: InspectedConfig,
    state: InspectedState,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct InspectedConfig {
    image: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct InspectedState {
    pid: u32,
}

impl From<Inspected> for Details {
    fn from(inspected: Inspected) -> Self {
        let labels = inspected.config.labels.unwrap_or_default();
        Self {
            name: inspected.name.trim_start_matches('/').to_owned(),
            id: inspected.id,
            runtime: "docker",
            image_name: without_digest(inspected.config.image.unwrap_or_default()),
            image_id: inspected.image.unwrap_or_default(),
            pod: Pod::of_labels(&labels),
            labels,
            pid: Some(inspected.state.pid).filter(|pid| *pid != 0),
            ..Self::default()
        }
    }
}

/// `GET /images/ID/json`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Image {
    repo_digests: Option<Vec<String>>,
}

impl Image {
    fn digest(&self) -> String {
        let digests = self.repo_digests.as_deref().unwrap_or_default();
        digests
            .iter()
            .find_map(|name| name.split_once('@'))
            .map_or_else(String::new, |(_, digest)| digest.to_owned())
    }
}

/// `GET /events`: a line. Other fields are not needed.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    actor: Actor,
}

#[derive(Deserialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
}

/// An image's name as the container was created with, but for a digest, which is told beside it. A bare digest stays.
pub(super) fn without_digest(name: String) -> String {
    match name.split_once('@') {
        Some((bare, _)) if !bare.is_empty() => bare.to_owned(),
        _ => name,
    }
}

/// An identifier as it may stand in a URL and in the JSON of a filter; `None` for what is no identifier.
pub(super) fn url_word(id: &str) -> Option<String> {
    let bare = id.strip_prefix("sha256:").unwrap_or(id);
    super::super::hold::is_container_id(bare).then(|| id.replace('+', "%2B"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_name_is_told_from_links() {
        let listed: Listed = serde_json::from_str(
            r#"{"Id":"a","Names":["/other/alias","/own"],"Image":"web@sha256:0","Labels":null,"More":1}"#,
        )
        .unwrap();
        let details = Details::from(listed);
        assert_eq!((details.name.as_str(), details.image_name.as_str()), ("own", "web"));
    }

    #[test]
    fn digest_is_that_of_the_registry() {
        let digest = |text| serde_json::from_str::<Image>(text).unwrap().digest();
        assert_eq!(digest(r#"{"RepoDigests":["reg.example/web@sha256:12"]}"#), "sha256:12");
        assert_eq!(digest(r#"{"RepoDigests":null}"#), "");
    }

    #[test]
    fn what_is_no_identifier_never_reaches_a_url() {
        assert_eq!(url_word("a+b").as_deref(), Some("a%2Bb"));
        assert_eq!(url_word("sha256:ab").as_deref(), Some("sha256:ab"));
        for bad in ["", "a/b", "a?b", "sha256:", "..", "a%22"] {
            assert_eq!(url_word(bad), None, "{bad}");
        }
    }
}
