//! The loaded program with its maps: packets go in, events come out.

use std::{cell::RefCell, mem::MaybeUninit, rc::Rc};

use libbpf_rs::{MapCore, MapFlags, ProgramInput, RingBuffer, RingBufferBuilder, skel::OpenSkel as _};
use trace_sni::{
    load::{self, MinimalBtf},
    skeleton::{OpenTraceSniSkel, TraceSniSkel},
};

/// The network namespace that every packet comes from: the dispatcher's word in `skb->cb[0]`.
pub(crate) const NETNS: u32 = 4_026_531_999;

/// Index of each reason in `sni_unread`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    NoName = 2,
    Malformed = 3,
    TooManyExtensions = 5,
    NotLoaded = 6,
    Evicted = 7,
    TimedOut = 8,
    OutOfOrder = 9,
    PeerShare = 10,
    TooLarge = 11,
    Encrypted = 12,
}

/// A name's status: its bytes follow, at most one more than is shown.
const UNCHECKED: u8 = 6;

/// Length of `struct event`.
pub(crate) const EVENT_LEN: usize = 480;

/// What a test looks at in an event; offsets are those of `struct event`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event(Vec<u8>);

impl Event {
    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0[at..at + N].try_into().unwrap()
    }

    fn text(&self, at: usize, len: usize) -> Vec<u8> {
        let field = &self.0[at..at + len];
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(len);
        assert!(field[end..].iter().all(|byte| *byte == 0), "bytes behind the end of a string");
        field[..end].to_vec()
    }

    pub(crate) fn timestamp(&self) -> u64 {
        u64::from_ne_bytes(self.bytes(0))
    }

    pub(crate) fn netns(&self) -> u32 {
        u32::from_ne_bytes(self.bytes(8))
    }

    pub(crate) fn comm(&self) -> Vec<u8> {
        self.text(16, 16)
    }

    /// pid, tid
    pub(crate) fn pid_tid(&self) -> (u32, u32) {
        (u32::from_ne_bytes(self.bytes(32)), u32::from_ne_bytes(self.bytes(36)))
    }

    pub(crate) fn mntns(&self) -> u64 {
        u64::from_ne_bytes(self.bytes(40))
    }

    /// uid, gid
    pub(crate) fn creds(&self) -> (u32, u32) {
        (u32::from_ne_bytes(self.bytes(48)), u32::from_ne_bytes(self.bytes(52)))
    }

    /// comm, pid, tid
    pub(crate) fn parent(&self) -> (Vec<u8>, u32, u32) {
        (self.text(56, 16), u32::from_ne_bytes(self.bytes(72)), u32::from_ne_bytes(self.bytes(76)))
    }

    pub(crate) fn name(&self) -> Vec<u8> {
        if self.is_unchecked() { self.rest().to_vec() } else { self.text(80, 256) }
    }

    /// Whether the name is left to the guest.
    pub(crate) fn is_unchecked(&self) -> bool {
        self.codes()[3] == UNCHECKED
    }

    /// Address (16 bytes), port, protocol and IP version of the source, then of the destination.
    pub(crate) fn endpoints(&self) -> [([u8; 16], u16, u16, u8); 2] {
        [336, 368].map(|at| {
            (
                self.bytes(at),
                u16::from_ne_bytes(self.bytes(at + 16)),
                u16::from_ne_bytes(self.bytes(at + 18)),
                self.0[at + 20],
            )
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// direction, transport, ECH, status of the name, source of the owner, segments
    pub(crate) fn codes(&self) -> [u8; 6] {
        self.bytes(400)
    }

    pub(crate) fn datagram_size(&self) -> u16 {
        u16::from_ne_bytes(self.bytes(464))
    }

    /// The bytes of a hello that was gathered.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.0[EVENT_LEN..]
    }
}

pub(crate) struct Tap {
    skel: TraceSniSkel<'static>,
    ring: RingBuffer<'static>,
    events: Rc<RefCell<Vec<Event>>>,
}

impl Tap {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// `set` sets parameters before the load.
    pub(crate) fn with(set: impl FnOnce(&mut OpenTraceSniSkel<'_>)) -> Self {
        let btf = MinimalBtf::new().unwrap();
        // Leaked: a handle that owned it would refer to itself, and there are few.
        let storage = Box::leak(Box::new(MaybeUninit::uninit()));
        let mut open = load::open(&btf, storage).unwrap();
        // Tests send the same hello many times.
        open.maps.rodata_data.as_mut().unwrap().all = true;
        set(&mut open);
        let skel = open.load().unwrap();
        let events = Rc::new(RefCell::new(Vec::new()));
        let sink = Rc::clone(&events);
        let mut builder = RingBufferBuilder::new();
        builder
            .add(&skel.maps.events, move |bytes| {
                sink.borrow_mut().push(Event(bytes.to_vec()));
                0
            })
            .unwrap();
        let sink = Rc::clone(&events);
        builder
            .add(&skel.maps.datagrams, move |bytes| {
                sink.borrow_mut().push(Event(bytes.to_vec()));
                0
            })
            .unwrap();
        let ring = builder.build().unwrap();
        Self { skel, ring, events }
    }

    /// The events that an Ethernet frame gives.
    pub(crate) fn feed(&self, frame: &[u8]) -> Vec<Event> {
        // The kernel takes the first Ethernet header off; on a real socket the program sees one.
        let mut data = frame[..14].to_vec();
        data.extend_from_slice(frame);
        let mut context = [0u8; 192];
        context[48..52].copy_from_slice(&NETNS.to_ne_bytes());
        let input =
            ProgramInput { context_in: Some(&mut context), data_in: Some(&data), ..ProgramInput::default() };
        let output = self.skel.progs.ig_trace_sni.test_run(input).unwrap();
        assert_eq!(output.return_value, 0, "a socket filter that keeps packets queues them for ever");
        self.ring.consume().unwrap();
        self.events.take()
    }

    /// The names that the program reads in a frame itself.
    pub(crate) fn names(&self, frame: &[u8]) -> Vec<Vec<u8>> {
        let is_read = |event: &&Event| event.rest().is_empty() || event.is_unchecked();
        self.feed(frame).iter().filter(is_read).map(Event::name).collect()
    }

    /// The hellos that frames, one after the other, let the program gather.
    pub(crate) fn gathered(&self, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let events = frames.iter().flat_map(|frame| self.feed(frame));
        let gathered = events.filter(|event| !event.is_unchecked()).map(|event| event.rest().to_vec());
        gathered.filter(|rest| !rest.is_empty()).collect()
    }

    /// How many hellos went unread so far for this reason.
    pub(crate) fn unread(&self, reason: Unread) -> u64 {
        sum(&self.skel.maps.sni_unread, reason as u32)
    }

    /// How many hellos went unread so far.
    pub(crate) fn unread_all(&self) -> u64 {
        (0..=12).map(|index| sum(&self.skel.maps.sni_unread, index)).sum()
    }

    /// How many events were dropped because nobody was known to own them.
    pub(crate) fn unowned(&self) -> u64 {
        sum(&self.skel.maps.gadget_unowned, 0)
    }

    /// How many events found the ring buffer full.
    pub(crate) fn lost(&self) -> u64 {
        sum(&self.skel.maps.events_lost_samples, 0)
    }

    pub(crate) fn own(&self, key: &[u8; 12], value: &[u8; 88]) {
        self.skel.maps.gadget_sockets.update(key, value, MapFlags::ANY).unwrap();
    }

    pub(crate) fn show_mntns(&self, mntns: u64) {
        let map = &self.skel.maps.gadget_mntns_filter_map;
        map.update(&mntns.to_ne_bytes(), &1u32.to_ne_bytes(), MapFlags::ANY).unwrap();
    }
}

fn sum(map: &impl MapCore, index: u32) -> u64 {
    let per_cpu = map.lookup_percpu(&index.to_ne_bytes(), MapFlags::ANY).unwrap().unwrap();
    per_cpu.iter().map(|value| u64::from_ne_bytes(value[..8].try_into().unwrap())).sum()
}
