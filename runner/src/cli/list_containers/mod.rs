//! `list-containers`: the containers of this host, once or as they come and go.

mod record;
mod table;

use std::io::Write;
use std::os::fd::AsFd;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use nix::sys::eventfd::EventFd;

use super::containers;
use crate::container::{Collection, Config, Container, Selector, Watcher};
use record::{Change, Record};
use table::{Columns, Table};

pub(super) fn command() -> Command {
    Command::new("list-containers")
        .about("List the containers of this host")
        .arg(
            Arg::new("watch")
                .short('w')
                .long("watch")
                .action(ArgAction::SetTrue)
                .help("Go on, and tell of each that starts or ends"),
        )
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("MODE")
                .default_value("columns")
                .help("columns, columns=NAME,..., json, jsonpretty or yaml"),
        )
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("SECONDS")
                .value_parser(value_parser!(u64))
                .default_value("0")
                .help("Stop watching after this many seconds; 0 goes on until Ctrl-C"),
        )
        .arg(
            Arg::new("host")
                .long("host")
                .action(ArgAction::SetTrue)
                .hide(true)
                .help("Accepted and without effect: the host is no container"),
        )
        .args(containers::selector_args())
        .args(containers::runtime_args())
}

/// How containers are written.
enum Mode {
    Columns(Columns),
    Json,
    JsonPretty,
    Yaml,
}

impl Mode {
    fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "" | "columns" => Self::Columns(Columns::default()),
            "json" => Self::Json,
            "jsonpretty" => Self::JsonPretty,
            "yaml" => Self::Yaml,
            other => match other.strip_prefix("columns=") {
                Some(names) => Self::Columns(Columns::parse(names)?),
                None => anyhow::bail!(
                    "no output mode {other:?}: give columns, columns=NAME,..., json, jsonpretty or yaml"
                ),
            },
        })
    }
}

pub(super) fn run(
    matches: &ArgMatches,
    terminal: Option<u16>,
    stop: impl FnOnce() -> Result<Arc<EventFd>>,
    out: &mut impl Write,
) -> Result<()> {
    let mode = Mode::parse(matches.get_one::<String>("output").map_or("", String::as_str))?;
    let selector = containers::selector(matches)?;
    anyhow::ensure!(
        nix::unistd::geteuid().is_root(),
        "igx must be root to look into containers: try 'sudo igx list-containers'"
    );
    let config = containers::patient_config(matches)?;
    if !matches.get_flag("watch") {
        let collection = Collection::start(&Config { hold: false, ..config })?;
        say(&collection);
        let mut found: Vec<_> =
            collection.list().into_iter().filter(|container| selector.matches(container)).collect();
        found.sort_by(|a, b| (&a.runtime, &a.name, &a.id).cmp(&(&b.runtime, &b.name, &b.id)));
        return list(&mode, &found, terminal, out);
    }
    let seconds = matches.get_one::<u64>("timeout").copied().unwrap_or(0);
    let deadline = (seconds > 0).then(|| Instant::now() + Duration::from_secs(seconds));
    let stop = stop()?;
    let collection = Collection::start(&config)?;
    say(&collection);
    watch(&mode, &collection, selector, &stop, deadline, terminal, out)
}

fn say(collection: &Collection) {
    collection.notes().iter().for_each(|note| tracing::warn!("{note}"));
}

fn list(mode: &Mode, found: &[Arc<Container>], terminal: Option<u16>, out: &mut impl Write) -> Result<()> {
    let records: Vec<Record<'_>> = found.iter().map(|container| Record::of(container)).collect();
    match mode {
        Mode::Columns(columns) => write!(out, "{}", Table::of(columns, &records, terminal))?,
        // Both as upstream has it.
        Mode::Json | Mode::JsonPretty => writeln!(out, "{}", serde_json::to_string_pretty(&records)?)?,
        Mode::Yaml => write!(out, "{}", record::yaml(&serde_json::to_value(&records)?))?,
    }
    Ok(())
}

enum Told {
    Change(Change),
    Stop,
}

/// Passes on what is to be shown.
struct Teller {
    selector: Selector,
    changes: Mutex<Sender<Told>>,
}

impl Teller {
    fn tell(&self, event: &'static str, container: &Arc<Container>) {
        if self.selector.matches(container) {
            let change = Change { event, at: SystemTime::now(), container: Arc::clone(container) };
            let _ = self.changes.lock().unwrap_or_else(PoisonError::into_inner).send(Told::Change(change));
        }
    }
}

impl Watcher for Teller {
    fn added(&self, container: &Arc<Container>) {
        self.tell("CREATED", container);
    }

    fn removed(&self, container: &Arc<Container>) {
        self.tell("DELETED", container);
    }

    fn changed(&self, known: &Arc<Container>, container: &Arc<Container>) {
        if known.name != container.name || self.selector.matches(known) != self.selector.matches(container) {
            self.removed(known);
            self.added(container);
        }
    }
}

fn watch(
    mode: &Mode,
    collection: &Collection,
    selector: Selector,
    stop: &Arc<EventFd>,
    deadline: Option<Instant>,
    terminal: Option<u16>,
    out: &mut impl Write,
) -> Result<()> {
    let (sender, changes) = channel();
    let (asked, stopped) = (Arc::clone(stop), sender.clone());
    thread::Builder::new()
        .name("stop".to_owned())
        .spawn(move || {
            let mut fds = [nix::poll::PollFd::new(asked.as_fd(), nix::poll::PollFlags::POLLIN)];
            while nix::poll::poll(&mut fds, nix::poll::PollTimeout::NONE) == Err(nix::Error::EINTR) {}
            let _ = stopped.send(Told::Stop);
        })
        .context("cannot wait for signals")?;
    if let Mode::Columns(columns) = mode {
        writeln!(out, "{}", Table::stream_header(columns, terminal))?;
        out.flush()?;
    }
    collection.subscribe(Arc::new(Teller { selector, changes: Mutex::new(sender) }));
    loop {
        let told = match deadline {
            None => changes.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(deadline) => changes.recv_timeout(deadline.saturating_duration_since(Instant::now())),
        };
        let Ok(Told::Change(change)) = told else { return Ok(()) };
        match mode {
            Mode::Columns(columns) => writeln!(out, "{}", Table::stream_row(columns, &change, terminal))?,
            Mode::Json => writeln!(out, "{}", serde_json::to_string(&change.record())?)?,
            Mode::JsonPretty => writeln!(out, "{}", serde_json::to_string_pretty(&change.record())?)?,
            Mode::Yaml => write!(out, "---\n{}", record::yaml(&serde_json::to_value(change.record())?))?,
        }
        out.flush()?;
    }
}
