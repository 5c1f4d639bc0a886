//! `image push`: from the store into a registry.

use super::pull::with_digest;
use crate::cli::{progress::Bar, registry};
use anyhow::Result;
use clap::{Arg, ArgMatches, Command};
use gadget::{reference::Reference, registry::Client, store::Store};
use std::io::Write;

pub(super) fn command() -> Command {
    Command::new("push")
        .about("Send an image with all its architectures to its registry")
        .arg(Arg::new("image").value_name("IMAGE").required(true).help("Image in the store"))
        .args(registry::flags())
}

pub(super) fn run(matches: &ArgMatches, store: &Store, log: &mut impl Write) -> Result<()> {
    let typed = matches.get_one::<String>("image").map_or("", String::as_str);
    let reference = Reference::parse(typed)?;
    let client = Client::new(registry::config(matches))?;
    writeln!(log, "Pushing {typed}...")?;
    let bar = Bar::new();
    let digest = client.push(store, &reference, &bar)?;
    drop(bar);
    writeln!(log, "Successfully pushed {}", with_digest(&reference, &digest))?;
    Ok(())
}
