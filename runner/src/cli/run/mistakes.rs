//! Mistakes on the command line of `igx run`, which is that of the gadget as well.

use clap::error::{ContextKind, ContextValue, ErrorKind};

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
}
