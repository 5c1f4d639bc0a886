//! The flags of `igx run`: its own, and those that a gadget's parameters become.

use std::{collections::BTreeMap, ffi::OsString};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use gadget::object::ParamType;

use super::{
    super::{containers, ig, images, registry},
    advanced, arrays,
    choices::{FIELDS_HELP, fields_help, fields_of, output_help},
};
use crate::{datasource::DataSource, instance::Param, operator::format::Times};

const CONTAINERS: &str = containers::HEADING;
pub(super) const OUTPUT: &str = "Output";
const IMAGES: &str = "Images";
const GADGET: &str = "This gadget";
const FILTERS: &str = "Filters";

/// The command as far as it is the same for every gadget.
pub(crate) fn command() -> Command {
    shared(head().args([filter_arg(), expression_arg()]))
}

/// What the command is about, and how long it runs.
fn head() -> Command {
    Command::new("run")
        .about("Run a gadget")
        .override_usage(format!("{} run [OPTIONS] [IMAGE] [-- <COMMAND>...]", ig::name()))
        .long_about(
            "Run a gadget: load its programs into the kernel, and show what they see\n\
             until Ctrl-C. What containers do is shown, and with --host what the\n\
             host's own processes do, too.\n\n\
             'igx run IMAGE --help' also lists the flags that the gadget itself brings.",
        )
        .arg_required_else_help(true)
        // One help, not two: on a line beside its flag, most of this text would be too long for a terminal.
        .disable_help_flag(true)
        .arg(Arg::new("help").short('h').long("help").action(ArgAction::HelpLong).help("Print help"))
        .arg(
            Arg::new("image")
                .index(1)
                .required_unless_present("file")
                .value_name("IMAGE")
                .help("The gadget's image, such as trace_sni"),
        )
        .arg(
            Arg::new("file")
                .short('f')
                .long("file")
                .value_name("FILE")
                .help("Take image and flags from this manifest, file or URL; - is stdin"),
        )
        .arg(
            Arg::new("command")
                .index(2)
                .value_name("COMMAND")
                .num_args(1..)
                .last(true)
                .value_parser(value_parser!(OsString))
                .conflicts_with("containername")
                .help(
                    "Start this, show only what it and its children do, and end with it and its exit status",
                ),
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
}

fn filter_arg() -> Arg {
    Arg::new("filter")
        .short('F')
        .long("filter")
        .value_name("RULE,...")
        .help_heading(FILTERS)
        .help("Show only events for which all rules hold: field==value, !=, <, <=, >, >=, ~regex, !~regex")
}

fn expression_arg() -> Arg {
    Arg::new("filter-expr")
        .short('E')
        .long("filter-expr")
        .value_name("EXPRESSION")
        .help_heading(FILTERS)
        .help(
            "Show only events for which an expression is true, as in \
         'proc.uid == 0 && dst.addr in cidr(\"10.0.0.0/8\")'; see expr-lang.org",
        )
}

/// Adds the flags that gadgets have in common; help lists groups in the order in which they come.
fn shared(command: Command) -> Command {
    command
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("MODE")
                .help_heading(OUTPUT)
                .help("columns, json, jsonpretty, yaml or none [default: columns]"),
        )
        .arg(
            Arg::new("annotate")
                .long("annotate")
                .value_name("SUBJECT:KEY=VALUE,...")
                .action(ArgAction::Append)
                .help_heading(OUTPUT)
                .help("Change how a data source or a field is described and shown, as in sni.name:columns.width=60"),
        )
        .arg(
            Arg::new("timestamp-format")
                .long("timestamp-format")
                .value_name("FORMAT")
                .value_parser(Times::NAMES)
                .help_heading(OUTPUT)
                .help("Show when events happened, in the first column: short is the time of day, rfc3339 has the date too, relative is seconds since the start"),
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
        .arg(switch("host", CONTAINERS, "Show the host's own processes as well as containers"))
        .args(containers::selector_args())
        .args(containers::runtime_args())
        .arg(
            Arg::new("count")
                .long("count")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("Stop after this many events; of snapshots and the like, batches"),
        )
        .args(images::policy_args().map(in_images))
        .arg(in_images(images::public_keys_arg()))
        .args(registry::flags())
        .args(advanced::args())
        .args(ig::flags::run())
        .arg(switch("oci-store-user", IMAGES, "Use the images of the user who called sudo"))
}

fn in_images(arg: Arg) -> Arg {
    arg.help_heading(IMAGES)
}

/// The command with what the gadget brings: its own flags, and its data sources' fields and filters. `sources` are its
/// data sources as events leave them.
pub(crate) fn command_for(about: &str, sources: &[DataSource], params: &[Param]) -> Command {
    let several = sources.len() > 1;
    // Two parameters of one name, or one named like a flag of ours: the first one has it.
    let ours = arrays::add(command(), sources);
    let mut taken: Vec<&str> = ours.get_arguments().filter_map(Arg::get_long).collect();
    let (mut own, mut processes) = (Vec::new(), Vec::new());
    for param in params {
        if taken.contains(&param.key.as_str()) {
            continue;
        }
        taken.push(&param.key);
        if param.selects_process { &mut processes } else { &mut own }.push(param_arg(param));
    }
    let of_sources = sources.iter().flat_map(|source| {
        [filter_arg(), expression_arg()].map(|arg| {
            let flag = arg.get_id().as_str();
            let name = filter_flag(flag, &source.name);
            let help = format!("The same as --{flag} elsewhere, for the events of {}", source.name);
            let value = arg.get_value_names().and_then(|names| names.first()).cloned().unwrap_or_default();
            // Of one data source it is the same as without a name, and only there for who always writes it so.
            Arg::new(name.clone())
                .long(name)
                .value_name(value)
                .help_heading(FILTERS)
                .hide(!several)
                .help(help)
        })
    });
    let of_all = [filter_arg(), expression_arg()].map(|arg| arg.hide(several));
    let of_containers = sources.iter().any(|source| source.field("runtime").is_some());
    let shown = "\n\nWhat containers do is shown; with --host what the host's own processes do, too.";
    let about = format!("{about}{}", if of_containers { shown } else { "" });
    let command = head().long_about(about).args(own);
    let command = command.args(processes).args(of_all).args(of_sources);
    arrays::add(shared(command), sources)
        .mut_arg("fields", |arg| arg.help(fields_help(several)))
        .mut_arg("output", |arg| arg.help(output_help(sources)))
        .after_long_help(sources.iter().map(|source| fields_of(source, several)).collect::<String>())
}

/// A parameter of the gadget as a flag.
fn param_arg(param: &Param) -> Arg {
    let heading = if param.selects_process { FILTERS } else { GADGET };
    let type_name = match param.kind {
        ParamType::Bool => return switch(&param.key, heading, &param.description),
        ParamType::Int { size, signed } => {
            format!("{}INT{}", if signed { "" } else { "U" }, u32::from(size).saturating_mul(8))
        }
        ParamType::Float => "FLOAT".to_owned(),
        ParamType::String { .. } => "TEXT".to_owned(),
        ParamType::Ip => "ADDRESS".to_owned(),
        ParamType::Unknown => "VALUE".to_owned(),
    };
    let arg = Arg::new(param.key.clone())
        .long(param.key.clone())
        .value_name(type_name)
        .allow_negative_numbers(true)
        .help_heading(heading)
        .help(with_default(param));
    if param.possible_values.is_empty() { arg } else { arg.value_parser(param.possible_values.clone()) }
}

/// The filter rules that were given, by data source.
///
/// # Errors
/// `--filter` where it does not say which of several data sources it is for.
pub(crate) fn filters(
    sources: &[DataSource],
    matches: &ArgMatches,
) -> anyhow::Result<BTreeMap<String, String>> {
    by_source("filter", sources, matches, |rules| rules.join(","))
}

/// The filter expressions that were given, by data source: of several, all must be true.
///
/// # Errors
/// `--filter-expr` where it does not say which of several data sources it is for.
pub(crate) fn expressions(
    sources: &[DataSource],
    matches: &ArgMatches,
) -> anyhow::Result<BTreeMap<String, String>> {
    by_source("filter-expr", sources, matches, |all| match all {
        [one] => (*one).to_owned(),
        all => all.iter().map(|one| format!("({one})")).collect::<Vec<_>>().join(" && "),
    })
}

fn by_source(
    flag: &str,
    sources: &[DataSource],
    matches: &ArgMatches,
    join: impl Fn(&[&str]) -> String,
) -> anyhow::Result<BTreeMap<String, String>> {
    let given = |flag: &str| matches.get_one::<String>(flag).map(String::as_str);
    let plain = given(flag);
    let flags = || sources.iter().map(|source| filter_flag(flag, &source.name));
    anyhow::ensure!(
        plain.is_none() || sources.len() == 1,
        "--{flag}: this gadget has several data sources; use --{}",
        flags().collect::<Vec<_>>().join(" or --")
    );
    let joined = |flag: String| join(&plain.into_iter().chain(given(&flag)).collect::<Vec<_>>());
    Ok(sources.iter().map(|source| source.name.clone()).zip(flags().map(joined)).collect())
}

fn filter_flag(flag: &str, source: &str) -> String {
    format!("{flag}.{source}")
}

/// The values that were given for the gadget's parameters.
pub(crate) fn param_values(params: &[Param], matches: &ArgMatches) -> Vec<(String, String)> {
    let given = |p: &Param| matches.value_source(&p.key) == Some(clap::parser::ValueSource::CommandLine);
    params
        .iter()
        .filter(|p| matches.try_contains_id(&p.key).is_ok() && given(p))
        .filter_map(|p| {
            let value = match p.kind {
                // One named like a flag of ours has that flag, whose values may be of another kind.
                ParamType::Bool => matches.try_get_one::<bool>(&p.key).ok()??.to_string(),
                _ => matches.try_get_one::<String>(&p.key).ok()??.clone(),
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
pub(super) fn switch(name: &str, heading: &'static str, help: &str) -> Arg {
    let switch = images::switch(name, help).default_value("false").hide_default_value(true);
    switch.help_heading(heading)
}

#[cfg(test)]
mod tests {
    use super::{super::choices::tests::two, *};

    fn rules(sources: &[DataSource], line: &str) -> Result<BTreeMap<String, String>, String> {
        let matches = command_for("", sources, &[]).try_get_matches_from(line.split(' '));
        filters(sources, &matches.map_err(|e| e.to_string())?).map_err(|e| e.to_string())
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
