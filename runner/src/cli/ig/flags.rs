//! Flags that `ig` has and `igx` has no use for: taken, so that command lines go on working, and named where what they
//! ask for does not happen.

use clap::{Arg, ArgAction, ArgMatches, Command};

/// What becomes of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// There is nothing for it to do.
    Needless,
    /// What it asks for is missing from the run.
    Missing,
    /// Without it, the run would not be what was asked for.
    Refused,
}

/// Flags of `ig` itself: name, whether it is a switch, and what becomes of it.
const ROOT: [(&str, bool, Fate); 3] = [
    // What is not mounted is not needed, or mounted where nobody else sees it.
    ("auto-mount-filesystems", true, Fate::Needless),
    ("auto-wsl-workaround", true, Fate::Needless),
    ("pprof-addr", false, Fate::Missing),
];

/// Flags of `ig run`.
const RUN: [(&str, bool, Fate); 11] = [
    ("enrich-with-k8s-apiserver", true, Fate::Missing),
    ("kubeconfig", false, Fate::Needless),
    ("notation-certificates", false, Fate::Refused),
    ("notation-policy-document", false, Fate::Refused),
    ("otel-metrics-export-internals", true, Fate::Missing),
    ("otel-metrics-exporter", false, Fate::Missing),
    ("otel-metrics-listen", true, Fate::Missing),
    ("otel-metrics-listen-address", false, Fate::Needless),
    ("otel-metrics-name", false, Fate::Missing),
    ("otel-metrics-print-interval", false, Fate::Missing),
    ("validate-metadata", true, Fate::Needless),
];

fn arg(&(name, switch, _): &(&'static str, bool, Fate)) -> Arg {
    let arg = Arg::new(name).long(name).hide(true).action(ArgAction::Set).value_name("VALUE");
    if switch { arg.num_args(0..=1).require_equals(true).default_missing_value("true") } else { arg }
}

/// Taken in any case: recipes for containers have it.
const ALWAYS: &str = "auto-mount-filesystems";

/// The command line with these flags, where it is that of `ig`.
pub(in super::super) fn root(command: Command) -> Command {
    let taken = ROOT.iter().filter(|(name, ..)| super::is_called() || *name == ALWAYS);
    command.args(taken.map(arg).map(|arg| arg.global(true)))
}

/// The flags of `ig run`, where it is that.
pub(in super::super) fn run() -> Vec<Arg> {
    if super::is_called() { RUN.iter().map(arg).collect() } else { Vec::new() }
}

/// Says what does not happen although it was asked for.
///
/// # Errors
/// If it cannot be done without.
pub(in super::super) fn check(matches: &ArgMatches) -> anyhow::Result<()> {
    for &(name, switch, fate) in ROOT.iter().chain(&RUN) {
        let value =
            matches.try_get_one::<String>(name).ok().flatten().map(String::as_str).unwrap_or_default();
        if value.is_empty() || (switch && value == "false") {
            continue;
        }
        match fate {
            Fate::Needless => {}
            Fate::Missing => tracing::warn!("--{name} has no effect: igx does not do this yet"),
            Fate::Refused => anyhow::bail!("--{name}: igx does not do this yet; run it without"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_done_without_ends_the_run() {
        let parse = |line: &str| {
            let command = Command::new("run").args(RUN.iter().chain(&ROOT).map(arg));
            check(&command.try_get_matches_from(line.split(' ')).unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(parse("run --validate-metadata --otel-metrics-listen=false --kubeconfig x"), Ok(()));
        assert_eq!(parse("run --otel-metrics-listen --auto-mount-filesystems"), Ok(()));
        let error = parse("run --notation-certificates x").unwrap_err();
        assert_eq!(error, "--notation-certificates: igx does not do this yet; run it without");
    }
}
