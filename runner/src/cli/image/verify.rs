//! `image verify`: who signed an image, and is it whole?

use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use gadget::{reference::Reference, signature::Verified, store::Store};
use std::io::Write;

use super::super::{images, registry};
use crate::images::Images;

pub(super) fn command() -> Command {
    Command::new("verify")
        .about("Check who signed images")
        .long_about(
            "Check that a trusted key has signed the images in the store, and that they are whole, for every \
             architecture. Signatures are looked for in the store first, so that it works without a network; if none \
             there is good, in the image's registry.",
        )
        .arg(
            Arg::new("image")
                .value_name("IMAGE")
                .required(true)
                .action(ArgAction::Append)
                .num_args(1..)
                .help("Images in the store"),
        )
        .arg(images::public_keys_arg())
        .args(registry::flags())
}

/// Verifies all before it fails for some.
pub(super) fn run(matches: &ArgMatches, store: &mut Store, out: &mut impl Write) -> Result<()> {
    let images = images::images(matches);
    let mut faults = Vec::new();
    for typed in matches.get_many::<String>("image").unwrap_or_default() {
        writeln!(out, "Verifying image: {typed}")?;
        match verify(&images, store, typed) {
            Ok(Verified { signer, format, .. }) => {
                writeln!(out, "Image verified successfully!\nSigned by {signer}, {format}")?;
            }
            Err(error) => faults.push(error.to_string()),
        }
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

fn verify(images: &Images, store: &mut Store, typed: &str) -> Result<Verified> {
    let reference = Reference::parse(typed)?;
    let Some(digest) = store.digest(&reference).map(str::to_owned) else {
        return Err(gadget::store::Error::NotFound(reference.to_string()).into());
    };
    let verified = images.verify(store, &reference, &digest)?;
    let report = store.check(std::slice::from_ref(&reference))?;
    if let Some(damage) = report.damage.first() {
        bail!("{reference} is signed, but damaged: {}; pull or import it again", damage.what);
    }
    Ok(verified)
}
