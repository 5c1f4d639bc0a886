//! What is asked of images one by one and never changes: their digests and their ids.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::docker::url_word;
use super::http;

/// What was told, by what was asked for.
#[derive(Default)]
pub(super) struct Cache(Mutex<HashMap<String, String>>);

impl Cache {
    /// Beyond so many, all are asked for again.
    const MAX: usize = 4096;

    /// The digest by which `image` was pulled, out of what a runtime that speaks docker's language says of it below `folder` of its API; empty for
    /// one that never was in a registry, or where the runtime does not say it.
    pub(super) async fn digest(
        &self,
        socket: &Path,
        folder: &str,
        image: &str,
        found: impl FnOnce(&[u8]) -> serde_json::Result<String>,
    ) -> String {
        if let Some(known) = self.get(image) {
            return known;
        }
        let Some(word) = url_word(image) else { return String::new() };
        let body = http::get_all(socket, &format!("{folder}/{word}/json")).await;
        match body.and_then(|body| Ok(found(&body)?)) {
            Ok(digest) => {
                self.put(image, &digest);
                digest
            }
            Err(failure) => {
                tracing::debug!(image, "{} does not say its digest: {failure}", socket.display());
                String::new()
            }
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    pub(super) fn put(&self, key: &str, value: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= Self::MAX {
            known.clear();
        }
        known.insert(key.to_owned(), value.to_owned());
    }
}
