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
    let typed: Vec<_> = matches.get_many::<String>("image").unwrap_or_default().collect();
    let parsed: Vec<_> = typed.iter().map(|typed| Reference::parse(typed)).collect();
    let known: Vec<_> = parsed.iter().flatten().cloned().collect();
    let mut results = store.remove_all(&known)?.into_iter();
    let mut faults = Vec::new();
    for (typed, parsed) in typed.into_iter().zip(parsed) {
        let removed = match parsed {
            Err(error) => Some(Err(error.to_string())),
            Ok(_) => results.next().map(|result| result.map_err(|error| error.to_string())),
        };
        match removed {
            Some(Ok(removed)) if removed.untagged_only => {
                writeln!(log, "Successfully removed {typed} (the image has other names and stays)")?;
            }
            Some(Ok(_)) => writeln!(log, "Successfully removed {typed}")?,
            Some(Err(error)) => faults.push(error),
            None => {}
        }
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}
