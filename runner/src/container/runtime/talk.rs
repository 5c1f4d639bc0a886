//! The thread that talks to all runtimes, and the rules it talks by.
//!
//! Every question has a limit in time, every reply one in size, and each runtime is followed by a task of its own, which
//! tries again, less and less often, for as long as the program runs. So one that hangs, dies, or comes later costs the
//! others nothing. What is wrong with it is said once, until it answers again.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::super::collection::Config;
use super::super::keeper::Orders;
use super::http::Failure;
use super::peer::{Peer, Peers};
use super::places::{Rootless, places};
use super::{Change, Details, Place};

/// How long one question may take.
const QUESTION: Duration = Duration::from_secs(2);
/// How long one may take for which a start is held.
const STARTING: Duration = Duration::from_millis(600);
/// Time between attempts to reach a daemon: doubled from the first to the last.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);
/// How often a question about one container is asked again if it fails.
const ATTEMPTS: u32 = 4;

/// A container whose start is held.
#[derive(Debug, Clone)]
pub(in crate::container) struct Start {
    pub(in crate::container) id: String,
    /// Its bundle's folder; empty where the caller does not say it.
    pub(in crate::container) bundle: PathBuf,
    /// containerd's namespace for it, if that is known.
    pub(in crate::container) namespace: Option<String>,
}

struct Question {
    start: Start,
    answer: Sender<Option<Details>>,
}

/// The conversation with all runtimes; dropping it ends it.
pub(in crate::container) struct Runtimes {
    questions: Option<UnboundedSender<Question>>,
    thread: Option<thread::JoinHandle<()>>,
    peers: Peers,
}

impl Runtimes {
    /// Starts it. Whatever is found goes to `orders`. `listed` is dropped by all once every runtime that answers has
    /// told what runs.
    pub(in crate::container) fn start(
        config: &Config,
        orders: Orders,
        listed: Sender<()>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (questions, inbox) = unbounded_channel();
        let mut rootless = Rootless::new(config);
        let mut found = places(config);
        found.extend(rootless.iter_mut().flat_map(Rootless::find));
        let peers = Peers::default();
        let talk = Talk { orders, peers: peers.clone(), patience: config.patience };
        let thread = thread::Builder::new().name("runtimes".to_owned()).spawn(move || {
            runtime.block_on(talk.run(found, rootless, inbox, listed));
            // Tasks are dropped, not waited for.
            runtime.shutdown_background();
        })?;
        Ok(Self { questions: Some(questions), thread: Some(thread), peers })
    }

    /// Asks all runtimes for a container; the answer is `None` if none of them knows it or can be asked.
    pub(in crate::container) fn ask(&self, start: Start) -> Receiver<Option<Details>> {
        let (answer, receiver) = channel();
        if let Some(questions) = &self.questions {
            // If the thread has ended, so has the sender in it, and the receiver says so.
            let _ = questions.send(Question { start, answer });
        }
        receiver
    }

    /// What is wrong with runtimes that are there, but have not told what runs. Each is said only here then.
    pub(in crate::container) fn complaints(&self) -> Vec<String> {
        self.peers.all().iter().filter_map(|peer| peer.complaint()).collect()
    }
}

impl Drop for Runtimes {
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
    orders: Orders,
    peers: Peers,
    /// How long the first lists are waited for.
    patience: Duration,
}

impl Talk {
    async fn run(
        self,
        found: Vec<Place>,
        rootless: Option<Rootless>,
        mut inbox: UnboundedReceiver<Question>,
        listed: Sender<()>,
    ) {
        for place in found {
            self.begin(place, Some(listed.clone()));
        }
        drop(listed);
        if let Some(rootless) = rootless {
            tokio::spawn(self.clone().find_sessions(rootless));
        }
        while let Some(question) = inbox.recv().await {
            tokio::spawn(answer(self.peers.all(), question));
        }
    }

    fn begin(&self, mut place: Place, listed: Option<Sender<()>>) {
        let states = place.states.take();
        let peer = Peer::new(place);
        self.peers.add(Arc::clone(&peer));
        if let Some(states) = states {
            tokio::spawn(self.clone().stand_in(*states, Arc::clone(&peer), listed.clone()));
        }
        tokio::spawn(Follow { peer, orders: self.orders.clone() }.run(listed));
    }

    /// Has what a daemon's own runc wrote down followed, once the daemon does not tell what runs: containers outlive
    /// it, and are better known by their ids than not at all. What it tells later is added.
    async fn stand_in(self, states: Place, daemon: Arc<Peer>, mut listed: Option<Sender<()>>) {
        // Half of it, so that what is found then is among the first that are found.
        daemon.fails(self.patience / 2, || listed = None).await;
        self.begin(states, listed);
    }

    async fn find_sessions(self, mut rootless: Rootless) {
        loop {
            sleep(LAST_RETRY).await;
            rootless.find().into_iter().for_each(|place| self.begin(place, None));
        }
    }
}

/// Asks all for the container of a held start. The first who knows it has the word; who was silent when last asked is
/// asked, but not waited for.
async fn answer(peers: Vec<Arc<Peer>>, question: Question) {
    let Question { start, answer } = question;
    let mut asked = JoinSet::new();
    for peer in peers {
        let start = start.clone();
        let is_silent = peer.silent.load(Ordering::Relaxed);
        let ask = async move {
            match peer.bounded(STARTING, peer.place.runtime.starting(&start)).await {
                Ok(found) => found.filter(Details::is_sound),
                Err(failure) => {
                    if !failure.is_absence() {
                        tracing::debug!(id = %start.id, "{} cannot be asked for a name: {failure}", peer.place);
                    }
                    None
                }
            }
        };
        if is_silent {
            tokio::spawn(ask);
        } else {
            asked.spawn(ask);
        }
    }
    let mut found = None;
    while let (None, Some(result)) = (&found, asked.join_next().await) {
        found = result.ok().flatten();
    }
    // Nobody waits any more if the hold's own time is over.
    let _ = answer.send(found);
}

/// Follows one runtime for good, over its restarts.
#[derive(Clone)]
struct Follow {
    peer: Arc<Peer>,
    orders: Orders,
}

impl Follow {
    async fn run(self, mut listed: Option<Sender<()>>) {
        let mut pause = FIRST_RETRY;
        loop {
            match self.once(&mut listed).await {
                Ok(()) => pause = FIRST_RETRY,
                Err(failure) => {
                    self.peer.complain(&failure);
                    pause = (pause * 2).min(LAST_RETRY);
                }
            }
            // Nothing to list, or not now: nobody needs to wait for it.
            listed = None;
            sleep(pause).await;
        }
    }

    /// One connection: events are asked for first, so that nothing falls between them and the list.
    async fn once(&self, listed: &mut Option<Sender<()>>) -> Result<(), Failure> {
        let runtime = &self.peer.place.runtime;
        let mut changes = self.peer.bounded(QUESTION, runtime.changes()).await?;
        let mut seen = HashSet::new();
        self.look(&mut seen).await?;
        self.peer.is_well();
        if let Some(listed) = listed.take() {
            self.orders.tell(listed);
        }
        while let Some(change) = changes.next().await? {
            match change {
                Change::All => self.look(&mut seen).await?,
                // However many events there are, this many questions are open at once.
                Change::One(key) => {
                    let Ok(permit) = self.peer.permits.acquire().await else { return Ok(()) };
                    permit.forget();
                    tokio::spawn(self.clone().enter(key));
                }
            }
        }
        Ok(())
    }

    /// Has all enter that run, but for those that have been seen.
    async fn look(&self, seen: &mut HashSet<(String, u32)>) -> Result<(), Failure> {
        let found = self.peer.bounded(QUESTION, self.peer.place.runtime.list()).await?;
        let mut present = HashSet::new();
        let mut asked = JoinSet::new();
        for details in found {
            // Where the process is not told, a container that starts again is told by an event.
            let key = (details.id.clone(), details.pid.unwrap_or(0));
            if present.contains(&key) || !details.is_sound() {
                continue;
            }
            if !seen.contains(&key) {
                if details.pid.is_some() {
                    self.orders.enter(details);
                } else {
                    let Ok(permit) = self.peer.permits.acquire().await else { return Ok(()) };
                    permit.forget();
                    asked.spawn(self.clone().enter(details.id));
                }
            }
            present.insert(key);
        }
        while asked.join_next().await.is_some() {}
        *seen = present;
        Ok(())
    }

    /// Has the container entered with all its details, if it runs. Gives a permit back.
    async fn enter(self, key: String) {
        let mut pause = FIRST_RETRY;
        for attempt in 1..=ATTEMPTS {
            match self.peer.bounded(QUESTION, self.peer.place.runtime.details(&key)).await {
                Ok(details) => {
                    if let Some(details) =
                        details.filter(|details| details.pid.is_some() && details.is_sound())
                    {
                        self.orders.enter(details);
                    }
                    break;
                }
                Err(failure) => {
                    tracing::debug!(
                        key,
                        "{} does not say what this container is: {failure}",
                        self.peer.place
                    );
                    if attempt == ATTEMPTS || matches!(failure, Failure::Status(_) | Failure::Name) {
                        break;
                    }
                }
            }
            sleep(pause).await;
            pause *= 4;
        }
        self.peer.permits.add_permits(1);
    }
}

#[cfg(test)]
mod tests;
