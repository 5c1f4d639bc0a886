//! `image build`: from sources to the store.

use anyhow::Result;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use gadget::{
    build::{Options, build},
    reference::Reference,
    store::Store,
};
use std::{io::Write, path::PathBuf};

pub(super) fn command() -> Command {
    Command::new("build")
        .about("Compile a gadget and put it into the store")
        .arg(
            Arg::new("path")
                .value_name("PATH")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("Folder with program.bpf.c, gadget.yaml or both"),
        )
        .arg(
            Arg::new("file")
                .short('f')
                .long("file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Build file [default: build.yaml in PATH, if any]"),
        )
        .arg(Arg::new("tag").short('t').long("tag").value_name("NAME").help("Name of the image"))
        .arg(
            Arg::new("local")
                .short('l')
                .long("local")
                .action(ArgAction::SetTrue)
                .help("Use this machine's clang: always on, the only way so far"),
        )
}

pub(super) fn run(matches: &ArgMatches, store: &mut Store, log: &mut impl Write) -> Result<()> {
    // A bad name must not be told only after a minute of compiling.
    let name = matches.get_one::<String>("tag").map(|tag| Reference::parse(tag)).transpose()?;
    let options = Options {
        file: matches.get_one::<PathBuf>("file").cloned(),
        builder_version: crate::BUILDER_VERSION.to_owned(),
        ..Options::default()
    };
    let path = matches.get_one::<PathBuf>("path").cloned().unwrap_or_default();
    let built = build(&path, &options)?;
    if !built.warnings.is_empty() {
        writeln!(log, "{}", built.warnings)?;
    }
    store.add(&built.image, name.as_ref())?;
    let name = name.map(|name| name.to_string()).unwrap_or_default();
    writeln!(log, "Successfully built {name}@{}", built.image.digest())?;
    Ok(())
}
