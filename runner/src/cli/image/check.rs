//! `image check`: is every byte in the store the one that was meant?

use super::prune;
use crate::cli::text::printable;
use crate::cli::{progress::Bar, registry};
use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use gadget::{
    image::Trust,
    reference::Reference,
    registry::{Client, Platforms},
    store::{Report, Store},
};
use std::io::Write;

pub(super) fn command() -> Command {
    Command::new("check")
        .about("Look for damaged images in the store")
        .long_about(
            "Read every blob of the images, or of all, and compare it with its digest. Names what is damaged, missing \
             or left over. The exit code is 1 if an image is damaged.",
        )
        .arg(
            Arg::new("image")
                .value_name("IMAGE")
                .action(ArgAction::Append)
                .num_args(0..)
                .help("Images to check [default: all]"),
        )
        .arg(
            Arg::new("repair")
                .long("repair")
                .action(ArgAction::SetTrue)
                .help("Pull damaged images again and remove leftovers"),
        )
        .args(registry::flags())
}

pub(super) fn run(
    matches: &ArgMatches,
    store: &mut Store,
    out: &mut impl Write,
    log: &mut impl Write,
) -> Result<()> {
    let only = matches.get_many::<String>("image").unwrap_or_default();
    let only = only.map(|typed| Reference::parse(typed)).collect::<Result<Vec<_>, _>>()?;
    let mut report = store.check(&only)?;
    write!(out, "{}", told(&report))?;
    if matches.get_flag("repair") {
        repair(store, &report, &Client::new(registry::config(matches))?, log)?;
        *store = Store::open(store.path())?;
        report = store.check(&only)?;
        write!(out, "After the repair:\n{}", told(&report))?;
    }
    match images(&report).len() {
        0 => Ok(()),
        1 => bail!("1 image is damaged; {}", next(matches)),
        count => bail!("{count} images are damaged; {}", next(matches)),
    }
}

fn next(matches: &ArgMatches) -> &'static str {
    match matches.get_flag("repair") {
        true => "build or import it again, or remove it",
        false => "--repair pulls it again; or build or import it again, or remove it",
    }
}

/// Goes on to the next image when one cannot be repaired; only the store itself stops it.
fn repair(store: &mut Store, report: &Report, client: &Client, log: &mut impl Write) -> Result<()> {
    let mut tried: Vec<&str> = Vec::new();
    for damage in &report.damage {
        if tried.contains(&damage.image.as_str()) {
            continue;
        }
        tried.push(&damage.image);
        let title = printable(&damage.image);
        match &damage.reference {
            _ if damage.trust == Trust::BuiltHere => {
                writeln!(log, "warning: {title} was built here: build it again")?;
            }
            Some(reference) => match client.pull(store, reference, Platforms::All, &Bar::new()) {
                Ok(_) => writeln!(log, "Pulled {title} again")?,
                Err(error) => writeln!(log, "warning: {error}")?,
            },
            _ => writeln!(log, "warning: {title} cannot be pulled")?,
        }
    }
    *store = Store::open(store.path())?;
    write!(log, "{}", prune::told(&store.sweep()?))?;
    Ok(())
}

fn images(report: &Report) -> Vec<&str> {
    let mut images: Vec<_> = report.damage.iter().map(|damage| damage.image.as_str()).collect();
    images.sort_unstable();
    images.dedup();
    images
}

/// What was found, for people.
pub(super) fn told(report: &Report) -> String {
    let mut text = String::new();
    let mut last = None;
    for damage in &report.damage {
        let line = format!("{}: {}\n", printable(&damage.image), printable(&damage.what));
        // Two architectures may lack the same blob.
        if last.as_ref() != Some(&line) {
            text += &line;
            last = Some(line);
        }
    }
    for orphan in &report.orphans {
        let fresh = if orphan.fresh { ", and has just come" } else { "" };
        text +=
            &format!("blob {}: no image needs it{fresh} ({})\n", orphan.digest, prune::bytes(orphan.size));
    }
    text += &format!(
        "Checked {} entries and {} blobs ({}): {} damaged, {} left over\n",
        report.entries,
        report.blobs,
        prune::bytes(report.bytes),
        images(report).len(),
        report.orphans.len()
    );
    text
}
