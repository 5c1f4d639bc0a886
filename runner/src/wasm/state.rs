//! What a host keeps for one guest.

use std::collections::{BTreeMap, VecDeque};

use wasmi::{Memory, StoreLimits};

use super::{
    host::Host,
    objects::{Objects, Payload},
};
use crate::datasource::DataSource;

/// Events that a guest may send in one call.
pub(super) const MAX_EMITTED: usize = 1 << 16;

/// Data sources of one gadget.
pub(super) const MAX_SOURCES: usize = 64;

/// Fields of one data source.
pub(super) const MAX_FIELDS: usize = 1024;

/// Tags of one field.
pub(super) const MAX_TAGS: usize = 64;

/// Subscriptions of one guest.
pub(super) const MAX_SUBSCRIPTIONS: usize = 256;

/// Settings of one guest.
pub(super) const MAX_CONFIG: usize = 256;

/// What a guest is called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionKind {
    /// Each event, also those in batches.
    Data,
    /// Each batch.
    Array,
    /// Each event or each batch, as they come.
    Packet,
}

/// What a guest wants to be called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Index of the data source.
    pub source: usize,
    /// With what it is called.
    pub kind: SubscriptionKind,
    /// Lower ones first; operators of the host have theirs.
    pub priority: i32,
    /// What the guest calls it.
    pub callback: u64,
    /// The handle that the guest subscribed with.
    pub(super) handle: u32,
}

pub(super) struct State {
    pub(super) host: Box<dyn Host>,
    pub(super) limits: StoreLimits,
    pub(super) memory: Option<Memory>,
    pub(super) objects: Objects,
    pub(super) sources: Vec<DataSource>,
    /// Whether fields and data sources may still be added.
    pub(super) open: bool,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) emitted: VecDeque<(usize, Payload)>,
    /// Whether the guest was told that it is this host that runs it, and expects no less than it says.
    pub(super) knows_host: bool,
    pub(super) config: BTreeMap<String, String>,
    /// What the guest printed since its last line end.
    pub(super) line: Vec<u8>,
}
