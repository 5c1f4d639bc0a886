//! From the name that a user types to an image that may be run: the store, the image that the binary carries, the
//! registry, and whether it can be trusted.

use gadget::{
    image::{self, GadgetImage, Trust, host_architecture},
    reference::{self, Reference},
    registry::Progress,
    store::{self, Store},
};

use super::builtin;
use crate::images::{self, Images, Pull};

/// Why an image cannot be run.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what each is
pub enum Error {
    #[error(transparent)]
    Reference(#[from] reference::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the image that igx carries is damaged: {0}")]
    BuiltIn(#[from] image::Error),
    #[error(transparent)]
    Image(#[from] images::Error),
    #[error("{0} is not in the store, and --pull=never keeps from fetching it; see 'igx image list'")]
    Absent(String),
    #[error("{0}, or, if you trust it, run it with --verify-image=false")]
    Unverified(images::Error),
}

/// Finds the image `name` for this machine, in the store or, as `images` says, in its registry.
pub fn resolve(
    store: &mut Store,
    name: &str,
    images: &Images,
    progress: &dyn Progress,
) -> Result<GadgetImage, Error> {
    let reference = Reference::parse(name)?;
    if images.pull == Pull::Always {
        images.pull(store, &reference, progress)?;
    }
    let stored = store.get(&reference, host_architecture())?;
    let image = match (stored, images.pull) {
        (Some(image), _) => image,
        (None, _) if name == builtin::NAME => builtin::image()?,
        (None, Pull::Never) => return Err(Error::Absent(reference.to_string())),
        (None, _) => {
            images.pull(store, &reference, progress)?;
            let pulled = store.get(&reference, host_architecture())?;
            pulled.ok_or_else(|| Error::Absent(reference.to_string()))?
        }
    };
    for warning in &image.warnings {
        tracing::warn!("{}: {warning}", image.reference);
    }
    images.policy.check_allowed(&reference, &image.digest).map_err(images::Error::from)?;
    if image.trust == Trust::Unverified {
        if images.policy.verify {
            let verified = images.verify(store, &reference, &image.digest).map_err(Error::Unverified)?;
            tracing::debug!("{}: signed by {} ({})", image.reference, verified.signer, verified.format);
        } else {
            tracing::warn!("running {} without verifying its signature, as asked", image.reference);
        }
    }
    Ok(image)
}
