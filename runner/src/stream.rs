//! Gadgets from within another program: events as values of a type of one's own, one after another.
//!
//! The type names the fields that are wanted, nested as in JSON; what else an event has is left out.
//!
//! ```no_run
//! use runner::stream::{Settings, Stream};
//!
//! #[derive(serde::Deserialize)]
//! struct Asked {
//!     name: String,
//!     proc: Process,
//! }
//!
//! #[derive(serde::Deserialize)]
//! struct Process {
//!     comm: String,
//!     pid: u32,
//! }
//!
//! let settings = Settings { host: true, ..Settings::default() };
//! for event in Stream::<Asked>::run("trace_sni", settings)? {
//!     let Asked { name, proc } = event?;
//!     println!("{} ({}) asks for {name}", proc.comm, proc.pid);
//! }
//! # Ok::<(), runner::stream::Error>(())
//! ```

use std::{
    collections::BTreeMap,
    io::{self, Write},
    marker::PhantomData,
    os::fd::AsFd,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use gadget::{registry::Silent, store::Store};
use nix::sys::eventfd::{EfdFlags, EventFd};
use serde::de::DeserializeOwned;

use crate::{
    container::{self, Selector},
    images::Images,
    instance::{self, Gadget, Options, Summary},
    output::Display,
};

/// Events that may wait for whoever takes them. The kernel keeps those that come then, as long as it has room, and
/// counts the others as lost.
const WAITING: usize = 1024;

/// What is run, and what is shown of it.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The folder of the image store; that of `igx` if none is named.
    pub store: Option<PathBuf>,
    /// Where images come from, and which may be used.
    pub images: Images,
    /// The events of the host's own processes as well as those of containers.
    pub host: bool,
    /// Which containers are shown.
    pub selector: Selector,
    /// Values of the gadget's parameters, by key.
    pub params: BTreeMap<String, String>,
    /// Filter rules, such as `name~example`, by data source.
    pub filters: BTreeMap<String, String>,
    /// Filter expressions, such as `proc.uid == 0`, by data source.
    pub expressions: BTreeMap<String, String>,
    /// The data source whose events are wanted, if the gadget has several.
    pub source: Option<String>,
    /// When to stop.
    pub timeout: Option<Duration>,
    /// Where container runtimes are.
    pub containers: container::Config,
}

/// Why there are no events.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages say what each is
pub enum Error {
    #[error(transparent)]
    Store(#[from] gadget::store::Error),
    #[error(transparent)]
    Image(#[from] instance::ResolveError),
    #[error(transparent)]
    Gadget(#[from] instance::GadgetError),
    #[error(transparent)]
    Run(#[from] instance::Error),
    #[error("an event is not of the type asked for: {0}")]
    Type(#[from] serde_json::Error),
    #[error("cannot run a gadget in a thread of its own: {0}")]
    Thread(#[source] io::Error),
    #[error("the thread that runs the gadget ended unexpectedly")]
    Ended,
}

/// The events of a running gadget. It is stopped when this is dropped.
#[derive(Debug)]
pub struct Stream<T> {
    lines: Option<Receiver<Vec<u8>>>,
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<Result<Summary, Error>>>,
    events: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Stream<T> {
    /// Runs the gadget of an image.
    ///
    /// # Errors
    /// When no thread can be started; all else is told in place of the first event.
    pub fn run(image: &str, settings: Settings) -> Result<Self, Error> {
        let flags = EfdFlags::EFD_CLOEXEC;
        let stop = Arc::new(EventFd::from_flags(flags).map_err(|error| Error::Thread(error.into()))?);
        let (sender, lines) = sync_channel(WAITING);
        let (asked, image) = (Arc::clone(&stop), image.to_owned());
        let thread = thread::Builder::new()
            .name("gadget".to_owned())
            .spawn(move || run(&image, settings, &asked, sender))
            .map_err(Error::Thread)?;
        Ok(Self { lines: Some(lines), stop, thread: Some(thread), events: PhantomData })
    }

    /// Stops the gadget, and tells how it went. Events that were not taken are left out.
    ///
    /// # Errors
    /// Why the gadget could not run, unless that was told before.
    pub fn stop(mut self) -> Result<Summary, Error> {
        self.end().unwrap_or_else(|| Ok(Summary::default()))
    }

    fn end(&mut self) -> Option<Result<Summary, Error>> {
        let _ = self.stop.write(1);
        // Nobody takes what is still sent: the gadget ends as if its pipe were closed.
        self.lines = None;
        Some(self.thread.take()?.join().unwrap_or(Err(Error::Ended)))
    }
}

impl<T: DeserializeOwned> Iterator for Stream<T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.lines.as_ref()?.recv() {
            Ok(line) => Some(serde_json::from_slice(&line).map_err(Error::Type)),
            Err(_) => self.end()?.err().map(Err),
        }
    }
}

impl<T> Drop for Stream<T> {
    fn drop(&mut self) {
        let _ = self.stop.write(1);
        self.lines = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    image: &str,
    settings: Settings,
    stop: &EventFd,
    lines: SyncSender<Vec<u8>>,
) -> Result<Summary, Error> {
    let mut store = Store::open(settings.store.map_or_else(Store::default_path, Ok)?)?;
    let image = instance::resolve(&mut store, image, &settings.images, &Silent)?;
    drop(store);
    let gadget = Gadget::open(image)?;
    let mode = settings.source.map_or_else(
        || "json".to_owned(),
        |wanted| {
            let mode = |name: &str| if name.eq_ignore_ascii_case(&wanted) { "json" } else { "none" };
            let of = |source: &instance::Source| format!("{}:{}", source.data.name, mode(&source.data.name));
            gadget.sources.iter().map(of).collect::<Vec<_>>().join(",")
        },
    );
    let mut options = Options {
        host: settings.host,
        selector: settings.selector,
        params: settings.params,
        filters: settings.filters,
        expressions: settings.expressions,
        display: Display { mode, ..Display::default() },
        timeout: settings.timeout,
        containers: settings.containers,
        ..Options::default()
    };
    options.fill_what_is_asked_for(&gadget.metadata);
    let mut out = Lines { begun: Vec::new(), lines };
    let mut notice = |notice: instance::Notice<'_>| {
        if let instance::Notice::Warning(line) = notice {
            tracing::warn!("{line}");
        }
    };
    Ok(instance::run(&gadget, &options, stop.as_fd(), &mut out, &mut notice)?)
}

/// Sends each line that is written.
struct Lines {
    begun: Vec<u8>,
    lines: SyncSender<Vec<u8>>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.begun.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.begun);
                self.lines.send(line).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Anything {}

    #[test]
    fn lines_are_sent_whole() {
        let (sender, lines) = sync_channel(8);
        let mut out = Lines { begun: Vec::new(), lines: sender };
        out.write_all(b"{\"a\":").unwrap();
        out.write_all(b"1}\n{}\n{").unwrap();
        assert_eq!(lines.try_iter().collect::<Vec<_>>(), [&b"{\"a\":1}\n"[..], b"{}\n"]);
        drop(lines);
        assert_eq!(out.write_all(b"}\n").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn what_is_wrong_is_told_in_place_of_events() {
        let folder = tempfile::tempdir().unwrap();
        let images = Images { pull: crate::images::Pull::Never, ..Images::default() };
        let settings = Settings { store: Some(folder.path().into()), images, ..Settings::default() };
        let mut stream = Stream::<Anything>::run("localhost/nothing:x", settings).unwrap();
        assert!(matches!(stream.next(), Some(Err(Error::Image(_)))));
        assert!(stream.next().is_none());
        assert!(stream.stop().is_ok());
    }
}
