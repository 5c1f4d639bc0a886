//! Flags for who writes gadgets, or wants to know more of one: what its programs print, what is shown of the environment,
//! and where functions get their names.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context as _;
use clap::{Arg, ArgMatches, Command};

use super::{
    super::{ig, images::Given as _},
    flags::switch,
};
use crate::{
    datasource::DataSource,
    instance::{Gadget, Listener, Options, SocketPaths, Symbolizers},
    operator::stack::has_user_stack,
    output::harmless,
};

const HEADING: &str = "Advanced";

const TRACE_PIPE: &str = "trace-pipe";
const ENVIRONMENT: &str = "env-vars";
const SYMBOLIZERS: &str = "symbolizers";
const CACHE: &str = "debuginfod-cache-path";
const SOCKET_FIELDS: &str = "socket-enricher-fields";

/// From the symbols of files.
const FILES: &str = "symtab";
/// From debug information in the cache of debuginfod's client. Where a run is not somebody else's, that on the server
/// is the same.
const CACHES: [&str; 2] = ["debuginfod-cache", "debuginfod-cache-on-ig-server"];
/// Which upstream has, and `igx` does not.
const MISSING: &str = "otel-ebpf-profiler";

/// What can be chosen from.
pub(super) const SYMBOLIZER_NAMES: [&str; 4] = ["auto", "none", FILES, CACHES[0]];

pub(super) fn args() -> Vec<Arg> {
    let flag = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help_heading(HEADING).help(help)
    };
    vec![
        switch(TRACE_PIPE, HEADING, "Also show, on stderr, what eBPF programs print with bpf_printk()"),
        flag(
            ENVIRONMENT,
            "NAME,...",
            "Environment variables of igx itself that a gadget may show in fields of its own",
        ),
        flag(
            SYMBOLIZERS,
            "NAME,...",
            "Where functions on user stacks get their names: auto, none, or some of symtab (the files that run) and \
             debuginfod-cache (for stripped ones)",
        )
        .default_value("auto"),
        flag(
            CACHE,
            "FOLDER",
            "Cache of debuginfod's client, from which nothing is fetched [default: ~/.cache/debuginfod_client]",
        ),
        flag(
            SOCKET_FIELDS,
            "FIELD=BYTES,...",
            "Room for the paths of whoever owns a socket, for gadgets that show them: cwd and exepath, each a power \
             of two up to 4096; one that is not named is left out",
        )
        .default_value("cwd=512,exepath=512"),
    ]
}

/// Leaves out of the help for a gadget what it has no use for.
pub(super) fn narrow(command: Command, gadget: &Gadget, sources: &[DataSource]) -> Command {
    let (stacks, paths) = (sources.iter().any(has_user_stack), gadget.asks_for_socket_paths());
    let needless = [(SYMBOLIZERS, !stacks), (CACHE, !stacks), (SOCKET_FIELDS, !paths)];
    needless.into_iter().fold(command, |command, (flag, hide)| command.mut_arg(flag, |arg| arg.hide(hide)))
}

/// Puts what was given into the options of a run.
///
/// # Errors
/// What is no name of a symbolizer.
pub(super) fn fill(options: &mut Options, matches: &ArgMatches) -> anyhow::Result<()> {
    if matches.get_one::<bool>(TRACE_PIPE).copied().unwrap_or(false) {
        options.printed = Some(listener());
    }
    options.environment = matches.list(ENVIRONMENT);
    let cache = matches.get_one::<String>(CACHE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let cache = cache.or_else(Symbolizers::usual_cache);
    let asked = matches.get_one::<String>(SYMBOLIZERS).map_or("auto", String::as_str);
    options.symbolizers = symbolizers(asked, cache)?;
    if let Some(asked) = matches.get_one::<String>(SOCKET_FIELDS) {
        options.socket_paths = socket_paths(asked)?;
    }
    Ok(())
}

/// Writes lines to stderr as they are written there otherwise.
fn listener() -> Listener {
    match ig::is_called() {
        true => Arc::new(|line| tracing::info!("{line}")),
        false => Arc::new(|line| eprintln!("{}", harmless(line.trim_start()))),
    }
}

fn symbolizers(asked: &str, cache: Option<PathBuf>) -> anyhow::Result<Symbolizers> {
    let mut chosen = Symbolizers::NONE;
    match asked {
        "" | "none" => return Ok(chosen),
        "auto" => return Ok(Symbolizers { files: true, debuginfod_cache: cache }),
        _ => {}
    }
    for name in asked.split(',').map(str::trim) {
        match name {
            FILES => chosen.files = true,
            name if CACHES.contains(&name) => chosen.debuginfod_cache.clone_from(&cache),
            MISSING => {
                tracing::warn!(
                    "--{SYMBOLIZERS} {MISSING}: igx does not have it; names come from {FILES} instead"
                );
                chosen.files = true;
            }
            _ => anyhow::bail!(
                "--{SYMBOLIZERS}: there is no symbolizer {name:?}; give auto, none, or some of {FILES} and {}, parted by commas",
                CACHES[0]
            ),
        }
    }
    Ok(chosen)
}

/// Most bytes of a path.
const MAX_PATH: u32 = 4096;

fn socket_paths(asked: &str) -> anyhow::Result<SocketPaths> {
    let usual = SocketPaths::default();
    let mut chosen = SocketPaths { cwd: 0, exepath: 0 };
    for part in asked.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, size) = match part.split_once('=') {
            Some((name, size)) => (name, Some(size)),
            None => (part, None),
        };
        let (field, usual) = match name {
            "cwd" => (&mut chosen.cwd, usual.cwd),
            "exepath" => (&mut chosen.exepath, usual.exepath),
            _ => anyhow::bail!("--{SOCKET_FIELDS}: there is no field {name:?}; there are cwd and exepath"),
        };
        let parsed = size.map_or(Some(usual), |size| size.parse().ok());
        let fits = |size: &u32| size.is_power_of_two() && *size <= MAX_PATH;
        *field = parsed.filter(fits).with_context(|| {
            format!(
                "--{SOCKET_FIELDS}: {} bytes for {name}: give a power of two from 1 to {MAX_PATH}",
                size.unwrap_or_default()
            )
        })?;
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_what_a_run_is_started_with() {
        let filled = |flags: &[&str]| {
            let command = Command::new("run").no_binary_name(true).args(args());
            let mut options = Options::default();
            fill(&mut options, &command.try_get_matches_from(flags).unwrap()).unwrap();
            options
        };
        let usual = filled(&[]);
        assert!(usual.printed.is_none() && usual.environment.is_empty());
        assert_eq!((usual.symbolizers, usual.socket_paths), (Symbolizers::default(), SocketPaths::default()));
        let given = filled(&[
            "--trace-pipe",
            "--env-vars=A, B,,C",
            "--symbolizers=debuginfod-cache",
            "--debuginfod-cache-path=/c",
            "--socket-enricher-fields=cwd=64",
        ]);
        assert!(given.printed.is_some());
        assert_eq!(given.environment, ["A", "B", "C"]);
        assert_eq!(
            given.symbolizers,
            Symbolizers { files: false, debuginfod_cache: Some(PathBuf::from("/c")) }
        );
        assert_eq!(given.socket_paths, SocketPaths { cwd: 64, exepath: 0 });
    }

    #[test]
    fn room_for_paths_is_a_power_of_two() {
        let chosen = |asked: &str| socket_paths(asked).map_err(|error| error.to_string());
        let paths = |cwd, exepath| Ok(SocketPaths { cwd, exepath });
        assert_eq!(chosen("cwd=512,exepath=512"), Ok(SocketPaths::default()));
        assert_eq!(chosen(""), paths(0, 0));
        assert_eq!(chosen("exepath"), paths(0, 512));
        assert_eq!(chosen(" cwd=4096, exepath=1"), paths(4096, 1));
        for asked in ["cwd=0", "cwd=500", "cwd=8192", "cwd=", "cwd=-1", "cwd=x"] {
            assert!(chosen(asked).unwrap_err().contains("a power of two from 1 to 4096"), "{asked}");
        }
        assert!(chosen("cmd=1").unwrap_err().ends_with("no field \"cmd\"; there are cwd and exepath"));
    }

    #[test]
    fn symbolizers_are_chosen_by_name() {
        let cache = PathBuf::from("/c");
        let chosen = |asked: &str| {
            let found = symbolizers(asked, Some(cache.clone())).map_err(|error| error.to_string())?;
            Ok((found.files, found.debuginfod_cache.is_some()))
        };
        for (asked, expected) in [
            ("auto", (true, true)),
            ("none", (false, false)),
            ("", (false, false)),
            ("symtab", (true, false)),
            ("debuginfod-cache", (false, true)),
            ("debuginfod-cache-on-ig-server, symtab", (true, true)),
            ("otel-ebpf-profiler", (true, false)),
        ] {
            assert_eq!(chosen(asked), Ok(expected), "{asked}");
        }
        for asked in ["symtab,none", "auto,symtab", "symtabs", ",", "SYMTAB"] {
            let error: Result<_, String> = chosen(asked);
            assert!(error.unwrap_err().contains("give auto, none, or some of symtab"), "{asked}");
        }
    }
}
