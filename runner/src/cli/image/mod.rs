//! `image …`: the gadgets in the local store. One file a subcommand; each is a few lines over the `gadget` crate.
//!
//! What a subcommand did is told on standard error, what was asked for on standard output, so that output can be
//! piped.

#[cfg(feature = "ebpf")]
mod build;
mod check;
mod export;
mod import;
mod inspect;
mod list;
mod new;
mod prune;
mod pull;
mod push;
mod remove;
mod tag;
#[cfg(feature = "ebpf")]
mod test;
#[cfg(test)]
mod tests;
mod verify;

use anyhow::{Result, bail};
use clap::{ArgMatches, Command};
use gadget::{image::GadgetImage, store::Store};
use std::{io, mem::ManuallyDrop, path::Path};

/// The image that the binary carries.
#[derive(Debug, Clone, Copy)]
pub struct BuiltIn<'a> {
    /// The bare word that it answers to.
    pub name: &'a str,
    /// The image itself, for this machine's architecture.
    pub image: &'a GadgetImage,
}

/// The subcommand and those below it.
pub fn command() -> Command {
    let command = Command::new("image")
        .about("Build, share, verify and look after gadget images")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(new::command());
    #[cfg(feature = "ebpf")]
    let command = command.subcommands([build::command(), test::command()]);
    command
        .subcommands([list::command(), inspect::command(), tag::command(), remove::command()])
        .subcommands([prune::command(), export::command(), import::command(), check::command()])
        .subcommands([pull::command(), push::command(), verify::command()])
}

/// Does what the arguments say. `store` is the folder of the store if it is not this user's own.
pub fn run(matches: &ArgMatches, store: Option<&Path>, built_in: Option<&BuiltIn<'_>>) -> Result<()> {
    let open = || -> Result<Store> {
        Ok(match store {
            Some(path) => Store::open(path)?,
            None => Store::open(Store::default_path()?)?,
        })
    };
    let (out, log) = (&mut io::stdout().lock(), &mut io::stderr().lock());
    match matches.subcommand() {
        #[cfg(feature = "ebpf")]
        Some(("build", matches)) => build::run(matches, &mut open()?, log),
        #[cfg(feature = "ebpf")]
        Some(("test", matches)) => test::run(matches, store, out, log),
        Some(("new", matches)) => new::run(matches, log),
        Some(("list", matches)) => {
            // Handing a thousand images' memory back piece by piece takes longer than the process has left to live.
            let store = ManuallyDrop::new(open()?);
            list::run(matches, &store, built_in, super::terminal_width(), out, log)
        }
        Some(("inspect", matches)) => inspect::run(matches, &open()?, built_in, out, log),
        Some(("tag", matches)) => tag::run(matches, &mut open()?, log),
        Some(("remove", matches)) => remove::run(matches, &mut open()?, log),
        Some(("prune", _)) => prune::run(&mut open()?, log),
        Some(("export", matches)) => export::run(matches, &open()?, log),
        Some(("import", matches)) => import::run(matches, &mut open()?, out),
        Some(("check", matches)) => check::run(matches, &mut open()?, out, log),
        Some(("verify", matches)) => verify::run(matches, &mut open()?, out),
        Some(("pull", matches)) => pull::run(matches, &mut open()?, log),
        Some(("push", matches)) => push::run(matches, &open()?, log),
        _ => bail!("say what to do with images; --help lists it"),
    }
}
