//! Who one is to a registry: found in igx's own file or, where there is none, in docker's and podman's, written down
//! there or kept by a helper program; stored and erased there by `login` and `logout`.
//!
//! Looked up only once a registry asks. Nothing here prints what it keeps.
//!
//! Format: docker's `config.json`, podman's `auth.json` (containers-auth.json(5)), docker's credential helpers.

mod file;
mod helper;
mod places;
#[cfg(test)]
mod tests;

use file::AuthFile;
use std::{cell::RefCell, fmt, io, path::PathBuf};

pub(super) use places::Places;

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text from being printed.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What a registry accepts as proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credential {
    /// A user and a password.
    Password { user: String, password: Secret },
    /// What a server of tokens takes for a password (`identitytoken`).
    Identity(Secret),
    /// A token that the registry itself takes (`registrytoken`).
    Token(Secret),
}

/// Why credentials could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file that was named is not there.
    #[error("there is no file of credentials {0}; 'igx login REGISTRY --authfile {0}' makes it")]
    Missing(PathBuf),
    /// A file cannot be read.
    #[error("reading the credentials in {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("the credentials in {path} are damaged: {why}; mend the file, or name another with --authfile")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file cannot be written.
    #[error("writing the credentials to {path}: {source}; name another file with --authfile")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A helper program failed.
    #[error("the credential helper {program:?}, which {path} names: {why}")]
    Helper {
        /// The program.
        program: String,
        /// The file that names it.
        path: PathBuf,
        /// What happened.
        why: String,
    },
    /// There was nothing to erase.
    #[error("not logged in to {0}")]
    NotLoggedIn(String),
}

/// Where credentials come from and go to.
#[derive(Debug)]
pub(super) struct Source {
    /// The one file that the user named.
    named: Option<PathBuf>,
    places: Places,
    /// What who logs in claims to be, before it is kept.
    claimed: RefCell<Option<Credential>>,
}

impl Source {
    pub(super) fn new(named: Option<PathBuf>) -> Self {
        Self { named, places: Places::of_this_user(), claimed: RefCell::default() }
    }

    #[cfg(test)]
    fn at(places: Places) -> Self {
        Self { named: None, places, claimed: RefCell::default() }
    }

    /// Fails if the file that was named is not there: better than asking as nobody.
    pub(super) fn check(&self) -> Result<(), Error> {
        match &self.named {
            Some(path) if !path.exists() => Err(Error::Missing(path.clone())),
            _ => Ok(()),
        }
    }

    /// Uses these credentials from now on, whatever is kept.
    pub(super) fn claim(&self, user: &str, password: &Secret) {
        let claimed = Credential::Password { user: user.to_owned(), password: password.clone() };
        *self.claimed.borrow_mut() = Some(claimed);
    }

    /// The credentials for a repository of a registry, if there are any.
    pub(super) fn find(&self, registry: &str, repository: &str) -> Result<Option<Credential>, Error> {
        if let Some(claimed) = self.claimed.borrow().clone() {
            return Ok(Some(claimed));
        }
        self.check()?;
        let own = std::slice::from_ref(self.target());
        let files = if own[0].exists() || self.named.is_some() { own } else { &self.places.others };
        for path in files {
            if let Some(found) = AuthFile::read(path)?.find(registry, repository)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Keeps a password, and says in which file if it is there to be read.
    pub(super) fn store(
        &self,
        registry: &str,
        user: &str,
        password: &Secret,
    ) -> Result<Option<PathBuf>, Error> {
        let mut file = AuthFile::read(self.target())?;
        let plain = file.store(registry, user, password)?;
        file.write()?;
        Ok(plain.then(|| self.target().clone()))
    }

    /// Forgets what is known for a registry, or for all.
    pub(super) fn erase(&self, registry: Option<&str>) -> Result<(), Error> {
        let mut file = AuthFile::read(self.target())?;
        match registry {
            Some(registry) if !file.erase(registry)? => return Err(Error::NotLoggedIn(registry.to_owned())),
            Some(_) => {}
            None => file.erase_all()?,
        }
        file.write()
    }

    fn target(&self) -> &PathBuf {
        self.named.as_ref().unwrap_or(&self.places.own)
    }
}
