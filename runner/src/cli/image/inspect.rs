//! `image inspect`: what an image says about itself.

use super::BuiltIn;
use anyhow::{Result, bail};
use clap::{Arg, ArgMatches, Command};
use gadget::{
    image::{CREATED, GadgetImage, host_architecture},
    object::Object,
    reference::Reference,
    store::Store,
};
use serde::Serialize;
use std::{collections::BTreeMap, io::Write};

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
                .value_parser(["json", "jsonpretty"])
                .hide_possible_values(true)
                .help("json or jsonpretty"),
        )
        .arg(
            Arg::new("extra-info")
                .long("extra-info")
                .value_name("KEY")
                .help("Print only what is under this key"),
        )
}

const JSON: &str = "application/json";

/// One thing that is known about an image.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    content: String,
    content_type: &'static str,
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
    let pretty = matches.get_one::<String>("output").is_some_and(|mode| mode == "jsonpretty");
    let mut all = infos(image, &reference, log)?;
    let Some(key) = matches.get_one::<String>("extra-info") else {
        writeln!(out, "{}", json(&all, pretty)?)?;
        return Ok(());
    };
    let Some(info) = all.remove(key.as_str()) else {
        let keys: Vec<_> = all.keys().copied().collect();
        bail!("{typed} has no extra info {key:?}; there is: {}", keys.join(", "));
    };
    match serde_json::from_str::<serde_json::Value>(&info.content) {
        Ok(value) if info.content_type == JSON => writeln!(out, "{}", json(&value, pretty)?)?,
        _ => writeln!(out, "{}", info.content.trim_end())?,
    }
    Ok(())
}

fn infos(
    image: &GadgetImage,
    reference: &Reference,
    log: &mut impl Write,
) -> Result<BTreeMap<&'static str, Info>> {
    let text = |content: &str, content_type| Info { content: content.to_owned(), content_type };
    let plain = |content: &str| text(content, "text/plain");
    let created = image.annotations.get(CREATED).map_or("", String::as_str);
    let mut infos = BTreeMap::from([
        ("oci.manifest", text(&String::from_utf8_lossy(&image.manifest), JSON)),
        ("oci.metadata", text(&String::from_utf8_lossy(&image.metadata), "text/yaml")),
        ("oci.repository", plain(&reference.name())),
        ("oci.tag", plain(reference.tag().unwrap_or_default())),
        ("oci.digest", plain(&image.config_digest)),
        ("oci.created", plain(created)),
    ]);
    match image.object.as_deref().map(Object::parse) {
        Some(Ok(object)) => infos.extend([
            ("ebpf.sections", text(&json(&object.describe_sections(), false)?, JSON)),
            ("ebpf.programs", text(&json(&object.describe_programs(), false)?, JSON)),
            ("ebpf.maps", text(&json(&object.describe_maps(), false)?, JSON)),
            ("ebpf.variables", text(&json(&object.describe_variables(), false)?, JSON)),
        ]),
        // The rest is worth telling all the same.
        Some(Err(error)) => writeln!(log, "warning: {reference}: its program cannot be described: {error}")?,
        None => {}
    }
    Ok(infos)
}

fn json(value: &impl Serialize, pretty: bool) -> Result<String> {
    Ok(if pretty { serde_json::to_string_pretty(value)? } else { serde_json::to_string(value)? })
}
