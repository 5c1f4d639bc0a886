//! podman: the libpod REST API, 4.0 and later, over the socket of root's service or of a user's.
//!
//! While a start is held nothing may be asked: every question about a container waits for the lock that `podman start`
//! holds. Names of such ones come from `storage`, as do those of a podman without a service.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::cache::Cache;
use super::docker::{EVENTS_FILTER, Events, url_word};
use super::http::{self, Failure, Lines};
use super::{Answer, Changes, Details, Runtime, Start};

/// A podman service.
pub(super) struct Podman {
    socket: PathBuf,
    /// Whose service it is.
    owner: u32,
    digests: Cache,
}

impl Podman {
    pub(super) fn new(socket: PathBuf, owner: u32) -> Self {
        Self { socket, owner, digests: Cache::default() }
    }

    async fn list(&self, query: &str) -> Result<Vec<Details>, Failure> {
        let body = http::get_all(&self.socket, &format!("/v4.0.0/libpod/containers/json{query}")).await?;
        let listed: Option<Vec<Listed>> = serde_json::from_slice(&body)?;
        let mut all = Vec::new();
        for entry in listed.unwrap_or_default() {
            let mut details = entry.into_details(self.owner);
            details.image_digest = self.digest(&details.image_id).await;
            all.push(details);
        }
        Ok(all)
    }

    async fn digest(&self, image: &str) -> String {
        let found = |body: &[u8]| serde_json::from_slice(body).map(|image: Image| image.digest);
        self.digests.digest(&self.socket, "/v4.0.0/libpod/images", image, found).await
    }
}

impl Runtime for Podman {
    fn list(&self) -> Answer<'_, Vec<Details>> {
        Box::pin(self.list(""))
    }

    fn starting<'a>(&'a self, _: &'a Start) -> Answer<'a, Option<Details>> {
        Box::pin(async { Ok(None) })
    }

    fn details<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Details>> {
        Box::pin(async move {
            let word = url_word(id).ok_or(Failure::Name)?;
            let found = self.list(&format!("?filters=%7B%22id%22%3A%5B%22{word}%22%5D%7D")).await?;
            Ok(found.into_iter().find(|details| details.id == id))
        })
    }

    fn changes(&self) -> Answer<'_, Box<dyn Changes>> {
        Box::pin(async {
            let path = format!("/v4.0.0/libpod/events?stream=true&{EVENTS_FILTER}");
            let events = http::get(&self.socket, &path).await?;
            Ok(Box::new(Events { what: "podman", lines: Lines::new(events) }) as Box<dyn Changes>)
        })
    }
}

/// `GET /libpod/containers/json`: an entry. Everything may be missing or null.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Listed {
    id: String,
    names: Option<Vec<String>>,
    image: Option<String>,
    #[serde(rename = "ImageID")]
    image_id: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    pid: u32,
}

impl Listed {
    fn into_details(self, owner: u32) -> Details {
        Details {
            id: self.id,
            name: self.names.unwrap_or_default().into_iter().next().unwrap_or_default(),
            runtime: "podman",
            image_name: self.image.unwrap_or_default(),
            image_id: with_algorithm(self.image_id.unwrap_or_default()),
            labels: self.labels.unwrap_or_default(),
            pid: Some(self.pid).filter(|pid| *pid != 0),
            owner,
            ..Details::default()
        }
    }
}

/// podman leaves the algorithm out.
pub(super) fn with_algorithm(id: String) -> String {
    let is_bare = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_bare { format!("sha256:{id}") } else { id }
}

/// `GET /libpod/images/ID/json`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Image {
    digest: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_the_list_is_read() {
        let id = "0".repeat(64);
        let text = format!(
            r#"{{"Id":"c","Names":["web"],"Image":"docker.io/library/web:1","ImageID":"{id}","Labels":null,"Pid":7}}"#
        );
        let details = serde_json::from_str::<Listed>(&text).unwrap().into_details(1000);
        assert_eq!((details.name.as_str(), details.pid, details.owner), ("web", Some(7), 1000));
        assert_eq!(details.image_id, format!("sha256:{id}"));
        assert_eq!(serde_json::from_str::<Listed>("{}").unwrap().into_details(0).pid, None);
    }
}
