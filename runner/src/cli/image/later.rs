//! Subcommands of upstream that this version does not have yet. They exist so that who types one is told what to do
//! instead of getting a list of other words.

use anyhow::{Result, bail};
use clap::{Arg, ArgAction, Command};

const LATER: [(&str, &str); 3] = [
    ("export", "pack the store's folder with `tar cf IMAGE.tar -C STORE .`: it is an OCI image layout"),
    (
        "import",
        "unpack the file into an empty folder with `tar xf IMAGE.tar -C FOLDER` and use that: --store FOLDER",
    ),
    ("verify", "check signatures with cosign or notation before the image comes into the store"),
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
