//! The flags of `igx run`: its own, and those that a gadget's parameters become.

use clap::{Arg, ArgAction, ArgMatches, Command, builder::BoolishValueParser, value_parser};

use crate::instance::Param;

const CONTAINERS: &str = "Containers";
const OUTPUT: &str = "Output";
const IMAGES: &str = "Images";
const GADGET: &str = "This gadget";
const PROCESSES: &str = "Processes";

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
            Arg::new("timeout")
                .short('t')
                .long("timeout")
                .value_name("SECONDS")
                .value_parser(value_parser!(u64))
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
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("MODE")
                .default_value("columns")
                .help_heading(OUTPUT)
                .help("columns, json, jsonpretty, yaml or none"),
        )
        .arg(
            Arg::new("fields")
                .long("fields")
                .value_name("FIELD,...")
                .allow_hyphen_values(true)
                .help_heading(OUTPUT)
                .help("Columns to show: a,b replaces them, +a adds one, -b leaves one out"),
        )
        .arg(Arg::new("filter").short('F').long("filter").value_name("RULE,...").help_heading(OUTPUT).help(
            "Show only events for which all rules hold: field==value, !=, <, <=, >, >=, ~regex, !~regex",
        ))
        .arg(
            Arg::new("pull")
                .long("pull")
                .value_name("WHEN")
                .value_parser(["always", "missing", "never"])
                .default_value("missing")
                .help_heading(IMAGES)
                .help("When to fetch the image from its registry"),
        )
        .arg(
            switch("verify-image", IMAGES, "Refuse an image that cannot be trusted")
                .default_value("true")
                .hide_default_value(false),
        )
}

/// The command with the gadget's own flags.
pub(crate) fn command_for(params: &[Param]) -> Command {
    params.iter().fold(command(), |command, param| {
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

/// A flag that is true when named, and takes `=true` or `=false`.
fn switch(name: &str, heading: &'static str, help: &str) -> Arg {
    Arg::new(name.to_owned())
        .long(name.to_owned())
        .action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .default_value("false")
        .hide_default_value(true)
        .hide_possible_values(true)
        .value_parser(BoolishValueParser::new())
        .value_name("BOOL")
        .help_heading(heading)
        .help(help.to_owned())
}
