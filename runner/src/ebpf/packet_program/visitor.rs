//! A thread that enters network namespaces. One for all visits: a thread that ends inside another namespace takes the
//! kernel a hundred times as long as to enter it.

use std::{
    fs::File,
    io,
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    thread,
};

use nix::sched::{CloneFlags, setns};

use super::Error;
use crate::container::namespace;

/// The thread. It ends when this is dropped.
pub(super) struct Visitor {
    visits: Sender<Visit>,
}

struct Visit {
    file: Arc<File>,
    /// Is told whether the namespace was entered, and told again once it was left.
    work: Work,
}

type Work = Box<dyn FnOnce(io::Result<()>) -> Answer + Send>;
type Answer = Box<dyn FnOnce(io::Result<()>)>;

impl Visitor {
    pub(super) fn start() -> Result<Self, Error> {
        let (visits, inbox) = channel::<Visit>();
        let home = namespace::open_netns(std::process::id())?;
        thread::Builder::new()
            .name("netns".to_owned())
            .spawn(move || {
                while let Ok(visit) = inbox.recv() {
                    let answer = (visit.work)(enter(&visit.file));
                    // To stay would keep the namespace alive.
                    answer(enter(&home));
                }
            })
            .map_err(namespace::Error::Thread)?;
        Ok(Self { visits })
    }

    /// Does `work` in the network namespace that `file` is.
    pub(super) fn visit<T: Send + 'static>(
        &self,
        file: Arc<File>,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let ended = || io::Error::other("the thread that enters namespaces has ended");
        let (sender, answer) = channel();
        let work = Box::new(move |entered: io::Result<()>| {
            let done = entered.and_then(|()| work());
            Box::new(move |left: io::Result<()>| drop(sender.send(left.and(done)))) as Answer
        });
        self.visits.send(Visit { file, work }).map_err(|_| ended())?;
        answer.recv().map_err(|_| ended())?
    }
}

fn enter(netns: &File) -> io::Result<()> {
    Ok(setns(netns, CloneFlags::CLONE_NEWNET)?)
}
