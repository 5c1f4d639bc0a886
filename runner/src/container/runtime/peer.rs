//! How each runtime behaves: whether it answers in time, whether it has told what runs, and what has been said of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::Place;
use super::http::Failure;

/// Questions to one runtime at the same time.
const AT_ONCE: usize = 16;

/// How the last question for all that run went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Awaited,
    Told,
    Failed,
}

/// A runtime, and how it behaves.
pub(super) struct Peer {
    pub(super) place: Place,
    /// It did not answer in time when last asked: nobody waits for it until it does.
    pub(super) silent: AtomicBool,
    /// It has told what runs, at least once.
    listed: AtomicBool,
    /// How the last question for all that run went.
    word: watch::Sender<Word>,
    /// What is wrong from now on is said at once: the time for the first list is over.
    speaks: AtomicBool,
    /// What is wrong has been said.
    said: AtomicBool,
    trouble: Mutex<Option<String>>,
    pub(super) permits: Semaphore,
}

impl Peer {
    pub(super) fn new(place: Place) -> Arc<Self> {
        Arc::new(Self {
            place,
            silent: AtomicBool::new(false),
            listed: AtomicBool::new(false),
            word: watch::Sender::new(Word::Awaited),
            speaks: AtomicBool::new(false),
            said: AtomicBool::new(false),
            trouble: Mutex::default(),
            permits: Semaphore::new(AT_ONCE),
        })
    }

    /// Limits the time, and remembers whether the daemon answers.
    pub(super) async fn bounded<T>(
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
    pub(super) fn complain(&self, failure: &Failure) {
        self.word.send_replace(Word::Failed);
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

    /// Returns when the daemon does not tell what runs: at once if it cannot be asked, else after `limit`. `heard` is
    /// called when it told the first time, and from then on only a failure counts.
    pub(super) async fn fails(&self, limit: Duration, heard: impl FnOnce()) {
        let mut word = self.word.subscribe();
        let first = async { word.wait_for(|word| *word != Word::Awaited).await.map(|word| *word) };
        let is_told = matches!(timeout(limit, first).await, Ok(Ok(Word::Told)));
        if is_told {
            heard();
            // The sender lives as long as this.
            let _ = word.wait_for(|word| *word == Word::Failed).await;
        }
    }

    /// What is wrong, unless it is not there, or has told what runs. From then on it is said at once.
    pub(super) fn complaint(&self) -> Option<String> {
        self.speaks.store(true, Ordering::Relaxed);
        let is_unheard = !self.listed.load(Ordering::Relaxed) && self.place.path.exists();
        if !is_unheard || self.said.swap(true, Ordering::Relaxed) {
            return None;
        }
        let why = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Some(match why {
            Some(why) => {
                format!("{}: {why}: its containers are shown by id until it does better", self.place)
            }
            None => format!("{} does not answer: its containers are shown by id until it does", self.place),
        })
    }

    pub(super) fn is_well(&self) {
        self.word.send_replace(Word::Told);
        self.listed.store(true, Ordering::Relaxed);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if self.said.swap(false, Ordering::Relaxed) {
            tracing::info!("{} answers again", self.place);
        }
    }
}

/// The runtimes there are; users' own come with time.
#[derive(Clone, Default)]
pub(super) struct Peers(Arc<Mutex<Vec<Arc<Peer>>>>);

impl Peers {
    pub(super) fn all(&self) -> Vec<Arc<Peer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn add(&self, peer: Arc<Peer>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(peer);
    }
}
