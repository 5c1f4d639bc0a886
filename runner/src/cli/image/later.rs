//! Subcommands of upstream that this version does not have yet. They exist so that who types one is told what to do
//! instead of getting a list of other words.

use anyhow::{Result, bail};
use clap::{Arg, ArgAction, Command};

const LATER: [(&str, &str); 2] = [
    ("pull", "export the image where it is with `image export IMAGE FILE`, and `image import FILE` here"),
    ("push", "write it to a file with `image export IMAGE FILE`, and push that with a registry tool"),
];

pub(super) fn commands() -> impl Iterator<Item = Command> {
    LATER.into_iter().map(|(name, _)| {
        Command::new(name).hide(true).disable_help_flag(true).arg(
            Arg::new("rest")
                .action(ArgAction::Append)
                .num_args(0..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true),
        )
    })
}

pub(super) fn run(name: &str) -> Result<()> {
    let instead = LATER.iter().find(|(known, _)| *known == name).map_or("see --help", |(_, instead)| instead);
    bail!("image {name}: this version cannot do it yet; {instead}")
}
