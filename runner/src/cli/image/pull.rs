//! `image pull`: from a registry into the store, with its signatures.

use crate::cli::{progress::Bar, registry};
use anyhow::Result;
use clap::{Arg, ArgMatches, Command};
use gadget::{
    image::{ARCHITECTURES, host_architecture},
    reference::Reference,
    registry::{Client, Platforms},
    store::Store,
};
use std::io::Write;

pub(super) fn command() -> Command {
    Command::new("pull")
        .about("Fetch an image and its signatures from a registry")
        .arg(Arg::new("image").value_name("IMAGE").required(true).help("Name or name@digest"))
        .arg(
            Arg::new("platform")
                .long("platform")
                .value_name("WHICH")
                .default_value("all")
                .value_parser(["all", "host"].into_iter().chain(ARCHITECTURES).collect::<Vec<_>>())
                .hide_possible_values(true)
                .help("all architectures, host for this machine's, or amd64 or arm64"),
        )
        .args(registry::flags())
}

pub(super) fn run(matches: &ArgMatches, store: &mut Store, log: &mut impl Write) -> Result<()> {
    let text = |id| matches.get_one::<String>(id).map_or("", String::as_str);
    let reference = Reference::parse(text("image"))?;
    let platforms = match text("platform") {
        "all" => Platforms::All,
        "host" => Platforms::Only(host_architecture()),
        other => Platforms::Only(other),
    };
    let client = Client::new(registry::config(matches))?;
    writeln!(log, "Pulling {}...", text("image"))?;
    let bar = Bar::new();
    let pulled = client.pull(store, &reference, platforms, &bar)?;
    drop(bar);
    for warning in &pulled.warnings {
        writeln!(log, "warning: {warning}")?;
    }
    // The image is here: one whose signatures are out of reach may be trusted for other reasons.
    if let Err(error) = client.fetch_signatures(store, &reference, &pulled.digest) {
        writeln!(log, "warning: {error}")?;
    }
    writeln!(log, "Successfully pulled {}", with_digest(&reference, &pulled.digest))?;
    Ok(())
}

/// The full name and what it stands for.
pub(super) fn with_digest(reference: &Reference, digest: &str) -> String {
    match reference.tag() {
        Some(tag) => format!("{}:{tag}@{digest}", reference.name()),
        None => format!("{}@{digest}", reference.name()),
    }
}
