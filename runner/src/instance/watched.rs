//! The command of a run, for who learns of an interrupt: that is the command's affair first, as with any other program
//! that runs one.

use std::{
    process::Child,
    sync::{Arc, Mutex, PoisonError},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// The command that a run watches; none before it is started, and when the run is over.
#[derive(Clone, Debug, Default)]
pub struct Watched(Arc<Mutex<Option<Pid>>>);

impl Watched {
    /// Leaves an interrupt to the command, and passes it on unless `has_it`: what is typed on a terminal goes to all
    /// processes in its foreground. `false` if no command runs.
    pub fn interrupt(&self, has_it: bool) -> bool {
        // Nobody takes the number meanwhile: the command is only waited for once it is forgotten here.
        let pid = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(pid), false) = (*pid, has_it) {
            let _ = kill(pid, Signal::SIGINT);
        }
        pid.is_some()
    }

    /// Starts the command, which whoever has to do with it meanwhile waits for.
    pub(super) fn start<E>(&self, start: impl FnOnce() -> Result<Child, E>) -> Result<Child, E> {
        let mut pid = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let child = start()?;
        *pid = i32::try_from(child.id()).ok().map(Pid::from_raw);
        Ok(child)
    }

    /// Forgets the command, before it is waited for.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
