//! The flags of `igx run`: its own, and those that a gadget's parameters become.

use std::{collections::BTreeMap, ffi::OsString};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::super::{images, registry};
use crate::{
    datasource::{DataSource, FieldId},
    instance::Param,
    operator::format::Times,
    output::Mode,
};

const CONTAINERS: &str = "Containers";
const OUTPUT: &str = "Output";
const IMAGES: &str = "Images";
const GADGET: &str = "This gadget";
const PROCESSES: &str = "Processes";

const FIELDS_HELP: &str =
    "Fields to show, also in JSON and YAML: a,b replaces them, +a adds one, -b leaves one out";

/// The command as far as it is the same for every gadget.
pub(crate) fn command() -> Command {
    Command::new("run")
        .about("Run a gadget")
        .long_about(
            "Run a gadget: load its programs into the kernel, and show what they see\n\
             until Ctrl-C.\n\n\
             'igx run IMAGE --help' also lists the flags that the gadget itself brings.",
        )
        .arg_required_else_help(true)
        // One help, not two: on a line beside its flag, most of this text would be too long for a terminal.
        .disable_help_flag(true)
        .arg(Arg::new("help").short('h').long("help").action(ArgAction::HelpLong).help("Print help"))
        .arg(
            Arg::new("image")
                .required(true)
                .value_name("IMAGE")
                .help("The gadget's image, such as trace_sni"),
        )
        .arg(
            Arg::new("command")
                .value_name("COMMAND")
                .num_args(1..)
                .last(true)
                .value_parser(value_parser!(OsString))
                .conflicts_with_all(["host", "containername"])
                .help("Start this, show only what it and its children do, and end with it and its exit status"),
        )
        .arg(
            Arg::new("timeout")
                .short('t')
                .long("timeout")
                .value_name("SECONDS")
                .value_parser(value_parser!(u64))
                .allow_negative_numbers(true)
                .default_value("0")
                .help("Stop after this many seconds; 0 runs until Ctrl-C"),
        )
        .arg(switch("host", CONTAINERS, "Show the host's own processes as well as containers"))
        .arg(
            Arg::new("containername")
                .short('c')
                .long("containername")
                .alias("runtime-containername")
                .value_name("NAME,...")
                .help_heading(CONTAINERS)
                .help("Show only containers of these names; !NAME leaves one out"),
        )
        .arg(
            Arg::new("docker-socketpath")
                .long("docker-socketpath")
                .value_name("PATH")
                .default_value("/run/docker.sock")
                .help_heading(CONTAINERS)
                .help("Socket of docker's API"),
        )
        .arg(
            Arg::new("count")
                .long("count")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("Stop after this many events; of snapshots and the like, batches"),
        )
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("MODE")
                .help_heading(OUTPUT)
                .help("columns, json, jsonpretty, yaml or none [default: columns]"),
        )
        .arg(
            Arg::new("timestamp-format")
                .long("timestamp-format")
                .value_name("FORMAT")
                .value_parser(Times::NAMES)
                .help_heading(OUTPUT)
                .help("Show when events happened, in the first column: the time of day, all of it, or seconds since the start"),
        )
        .arg(
            Arg::new("color")
                .long("color")
                .visible_alias("colour")
                .value_name("WHEN")
                .value_parser(["auto", "always", "never"])
                .default_value("auto")
                .help_heading(OUTPUT)
                .help("Colour errors and signals; auto: on a terminal, unless NO_COLOR is set"),
        )
        .arg(
            Arg::new("quiet")
                .short('q')
                .long("quiet")
                .action(ArgAction::SetTrue)
                .help_heading(OUTPUT)
                .help("Say nothing on stderr but errors: no notes, no sums at the end"),
        )
        .arg(
            Arg::new("fields")
                .long("fields")
                .value_name("FIELD,...")
                .allow_hyphen_values(true)
                .help_heading(OUTPUT)
                .help(FIELDS_HELP),
        )
        .arg(Arg::new("filter").short('F').long("filter").value_name("RULE,...").help_heading(OUTPUT).help(
            "Show only events for which all rules hold: field==value, !=, <, <=, >, >=, ~regex, !~regex",
        ))
        .args(images::policy_args().map(in_images))
        .arg(in_images(images::public_keys_arg()))
        .args(registry::flags())
        .arg(switch("oci-store-user", IMAGES, "Use the images of the user who called sudo"))
}

fn in_images(arg: Arg) -> Arg {
    arg.help_heading(IMAGES)
}

/// The command with what the gadget brings: its data sources' fields and filters, and its own flags. `sources` are
/// its data sources as events leave them.
pub(crate) fn command_for(about: &str, sources: &[DataSource], params: &[Param]) -> Command {
    let several = sources.len() > 1;
    let command = command()
        .long_about(about.to_owned())
        .mut_arg("fields", |arg| arg.help(fields_help(sources)))
        .mut_arg("output", |arg| arg.help(output_help(sources)))
        .mut_arg("filter", |arg| arg.hide(several));
    let command = sources.iter().fold(command, |command, source| {
        let name = filter_flag(&source.name);
        // Of one data source it is the same as --filter, and only there for who always writes it so.
        let arg =
            Arg::new(name.clone()).long(name).value_name("RULE,...").help_heading(OUTPUT).hide(!several);
        command.arg(arg.help(format!("The same as --filter elsewhere, for the events of {}", source.name)))
    });
    params.iter().fold(command, |command, param| {
        let heading = if param.selects_process { PROCESSES } else { GADGET };
        // Two parameters of one name, or one named like a flag of ours: the first one has it.
        if command.get_arguments().any(|a| a.get_long() == Some(&param.key)) {
            return command;
        }
        let arg = match param.kind {
            gadget::object::ParamType::Bool => switch(&param.key, heading, &param.description),
            _ => Arg::new(param.key.clone())
                .long(param.key.clone())
                .value_name("VALUE")
                .allow_negative_numbers(true)
                .help_heading(heading)
                .help(with_default(param)),
        };
        command.arg(arg)
    })
}

/// What there is to choose modes from.
fn output_help(sources: &[DataSource]) -> String {
    let mut help = "How events are written".to_owned();
    if sources.len() > 1 {
        help.push_str(", each data source its own way as in DS:MODE,DS:MODE");
    }
    let modes: Vec<Vec<String>> = sources.iter().map(Mode::names_of).collect();
    let say = |modes: &[String]| {
        let default = modes.first().map(String::as_str).unwrap_or_default();
        format!("[default: {default}] [possible values: {}]", modes.join(", "))
    };
    match modes.first() {
        Some(first) if modes.iter().all(|modes| modes == first) => help.push_str(&format!(" {}", say(first))),
        _ => {
            for (source, modes) in sources.iter().zip(&modes) {
                help.push_str(&format!("; {} {}", source.name, say(modes)));
            }
        }
    }
    help
}

/// What there is to choose columns from.
fn fields_help(sources: &[DataSource]) -> String {
    let mut help = FIELDS_HELP.to_owned();
    if sources.len() > 1 {
        help.push_str("; several data sources as in DS:a,b;DS:c");
    }
    for source in sources {
        let names = |ids: Vec<FieldId>| {
            ids.into_iter().map(|id| source.short_name(id)).collect::<Vec<_>>().join(", ")
        };
        let visible = source.visible();
        let hidden = source.with_value().filter(|id| !visible.contains(id) && source.is_leaf(*id)).collect();
        let of = if sources.len() > 1 { format!(" of {}", source.name) } else { String::new() };
        let hidden = match names(hidden) {
            none if none.is_empty() => none,
            some => format!("; also: {some}"),
        };
        help.push_str(&format!(" [default{of}: {}{hidden}]", names(visible)));
    }
    help
}

/// The filter rules that were given, by data source.
///
/// # Errors
/// `--filter` where it does not say which of several data sources it is for.
pub(crate) fn filters(
    sources: &[DataSource],
    matches: &ArgMatches,
) -> anyhow::Result<BTreeMap<String, String>> {
    let given = |flag: &str| matches.get_one::<String>(flag).map(String::as_str);
    let plain = given("filter");
    let flags = || sources.iter().map(|source| filter_flag(&source.name));
    anyhow::ensure!(
        plain.is_none() || sources.len() == 1,
        "--filter: this gadget has several data sources; use --{}",
        flags().collect::<Vec<_>>().join(" or --")
    );
    let rules = |flag: String| plain.into_iter().chain(given(&flag)).collect::<Vec<_>>().join(",");
    Ok(sources.iter().map(|source| source.name.clone()).zip(flags().map(rules)).collect())
}

fn filter_flag(source: &str) -> String {
    format!("filter.{source}")
}

/// The values that were given for the gadget's parameters.
pub(crate) fn param_values(params: &[Param], matches: &ArgMatches) -> Vec<(String, String)> {
    let given = |p: &Param| matches.value_source(&p.key) == Some(clap::parser::ValueSource::CommandLine);
    params
        .iter()
        .filter(|p| matches.try_contains_id(&p.key).is_ok() && given(p))
        .filter_map(|p| {
            let value = match p.kind {
                gadget::object::ParamType::Bool => matches.get_one::<bool>(&p.key)?.to_string(),
                _ => matches.get_one::<String>(&p.key)?.clone(),
            };
            Some((p.key.clone(), value))
        })
        .collect()
}

fn with_default(param: &Param) -> String {
    // The value that switches a process filter off says nothing to a person.
    let off = param.selects_process || param.default.is_empty();
    if off {
        param.description.clone()
    } else {
        format!("{} [default: {}]", param.description, param.default)
    }
}

/// A flag that is false unless named.
fn switch(name: &str, heading: &'static str, help: &str) -> Arg {
    let switch = images::switch(name, help).default_value("false").hide_default_value(true);
    switch.help_heading(heading)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasource::{Scalar, SourceKind, sample};

    fn two() -> [DataSource; 2] {
        let mut other = DataSource::new("start", SourceKind::Single);
        other.add_slot_field(None, "exit", Scalar::String, 0);
        [sample::sni(), other]
    }

    fn rules(sources: &[DataSource], line: &str) -> Result<BTreeMap<String, String>, String> {
        let matches = command_for("", sources, &[]).try_get_matches_from(line.split(' '));
        filters(sources, &matches.map_err(|e| e.to_string())?).map_err(|e| e.to_string())
    }

    #[test]
    fn help_tells_what_columns_there_are() {
        insta::assert_snapshot!(fields_help(&two()[..1]), @"Fields to show, also in JSON and YAML: a,b replaces them, +a adds one, -b leaves one out [default: runtime.containerName, comm, pid, tid, name; also: timestamp_raw, netns_id, proc.mntns_id, proc.creds.uid, proc.creds.gid, proc.parent.comm, proc.parent.pid, proc.parent.tid, k8s.node, k8s.namespace, k8s.podName, k8s.containerName, k8s.hostnetwork, k8s.podLabels, k8s.owner.kind, k8s.owner.name, runtime.runtimeName, runtime.containerId, runtime.containerPid, runtime.containerImageName, runtime.containerImageDigest, runtime.containerStartedAt, timestamp, proc.creds.user, proc.creds.group]");
        assert!(fields_help(&two()).contains("; several data sources as in DS:a,b;DS:c [default of sni: "));
        assert!(fields_help(&two()).ends_with(" [default of start: exit]"));
    }

    #[test]
    fn a_filter_is_for_one_data_source() {
        let sources = two();
        assert_eq!(
            rules(&sources[..1], "run x -F name==a --filter.sni comm==b").unwrap()["sni"],
            "name==a,comm==b"
        );
        assert_eq!(rules(&sources, "run x --filter.start exit==1").unwrap()["start"], "exit==1");
        assert_eq!(rules(&sources, "run x --filter.start exit==1").unwrap()["sni"], "");
        insta::assert_snapshot!(rules(&sources, "run x --filter name==a").unwrap_err(), @r#"--filter: this gadget has several data sources; use --filter.sni or --filter.start"#);
    }
}
