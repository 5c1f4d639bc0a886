//! What output is to look like: from the flags, the environment, and the terminal as it is and as it becomes.

use std::{
    io::{self, IsTerminal},
    sync::Arc,
    thread,
};

use clap::ArgMatches;
use nix::sys::signal::{SigSet, Signal};

use super::super::{ig, terminal_width};
use crate::output::{Display, Mode, Terminal};

/// What the flags ask for.
pub(super) fn display(matches: &ArgMatches) -> Display {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let is_terminal = io::stdout().is_terminal();
    let colour = match text("color").as_deref() {
        Some("always") => true,
        Some("never") => false,
        // https://no-color.org: set and not empty.
        _ => is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    let mode = text("output").unwrap_or_default();
    // Those who pipe ig's JSON count on all of it.
    let documents = ig::is_called() && mode.parse::<Mode>().is_ok_and(Mode::is_document);
    Display {
        fields: text("fields").filter(|_| !documents),
        mode,
        terminal: terminal_width().map(|columns| Arc::new(Terminal::new(columns))),
        colour,
    }
}

/// Tells `terminal` whenever its size changes. The signal is blocked in all threads.
///
/// # Errors
/// When no thread can be started.
pub(super) fn follow(terminal: Arc<Terminal>) -> io::Result<()> {
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGWINCH);
    thread::Builder::new().name("resize".to_owned()).spawn(move || {
        while mask.wait().is_ok() {
            if let Some(columns) = terminal_width() {
                terminal.resize(columns);
            }
        }
    })?;
    Ok(())
}
