//! Completion of command lines, and man pages: both made from the same table of commands and flags.
//!
//! `igx completions SHELL` prints a script that asks `igx` itself at each press of the key, through an environment
//! variable: only so can it know the gadgets in the store, and the flags and fields that they bring.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgMatches, Command, ValueHint, value_parser};
use clap_complete::{
    CompleteEnv, Shell,
    engine::{ArgValueCandidates, CompletionCandidate},
    env::{Elvish, Fish, Powershell, Shells, Zsh},
};
use gadget::store::Store;

use super::{
    bash::Bash,
    ig::{self, name},
    settings::{Settings, named, value_of},
};

/// Set by the scripts when they ask.
const VARIABLE: &str = "_IGX_COMPLETE";

const SHELLS: Shells<'static> = Shells(&[&Bash, &Elvish, &Fish, &Powershell, &Zsh]);

pub(super) fn command() -> Command {
    Command::new("completions").alias("completion").about("Print a shell's completion script").arg(
        Arg::new("shell")
            .value_name("SHELL")
            .required(true)
            .value_parser(value_parser!(Shell))
            .help("Which shell"),
    )
}

pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let shell = matches.get_one::<Shell>("shell").map(ToString::to_string).unwrap_or_default();
    let Some(completer) = SHELLS.completer(&shell) else {
        anyhow::bail!("nothing is known of the shell {shell:?}");
    };
    completer.write_registration(VARIABLE, name(), name(), name(), &mut std::io::stdout())?;
    Ok(())
}

pub(super) fn man_command() -> Command {
    Command::new("man")
        .about("Write a man page for each command")
        .hide(true)
        .arg(Arg::new("folder").required(true).value_parser(value_parser!(PathBuf)).help("Where to"))
}

pub(super) fn man(matches: &ArgMatches, igx: Command) -> anyhow::Result<()> {
    if let Some(folder) = matches.get_one::<PathBuf>("folder") {
        std::fs::create_dir_all(folder)?;
        clap_mangen::generate_to(igx.disable_help_subcommand(true), folder)?;
    }
    Ok(())
}

/// Answers a shell that asks what could come next; `false` if none does.
pub(super) fn answer(args: &[OsString]) -> Result<bool, clap::Error> {
    if std::env::var_os(VARIABLE).is_none() {
        return Ok(false);
    }
    let typed: Vec<OsString> =
        args.iter().position(|arg| arg == "--").map(|at| args[at + 1..].to_vec()).unwrap_or_default();
    let here = std::env::current_dir().ok();
    let complete = CompleteEnv::with_factory(|| known(&typed)).shells(SHELLS).var(VARIABLE).bin(name());
    complete.try_complete(args, here.as_deref())
}

/// The command line with all that can be known before it is whole. Settings that cannot be read are told elsewhere.
fn known(typed: &[OsString]) -> Command {
    let igx = super::command();
    let settings = Settings::read(named(typed), std::env::vars_os(), &igx).unwrap_or_default();
    let typed = settings.apply(typed.to_vec(), &igx).args;
    #[cfg(feature = "ebpf")]
    let command = match super::run::Arguments::find(&typed) {
        Some(found) => super::run::known(&found),
        None => igx,
    };
    #[cfg(not(feature = "ebpf"))]
    let command = igx;
    let store = value_of("store", &typed).map(PathBuf::from).or_else(|| ig::store().ok());
    let image = |command: Command| {
        let named = command.get_positionals().next().is_some_and(|arg| {
            arg.get_id() == "image" && (arg.get_index() == Some(1) || command.get_positionals().count() == 1)
        });
        let store = store.clone();
        let images = move || images(store.as_deref());
        if named { command.mut_arg("image", |arg| arg.add(ArgValueCandidates::new(images))) } else { command }
    };
    let nested = |command: Command| {
        let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
        names.into_iter().fold(command, |command, name| command.mut_subcommand(name, |sub| files(image(sub))))
    };
    let command = nested(command);
    command.mut_subcommand("image", nested)
}

/// The command with files where it takes them: what no completer of its own is for, and is no text.
fn files(command: Command) -> Command {
    command.mut_args(|arg| {
        let of_files = ["FILE", "FOLDER", "PATH", "COMMAND"];
        let takes = arg
            .get_value_names()
            .is_some_and(|names| names.first().is_some_and(|name| of_files.contains(&name.as_str())));
        if takes { arg.value_hint(ValueHint::AnyPath) } else { arg }
    })
}

/// The images in the store.
fn images(store: Option<&Path>) -> Vec<CompletionCandidate> {
    let built_in = cfg!(feature = "ebpf").then(|| "trace_sni".to_owned());
    let store = store.filter(|path| path.exists()).and_then(|path| Store::open(path).ok());
    let entries = store.map(|store| store.list()).unwrap_or_default();
    let named = entries
        .into_iter()
        .filter(|entry| !entry.repository.is_empty())
        .map(|entry| short(&format!("{}:{}", entry.repository, entry.tag)));
    let mut names: Vec<String> = built_in.into_iter().chain(named).collect();
    names.sort();
    names.dedup();
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// An image's name as a person would type it.
fn short(name: &str) -> String {
    let name = name.strip_prefix("ghcr.io/inspektor-gadget/gadget/").unwrap_or(name);
    name.strip_suffix(":latest").unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_have_the_names_that_people_type() {
        assert_eq!(short("ghcr.io/inspektor-gadget/gadget/trace_open:latest"), "trace_open");
        assert_eq!(short("ghcr.io/me/trace_open:v1"), "ghcr.io/me/trace_open:v1");
        assert!(!cfg!(feature = "ebpf") || images(None).iter().any(|image| image.get_value() == "trace_sni"));
    }

    #[test]
    fn a_command_line_that_is_completed_is_a_good_one() {
        for line in ["igx", "igx run", "igx run trace_sni", "igx image verify"] {
            known(&line.split(' ').map(OsString::from).collect::<Vec<_>>()).debug_assert();
        }
    }

    #[test]
    fn every_command_has_a_man_page() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("man1");
        let matches = man_command().try_get_matches_from(["man", path.to_str().unwrap()]).unwrap();
        man(&matches, super::super::command()).unwrap();
        for page in ["igx.1", "igx-image.1", "igx-image-build.1", "igx-login.1"] {
            let text = std::fs::read_to_string(path.join(page)).unwrap();
            assert!(text.contains(".SH OPTIONS"), "{page}: {text}");
        }
    }
}
