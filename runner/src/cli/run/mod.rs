//! `igx run`: finds the image, learns its flags, runs the gadget, and says at the end what was lost.

mod advanced;
mod arguments;
mod arrays;
mod choices;
mod complete;
mod display;
mod flags;
mod footer;
mod manifest;
mod mistakes;
mod terminal;

use std::{
    cell::OnceCell,
    ffi::OsString,
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::ArgMatches;
use gadget::{registry::Progress, store::Store};
use nix::sys::{
    eventfd::{EfdFlags, EventFd},
    signal::{SigSet, Signal},
    signalfd::{SfdFlags, SignalFd},
};

use super::{
    containers, ig,
    images::{self, Given as _},
    places,
    progress::Bar,
};
use crate::{
    datasource::DataSource,
    ebpf,
    images::{Images, Pull},
    instance::{self, Annotation, Gadget, Notice, Options, Summary, Watched},
    operator::format::Times,
};

pub(super) use arguments::Arguments;
pub(super) use complete::known;
pub(super) use flags::command;
pub(super) use manifest::expand as with_manifest;
use terminal::Patient;

/// Of a signal that no process sent (sigaction(2)).
const SI_KERNEL: i32 = 0x80;

/// What is told, with `--verbose`, once all programs are attached.
pub(in crate::cli) const RUNNING: &str = "running...";

/// `igx run`, from the arguments to the last event; `described`: a manifest gave some of them.
pub(super) fn main(args: &[OsString], found: &Arguments, described: bool) -> anyhow::Result<ExitCode> {
    let globals = super::command();
    anyhow::ensure!(
        !ig::is_called() || nix::unistd::geteuid().is_root(),
        "initializing runtime: ig must be run as root to be able to run eBPF programs"
    );
    let Some(name) = &found.image else {
        // Help, or an error that names what is missing.
        globals.try_get_matches_from(args).map_err(mistakes::explained)?;
        return Ok(ExitCode::SUCCESS);
    };
    let plain = found.values("color").last().is_some_and(|when| when == "never");
    super::start_log(found.verbose(), found.has("quiet"), plain);
    super::reserve_descriptors();
    ebpf::capture_libbpf_log();
    // Threads inherit the mask: it stands before any is started.
    let watched = Watched::default();
    let stop = stop_signals(&watched).context("cannot listen for signals")?;
    if nix::unistd::geteuid().is_root() {
        ebpf::warm_up();
    }
    let (mut store, images) = store_and_images(found)?;
    // Not beside a store that belongs to somebody else, who could lead root's writing astray.
    let own = if found.store_of_user() || ig::is_called() {
        Store::default_path()?
    } else {
        store.path().to_owned()
    };
    let cache = places::cache(&own);
    let image = instance::resolve(&mut store, name, &images, &Pulling { name, bar: OnceCell::new() })?;
    drop(store);
    let annotations = Annotation::list(&found.values("annotate"))?;
    let gadget = Gadget::open_annotated(image, &annotations)?;

    let sources = instance::data_sources(&gadget)?;
    annotations.iter().try_for_each(|annotation| annotation.check(&sources))?;
    let about = format!("{}: {}", gadget.metadata.name, gadget.metadata.description);
    let full = super::command().mut_subcommand("run", |_| {
        let command = flags::command_for(&about, &sources, &gadget.params);
        arrays::narrow(advanced::narrow(command, &gadget, &sources), &gadget, described)
            .override_usage(format!("{} run {name} [OPTIONS] [-- <COMMAND>...]", ig::name()))
    });
    let matches = full.try_get_matches_from(args).map_err(mistakes::explained)?;
    let Some(("run", matches)) = matches.subcommand() else { return Ok(ExitCode::SUCCESS) };
    anyhow::ensure!(
        nix::unistd::geteuid().is_root(),
        "igx must be root to run eBPF programs: try 'sudo igx run'"
    );
    mistakes::check(matches)?;
    arrays::check(&gadget, matches, described)?;
    ig::flags::check(matches)?;
    let summary = start(&gadget, &sources, matches, cache, watched, stop.as_fd())?;
    if !matches.get_flag("quiet") && !ig::is_called() {
        match Patient::open(&io::stderr(), stop.as_fd(), Some(Instant::now())) {
            Some(mut patient) => footer::say(&summary, &mut patient),
            None => footer::say(&summary, &mut io::stderr()),
        }
    }
    Ok(summary.command.map_or(ExitCode::SUCCESS, |status| ExitCode::from(instance::exit_code(status))))
}

/// The store, and what else there is to know of images before one is looked for.
fn store_and_images(found: &Arguments) -> anyhow::Result<(Store, Images)> {
    let mut images = images::images(found);
    if !found.store_of_user() {
        let path = found.store().map(PathBuf::from).map_or_else(ig::store, Ok)?;
        return Ok((Store::open(path)?, images));
    }
    anyhow::ensure!(
        found.store().is_none(),
        "--store and --oci-store-user name two stores; give one of them"
    );
    if nix::unistd::geteuid().is_root() {
        // What root wrote there, the user could not change or remove.
        anyhow::ensure!(
            !found.has("pull") || images.pull == Pull::Never,
            "--oci-store-user only reads the user's store: pull as that user, or leave out --pull"
        );
        tracing::debug!("--oci-store-user: nothing is pulled");
        images.pull = Pull::Never;
    }
    Ok((Store::open(places::store_of_sudo_user()?)?, images))
}

/// Tells of a pull, if there is one.
struct Pulling<'a> {
    name: &'a str,
    bar: OnceCell<Bar>,
}

impl Progress for Pulling<'_> {
    fn blobs(&self, count: usize, bytes: u64) {
        if ig::is_called() {
            return tracing::info!("Pulling {}...", self.name);
        }
        eprintln!("Pulling {}...", self.name);
        self.bar.get_or_init(Bar::new).blobs(count, bytes);
    }

    fn advance(&self, digest: &str, bytes: u64) {
        self.bar.get_or_init(Bar::new).advance(digest, bytes);
    }
}

fn start(
    gadget: &Gadget,
    sources: &[DataSource],
    matches: &ArgMatches,
    cache: Option<PathBuf>,
    watched: Watched,
    stop: BorrowedFd<'_>,
) -> anyhow::Result<Summary> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let seconds = matches.get_one::<u64>("timeout").copied().unwrap_or(0);
    let display = display::display(matches);
    if let Some(terminal) = display.terminal.clone() {
        display::follow(terminal).context("cannot listen for the terminal's changes")?;
    }
    let mut options = Options {
        host: matches.get_one::<bool>("host").copied().unwrap_or(false),
        selector: containers::selector(matches)?,
        params: flags::param_values(&gadget.params, matches).into_iter().collect(),
        filters: flags::filters(sources, matches)?,
        expressions: flags::expressions(sources, matches)?,
        arrays: arrays::given(matches),
        command: matches.get_many("command").into_iter().flatten().cloned().collect(),
        display,
        times: text("timestamp-format").and_then(|name| Times::named(&name)),
        count: matches.get_one::<u64>("count").copied(),
        timeout: (seconds > 0).then(|| Duration::from_secs(seconds)),
        containers: containers::config(matches)?,
        cache,
        watched,
        ..Options::default()
    };
    advanced::fill(&mut options, matches)?;
    options.fill_what_is_asked_for(&gadget.metadata);
    let quiet = matches.get_flag("quiet");
    let mut notice = |notice: Notice<'_>| match notice {
        Notice::Running => tracing::debug!("{RUNNING}"),
        Notice::Warning(_) | Notice::Advice(_) if quiet => {}
        // What `ig` says stays as upstream's users know it.
        Notice::Advice(line) if ig::is_called() => tracing::debug!("{line}"),
        Notice::Warning(line) if ig::is_called() => tracing::warn!("{line}"),
        Notice::Warning(line) | Notice::Advice(line) => eprintln!("{line}"),
    };
    let deadline = options.timeout.and_then(|time| Instant::now().checked_add(time));
    let patient = Patient::open(&io::stdout(), stop, deadline);
    let mut out: Box<dyn Write> = match patient {
        Some(patient) => Box::new(patient),
        None => Box::new(io::stdout().lock()),
    };
    Ok(instance::run(gadget, &options, stop, &mut *out, &mut notice)?)
}

/// A descriptor that is readable once somebody asks to stop. Whoever asks again does not want to wait: the process
/// ends at once. The first interrupt while a command is `watched` is left to that, which may go on, or has to clean up.
pub(super) fn stop_signals(watched: &Watched) -> anyhow::Result<Arc<EventFd>> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGINT);
    mask.add(Signal::SIGTERM);
    // Only whoever waits for it is told that the terminal has another size.
    let mut blocked = mask;
    blocked.add(Signal::SIGWINCH);
    blocked.thread_block()?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC)?;
    let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?);
    let (asked, watched) = (Arc::clone(&stop), watched.clone());
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let (mut interrupted, mut stopping) = (false, false);
        while let Ok(Some(signal)) = signals.read_signal() {
            if !interrupted && !stopping && signal.ssi_signo == Signal::SIGINT as u32 {
                // What is typed on a terminal comes from the kernel, and to the command as well.
                interrupted = watched.interrupt(signal.ssi_code == SI_KERNEL);
                if interrupted {
                    continue;
                }
            }
            if stopping {
                std::process::exit(1);
            }
            stopping = asked.write(1).is_ok();
        }
    })?;
    Ok(stop)
}
