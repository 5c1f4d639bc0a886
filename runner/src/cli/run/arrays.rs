//! The flags of gadgets whose data comes in batches: snapshots and those that report periodically.

use clap::{Arg, ArgMatches, Command};

use super::flags::OUTPUT;
use crate::{
    datasource::{DataSource, SourceKind},
    instance::Arrays,
};

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
