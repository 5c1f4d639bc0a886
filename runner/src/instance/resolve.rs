//! From the name that a user types to an image that may be run: the store, the image that the binary carries, and
//! whether it can be trusted.

use gadget::{
    image::{self, GadgetImage, Trust, host_architecture},
    reference::{self, Reference},
    store::{self, Store},
};

use super::builtin;

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
    #[error(
        "cannot pull {0}: this version does not speak to registries; build the image with 'igx image build', or \
         unpack an exported one into an empty folder and use that with --store"
    )]
    NoRegistry(String),
    #[error("{0} is not in the store; see 'igx image list'")]
    Absent(String),
    #[error(
        "cannot verify {0}: it was not built here and this version checks no signatures; if you trust it, run it \
         with --verify-image=false"
    )]
    Unverified(String),
}

/// Finds the image `name` for this machine.
pub fn resolve(store: &Store, name: &str, pull: Pull, verify: bool) -> Result<GadgetImage, Error> {
    let reference = Reference::parse(name)?;
    let stored = match pull {
        Pull::Always => return Err(Error::NoRegistry(reference.to_string())),
        Pull::Missing | Pull::Never => store.get(&reference, host_architecture())?,
    };
    let image = match (stored, pull) {
        (Some(image), _) => image,
        (None, _) if name == builtin::NAME => builtin::image()?,
        (None, Pull::Never) => return Err(Error::Absent(reference.to_string())),
        (None, _) => return Err(Error::NoRegistry(reference.to_string())),
    };
    for warning in &image.warnings {
        tracing::warn!("{}: {warning}", image.reference);
    }
    if image.trust == Trust::Unverified {
        if verify {
            return Err(Error::Unverified(image.reference));
        }
        tracing::warn!("running {} without verifying its signature, as asked", image.reference);
    }
    Ok(image)
}
