//! The keeper: one thread that enters containers found by name and sees each one end.
//!
//! A pidfd per container becomes readable when its first process ends, and with it the container. What the runtime's
//! interface finds comes in by a queue, so that a slow watcher never stalls the conversation with the runtime.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::process::{End, Process};
use super::runtime::Details;
use super::table::Table;

/// How often processes without a descriptor are looked for.
const LOOK: Duration = Duration::from_secs(1);

/// What the keeper is asked to do.
enum Order {
    /// Enter this container, unless it is known.
    Enter(Box<Details>),
    /// It is entered: see to its end.
    Watch(Watched),
    /// Say when all orders before this one are done.
    Tell(Sender<()>),
    Stop,
}

struct Watched {
    id: Arc<str>,
    pid: u32,
    end: End,
}

/// How others talk to the keeper.
#[derive(Clone)]
pub(super) struct Orders {
    queue: Sender<Order>,
    wake: Arc<EventFd>,
}

impl Orders {
    pub(super) fn enter(&self, details: Details) {
        self.send(Order::Enter(Box::new(details)));
    }

    pub(super) fn watch(&self, id: Arc<str>, process: Process) {
        self.send(Order::Watch(Watched { id, pid: process.pid, end: process.end }));
    }

    pub(super) fn tell(&self, done: Sender<()>) {
        self.send(Order::Tell(done));
    }

    fn send(&self, order: Order) {
        // Both fail only when the keeper has ended, and then nothing is to be done any more.
        if self.queue.send(order).is_ok() {
            let _ = self.wake.write(1);
        }
    }
}

/// The running keeper; dropping it ends it.
pub(super) struct Keeper {
    orders: Orders,
    thread: Option<thread::JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn start(table: Arc<Table>, host_netns: u32) -> io::Result<Self> {
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let (queue, inbox) = channel();
        let orders = Orders { queue, wake: Arc::clone(&wake) };
        let work = Work { table, host_netns, inbox, wake, watched: Vec::new() };
        let thread = thread::Builder::new().name("containers".to_owned()).spawn(move || work.run())?;
        Ok(Self { orders, thread: Some(thread) })
    }

    pub(super) fn orders(&self) -> Orders {
        self.orders.clone()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.orders.send(Order::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Work {
    table: Arc<Table>,
    host_netns: u32,
    inbox: Receiver<Order>,
    wake: Arc<EventFd>,
    watched: Vec<Watched>,
}

impl Work {
    fn run(mut self) {
        loop {
            let due = self.table.purge(Instant::now());
            if let Err(error) = self.wait(due) {
                tracing::error!("cannot wait for containers to end: {error}");
                return;
            }
            while let Ok(order) = self.inbox.try_recv() {
                match order {
                    Order::Enter(details) => self.enter(*details),
                    Order::Watch(watched) => self.watched.push(watched),
                    Order::Tell(done) => drop(done.send(())),
                    Order::Stop => return,
                }
            }
            let table = &self.table;
            self.watched.retain(|watched| {
                let ended = watched.end.is_reached(watched.pid);
                if ended {
                    tracing::debug!(id = %watched.id, pid = watched.pid, "container ended");
                    table.remove(&watched.id, watched.pid);
                }
                !ended
            });
        }
    }

    /// Sleeps until an order, an end, or `due`.
    fn wait(&self, due: Option<Instant>) -> nix::Result<()> {
        let mut fds = vec![PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        let mut timeout = due.map(|due| due.saturating_duration_since(Instant::now()));
        for watched in &self.watched {
            match &watched.end {
                End::Descriptor(fd) => fds.push(PollFd::new(fd.as_fd(), PollFlags::POLLIN)),
                End::Look => timeout = Some(timeout.map_or(LOOK, |timeout| timeout.min(LOOK))),
            }
        }
        // One millisecond more: a timeout is cut to whole ones, and must not come before its time.
        let timeout = timeout.map_or(PollTimeout::NONE, |timeout| {
            PollTimeout::try_from(timeout.as_millis() + 1).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error),
        }
        // It may not have been written to.
        let _ = self.wake.read();
        Ok(())
    }

    fn enter(&mut self, details: Details) {
        let Some(pid) = details.pid.filter(|_| !details.is_sandbox()) else { return };
        let process = match Process::open(pid) {
            Ok(process) => process,
            Err(error) => {
                tracing::debug!(id = %details.id, pid, "container ended before it was seen: {error}");
                return;
            }
        };
        if !details.may_claim(&process) {
            tracing::debug!(id = %details.id, pid, owner = details.owner, "not this user's to tell of");
            return;
        }
        if let Some(container) = self.table.add(details.into_container(&process, self.host_netns)) {
            self.watched.retain(|watched| watched.id != container.id || watched.pid != pid);
            self.watched.push(Watched { id: Arc::clone(&container.id), pid, end: process.end });
        }
    }
}
