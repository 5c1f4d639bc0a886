//! `image inspect`: what an image says about itself. It reads and never runs: neither privileges nor a kernel are
//! asked for.

mod info;
mod query;
mod render;
#[cfg(feature = "ebpf")]
mod source;
#[cfg(test)]
mod tests;
mod wasm;

use super::BuiltIn;
use anyhow::{Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use gadget::{image::GadgetImage, image::host_architecture, reference::Reference, store::Store};
use render::Mode;
use std::io::Write;

pub(super) fn command() -> Command {
    Command::new("inspect")
        .about("Show what an image says about itself")
        .arg(Arg::new("image").value_name("IMAGE").required(true).help("Image in the store"))
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("MODE")
                .default_value("jsonpretty")
                .value_parser(["json", "jsonpretty", "yaml"])
                .hide_possible_values(true)
                .help("json, jsonpretty or yaml"),
        )
        .arg(
            Arg::new("extra-info")
                .long("extra-info")
                .value_name("KEY")
                .help("Print only what is under this key, such as ebpf.flowchart"),
        )
        .arg(
            Arg::new("show-datasources")
                .long("show-datasources")
                .action(ArgAction::SetTrue)
                .conflicts_with("extra-info")
                .help("Print the data sources with their fields"),
        )
        .arg(
            Arg::new("jsonpath")
                .long("jsonpath")
                .value_name("PATH")
                .help("Print only this part, such as [0].name: with --extra-info or --show-datasources"),
        )
}

pub(super) fn run(
    matches: &ArgMatches,
    store: &Store,
    built_in: Option<&BuiltIn<'_>>,
    out: &mut impl Write,
    log: &mut impl Write,
) -> Result<()> {
    let typed = matches.get_one::<String>("image").map_or("", String::as_str);
    let reference = Reference::parse(typed)?;
    let stored = store.get(&reference, host_architecture())?;
    let carried = built_in.filter(|b| reference.is_bare() && b.name == typed).map(|b| b.image);
    let Some(image) = stored.as_ref().or(carried) else {
        return Err(gadget::store::Error::NotFound(reference.to_string()).into());
    };
    for warning in &image.warnings {
        writeln!(log, "warning: {typed}: {warning}")?;
    }
    show(matches, image, &Named { typed, reference: &reference }, out, log)
}

/// What the image was called.
struct Named<'a> {
    /// By the user.
    typed: &'a str,
    /// In full.
    reference: &'a Reference,
}

/// Prints what is asked for of an image.
fn show(
    matches: &ArgMatches,
    image: &GadgetImage,
    name: &Named<'_>,
    out: &mut impl Write,
    log: &mut impl Write,
) -> Result<()> {
    let mode = Mode::named(matches.get_one::<String>("output").map_or("", String::as_str));
    let path = matches.get_one::<String>("jsonpath").map(String::as_str);
    if matches.get_flag("show-datasources") {
        return match path {
            None => render::value(&data_sources(image)?, mode, out),
            Some(path) => part(&serde_json::to_value(data_sources(image)?)?, path, mode, out),
        };
    }
    let Some(key) = matches.get_one::<String>("extra-info") else {
        if let Some(path) = path {
            bail!("jsonpath {path:?} can only be used with extra info or show-datasources");
        }
        return render::value(&info::all(image, name, log)?, mode, out);
    };
    let mut all = info::all(image, name, log)?;
    let Some(info) = all.remove(key.as_str()) else {
        let keys: Vec<_> = all.keys().copied().collect();
        bail!("extra info {key:?} not found; there is: {}", keys.join(", "));
    };
    match (info.decode()?, path) {
        (Some(value), Some(path)) => part(&value, path, mode, out),
        (Some(value), None) => render::value(&value, mode, out),
        (None, Some(path)) => {
            let is = info.content_type;
            bail!("jsonpath {path:?} can only be used with JSON or YAML content: extra info {key:?} is {is}")
        }
        (None, None) => render::text(&info.content, out),
    }
}

fn part(whole: &serde_json::Value, path: &str, mode: Mode, out: &mut impl Write) -> Result<()> {
    match query::find(whole, path)? {
        serde_json::Value::String(text) => render::text(&text, out),
        value => render::value(&value, mode, out),
    }
}

#[cfg(feature = "ebpf")]
fn data_sources(image: &GadgetImage) -> Result<Vec<source::Source>> {
    source::all(image)
}

#[cfg(not(feature = "ebpf"))]
fn data_sources(_: &GadgetImage) -> Result<Vec<serde_json::Value>> {
    bail!(
        "this build runs no gadgets, so it does not know their data sources: use one with the feature `ebpf`"
    )
}
