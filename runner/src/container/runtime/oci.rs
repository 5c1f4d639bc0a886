//! What runc and crun write down of the containers they run: all there is to ask for those that no daemon knows, and
//! for podman's where no service runs.
//!
//! Source: runc's `libcontainer` state (`STATE/ID/state.json`) and crun's status (`STATE/ID/status`, with a copy of the
//! configuration beside it). Neither may be relied on for more than the few fields read here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InotifyEvent, WatchDescriptor};
use serde::Deserialize;
use tokio::time::timeout;

use super::kubernetes;
use super::notify::Notify;
use super::{Answer, Change, Changes, Details, Runtime, Start, files, storage};

/// How often folders that may have come are looked for.
const LOOK: Duration = Duration::from_secs(2);

/// Where runc and crun write states, in a container's folder.
const STATES: [&str; 2] = ["state.json", "status"];

/// The folders of states.
#[derive(Clone)]
pub(super) struct Oci {
    /// May hold a `*` for any one folder.
    patterns: Vec<PathBuf>,
    /// Which runtimes' containers are told; the others have somebody else to tell of them.
    told: Vec<String>,
    /// The daemon whose folders these are, and who made all that is in them.
    daemon: Option<&'static str>,
    /// Where the host's file system is: states call bundles by their paths there.
    host_root: PathBuf,
}

impl Oci {
    pub(super) fn new(patterns: Vec<PathBuf>, told: Vec<String>, host_root: &Path) -> Self {
        Self { patterns, told, daemon: None, host_root: host_root.to_owned() }
    }

    /// The folders of one daemon.
    pub(super) fn of_daemon(name: &'static str, pattern: PathBuf, host_root: &Path) -> Self {
        let told = vec![name.to_owned()];
        Self { daemon: Some(name), ..Self::new(vec![pattern], told, host_root) }
    }

    fn state(&self, folder: &Path) -> Option<Details> {
        let details = state(folder, &self.host_root)?;
        let runtime = self.daemon.unwrap_or(details.runtime);
        Some(Details { runtime, ..details }).filter(|details| self.is_told(details))
    }

    fn roots(&self) -> Vec<PathBuf> {
        self.patterns.iter().flat_map(|pattern| expand(pattern)).collect()
    }

    fn is_told(&self, details: &Details) -> bool {
        self.told.iter().any(|name| name == details.runtime)
    }
}

impl Runtime for Oci {
    fn list(&self) -> Answer<'_, Vec<Details>> {
        let containers = self.roots().into_iter().flat_map(|root| files::folders(&root));
        let found = containers.filter_map(|folder| self.state(&folder)).collect();
        Box::pin(async { Ok(found) })
    }

    fn starting<'a>(&'a self, start: &'a Start) -> Answer<'a, Option<Details>> {
        // A daemon's containers are in no storage folder.
        let find = || storage::find(&self.host_root, &start.bundle);
        let found = (self.daemon.is_none().then(find).flatten())
            .filter(|details| details.id == start.id && self.is_told(details));
        Box::pin(async { Ok(found) })
    }

    fn details<'a>(&'a self, folder: &'a str) -> Answer<'a, Option<Details>> {
        let found = self.state(Path::new(folder));
        Box::pin(async { Ok(found) })
    }

    fn changes(&self) -> Answer<'_, Box<dyn Changes>> {
        Box::pin(async {
            let mut watches = Watches {
                oci: self.clone(),
                notify: Notify::new()?,
                roots: Vec::new(),
                containers: BTreeMap::new(),
                waiting: Vec::new(),
            };
            // Before the first list, which then leaves nothing out that the watches do not tell.
            watches.watch_roots();
            Ok(Box::new(watches) as Box<dyn Changes>)
        })
    }
}

/// The folders that a path with a `*` stands for.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        if part.as_os_str() == "*" {
            found = found.iter().flat_map(|folder| files::folders(folder)).collect();
        } else {
            found.iter_mut().for_each(|folder| folder.push(part));
        }
    }
    found
}

fn has_state(folder: &Path) -> bool {
    STATES.iter().any(|state| folder.join(state).exists())
}

/// The container whose state is in `folder`, if it has a process.
fn state(folder: &Path, host_root: &Path) -> Option<Details> {
    let id = folder.file_name()?.to_str()?;
    let told = match files::read(&folder.join("state.json")) {
        Ok((bytes, owner)) => Told::by_runc(&bytes, owner)?,
        Err(_) => {
            let (bytes, owner) = files::read(&folder.join("status")).ok()?;
            let config = files::read(&folder.join("config.json")).map(|(bytes, _)| bytes).unwrap_or_default();
            Told::by_crun(&bytes, &config, owner)?
        }
    };
    told.into_details(id, host_root)
}

/// What a state tells.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    runtime: &'static str,
    pid: u32,
    start_ticks: Option<i64>,
    bundle: String,
    annotations: BTreeMap<String, String>,
    owner: u32,
}

impl Told {
    fn by_runc(state: &[u8], owner: u32) -> Option<Self> {
        #[derive(Deserialize)]
        struct State {
            init_process_pid: u32,
            init_process_start: Option<i64>,
            #[serde(default)]
            config: Config,
        }
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Config {
            /// `key=value`: the bundle, and the configuration's annotations.
            labels: Option<Vec<String>>,
        }
        let state: State = serde_json::from_slice(state).ok()?;
        let mut annotations: BTreeMap<String, String> = (state.config.labels.unwrap_or_default().iter())
            .filter_map(|label| label.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let bundle = annotations.remove("bundle").unwrap_or_default();
        let (pid, start_ticks) = (state.init_process_pid, state.init_process_start);
        Some(Self { runtime: "runc", pid, start_ticks, bundle, annotations, owner })
    }

    fn by_crun(status: &[u8], config: &[u8], owner: u32) -> Option<Self> {
        #[derive(Deserialize)]
        struct Status {
            pid: u32,
            #[serde(rename = "process-start-time")]
            start: Option<i64>,
            #[serde(default)]
            bundle: String,
        }
        #[derive(Deserialize)]
        struct Config {
            annotations: Option<BTreeMap<String, String>>,
        }
        let status: Status = serde_json::from_slice(status).ok()?;
        let annotations = serde_json::from_slice::<Config>(config).ok().and_then(|config| config.annotations);
        let annotations = annotations.unwrap_or_default();
        let Status { pid, start, bundle } = status;
        Some(Self { runtime: "crun", pid, start_ticks: start, bundle, annotations, owner })
    }

    fn into_details(self, id: &str, host_root: &Path) -> Option<Details> {
        let pid = Some(self.pid).filter(|pid| *pid != 0)?;
        // The storage may be another user's than the state, and then its word counts no more than that user's.
        let stored = storage::find(host_root, Path::new(&self.bundle)).filter(|stored| stored.id == id);
        let mut details = stored.unwrap_or_else(|| Details {
            id: id.to_owned(),
            runtime: self.manager(),
            image_name: kubernetes::image_name(&self.annotations).cloned().unwrap_or_default(),
            ..Details::default()
        });
        let mut pod = std::mem::take(&mut details.pod);
        pod.add_annotations(&self.annotations);
        if details.name.is_empty() {
            details.name.clone_from(&pod.container_name);
        }
        let owner = if details.owner == 0 { self.owner } else { details.owner };
        Some(Details {
            pid: Some(pid),
            start_ticks: self.start_ticks.filter(|ticks| *ticks != 0),
            bundle: self.bundle,
            pod,
            owner,
            ..details
        })
    }

    /// Who made the container, as far as annotations tell; else who runs it.
    fn manager(&self) -> &'static str {
        let has = |prefix: &str| self.annotations.keys().any(|key| key.starts_with(prefix));
        match self.annotations.get("io.container.manager").map(String::as_str) {
            Some("libpod") => "podman",
            Some("cri-o") => "cri-o",
            _ if has("io.kubernetes.cri-o.") => "cri-o",
            _ if has("io.kubernetes.cri.") => "containerd",
            _ => self.runtime,
        }
    }
}

/// inotify on the folders of states, and on each container's until its state is there.
struct Watches {
    oci: Oci,
    notify: Notify,
    roots: Vec<(PathBuf, WatchDescriptor)>,
    containers: BTreeMap<PathBuf, WatchDescriptor>,
    waiting: Vec<Change>,
}

impl Watches {
    /// Watches folders that have come; whether there are any.
    fn watch_roots(&mut self) -> bool {
        let roots = self.oci.roots();
        self.roots.retain(|(path, _)| roots.contains(path));
        let known = self.roots.len();
        for path in roots {
            let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE_SELF;
            if self.roots.iter().any(|(other, _)| *other == path) {
                continue;
            }
            if let Ok(watch) = self.notify.add(&path, flags) {
                // One that is being made: its state comes later, and its folder is not told of any more.
                for folder in files::folders(&path).iter().filter(|folder| !has_state(folder)) {
                    self.watch_container(folder);
                }
                self.roots.push((path, watch));
            }
        }
        self.roots.len() > known
    }

    fn watch_container(&mut self, folder: &Path) {
        let flags = AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO;
        if let Ok(watch) = self.notify.add(folder, flags) {
            self.containers.insert(folder.to_owned(), watch);
        }
    }

    fn read(&mut self, events: Vec<InotifyEvent>) {
        for event in events {
            if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                self.waiting.push(Change::All);
            } else if event.mask.contains(AddWatchFlags::IN_DELETE_SELF) {
                self.roots.retain(|(_, watch)| *watch != event.wd);
            } else if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                self.containers.retain(|_, watch| *watch != event.wd);
            } else if let Some((root, _)) = self.roots.iter().find(|(_, watch)| *watch == event.wd) {
                let Some(folder) = event.name.map(|name| root.join(name)) else { continue };
                self.watch_container(&folder);
                self.waiting.extend(folder.to_str().map(|folder| Change::One(folder.to_owned())));
            } else if let Some((folder, _)) = self.containers.iter().find(|(_, watch)| **watch == event.wd)
                && event.name.is_some_and(|name| STATES.iter().any(|state| name == *state))
            {
                self.waiting.extend(folder.to_str().map(|folder| Change::One(folder.to_owned())));
            }
        }
        self.waiting.dedup();
    }
}

impl Changes for Watches {
    fn next(&mut self) -> Answer<'_, Option<Change>> {
        Box::pin(async {
            loop {
                if let Some(change) = self.waiting.pop() {
                    return Ok(Some(change));
                }
                if self.watch_roots() {
                    return Ok(Some(Change::All));
                }
                if let Ok(events) = timeout(LOOK, self.notify.events()).await {
                    self.read(events?);
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;
