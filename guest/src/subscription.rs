//! The guest's callbacks by number, and the way from the host's one entry point to them.
//!
//! The host calls with the number that it was given, a data source that must not be used (the real `ig` passes a value
//! that is stale) and the event. It calls one at a time, but a callback that emits a packet can be in the middle of
//! another one.

use crate::{
    data::{Array, Event},
    error::Result,
    host,
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// A closure that an author subscribed.
pub(crate) enum Callback {
    Event(Box<dyn FnMut(&Event) -> Result>),
    Array(Box<dyn FnMut(&Array) -> Result>),
    Packet(Box<dyn FnMut() -> Result>),
}

struct Subscription {
    source: Box<str>,
    callback: RefCell<Callback>,
    failures: Cell<u64>,
}

thread_local! {
    static ALL: RefCell<Vec<Rc<Subscription>>> = const { RefCell::new(Vec::new()) };
}

/// Whether the event goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Keep,
    Discard,
}

pub(crate) fn add(source: u32, name: &str, priority: i32, callback: Callback) -> bool {
    // The host's numbers: 1 event, 2 array, 3 packet.
    let kind = match callback {
        Callback::Event(_) => 1,
        Callback::Array(_) => 2,
        Callback::Packet(_) => 3,
    };
    let subscription =
        Subscription { source: name.into(), callback: RefCell::new(callback), failures: Cell::new(0) };
    let id = ALL.with_borrow_mut(|all| {
        all.push(Rc::new(subscription));
        all.len() as u64 - 1
    });
    let added = host::subscribe(source, kind, priority, id);
    if !added {
        ALL.with_borrow_mut(|all| all.pop());
    }
    added
}

/// Runs the callback of this number on `data`.
pub(crate) fn dispatch(id: u64, data: u32) -> Verdict {
    let found = ALL.with_borrow(|all| usize::try_from(id).ok().and_then(|id| all.get(id).cloned()));
    let Some(subscription) = found else {
        crate::error!("the host called back with the number {id}, which nobody has");
        return Verdict::Keep;
    };
    let event = Event::new(data);
    let result = match subscription.callback.try_borrow_mut() {
        Err(_) => {
            Err("it was called within itself: it emits on the data source that it subscribes to".into())
        }
        Ok(mut callback) => match &mut *callback {
            Callback::Event(call) => call(&event),
            Callback::Array(call) => call(&Array::new(data)),
            Callback::Packet(call) => call(),
        },
    };
    if let Err(error) = result {
        subscription.failed(&error);
    }
    if event.is_discarded() { Verdict::Discard } else { Verdict::Keep }
}

impl Subscription {
    /// Logs the 1st, 2nd, 4th, 8th … failure: an event that cannot be handled seldom comes alone.
    fn failed(&self, error: &crate::Error) {
        let count = self.failures.get().saturating_add(1);
        self.failures.set(count);
        if count.is_power_of_two() {
            crate::warn!("data source {:?}: {error} (failure {count})", self.source);
        }
    }
}

/// Forgets all callbacks, and with them what they hold.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn clear() {
    drop(ALL.take());
}
