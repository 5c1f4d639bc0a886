//! The conversation with docker: names for containers whose start is held, the running ones, and those the holds missed.
//!
//! One thread. Source of the protocol: the Docker Engine API, 1.24 and later, over its Unix socket, without a version
//! in the path so that the daemon's own is spoken. While a start is held only `/containers/json` may be asked: it reads
//! a snapshot, where inspecting waits for the lock that the daemon holds until the start is over.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};

use super::keeper::Orders;
use super::process::Process;
use super::{Container, K8s};

mod http;

use http::Failure;

/// How long one question may take.
const QUESTION: Duration = Duration::from_secs(2);
/// Time between attempts to reach the daemon: doubled from the first to the last.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// `{"type":["container"],"event":["start","rename"]}`, in a URL.
const EVENTS: &str = "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C\
                      %22event%22%3A%5B%22start%22%2C%22rename%22%5D%7D";

/// What a runtime says of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Details {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) runtime: &'static str,
    pub(super) image_name: String,
    pub(super) image_id: String,
    pub(super) labels: BTreeMap<String, String>,
    /// The first process, once there is one.
    pub(super) pid: Option<u32>,
}

impl Details {
    /// Whether it is the container that holds a pod's namespaces open, which is nobody's workload.
    pub(super) fn is_sandbox(&self) -> bool {
        self.label("io.kubernetes.docker.type") == "podsandbox"
    }

    /// Joins it with what the kernel says of its first process.
    pub(super) fn into_container(self, process: &Process, host_netns: u32) -> Container {
        Container {
            k8s: K8s {
                namespace: self.label("io.kubernetes.pod.namespace").into(),
                pod_name: self.label("io.kubernetes.pod.name").into(),
                pod_labels: BTreeMap::new(),
                container_name: self.label("io.kubernetes.container.name").into(),
                pod_uid: self.label("io.kubernetes.pod.uid").into(),
            },
            name: if self.name.is_empty() { self.id.as_str().into() } else { self.name.into() },
            id: self.id.into(),
            runtime: self.runtime.into(),
            image_name: self.image_name.into(),
            image_id: self.image_id.into(),
            image_digest: "".into(),
            pid: process.pid,
            mntns: process.mntns,
            netns: process.netns,
            host_network: process.netns == host_netns,
            started_at: process.started_at,
            labels: self.labels,
        }
    }

    fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }
}

/// A question for the name of one container, and where the answer goes.
struct Question {
    id: String,
    answer: Sender<Option<Details>>,
}

/// The thread that talks to docker; dropping it ends it.
pub(super) struct Docker {
    questions: Option<UnboundedSender<Question>>,
    thread: Option<thread::JoinHandle<()>>,
    socket: PathBuf,
    /// Set when an answer did not come in time, cleared by the next that does.
    silent: Arc<AtomicBool>,
}

impl Docker {
    /// Starts it. Whatever is found goes to `orders`; `listed` is told (or dropped) once the running containers have.
    pub(super) fn start(socket: PathBuf, orders: Orders, listed: Sender<()>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (questions, inbox) = unbounded_channel();
        let silent = Arc::new(AtomicBool::new(false));
        let talk = Talk { socket: socket.clone(), orders, silent: Arc::clone(&silent) };
        let thread = thread::Builder::new().name("docker".to_owned()).spawn(move || {
            runtime.block_on(talk.run(inbox, listed));
            // Tasks are dropped, not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { questions: Some(questions), thread: Some(thread), socket, silent })
    }

    /// Asks for the container `id`; the answer is `None` if docker has no such container or cannot be asked.
    pub(super) fn ask(&self, id: &str) -> Receiver<Option<Details>> {
        let (answer, receiver) = channel();
        if let Some(questions) = &self.questions {
            // If the thread has ended, so has the sender in it, and the receiver says so.
            let _ = questions.send(Question { id: id.to_owned(), answer });
        }
        receiver
    }

    /// Whether it answered when last asked; it is not worth waiting for otherwise.
    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    /// Says that an answer did not come in time.
    pub(super) fn set_silent(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// Whether there is a socket at all.
    pub(super) fn exists(&self) -> bool {
        self.socket.exists()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // The thread's loop ends when nobody can ask any more.
        self.questions = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Clone)]
struct Talk {
    socket: PathBuf,
    orders: Orders,
    silent: Arc<AtomicBool>,
}

impl Talk {
    async fn run(self, mut inbox: UnboundedReceiver<Question>, listed: Sender<()>) {
        tokio::spawn(self.clone().follow(listed));
        while let Some(question) = inbox.recv().await {
            let talk = self.clone();
            tokio::spawn(async move {
                let found = talk.bounded(talk.list(&question.id)).await;
                let found = found.unwrap_or_else(|failure| {
                    tracing::debug!(id = %question.id, "docker cannot be asked for a name: {failure}");
                    Vec::new()
                });
                // Nobody waits any more if the hold's own time is over.
                let _ = question.answer.send(found.into_iter().find(|details| details.id == question.id));
            });
        }
    }

    /// Follows the daemon's events for good, over its restarts.
    async fn follow(self, listed: Sender<()>) {
        let mut listed = Some(listed);
        let mut pause = FIRST_RETRY;
        loop {
            match self.follow_once(&mut listed).await {
                Ok(()) => pause = FIRST_RETRY,
                Err(failure) => {
                    tracing::debug!("docker's events at {}: {failure}", self.socket.display());
                    pause = (pause * 2).min(LAST_RETRY);
                }
            }
            // Nothing to list, or not now: nobody needs to wait for it. A daemon that hangs has used up the time anyway.
            listed = None;
            sleep(pause).await;
        }
    }

    /// One connection: events are asked for first, so that nothing falls between them and the list.
    async fn follow_once(&self, listed: &mut Option<Sender<()>>) -> Result<(), Failure> {
        let events = self.bounded(http::get(&self.socket, EVENTS)).await?;
        let mut lines = http::Lines::new(events);
        let running: Vec<_> = self
            .bounded(self.list(""))
            .await?
            .into_iter()
            .map(|details| tokio::spawn(self.clone().enter(details.id)))
            .collect();
        for entered in running {
            let _ = entered.await;
        }
        if let Some(listed) = listed.take() {
            self.orders.tell(listed);
        }
        while let Some(line) = lines.next().await? {
            match serde_json::from_slice::<Event>(&line) {
                Ok(event) => {
                    tokio::spawn(self.clone().enter(event.actor.id));
                }
                Err(error) => tracing::debug!("docker sent an event that cannot be read: {error}"),
            }
        }
        Ok(())
    }

    /// Has the container entered with all its details, if it runs.
    async fn enter(self, id: String) {
        match self.bounded(self.inspect(&id)).await {
            Ok(details) if details.pid.is_some() => self.orders.enter(details),
            Ok(_) => {}
            Err(failure) => tracing::debug!(id, "docker does not say what this container is: {failure}"),
        }
    }

    /// The running containers, or with an `id` just that one, whatever its state.
    async fn list(&self, id: &str) -> Result<Vec<Details>, Failure> {
        let path = if id.is_empty() {
            "/containers/json".to_owned()
        } else {
            let id = url_word(id).ok_or(Failure::Name)?;
            format!("/containers/json?all=1&filters=%7B%22id%22%3A%5B%22{id}%22%5D%7D")
        };
        let body = http::get_all(&self.socket, &path).await?;
        let listed: Vec<Listed> = serde_json::from_slice(&body)?;
        Ok(listed.into_iter().map(Details::from).collect())
    }

    async fn inspect(&self, id: &str) -> Result<Details, Failure> {
        let id = url_word(id).ok_or(Failure::Name)?;
        let body = http::get_all(&self.socket, &format!("/containers/{id}/json")).await?;
        Ok(serde_json::from_slice::<Inspected>(&body)?.into())
    }

    /// Limits the time, and remembers whether the daemon answers.
    async fn bounded<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        match timeout(QUESTION, work).await {
            Ok(result) => {
                if result.is_ok() {
                    self.silent.store(false, Ordering::Relaxed);
                }
                result
            }
            Err(_) => {
                self.silent.store(true, Ordering::Relaxed);
                Err(Failure::Time(QUESTION))
            }
        }
    }
}

/// `GET /containers/json`: an entry. Everything may be missing or null.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Listed {
    id: String,
    names: Option<Vec<String>>,
    image: Option<String>,
    #[serde(rename = "ImageID")]
    image_id: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

impl From<Listed> for Details {
    fn from(listed: Listed) -> Self {
        // Links give a container further names, such as /other/alias; its own has one slash.
        let names = listed.names.unwrap_or_default();
        let own = names.iter().filter_map(|name| name.strip_prefix('/')).find(|name| !name.contains('/'));
        Self {
            name: own.unwrap_or_default().to_owned(),
            id: listed.id,
            runtime: "docker",
            image_name: listed.image.unwrap_or_default(),
            image_id: listed.image_id.unwrap_or_default(),
            labels: listed.labels.unwrap_or_default(),
            pid: None,
        }
    }
}

/// `GET /containers/ID/json`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Inspected {
    id: String,
    name: String,
    image: Option<String>,
    config: InspectedConfig,
    state: InspectedState,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct InspectedConfig {
    image: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct InspectedState {
    pid: u32,
}

impl From<Inspected> for Details {
    fn from(inspected: Inspected) -> Self {
        Self {
            name: inspected.name.trim_start_matches('/').to_owned(),
            id: inspected.id,
            runtime: "docker",
            image_name: inspected.config.image.unwrap_or_default(),
            image_id: inspected.image.unwrap_or_default(),
            labels: inspected.config.labels.unwrap_or_default(),
            pid: Some(inspected.state.pid).filter(|pid| *pid != 0),
        }
    }
}

/// `GET /events`: a line. Other fields are not needed.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    actor: Actor,
}

#[derive(Deserialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
}

/// An identifier as it may stand in a URL and in the JSON of a filter; `None` for what is no identifier.
fn url_word(id: &str) -> Option<String> {
    super::hold::is_container_id(id).then(|| id.replace('+', "%2B"))
}
