//! The state of a mock host: one for each thread, as tests run in threads.

use super::value::{Value, decode};
use crate::{Kind, Type, log::Level, subscription};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    rc::Rc,
};

/// As many handles as a real host gives out at a time.
pub(crate) const MAX_HANDLES: usize = 4096;
/// Marks handles of elements: array's handle, index from bit 16 on.
pub(crate) const ELEMENT: u32 = 1 << 31;

/// A buffer for each field of one event.
pub(crate) type Payload = Rc<RefCell<Vec<Vec<u8>>>>;
/// The events of an array.
pub(crate) type Elements = Rc<RefCell<Vec<Payload>>>;

#[derive(Clone)]
pub(crate) enum Object {
    Source(usize),
    Field(usize, usize),
    Data(Payload),
    Array(usize, Elements),
    Map(usize),
    Perf(usize),
}

pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) kind: Type,
    pub(crate) fields: Vec<Field>,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) referenced: bool,
    pub(crate) emitted: Vec<Vec<Record>>,
}

#[derive(Clone, Copy)]
pub(crate) struct Subscription {
    pub(crate) priority: i32,
    pub(crate) kind: u32,
    pub(crate) callback: u64,
}

pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Length of a member of an eBPF struct; others are as long as their value.
    pub(crate) len: Option<usize>,
    pub(crate) tags: Vec<String>,
    pub(crate) of_guest: bool,
}

#[derive(Default)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) key: usize,
    pub(crate) value: usize,
    pub(crate) max: usize,
    pub(crate) of_maps: bool,
    pub(crate) entries: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) records: VecDeque<Vec<u8>>,
    pub(crate) of_guest: bool,
}

/// A system call: number, name, and of each parameter the name and whether it is a pointer.
pub(crate) type Syscall = (u32, String, Vec<(String, bool)>);

/// The fields of an event by name.
pub type Record = BTreeMap<String, Value>;

/// How far the guest's life has come.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Nothing but `init` was called: parameters have no values yet.
    #[default]
    Init,
    /// From `pre_start` on.
    Prepared,
    /// From `start` on there are maps.
    Started,
}

#[derive(Default)]
pub(crate) struct World {
    pub(crate) handles: HashMap<u32, Object>,
    last: u32,
    pub(crate) sources: Vec<Source>,
    pub(crate) maps: Vec<Table>,
    pub(crate) phase: Phase,
    /// Whether it can do no more than Inspektor Gadget's `ig`.
    pub(crate) upstream: bool,
    pub(crate) params: BTreeMap<String, String>,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) logs: Vec<(Level, String)>,
    pub(crate) symbols: BTreeSet<String>,
    pub(crate) discarded_mntns: BTreeSet<u64>,
    pub(crate) syscalls: Vec<Syscall>,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

/// Runs `then` on this thread's world. Nothing that may call the guest belongs in it.
pub(crate) fn with<R>(then: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with_borrow_mut(then)
}

/// As [`with`]; nothing at the end of a thread, when the world is gone before those who hold its handles.
pub(crate) fn with_rest(then: impl FnOnce(&mut World)) {
    let _ = WORLD.try_with(|world| then(&mut world.borrow_mut()));
}

impl World {
    /// A handle for `object`; 0 if there are too many.
    pub(crate) fn add(&mut self, object: Object) -> u32 {
        if self.handles.len() >= MAX_HANDLES {
            return 0;
        }
        loop {
            // Arrays' handles have 16 bits in those of their elements.
            self.last = self.last % 0xffff + 1;
            if !self.handles.contains_key(&self.last) {
                self.handles.insert(self.last, object);
                return self.last;
            }
        }
    }

    pub(crate) fn source(&mut self, handle: u32) -> Option<(usize, &mut Source)> {
        match self.handles.get(&handle)? {
            Object::Source(at) => self.sources.get_mut(*at).map(|source| (*at, source)),
            _ => None,
        }
    }

    pub(crate) fn field(&mut self, handle: u32) -> Option<(usize, &mut Field)> {
        match *self.handles.get(&handle)? {
            Object::Field(source, at) => {
                self.sources.get_mut(source)?.fields.get_mut(at).map(|field| (at, field))
            }
            _ => None,
        }
    }

    pub(crate) fn payload(&self, handle: u32) -> Option<Payload> {
        if handle & ELEMENT != 0 {
            let elements = self.elements(handle & 0xffff)?.1;
            let payload = elements.borrow().get((handle & !ELEMENT) as usize >> 16).cloned();
            return payload;
        }
        match self.handles.get(&handle)? {
            Object::Data(payload) => Some(Rc::clone(payload)),
            _ => None,
        }
    }

    pub(crate) fn elements(&self, handle: u32) -> Option<(usize, Elements)> {
        match self.handles.get(&handle)? {
            Object::Array(source, elements) => Some((*source, Rc::clone(elements))),
            _ => None,
        }
    }

    pub(crate) fn map(&mut self, handle: u32) -> Option<&mut Table> {
        match self.handles.get(&handle)? {
            Object::Map(at) => self.maps.get_mut(*at),
            _ => None,
        }
    }

    /// An event of `source` with nothing but zeros in it.
    pub(crate) fn empty(&self, source: usize) -> Payload {
        self.zeros(source, |_| true)
    }

    /// An event of the guest's own.
    pub(crate) fn made(&self, source: usize) -> Payload {
        self.zeros(source, |field| field.of_guest || !self.upstream)
    }

    fn zeros(&self, source: usize, has_room: impl Fn(&Field) -> bool) -> Payload {
        let len = |field: &Field| match has_room(field) {
            true => field.len.or_else(|| width(field.kind)).unwrap_or(0),
            false => 0,
        };
        let fields = self.sources[source].fields.iter();
        Rc::new(RefCell::new(fields.map(|field| vec![0; len(field)]).collect()))
    }

    pub(crate) fn record(&self, source: usize, payload: &Payload) -> Record {
        let payload = payload.borrow();
        let fields = self.sources[source].fields.iter().zip(payload.iter());
        fields.map(|(field, bytes)| (field.name.clone(), decode(field.kind, bytes))).collect()
    }
}

/// Bytes of a value of this kind, if all have as many.
pub(crate) fn width(kind: Kind) -> Option<usize> {
    match kind {
        Kind::Bool | Kind::Int8 | Kind::Uint8 => Some(1),
        Kind::Int16 | Kind::Uint16 => Some(2),
        Kind::Int32 | Kind::Uint32 | Kind::Float32 => Some(4),
        Kind::Int64 | Kind::Uint64 | Kind::Float64 => Some(8),
        Kind::String | Kind::CString | Kind::Bytes => None,
    }
}

/// What the real host passes to callbacks as the data source: nothing that can be used.
fn call(object: Object, callback: u64) -> bool {
    let handle = with(|world| world.add(object));
    let verdict = subscription::dispatch(callback, handle);
    with(|world| world.handles.remove(&handle));
    verdict == subscription::Verdict::Discard && !with(|world| world.upstream)
}

/// Sends a packet through the guest's subscriptions, lowest priority first. What is left of it.
pub(crate) fn deliver(source: usize, elements: &Elements) -> Vec<Record> {
    let mut subscriptions = with(|world| world.sources[source].subscriptions.clone());
    subscriptions.sort_by_key(|subscription| subscription.priority);
    for subscription in subscriptions {
        match subscription.kind {
            1 => {
                let events = elements.borrow().clone();
                let kept = events
                    .into_iter()
                    .filter(|event| !call(Object::Data(Rc::clone(event)), subscription.callback));
                let kept = kept.collect();
                elements.replace(kept);
            }
            _ => {
                call(Object::Array(source, Rc::clone(elements)), subscription.callback);
            }
        }
    }
    with(|world| elements.borrow().iter().map(|event| world.record(source, event)).collect())
}
