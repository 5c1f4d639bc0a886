//! Mistakes on the command line, in upstream's words: what callers of `ig` compare.

use std::process::ExitCode;

use clap::{Error, error::ContextKind, error::ContextValue, error::ErrorKind};

/// Prints what clap found, and says how the process ends. Help goes to stdout and is no failure, even where a command
/// is missing.
pub(in super::super) fn report(error: &Error) -> ExitCode {
    match message(error) {
        Some(message) => {
            eprintln!("Error: {message}");
            ExitCode::FAILURE
        }
        None => {
            println!("{}", error.render());
            ExitCode::SUCCESS
        }
    }
}

fn message(error: &Error) -> Option<String> {
    let text = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(list)) => list.first().cloned(),
        _ => None,
    };
    Some(match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => return None,
        ErrorKind::UnknownArgument => {
            let flag = text(ContextKind::InvalidArg).unwrap_or_default();
            match flag.strip_prefix('-') {
                Some(short) if !short.starts_with('-') => {
                    let letter: String = short.chars().take(1).collect();
                    format!("unknown shorthand flag: '{letter}' in {flag}")
                }
                Some(_) => {
                    format!("unknown flag: {}", flag.split(['=', ' ']).next().unwrap_or_default())
                }
                None => format!("unexpected argument {flag:?}"),
            }
        }
        ErrorKind::InvalidSubcommand => {
            let name = text(ContextKind::InvalidSubcommand).unwrap_or_default();
            let meant = text(ContextKind::SuggestedSubcommand);
            let meant = meant.map(|meant| format!("\n\nDid you mean this?\n\t{meant}\n")).unwrap_or_default();
            format!("unknown command {name:?} for \"ig\"{meant}\nRun 'ig --help' for usage.")
        }
        _ => {
            let rendered = error.render().to_string();
            let first = rendered.split("\n\n").next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).trim_end().to_owned()
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    fn said(line: &str) -> Option<String> {
        let run = Command::new("run").arg(Arg::new("timeout").short('t').long("timeout"));
        let ig = Command::new("ig").subcommand_required(true).arg_required_else_help(true).subcommand(run);
        message(&ig.try_get_matches_from(line.split(' ')).unwrap_err())
    }

    #[test]
    fn mistakes_are_told_as_upstream_tells_them() {
        assert_eq!(said("ig run --nosuch=1").unwrap(), "unknown flag: --nosuch");
        assert_eq!(said("ig run -xyz").unwrap(), "unknown shorthand flag: 'x' in -x");
        assert_eq!(
            said("ig runn").unwrap(),
            "unknown command \"runn\" for \"ig\"\n\nDid you mean this?\n\trun\n\nRun 'ig --help' for usage."
        );
        assert!(said("ig run -t").unwrap().starts_with("a value is required for '--timeout"));
        assert_eq!(said("ig"), None);
        assert_eq!(said("ig --help"), None);
    }
}
