//! `igx config`: which settings there are, and which are in force.

use std::{collections::BTreeMap, io::Write};

use clap::{Arg, ArgMatches, Command};

use super::{
    ig,
    settings::{Setting, Settings, argument, default_path, known},
};

pub(super) fn command() -> Command {
    Command::new("config")
        .about("Show settings: of the file config.yaml and of the environment")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("default").about("Print all settings with their defaults, as YAML"))
        .subcommand(Command::new("view").about("Print the settings in force, and where they come from"))
}

pub(super) fn run(
    matches: &ArgMatches,
    settings: &Settings,
    igx: &Command,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    match matches.subcommand() {
        Some(("default", _)) if ig::is_called() => {
            out.write_all(ig::settings::defaults(|flag| upstreams_default(igx, flag)).as_bytes())?;
        }
        Some(("default", _)) => out.write_all(defaults(igx).as_bytes())?,
        _ => out.write_all(view(settings).as_bytes())?,
    }
    Ok(())
}

fn view(settings: &Settings) -> String {
    let mut text = lines("", &settings.all);
    if !settings.run.is_empty() {
        text.push_str("run:\n");
        text.push_str(&lines("  ", &settings.run));
    }
    if text.is_empty() {
        let path = default_path().map_or_else(|| "config.yaml".to_owned(), |path| path.display().to_string());
        return format!("{{}}  # neither {path} nor the environment sets anything\n");
    }
    text
}

fn lines(indent: &str, settings: &BTreeMap<String, Setting>) -> String {
    let line = |(flag, setting): (&String, &Setting)| {
        format!("{indent}{flag}: {}  # {}\n", quoted(&setting.value), setting.origin)
    };
    settings.iter().map(line).collect()
}

/// The default of a flag; empty if it has none.
fn default_of(igx: &Command, flag: &str) -> String {
    let values = argument(igx, flag).map(Arg::get_default_values).unwrap_or_default();
    values.iter().map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(",")
}

/// The same for who is called `ig`, where flags that do nothing have upstream's.
fn upstreams_default(igx: &Command, flag: &str) -> String {
    let is_switch = |arg: &&Arg| !arg.get_action().takes_values() || arg.is_require_equals_set();
    match flag {
        "authfile" => ig::authfile().map(|path| path.display().to_string()).unwrap_or_default(),
        "validate-metadata" => "true".to_owned(),
        "otel-metrics-listen-address" => "0.0.0.0:2224".to_owned(),
        _ => match default_of(igx, flag) {
            none if none.is_empty() && argument(igx, flag).as_ref().is_some_and(is_switch) => {
                "false".to_owned()
            }
            default => default,
        },
    }
}

/// All settings with their defaults; those without one are there for their names.
fn defaults(igx: &Command) -> String {
    let flags = known(igx);
    let list = |indent: &str, of_run: bool| -> String {
        let mut names: Vec<&str> =
            flags.iter().filter(|(_, run)| *run == of_run).map(|(flag, _)| flag.as_str()).collect();
        names.sort_unstable();
        names.iter().map(|flag| format!("{indent}{flag}: {}\n", quoted(&default_of(igx, flag)))).collect()
    };
    let run = list("  ", true);
    format!("{}{}{run}", list("", false), if run.is_empty() { "" } else { "run:\n" })
}

/// A value as YAML, in the quotes that JSON has, which YAML reads as well; plain where that reads the same.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._".contains(c);
    let bare = !value.is_empty() && value.starts_with(|c: char| c == '/' || c.is_ascii_alphanumeric());
    if bare && value.chars().all(plain) {
        value.to_owned()
    } else {
        serde_json::Value::from(value).to_string()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "ebpf")]
    use super::super::command as igx;
    use super::{super::settings::Origin, *};

    #[cfg(feature = "ebpf")]
    #[test]
    fn defaults_are_yaml_that_names_what_can_be_set() {
        let text = defaults(&igx());
        let parsed: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(parsed["verify-image"], true);
        assert_eq!(parsed["pull"], "missing");
        assert_eq!(parsed["run"]["color"], "auto");
        assert_eq!(parsed["run"]["fields"], "");
    }

    #[test]
    fn what_is_in_force_says_where_it_comes_from() {
        let mut settings = Settings::default();
        assert!(view(&settings).starts_with("{}  # neither "));
        let of = |value: &str, origin| Setting { value: value.into(), origin };
        settings.all.insert("verbose".into(), of("true", Origin::Environment("IGX_VERBOSE".into())));
        settings.run.insert("fields".into(), of("a,-b", Origin::File("/etc/x.yaml".into())));
        assert_eq!(
            view(&settings),
            "verbose: true  # IGX_VERBOSE\nrun:\n  fields: \"a,-b\"  # /etc/x.yaml\n"
        );
        let parsed: serde_json::Value = serde_saphyr::from_str(&view(&settings)).unwrap();
        assert_eq!(parsed["run"]["fields"], "a,-b");
    }
}
