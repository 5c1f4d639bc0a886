//! `igx completions`: completion scripts for shells.

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;

pub(super) fn command() -> Command {
    Command::new("completions")
        .about("Print a shell's completion script")
        .arg(Arg::new("shell").required(true).value_parser(value_parser!(Shell)).help("Which shell"))
}

pub(super) fn run(matches: &ArgMatches, mut igx: Command) -> anyhow::Result<()> {
    if let Some(&shell) = matches.get_one::<Shell>("shell") {
        clap_complete::generate(shell, &mut igx, "igx", &mut std::io::stdout());
    }
    Ok(())
}
