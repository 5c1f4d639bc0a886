//! `image tag`: another name for an image.

use anyhow::Result;
use clap::{Arg, ArgMatches, Command};
use gadget::{reference::Reference, store::Store};
use std::io::Write;

pub(super) fn command() -> Command {
    Command::new("tag")
        .about("Give an image another name")
        .arg(Arg::new("source").value_name("IMAGE").required(true).help("Image in the store"))
        .arg(Arg::new("target").value_name("NAME").required(true).help("Its other name"))
}

pub(super) fn run(matches: &ArgMatches, store: &mut Store, log: &mut impl Write) -> Result<()> {
    let name = |id| Reference::parse(matches.get_one::<String>(id).map_or("", String::as_str));
    let (source, target) = (name("source")?, name("target")?);
    let digest = store.tag(&source, &target)?;
    writeln!(log, "Successfully tagged with {target}@{digest}")?;
    Ok(())
}
