//! The keeper: one thread that enters containers found by name and sees each one end.
//!
//! A pidfd per container becomes readable when its first process ends, and with it the container. What the runtime's
//! interface finds comes in by a queue, so that a slow watcher never stalls the conversation with the runtime.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::process::{End, Process};
use super::runtime::Details;
use super::table::Table;

/// How often processes without a descriptor are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How many descriptors are learned to be ready at once.
const READY: usize = 64;
/// What the kernel is told the wake-up as; processes are told as their numbers.
const WAKE: u64 = u64::MAX;
/// Containers that it takes a thread more to look at.
const SHARE: usize = 100;
const MAX_HELPERS: usize = 3;

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

impl Watched {
    fn is_looked_for(&self) -> bool {
        matches!(self.end, End::Look)
    }
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
        let ready = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        ready.add(&*wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        let work = Work { table, host_netns, inbox, wake, ready, watched: HashMap::new() };
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
    ready: Epoll,
    /// By first process.
    watched: HashMap<u32, Watched>,
}

impl Work {
    fn run(mut self) {
        loop {
            let due = self.table.purge(Instant::now());
            let ready = match self.wait(due) {
                Ok(ready) => ready,
                Err(error) => {
                    tracing::error!("cannot wait for containers to end: {error}");
                    return;
                }
            };
            if !self.obey() {
                return;
            }
            let looked_for = self.watched.values().filter(|watched| watched.is_looked_for());
            let maybe: Vec<u32> = looked_for.map(|watched| watched.pid).chain(ready).collect();
            maybe.into_iter().for_each(|pid| self.see(pid));
        }
    }

    /// Does what was asked for; whether to go on.
    fn obey(&mut self) -> bool {
        let mut entering = Vec::new();
        while let Ok(order) = self.inbox.try_recv() {
            if let Order::Enter(details) = order {
                entering.push(*details);
                continue;
            }
            self.enter(std::mem::take(&mut entering));
            match order {
                Order::Enter(_) => {}
                Order::Watch(watched) => self.watch(watched),
                Order::Tell(done) => drop(done.send(())),
                Order::Stop => return false,
            }
        }
        self.enter(entering);
        true
    }

    /// Sleeps until an order, an end, or `due`; gives the processes that may have ended.
    fn wait(&self, due: Option<Instant>) -> nix::Result<impl Iterator<Item = u32> + use<>> {
        let mut timeout = due.map(|due| due.saturating_duration_since(Instant::now()));
        if self.watched.values().any(Watched::is_looked_for) {
            timeout = Some(timeout.map_or(LOOK, |timeout| timeout.min(LOOK)));
        }
        // One millisecond more: a timeout is cut to whole ones, and must not come before its time.
        let timeout = timeout.map_or(EpollTimeout::NONE, |timeout| {
            EpollTimeout::try_from(timeout.as_millis() + 1).unwrap_or(EpollTimeout::MAX)
        });
        let mut events = [EpollEvent::empty(); READY];
        let count = match self.ready.wait(&mut events, timeout) {
            Err(nix::Error::EINTR) => 0,
            result => result?,
        };
        // It may not have been written to.
        let _ = self.wake.read();
        Ok(events.into_iter().take(count).filter_map(|event| u32::try_from(event.data()).ok()))
    }

    fn watch(&mut self, watched: Watched) {
        if let End::Descriptor(descriptor) = &watched.end {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, u64::from(watched.pid));
            if let Err(error) = self.ready.add(descriptor, event) {
                tracing::warn!(id = %watched.id, pid = watched.pid, "its end will not be seen: {error}");
            }
        }
        // One that had this number before has ended, and its descriptor is closed.
        self.watched.insert(watched.pid, watched);
    }

    /// Takes the container with the first process `pid` out if it has ended.
    fn see(&mut self, pid: u32) {
        let Some(watched) = self.watched.get(&pid).filter(|watched| watched.end.is_reached(pid)) else {
            return;
        };
        tracing::debug!(id = %watched.id, pid, "container ended");
        self.table.remove(&watched.id, pid);
        self.watched.remove(&pid);
    }

    /// Enters these. The processes of many are looked at from several threads, and entered as they are seen.
    fn enter(&mut self, all: Vec<Details>) {
        let helpers = (all.len() / SHARE).min(MAX_HELPERS);
        let all = Mutex::new(all.into_iter());
        let next = || all.lock().unwrap_or_else(PoisonError::into_inner).next();
        let look = |details: Details| {
            let process = Process::open(details.pid.filter(|_| !details.is_sandbox())?);
            Some((details, process))
        };
        let mut seen = std::iter::from_fn(next).filter_map(look);
        let (sender, others) = channel();
        thread::scope(|scope| {
            for _ in 0..helpers {
                let (seen, sender) = (seen.clone(), sender.clone());
                let look = move || seen.for_each(|seen| drop(sender.send(seen)));
                // Where there are no more threads to be had, this one does it.
                let _ = thread::Builder::new().name("containers".to_owned()).spawn_scoped(scope, look);
            }
            drop(sender);
            while let Some((details, process)) = others.try_recv().ok().or_else(|| seen.next()) {
                self.enter_seen(details, process);
            }
            others.iter().for_each(|(details, process)| self.enter_seen(details, process));
        });
    }

    fn enter_seen(&mut self, details: Details, process: io::Result<Process>) {
        let Details { id, pid: Some(pid), owner, .. } = &details else { return };
        let process = match process {
            Ok(process) => process,
            Err(error) => {
                tracing::debug!(id, pid, "container ended before it was seen: {error}");
                return;
            }
        };
        if !details.may_claim(&process) {
            tracing::debug!(id, pid, owner, "of another process, or not this user's to tell of");
            return;
        }
        if let Some(container) = self.table.add(details.into_container(&process, self.host_netns)) {
            self.watch(Watched { id: Arc::clone(&container.id), pid: process.pid, end: process.end });
        }
    }
}
