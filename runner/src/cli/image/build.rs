//! `image build`: from sources to the store.

use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, builder::BoolishValueParser, value_parser};
use gadget::{
    build::{Container, Options, Pull, build},
    reference::Reference,
    store::Store,
};
use std::{io::Write, path::PathBuf};

pub(super) fn command() -> Command {
    let path = |id: &'static str, value| {
        Arg::new(id).long(id).value_name(value).value_parser(value_parser!(PathBuf))
    };
    let truth = |id: &'static str, default| {
        Arg::new(id)
            .long(id)
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .default_value(default)
            .value_parser(BoolishValueParser::new())
    };
    Command::new("build")
        .about("Compile a gadget for amd64 and arm64 and put it into the store")
        .after_help(
            "Needs clang and llvm-strip, and go or cargo if build.yaml names a source as its\n\
             wasm; all headers are carried. The same sources and compilers give the same\n\
             digest anywhere if SOURCE_DATE_EPOCH says when, in seconds since 1970.",
        )
        .arg(
            Arg::new("path")
                .value_name("PATH")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("Folder with program.bpf.c, gadget.yaml or both"),
        )
        .arg(path("file", "FILE").short('f').help("Build file [default: build.yaml in PATH, if any]"))
        .arg(Arg::new("tag").short('t').long("tag").value_name("NAME").help("Name of the image"))
        .arg(path("output", "DIR").short('o').help("Keep objects and modules here"))
        .arg(
            Arg::new("local")
                .short('l')
                .long("local")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_parser(BoolishValueParser::new())
                .hide_possible_values(true)
                .value_name("BOOL")
                .help("Use this machine's compilers, as is done unless --builder-image is given"),
        )
        .arg(
            Arg::new("builder-image")
                .long("builder-image")
                .value_name("IMAGE")
                .help("Compile in a container of this image, by docker or podman"),
        )
        .arg(
            Arg::new("builder-image-pull")
                .long("builder-image-pull")
                .value_name("WHEN")
                .default_value("always")
                .value_parser(["always", "missing", "never"])
                .hide_possible_values(true)
                .help("Fetch the builder image always, when missing, or never"),
        )
        .arg(
            truth("update-metadata", "false")
                .hide_possible_values(true)
                .help("Write what the program has and gadget.yaml lacks into gadget.yaml"),
        )
        .arg(
            truth("validate-metadata", "true")
                .hide_possible_values(true)
                .help("Refuse a gadget.yaml that does not fit the program"),
        )
        .arg(
            Arg::new("btfgen")
                .long("btfgen")
                .action(ArgAction::SetTrue)
                .requires("btfhub-archive")
                .help("Carry kernel types, for kernels without their own"),
        )
        .arg(path("btfhub-archive", "DIR").help("Where --btfgen takes kernel types: a btfhub archive"))
        .arg(
            Arg::new("builder-version")
                .long("builder-version")
                .value_name("TEXT")
                .default_value(crate::BUILDER_VERSION)
                .help("What the image says it was built by"),
        )
}

pub(super) fn run(matches: &ArgMatches, store: &mut Store, log: &mut impl Write) -> Result<()> {
    // A bad name must not be told only after a minute of compiling.
    let name = matches.get_one::<String>("tag").map(|tag| Reference::parse(tag)).transpose()?;
    let path = matches.get_one::<PathBuf>("path").cloned().unwrap_or_default();
    let built = build(&path, &options(matches)?)?;
    if !built.warnings.is_empty() {
        writeln!(log, "{}", built.warnings)?;
    }
    store.add(&built.image, name.as_ref())?;
    let name = name.map(|name| name.to_string()).unwrap_or_default();
    writeln!(log, "Successfully built {name}@{}", built.image.digest())?;
    Ok(())
}

fn options(matches: &ArgMatches) -> Result<Options> {
    let path = |id| matches.get_one::<PathBuf>(id).cloned();
    let text = |id| matches.get_one::<String>(id).map_or("", String::as_str);
    let is = |id| matches.get_one::<bool>(id).copied();
    let container = match (matches.get_one::<String>("builder-image"), is("local")) {
        (None, Some(false)) => bail!("--local=false: say with --builder-image which image to build in"),
        (_, Some(true)) => None,
        (image, _) => image.map(|image| Container {
            image: image.clone(),
            pull: match text("builder-image-pull") {
                "never" => Pull::Never,
                "missing" => Pull::Missing,
                _ => Pull::Always,
            },
            engine: None,
        }),
    };
    Ok(Options {
        file: path("file"),
        builder_version: text("builder-version").to_owned(),
        created: None,
        output: path("output"),
        update_metadata: is("update-metadata").unwrap_or_default(),
        validate_metadata: is("validate-metadata").unwrap_or(true),
        btfhub_archive: path("btfhub-archive").filter(|_| matches.get_flag("btfgen")),
        container,
    })
}
