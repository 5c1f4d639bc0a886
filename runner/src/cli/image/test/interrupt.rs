//! Ctrl-C while a test runs: the workload and the gadget are ended first, and what was put on the disk is removed.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc::SyncSender},
    thread,
};

use nix::sys::signal::{SigSet, Signal};

use super::session::Message;

/// Whom to tell that somebody asked to stop.
#[derive(Default)]
struct State {
    asked: bool,
    listener: Option<SyncSender<Message>>,
}

/// Listens for requests to stop, in place of what would end the process at once.
pub(super) struct Interrupt {
    mask: SigSet,
    state: Arc<Mutex<State>>,
}

impl Interrupt {
    /// Starts listening. Threads started later leave the signals to the one that listens.
    pub(super) fn listen() -> nix::Result<Self> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGINT);
        mask.add(Signal::SIGTERM);
        mask.thread_block()?;
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            while mask.wait().is_ok() {
                let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
                if std::mem::replace(&mut state.asked, true) {
                    // Whoever asks again does not want to wait.
                    std::process::exit(1);
                }
                if let Some(listener) = state.listener.take() {
                    drop(state);
                    let _ = listener.send(Message::Interrupted);
                }
            }
        });
        Ok(Self { mask, state })
    }

    /// Sends [`Message::Interrupted`] to this one from now on.
    pub(super) fn tell(&self, listener: SyncSender<Message>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.asked {
            drop(state);
            let _ = listener.send(Message::Interrupted);
        } else {
            state.listener = Some(listener);
        }
    }

    /// Does something with the signals as they were: a child inherits what its parent blocks.
    pub(super) fn unblocked<T>(&self, what: impl FnOnce() -> T) -> nix::Result<T> {
        self.mask.thread_unblock()?;
        let result = what();
        self.mask.thread_block()?;
        Ok(result)
    }
}
