//! The command line: one file a command. Each is a thin skin over the library, and turns its errors into one message
//! and an exit code.

mod bash;
mod completions;
mod config;
#[cfg(feature = "ebpf")]
mod containers;
mod ig;
pub mod image;
mod images;
#[cfg(feature = "ebpf")]
mod list_containers;
mod login;
mod logout;
mod places;
mod progress;
mod registry;
#[cfg(feature = "ebpf")]
mod run;
mod settings;
mod text;

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write as _},
    path::Path,
    process::ExitCode,
};

#[cfg(feature = "ebpf")]
use anyhow::Context as _;
use clap::{Arg, ArgAction, ArgMatches, Command};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Runs `igx` with these arguments, the first of which is the program's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let args = match ig::take(args) {
        Ok(args) => args,
        Err(error) => return report(&error, false),
    };
    let plain = ["color", "colour"]
        .iter()
        .any(|flag| settings::value_of(flag, &args).is_some_and(|when| when == "never"));
    match completions::answer(&args).map_err(Into::into).and_then(|answered| match answered {
        true => Ok(ExitCode::SUCCESS),
        false => dispatch(&args),
    }) {
        Ok(code) => code,
        Err(error) => report(&error, plain),
    }
}

/// The command line without what a gadget adds to it.
fn command() -> Command {
    let command = Command::new(ig::name())
        .max_term_width(80)
        .version(env!("CARGO_PKG_VERSION"))
        .about("Run eBPF gadgets that come as OCI images")
        .subcommand_required(true)
        .arg_required_else_help(true)
        // Of a flag that is given again, ig takes the last value.
        .args_override_self(ig::is_called())
        .arg(
            Arg::new("verbose")
                .short('v')
                .long("verbose")
                .action(ArgAction::SetTrue)
                .global(true)
                .help("Say what is being done, on stderr"),
        )
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .global(true)
                .help("Where settings are read from [default:\n~/.config/igx/config.yaml]"),
        )
        .arg(Arg::new("store").long("store").value_name("FOLDER").global(true).help(
            "Where images are kept [default for root:\n\
                 /var/lib/igx/oci-store; for others:\n\
                 ~/.local/share/igx/oci-store]",
        ))
        .arg(
            // Taken away before anything else is read.
            Arg::new("as")
                .long("as")
                .value_name("NAME")
                .help("Given first: behave as 'ig', with its places and log lines"),
        );
    #[cfg(feature = "ebpf")]
    let command = ig::flags::root(command);
    #[cfg(feature = "ebpf")]
    let command = command.subcommands([run::command(), list_containers::command()]);
    command
        .subcommand(image::command())
        .subcommands([login::command(), logout::command()])
        .subcommand(config::command())
        .subcommands([completions::command(), completions::man_command()])
        .subcommand(Command::new("version").about("Print the version"))
}

fn dispatch(args: &[OsString]) -> anyhow::Result<ExitCode> {
    let igx = command();
    let settings = match settings::Settings::read(settings::named(args), std::env::vars_os(), &igx) {
        Err(error) if ig::is_called() => {
            ig::log::Lines::new().fatal(format!("initializing config: {}", message(&error)));
            return Ok(ExitCode::FAILURE);
        }
        Err(error) if settings::are_needless(args, &igx) => {
            eprintln!("Warning: {}", message(&error));
            settings::Settings::default()
        }
        settings => settings?,
    };
    let applied = settings.apply(args.to_vec(), &igx);
    call(applied.args.clone(), &igx, &settings).map_err(|error| applied.explained(error))
}

/// Does what a command line asks for that has the settings on it.
fn call(args: Vec<OsString>, igx: &Command, settings: &settings::Settings) -> anyhow::Result<ExitCode> {
    if ig::is_called() && args.get(1).is_some_and(|arg| arg == "daemon") {
        anyhow::bail!("igx is no daemon yet: 'ig run' runs a gadget while it is watched");
    }
    #[cfg(feature = "ebpf")]
    if let Some(found) = run::Arguments::find(&args) {
        let described = found.has("file");
        let args = run::with_manifest(args, &found)?;
        let found = run::Arguments::find(&args).unwrap_or(found);
        return run::main(&args, &found, described);
    }
    let matches = command().try_get_matches_from(args)?;
    start_log(matches.get_flag("verbose"), false, false);
    match matches.subcommand() {
        Some(("image", sub)) => images(sub, places::store(&matches).as_deref()),
        #[cfg(feature = "ebpf")]
        Some(("list-containers", sub)) => {
            reserve_descriptors();
            let stop = || {
                run::stop_signals(&crate::instance::Watched::default()).context("cannot listen for signals")
            };
            list_containers::run(sub, terminal_width(), stop, &mut io::stdout())
        }
        Some(("login", sub)) => login::run(sub, &mut io::stdout(), &mut io::stderr()),
        Some(("logout", sub)) => logout::run(sub, &mut io::stdout()),
        Some(("completions", sub)) => completions::run(sub),
        Some(("config", sub)) => config::run(sub, settings, igx, &mut io::stdout()),
        Some(("man", sub)) => completions::man(sub, command()),
        Some(("version", _)) => {
            println!("v{}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        _ => Ok(()),
    }
    .map(|()| ExitCode::SUCCESS)
}

/// Makes room for many containers, while there is one thread.
#[cfg(feature = "ebpf")]
fn reserve_descriptors() {
    if let Err(error) = crate::container::reserve_descriptors() {
        tracing::debug!("cannot make room for descriptors: {error}");
    }
}

#[cfg(feature = "ebpf")]
fn images(matches: &ArgMatches, store: Option<&Path>) -> anyhow::Result<()> {
    let carried = crate::instance::built_in_image()?;
    image::run(matches, store, Some(&image::BuiltIn { name: crate::instance::BUILT_IN, image: &carried }))
}

#[cfg(not(feature = "ebpf"))]
fn images(matches: &ArgMatches, store: Option<&Path>) -> anyhow::Result<()> {
    image::run(matches, store, None)
}

/// Columns of the terminal that stdout is, if it is one.
fn terminal_width() -> Option<u16> {
    if !io::stdout().is_terminal() {
        return None;
    }
    // Where nobody told the terminal its size, it is not known.
    rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| size.ws_col).filter(|&columns| columns > 0)
}

/// Warnings, unless a run is to be quiet, and with `--verbose` all that is being done, go to stderr.
fn start_log(verbose: bool, quiet: bool, plain: bool) {
    let usual = if ig::is_called() { LevelFilter::INFO } else { LevelFilter::WARN };
    let level = match (verbose, quiet) {
        (true, _) => LevelFilter::DEBUG,
        (false, true) => LevelFilter::ERROR,
        (false, false) => usual,
    };
    // Frames of HTTP are for who develops these two.
    let targets = Targets::new().with_default(level);
    let targets = targets.with_target("h2", LevelFilter::WARN).with_target("hyper", LevelFilter::WARN);
    let lines = tracing_subscriber::fmt().with_writer(io::stderr).with_max_level(level);
    if ig::is_called() {
        let _ = lines.event_format(ig::log::Lines::new()).finish().with(targets).try_init();
        return;
    }
    let _ = lines
        .with_ansi(!plain && io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .without_time()
        .with_target(false)
        .finish()
        .with(targets)
        .try_init();
}

/// Says what went wrong. Mistakes in the arguments are clap's to tell: help and version come that way too. They are
/// coloured on a terminal unless they are to be `plain`.
fn report(error: &anyhow::Error, plain: bool) -> ExitCode {
    if let Some(usage) = error.downcast_ref::<clap::Error>() {
        if ig::is_called() {
            return ig::errors::report(usage);
        }
        let printed = match (plain, usage.use_stderr()) {
            (false, _) => usage.print(),
            (true, true) => write!(io::stderr(), "{}", usage.render()),
            (true, false) => write!(io::stdout(), "{}", usage.render()),
        };
        // What is still in the buffer counts as well.
        return match printed.and_then(|()| io::stdout().flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                eprintln!("Error: cannot write: {error}");
                ExitCode::FAILURE
            }
            _ if usage.use_stderr() => ExitCode::FAILURE,
            _ => ExitCode::SUCCESS,
        };
    }
    let io_error =
        |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref::<io::Error>().map(io::Error::kind);
    if error.chain().any(|cause| io_error(cause) == Some(io::ErrorKind::BrokenPipe)) {
        // Whoever read the output has had enough.
        return ExitCode::SUCCESS;
    }
    eprintln!("Error: {}", message(error));
    ExitCode::FAILURE
}

/// The error and its causes, but none twice: many errors say their cause in their own words' midst.
fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if message.is_empty() {
            message = cause;
        } else if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cause_is_told_twice() {
        let cause = anyhow::anyhow!("disk full").context("writing x: disk full; free some space");
        assert_eq!(message(&cause.context("building")), "building: writing x: disk full; free some space");
        assert_eq!(message(&anyhow::anyhow!("disk full").context("writing x")), "writing x: disk full");
    }
}
