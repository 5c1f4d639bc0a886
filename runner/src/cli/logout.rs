//! `logout`: forgets the credentials for a registry.

use super::{login, registry};
use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::io::Write;

pub(super) fn command() -> Command {
    Command::new("logout")
        .about("Forget the credentials for a registry")
        .arg(Arg::new("registry").value_name("REGISTRY").num_args(0..).help("Such as ghcr.io"))
        .arg(Arg::new("all").short('a').long("all").action(ArgAction::SetTrue).help("All registries"))
        .arg(registry::authfile())
}

pub(super) fn run(matches: &ArgMatches, out: &mut impl Write) -> Result<()> {
    let named: Vec<_> = matches.get_many::<String>("registry").unwrap_or_default().collect();
    let config = registry::config(matches);
    match named.as_slice() {
        _ if matches.get_flag("all") => config.logout(None)?,
        [one] => config.logout(Some(login::registry(one)?))?,
        _ => bail!("logout requires exactly one registry argument (or --all)"),
    }
    writeln!(out, "Logout Succeeded")?;
    Ok(())
}
