//! Mistakes on the command line of `igx run`, which is that of the gadget as well.

use clap::{
    ArgMatches,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// A mistake on the command line with a hint of what was probably meant. What clap would say of flags, to put them
/// behind `--`, would here start a command.
pub(super) fn explained(mut error: clap::Error) -> clap::Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    error.remove(ContextKind::Suggested);
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else { return error };
    let hint = match argument.as_str() {
        "--sort" | "--max-entries" | "--map-fetch-interval" | "--map-fetch-count" => {
            Some(format!("{argument} is for gadgets whose data comes in batches, which this one's does not"))
        }
        word if !word.starts_with('-') => Some(format!("to watch a command, put it behind --: -- {word}")),
        _ => None,
    };
    if let Some(hint) = hint {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
    }
    error
}

/// What clap cannot tell: `--host` goes with a command only where it says no.
///
/// # Errors
/// If both are asked for.
pub(super) fn check(matches: &ArgMatches) -> Result<(), clap::Error> {
    let host = matches.get_one::<bool>("host").copied().unwrap_or(false);
    if !host || !matches.contains_id("command") {
        return Ok(());
    }
    let say = "'--host' cannot be used with a command: of that, what it and its children do is shown, and nothing else\n";
    Err(clap::Error::raw(ErrorKind::ArgumentConflict, say))
}

#[cfg(test)]
mod tests {
    use super::{super::flags::command_for, *};
    use crate::datasource::sample;

    #[test]
    fn hints_do_not_lead_to_commands() {
        let said = |line: &str| {
            let matches = command_for("", &[sample::sni()], &[]).try_get_matches_from(line.split(' '));
            explained(matches.unwrap_err()).to_string()
        };
        insta::assert_snapshot!(said("run sni --sort name"), @"
        error: unexpected argument '--sort' found

          tip: --sort is for gadgets whose data comes in batches, which this one's does not

        Usage: igx run [OPTIONS] [IMAGE] [-- <COMMAND>...]

        For more information, try '--help'.
        ");
        assert!(said("run sni ls").contains("\n  tip: to watch a command, put it behind --: -- ls\n"));
        let unknown = said("run sni --nosuch");
        assert!(unknown.contains("'--nosuch'") && !unknown.contains("-- --nosuch"), "{unknown}");
    }

    #[test]
    fn only_a_host_that_is_shown_conflicts_with_a_command() {
        let checked = |line: &str| {
            check(&command_for("", &[sample::sni()], &[]).try_get_matches_from(line.split(' ')).unwrap())
        };
        assert!(checked("run x --host -- ls").unwrap_err().to_string().contains("'--host' cannot be used"));
        for line in ["run x --host=false -- ls", "run x -- ls --host", "run x --host"] {
            assert!(checked(line).is_ok(), "{line}");
        }
    }
}
