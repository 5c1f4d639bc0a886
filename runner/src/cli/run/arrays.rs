//! The flags of gadgets whose data comes in batches: snapshots and those that report periodically.

use clap::{Arg, ArgMatches, Command};

use super::flags::OUTPUT;
use crate::{
    datasource::{DataSource, SourceKind},
    instance::{Arrays, Gadget, Origin},
};

/// All the flags.
const ALL: [&str; 4] = ["sort", "max-entries", "map-fetch-interval", "map-fetch-count"];

/// Flags about maps, which only some of these gadgets have to show.
const OF_MAPS: [&str; 2] = ["map-fetch-interval", "map-fetch-count"];

/// Adds the flags, if there is anything that comes in batches.
pub(super) fn add(command: Command, sources: &[DataSource]) -> Command {
    if !sources.iter().any(|source| source.kind == SourceKind::Array) {
        return command;
    }
    let flag = |name: &'static str, value: &'static str, help: &'static str| {
        let arg = Arg::new(name).long(name).value_name(value).help_heading(OUTPUT).help(help);
        arg.allow_hyphen_values(true)
    };
    command
        .arg(flag(
            "sort",
            "FIELD,...",
            "Sort by these fields, -FIELD from high to low; ds:a,b;ds2:c for several",
        ))
        .arg(flag(
            "max-entries",
            "COUNT",
            "Show so many entries at a time, -1 for all; ds:5,ds2:7 for several",
        ))
        .arg(flag(
            "map-fetch-interval",
            "DURATION",
            "How often maps are read, such as 500ms; 0 for once, at the end [default: 1000ms]",
        ))
        .arg(flag("map-fetch-count", "COUNT", "How many times maps are read; 0 for no end [default: 0]"))
}

fn has_maps(gadget: &Gadget) -> bool {
    gadget.sources.iter().any(|source| matches!(source.origin, Origin::Map { .. }))
}

/// Leaves out of the help what is about maps, where the gadget has none. A manifest (`described`) may be for more
/// gadgets than one: what it says of batches is taken without effect where nothing comes in any.
pub(super) fn narrow(command: Command, gadget: &Gadget, described: bool) -> Command {
    if described && command.get_arguments().all(|arg| arg.get_long() != Some(ALL[0])) {
        let ignored = ALL.map(|flag| Arg::new(format!("unused-{flag}")).long(flag).hide(true));
        return command.args(ignored);
    }
    let is_ours = |arg: &Arg| OF_MAPS.contains(&arg.get_id().as_str());
    let needless = !has_maps(gadget);
    command.mut_args(|arg| if needless && is_ours(&arg) { arg.hide(true) } else { arg })
}

/// Checks that what is about maps is for a gadget that has some, unless a manifest says it.
///
/// # Errors
/// If it would have no effect.
pub(super) fn check(gadget: &Gadget, matches: &ArgMatches, described: bool) -> anyhow::Result<()> {
    let given = |flag: &&&str| matches.try_get_one::<String>(flag).is_ok_and(|value| value.is_some());
    match OF_MAPS.iter().find(given) {
        Some(flag) if !has_maps(gadget) && !described => {
            anyhow::bail!("--{flag} is for gadgets that show maps, and this one does not; leave it out")
        }
        _ => Ok(()),
    }
}

/// What was given for them.
pub(super) fn given(matches: &ArgMatches) -> Arrays {
    let text = |name: &str| matches.try_get_one::<String>(name).ok().flatten().cloned().unwrap_or_default();
    Arrays {
        sort: text("sort"),
        max_entries: text("max-entries"),
        fetch_interval: text("map-fetch-interval"),
        fetch_count: text("map-fetch-count"),
    }
}
