//! `image test`: runs a gadget beside given workloads, and compares its events with what is expected.
//!
//! The gadget runs as a user would run it: as `igx run -o json`, a process of its own. A workload starts when the
//! gadget's programs are attached, and the gadget is stopped when the workload has ended and all that was expected
//! has come; so nothing waits for a fixed time, except a test that fails.

mod case;
mod checks;
mod interrupt;
mod pattern;
mod session;

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use clap::{Arg, ArgMatches, Command, value_parser};
use gadget::{
    build::{Options, build},
    reference::Reference,
    store::Store,
};

use self::{case::Case, checks::Check, interrupt::Interrupt, session::Session};

/// What a folder's image is called in the store that is made for its tests.
const TESTED: &str = "tested";

pub(super) fn command() -> Command {
    Command::new("test")
        .about("Run a gadget beside workloads, and check the events it shows")
        .arg(
            Arg::new("gadget")
                .value_name("PATH|IMAGE")
                .default_value(".")
                .help("Folder to build and test, or an image"),
        )
        .arg(
            Arg::new("file")
                .short('f')
                .long("file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Test to run [default: tests/*.yaml in PATH, or here for an IMAGE]"),
        )
        .after_help(
            "A test is a YAML file:\n  \
             run: [--host]          flags for 'igx run'\n  \
             workload: /bin/true    shell command, started once the gadget runs\n  \
             expect:                each has to match an event, in the fields named\n  \
             - path: ~/true$        ~ begins a regular expression\n    \
               proc.comm: \"true\"\n  \
             reject:                none may match any event\n  \
             - proc.comm: never\n  \
             timeout: 10            seconds from the workload's start to the last event",
        )
}

pub(super) fn run(
    matches: &ArgMatches,
    store: Option<&Path>,
    out: &mut impl Write,
    log: &mut impl Write,
) -> Result<()> {
    let gadget = matches.get_one::<String>("gadget").map_or(".", String::as_str);
    let file = matches.get_one::<PathBuf>("file").map(PathBuf::as_path);
    let is_folder = Path::new(gadget).is_dir();
    if !is_folder {
        ensure!(!gadget.starts_with(['.', '/']), "there is no folder {gadget}");
        Reference::parse(gadget)?;
    }
    let cases = case::find(Path::new(if is_folder { gadget } else { "." }), file)?;
    ensure!(
        nix::unistd::geteuid().is_root(),
        "igx must be root to run eBPF programs: try 'sudo igx image test'"
    );

    let interrupt = Interrupt::listen().context("cannot listen for signals")?;
    let program = env::current_exe().context("cannot find igx itself to run the gadget with")?;
    let scratch = tempfile::Builder::new().prefix("igx-test-").tempdir()?;
    let mut session = Session {
        program,
        store: store.map(Path::to_owned),
        image: gadget.to_owned(),
        interrupt: &interrupt,
    };
    if is_folder {
        let own = scratch.path().join("store");
        add(Path::new(gadget), &own, log)?;
        session.store = Some(own);
        session.image = TESTED.to_owned();
    }
    let (mut passed, mut failed) = (0, 0);
    for case in &cases {
        let checks = session.run(case)?;
        show(case, &checks, out)?;
        passed += checks.iter().filter(|check| check.passed).count();
        failed += checks.iter().filter(|check| !check.passed).count();
    }
    writeln!(out, "{passed} passed, {failed} failed")?;
    if failed > 0 {
        bail!("the gadget does not do what its tests say");
    }
    Ok(())
}

/// Builds the gadget in a folder into a store of its own, so that the user's stays as it is.
fn add(folder: &Path, store: &Path, log: &mut impl Write) -> Result<()> {
    let options = Options { builder_version: crate::BUILDER_VERSION.to_owned(), ..Options::default() };
    let built = build(folder, &options)?;
    if !built.warnings.is_empty() {
        writeln!(log, "{}", built.warnings)?;
    }
    Store::open(store)?.add(&built.image, Some(&Reference::parse(TESTED)?))?;
    Ok(())
}

fn show(case: &Case, checks: &[Check], out: &mut impl Write) -> Result<()> {
    writeln!(out, "{}", case.path.display())?;
    for check in checks {
        writeln!(out, "  {}  {}", if check.passed { "ok  " } else { "FAIL" }, check.what)?;
        for line in &check.why {
            writeln!(out, "        {line}")?;
        }
    }
    Ok(())
}
