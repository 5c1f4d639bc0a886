//! The thread that talks to all runtimes, and the rules it talks by.
//!
//! Every question has a limit in time, every reply one in size, and each runtime is followed by a task of its own, which
//! tries again, less and less often, for as long as the program runs. So one that hangs, dies, or comes later costs the
//! others nothing. What is wrong with it is said once, until it answers again.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::super::collection::Config;
use super::super::keeper::Orders;
use super::http::Failure;
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
/// Questions to one runtime at the same time.
const AT_ONCE: usize = 16;

/// A container whose start is held.
#[derive(Debug, Clone)]
pub(in crate::container) struct Start {
    pub(in crate::container) id: String,
    /// Its bundle's folder.
    pub(in crate::container) bundle: PathBuf,
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
        let talk = Talk { orders, peers: peers.clone() };
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
        let peers = self.peers.all();
        peers.iter().for_each(|peer| peer.speaks.store(true, Ordering::Relaxed));
        let unheard =
            peers.iter().filter(|peer| !peer.listed.load(Ordering::Relaxed) && peer.place.path.exists());
        unheard
            .filter(|peer| !peer.said.swap(true, Ordering::Relaxed))
            .map(|peer| {
                let why = peer.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
                match why {
                    Some(why) => {
                        format!("{}: {why}: its containers are shown by id until it does better", peer.place)
                    }
                    None => format!(
                        "{} does not answer: its containers are shown by id until it does",
                        peer.place
                    ),
                }
            })
            .collect()
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

/// A runtime, and how it behaves.
struct Peer {
    place: Place,
    /// It did not answer in time when last asked: nobody waits for it until it does.
    silent: AtomicBool,
    /// It has told what runs, at least once.
    listed: AtomicBool,
    /// What is wrong from now on is said at once: the time for the first list is over.
    speaks: AtomicBool,
    /// What is wrong has been said.
    said: AtomicBool,
    trouble: Mutex<Option<String>>,
    permits: Semaphore,
}

impl Peer {
    fn new(place: Place) -> Arc<Self> {
        Arc::new(Self {
            place,
            silent: AtomicBool::new(false),
            listed: AtomicBool::new(false),
            speaks: AtomicBool::new(false),
            said: AtomicBool::new(false),
            trouble: Mutex::default(),
            permits: Semaphore::new(AT_ONCE),
        })
    }

    /// Limits the time, and remembers whether the daemon answers.
    async fn bounded<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let result = timeout(limit, work).await.unwrap_or(Err(Failure::Time(limit)));
        match &result {
            Ok(_) => self.silent.store(false, Ordering::Relaxed),
            Err(Failure::Time(_)) => self.silent.store(true, Ordering::Relaxed),
            Err(_) => {}
        }
        result
    }

    /// Remembers what is wrong, and says it if it has not been said and is worth it.
    fn complain(&self, failure: &Failure) {
        let text = failure.to_string();
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.as_ref() == Some(&text) {
            return;
        }
        let was_heard = self.listed.load(Ordering::Relaxed);
        if (failure.is_absence() && !was_heard) || self.said.load(Ordering::Relaxed) {
            tracing::debug!("{}: {failure}", self.place);
        } else if self.speaks.load(Ordering::Relaxed) {
            self.said.store(true, Ordering::Relaxed);
            tracing::warn!(
                "{}: {failure}: its new containers are shown by id until it answers again",
                self.place
            );
        }
        *trouble = Some(text);
    }

    fn is_well(&self) {
        self.listed.store(true, Ordering::Relaxed);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if self.said.swap(false, Ordering::Relaxed) {
            tracing::info!("{} answers again", self.place);
        }
    }
}

/// The runtimes there are; users' own come with time.
#[derive(Clone, Default)]
struct Peers(Arc<Mutex<Vec<Arc<Peer>>>>);

impl Peers {
    fn all(&self) -> Vec<Arc<Peer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, peer: Arc<Peer>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(peer);
    }
}

#[derive(Clone)]
struct Talk {
    orders: Orders,
    peers: Peers,
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

    fn begin(&self, place: Place, listed: Option<Sender<()>>) {
        let peer = Peer::new(place);
        self.peers.add(Arc::clone(&peer));
        tokio::spawn(Follow { peer, orders: self.orders.clone() }.run(listed));
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
