//! `image remove`: names out of the store, and images with their last name.

use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use gadget::{reference::Reference, store::Store};
use std::io::Write;

pub(super) fn command() -> Command {
    Command::new("remove").visible_alias("rm").about("Remove images from the store").arg(
        Arg::new("image")
            .value_name("IMAGE")
            .required(true)
            .action(ArgAction::Append)
            .num_args(1..)
            .help("Names, or name@digest for an image with all its names"),
    )
}

/// Removes all that can be removed before it fails for the rest.
pub(super) fn run(matches: &ArgMatches, store: &mut Store, log: &mut impl Write) -> Result<()> {
    let mut faults = Vec::new();
    for typed in matches.get_many::<String>("image").unwrap_or_default() {
        let removed =
            Reference::parse(typed).map_err(anyhow::Error::from).and_then(|name| Ok(store.remove(&name)?));
        match removed {
            Ok(removed) if removed.untagged_only => {
                writeln!(log, "Successfully removed {typed} (the image has other names and stays)")?;
            }
            Ok(_) => writeln!(log, "Successfully removed {typed}")?,
            Err(error) => faults.push(error.to_string()),
        }
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}
