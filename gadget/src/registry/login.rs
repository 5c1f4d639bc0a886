//! Logging in to a registry and out of it.

use super::{
    Client, Config, Error, Fault,
    credentials::{Secret, Source},
    failure,
    http::{Request, Scope},
    retry::retried,
};
use reqwest::Method;
use std::path::PathBuf;

/// Who logs in to what.
#[derive(Debug, Clone)]
pub struct Login {
    /// Host, with its port if it has one.
    pub registry: String,
    /// The account.
    pub user: String,
    /// Its password, or a token that stands for one.
    pub password: Secret,
}

impl Client {
    /// Asks the registry whether it accepts the credentials and then keeps them in the file of credentials, or in the
    /// helper that this file names. Returns the file if the password can be read in it.
    ///
    /// # Errors
    /// What [`Fault`] says; nothing is kept then.
    pub fn login(&self, login: &Login) -> Result<Option<PathBuf>, Error> {
        self.wait("log in to", &login.registry, async {
            let scope = Scope { registry: login.registry.clone(), repository: String::new(), push: false };
            self.http.source.claim(&login.user, &login.password);
            retried(self.http.limits, async || {
                let url = self.http.url(&login.registry, "")?;
                let response = self.http.send(&Request::new(&scope, Method::GET, url)).await?;
                let missing = format!("{} is no registry; check the name", login.registry);
                failure::success(&self.http, &scope, response, &missing).await
            })
            .await
            .map_err(|fault| match fault {
                Fault::Unauthorized { who, said, .. } => Fault::Rejected { who, said },
                other => other,
            })?;
            Ok(self.http.source.store(&login.registry, &login.user, &login.password)?)
        })
    }
}

impl Config {
    /// Forgets the credentials for a registry, or for all if none is named.
    ///
    /// # Errors
    /// [`Fault::Credentials`] if there are none for it, or if the file cannot be written.
    pub fn logout(&self, registry: Option<&str>) -> Result<(), Error> {
        let source = Source::new(self.authfile.clone());
        source.erase(registry).map_err(|error| {
            Error::new("log out of", registry.unwrap_or("all registries"), Fault::Credentials(error))
        })
    }
}
