//! `image import`: images out of one file.

use anyhow::{Context, Result};
use clap::{Arg, ArgMatches, Command};
use gadget::store::{Store, archive};
use std::{fs::File, io::Write};

pub(super) fn command() -> Command {
    Command::new("import")
        .about("Take the images of a file, with their signatures, into the store")
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .required(true)
                .help("What `image export` wrote, here or elsewhere; may be gzipped"),
        )
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("MODE")
                .value_parser(["json", "jsonpretty"])
                .hide_possible_values(true)
                .help("Print the names as json or jsonpretty"),
        )
}

pub(super) fn run(matches: &ArgMatches, store: &mut Store, out: &mut impl Write) -> Result<()> {
    let path = matches.get_one::<String>("file").map_or("", String::as_str);
    let file = File::open(path).with_context(|| format!("opening {path}"))?;
    let names = archive::import(store, file).with_context(|| format!("importing {path}"))?;
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    match matches.get_one::<String>("output").map(String::as_str) {
        Some("json") => writeln!(out, "{}", serde_json::to_string(&names)?)?,
        Some(_) => writeln!(out, "{}", serde_json::to_string_pretty(&names)?)?,
        None => {
            writeln!(out, "Successfully imported images:")?;
            for name in names {
                writeln!(out, "  {name}")?;
            }
        }
    }
    Ok(())
}
