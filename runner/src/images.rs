//! Images for whoever needs one: fetched if the store lacks them, and verified before they are used.
//!
//! It lies between the commands and the `gadget` crate, so that running an image and verifying one ask the same
//! questions in the same order: the operator's list, the signatures in the store, and only then those in the
//! registry. Nothing here touches the network, TLS or keys before it must.

use gadget::{
    policy::{self, Policy},
    reference::Reference,
    registry::{self, Client, Platforms, Progress},
    signature::Verified,
    store::Store,
};

/// When an image is fetched from its registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pull {
    /// If the store does not have it.
    #[default]
    Missing,
    /// Before each run.
    Always,
    /// Never: the store must have it.
    Never,
}

/// Where images come from, and which may be used.
#[derive(Clone, Debug, Default)]
pub struct Images {
    /// When they are fetched.
    pub pull: Pull,
    /// Which may be used.
    pub policy: Policy,
    /// How registries are reached.
    pub registry: registry::Config,
}

/// Why an image cannot be had or used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what each is
pub enum Error {
    #[error(transparent)]
    Policy(#[from] policy::Error),
    #[error(transparent)]
    Registry(#[from] registry::Error),
    #[error("cannot pull {0}: --disallow-pulling is set; bring it into the store with 'igx image import'")]
    Disallowed(String),
    #[error("{why} ({flag} keeps from looking for others in the registry)")]
    NotAsked { why: policy::Error, flag: &'static str },
    #[error("{why} (looking for others in the registry: {registry})")]
    NotReached { why: policy::Error, registry: registry::Error },
}

impl Images {
    /// Fetches an image, for all architectures, and returns its digest.
    ///
    /// # Errors
    /// If the policy forbids it, or the registry does not give it.
    pub fn pull(
        &self,
        store: &mut Store,
        reference: &Reference,
        progress: &dyn Progress,
    ) -> Result<String, Error> {
        if self.policy.disallow_pulling {
            return Err(Error::Disallowed(reference.to_string()));
        }
        self.policy.check_name(reference)?;
        let pulled = self.client()?.pull(store, reference, Platforms::All, progress)?;
        for warning in &pulled.warnings {
            tracing::warn!("{reference}: {warning}");
        }
        Ok(pulled.digest)
    }

    /// Verifies the image whose index has this digest: by the signatures in the store or, if none there is good, by
    /// those that its registry has now.
    ///
    /// # Errors
    /// If no good signature is found, or there is no key to look for.
    pub fn verify(&self, store: &mut Store, reference: &Reference, digest: &str) -> Result<Verified, Error> {
        let why = match self.policy.verify(store, reference, digest) {
            Err(why @ policy::Error::Unverified { .. }) => why,
            verified => return Ok(verified?),
        };
        if let Some(flag) = self.offline() {
            return Err(Error::NotAsked { why, flag });
        }
        tracing::debug!("{why}; asking its registry");
        match self.client().and_then(|client| client.fetch_signatures(store, reference, digest)) {
            Ok(_) => Ok(self.policy.verify(store, reference, digest)?),
            Err(registry) => Err(Error::NotReached { why, registry }),
        }
    }

    /// The flag that keeps from asking registries.
    fn offline(&self) -> Option<&'static str> {
        match (self.policy.disallow_pulling, self.pull) {
            (true, _) => Some("--disallow-pulling"),
            (false, Pull::Never) => Some("--pull=never"),
            _ => None,
        }
    }

    fn client(&self) -> Result<Client, registry::Error> {
        Client::new(self.registry.clone())
    }
}
