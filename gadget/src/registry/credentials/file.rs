//! One file of credentials. What else is in it is kept as it is.

use super::{Credential, Error, Secret, helper::Helper};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};
use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Largest file, bytes.
const MAX_FILE: u64 = 1 << 20;
/// Under which docker has always kept its own registry's credentials.
const DOCKER_KEY: &str = "https://index.docker.io/v1/";
const DOCKER_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

pub(super) struct AuthFile {
    path: PathBuf,
    content: Map<String, Value>,
}

impl AuthFile {
    /// Reads a file; one that is not there, or has nothing in it, is empty.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let damaged = |why: String| Error::Damaged { path: path.to_owned(), why };
        let bytes = match read_bounded(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Err(damaged(format!("it has more than {MAX_FILE} bytes")));
            }
            Err(source) => return Err(Error::Read { path: path.to_owned(), source }),
        };
        let content = match bytes.trim_ascii() {
            [] => Map::new(),
            // Into a value of any kind: the messages of a typed parser quote what they find.
            bytes => match serde_json::from_slice(bytes) {
                Ok(Value::Object(content)) => content,
                Ok(_) => return Err(damaged("it is no JSON object".to_owned())),
                Err(error) => return Err(damaged(error.to_string())),
            },
        };
        Ok(Self { path: path.to_owned(), content })
    }

    /// What this file knows of a repository, the most particular first: the helper of the registry, what is written
    /// down, the helper of everything.
    pub(super) fn find(&self, registry: &str, repository: &str) -> Result<Option<Credential>, Error> {
        if let Some(helper) = self.own_helper(registry)
            && let Some(found) = helper?.get(server(registry))?
        {
            return Ok(Some(found));
        }
        let mut entries: Vec<_> = self
            .auths()
            .filter_map(|(key, entry)| Some((covers(key, registry, repository)?, key, entry)))
            .collect();
        entries.sort_by_key(|(length, key, _)| (std::cmp::Reverse(*length), key.contains("://")));
        for (_, key, entry) in entries {
            if let Some(found) = self.credential(key, entry)? {
                return Ok(Some(found));
            }
        }
        match self.helper_of_all() {
            Some(helper) => helper?.get(server(registry)),
            None => Ok(None),
        }
    }

    /// Keeps a password; whether it can be read in the file afterwards.
    pub(super) fn store(&mut self, registry: &str, user: &str, password: &Secret) -> Result<bool, Error> {
        let helper = self.own_helper(registry).or_else(|| self.helper_of_all()).transpose()?;
        let plain = helper.is_none();
        let entry = match helper {
            Some(helper) => {
                helper.store(server(registry), user, password)?;
                // That there is something shows in the file all the same.
                json!({})
            }
            None => json!({ "auth": BASE64_STANDARD.encode(format!("{user}:{}", password.expose())) }),
        };
        let auths = self.content.entry("auths").or_insert_with(|| json!({}));
        if !auths.is_object() {
            *auths = json!({});
        }
        if let Some(auths) = auths.as_object_mut() {
            auths.retain(|key, _| covers(key, registry, "") != Some(0));
            auths.insert(server(registry).to_owned(), entry);
        }
        Ok(plain)
    }

    /// Forgets a registry; whether there was anything to forget.
    pub(super) fn erase(&mut self, registry: &str) -> Result<bool, Error> {
        let mut found = false;
        if let Some(helper) = self.own_helper(registry).or_else(|| self.helper_of_all()) {
            found |= helper?.erase(server(registry))?;
        }
        if let Some(auths) = self.content.get_mut("auths").and_then(Value::as_object_mut) {
            let before = auths.len();
            auths.retain(|key, _| covers(key, registry, "") != Some(0));
            found |= auths.len() != before;
        }
        Ok(found)
    }

    /// Forgets every registry.
    pub(super) fn erase_all(&mut self) -> Result<(), Error> {
        let keys: Vec<_> = self.auths().map(|(key, _)| key.clone()).collect();
        for key in keys {
            if let Some(helper) = self.own_helper(host(&key)).or_else(|| self.helper_of_all()) {
                helper?.erase(server(host(&key)))?;
            }
        }
        self.content.insert("auths".to_owned(), json!({}));
        Ok(())
    }

    /// Puts the file in place in one step, to be read by its owner only.
    pub(super) fn write(&self) -> Result<(), Error> {
        let failed = |source| Error::Write { path: self.path.clone(), source };
        // A link is followed, so that it stays one.
        let path = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let mut text = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
        serde::Serialize::serialize(&self.content, &mut serializer).map_err(|e| failed(e.into()))?;
        let write = || {
            let mut file = tempfile::Builder::new().prefix(".config").tempfile_in(folder)?;
            file.write_all(&text)?;
            file.as_file().set_permissions(Permissions::from_mode(0o600))?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            fs::File::open(folder)?.sync_all()
        };
        write().map_err(failed)
    }

    fn auths(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.content.get("auths").and_then(Value::as_object).into_iter().flatten()
    }

    fn own_helper(&self, registry: &str) -> Option<Result<Helper<'_>, Error>> {
        let helpers = self.content.get("credHelpers").and_then(Value::as_object)?;
        let (_, name) = helpers.iter().find(|(key, _)| covers(key, registry, "") == Some(0))?;
        Some(Helper::new(name.as_str()?, &self.path))
    }

    fn helper_of_all(&self) -> Option<Result<Helper<'_>, Error>> {
        let name = self.content.get("credsStore").and_then(Value::as_str).filter(|name| !name.is_empty())?;
        Some(Helper::new(name, &self.path))
    }

    fn credential(&self, key: &str, entry: &Value) -> Result<Option<Credential>, Error> {
        let text = |name| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some(token) = text("registrytoken") {
            return Ok(Some(Credential::Token(Secret::new(token))));
        }
        if let Some(token) = text("identitytoken") {
            return Ok(Some(Credential::Identity(Secret::new(token))));
        }
        if let (Some(user), Some(password)) = (text("username"), text("password")) {
            return Ok(Some(Credential::Password { user: user.to_owned(), password: Secret::new(password) }));
        }
        let Some(auth) = text("auth") else { return Ok(None) };
        let decoded = BASE64_STANDARD.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let Some((user, password)) = decoded.as_deref().and_then(|text| text.split_once(':')) else {
            let why = format!("\"auth\" of {key:?} is not USER:PASSWORD in base64");
            return Err(Error::Damaged { path: self.path.clone(), why });
        };
        let password = Secret::new(password.trim_end_matches('\0'));
        Ok(Some(Credential::Password { user: user.to_owned(), password }))
    }
}

/// What a registry is called by helpers, and in the file that is written.
fn server(registry: &str) -> &str {
    if DOCKER_HOSTS.contains(&registry) { DOCKER_KEY } else { registry }
}

/// The host, with its port, in a key.
fn host(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    rest.split_once('/').map_or(rest, |(host, _)| host)
}

/// How much of a repository's path a key names, in bytes; `None` if it is for something else. Keys are a host, a
/// host with the beginning of a path, or the address of an interface as docker once wrote it.
fn covers(key: &str, registry: &str, repository: &str) -> Option<usize> {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let docker = DOCKER_HOSTS.contains(&host) && DOCKER_HOSTS.contains(&registry);
    if !host.eq_ignore_ascii_case(registry) && !docker {
        return None;
    }
    let path = path.trim_end_matches('/');
    let path = if key.len() != rest.len() && matches!(path, "v1" | "v2") { "" } else { path };
    let below = |rest: &str| rest.is_empty() || rest.starts_with('/');
    (path.is_empty() || repository.strip_prefix(path).is_some_and(below)).then_some(path.len())
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe would block for ever.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}
