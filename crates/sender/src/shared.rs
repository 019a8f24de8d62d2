//! What the tasks of one sender share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry::metrics::Meter;
use paceline_kit::address_key::AddressKey;
use paceline_kit::clock::Clock;
use paceline_kit::identity::IdentitySettings;
use paceline_kit::stops::Stops;
use paceline_store::Store;
use tokio::sync::{Notify, Semaphore};

use crate::buffer::Buffer;
use crate::config::{Config, ReadAheadSettings};
use crate::counter::Counter;
use crate::deliver::Deliver;
use crate::metrics::Metrics;
use crate::pacing::Pacing;
use crate::results::Finished;
use crate::standing::Standing;

/// How much goes into one script, and how long the first of it waits for the rest. Redis's CPU per email falls with the
/// batch: most of it is the call's own.
pub(crate) const BATCH_MAX: usize = 64;
pub(crate) const GATHER_MAX: Duration = Duration::from_millis(5);

/// The bounds of one sender: [`Config`] without what concerns the process.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The consumer's name in the streams.
    pub name: String,
    pub in_flight_max: u32,
    pub in_flight_per_identity_max: u32,
    pub attempt_timeout: Duration,
    pub claim_lease: Duration,
    pub read_ahead: ReadAheadSettings,
    pub drain_max: Duration,
}

impl Limits {
    /// The limits of a configuration, under the name that the sender has chosen.
    #[must_use]
    pub fn new(config: &Config, name: String) -> Self {
        Self {
            name,
            in_flight_max: config.in_flight_max.get(),
            in_flight_per_identity_max: config.in_flight_per_identity_max.get(),
            attempt_timeout: config.attempt_timeout(),
            claim_lease: config.claim_lease(),
            read_ahead: config.read_ahead,
            drain_max: config.drain_max,
        }
    }
}

/// One sender.
pub(crate) struct Shared<P> {
    pub(crate) store: Store,
    pub(crate) provider: P,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pacing: Arc<Pacing>,
    pub(crate) identities: HashMap<String, IdentitySettings>,
    pub(crate) limits: Limits,
    pub(crate) deliver: Deliver,
    /// By which the suppressed are looked up; `None` where nobody is.
    pub(crate) address_key: Option<AddressKey>,
    pub(crate) stops: Stops,
    pub(crate) metrics: Metrics,
    pub(crate) meter: Meter,
    /// One permit for each message that is claimed and not yet recorded.
    pub(crate) in_flight: Arc<Semaphore>,
    pub(crate) shards: Vec<Arc<Shard>>,
}

impl<P> Shared<P> {
    /// Messages that are claimed and not yet recorded.
    pub(crate) fn in_flight(&self) -> u64 {
        let free = u64::try_from(self.in_flight.available_permits()).unwrap_or(u64::MAX);
        u64::from(self.limits.in_flight_max).saturating_sub(free)
    }

    /// The sum of something over all shards.
    pub(crate) fn sum(&self, of: impl Fn(&Shard) -> usize) -> u64 {
        self.shards.iter().map(|shard| of(shard) as u64).sum()
    }
}

/// The sender's part of one shard.
pub(crate) struct Shard {
    pub(crate) number: u16,
    buffer: Mutex<Buffer>,
    /// Something may go that could not before: an entry was read, a request ended.
    pub(crate) ready: Notify,
    /// Half of what was read is gone.
    pub(crate) low: Notify,
    low_mark: AtomicUsize,
    /// Attempts whose result is still to come.
    pub(crate) open: Counter,
    pub(crate) results: tokio::sync::mpsc::Sender<Finished>,
    /// Results that could not be written yet: nothing more is claimed.
    pub(crate) unwritable: AtomicBool,
    /// Claims of which nobody knows yet whether they were made: nothing more is claimed.
    pub(crate) unsettled: Counter,
    /// Batches of which it was just not known who is suppressed: nothing more is claimed for a moment.
    pub(crate) blind: Counter,
    pub(crate) standing: Standing,
    /// A claim has met another Redis than the one that was claimed on.
    pub(crate) replaced: Notify,
}

impl Shard {
    pub(crate) fn new(number: u16, results: tokio::sync::mpsc::Sender<Finished>, standing: Standing) -> Self {
        Self {
            number,
            buffer: Mutex::default(),
            ready: Notify::new(),
            low: Notify::new(),
            low_mark: AtomicUsize::new(0),
            open: Counter::default(),
            results,
            unwritable: AtomicBool::new(false),
            unsettled: Counter::default(),
            blind: Counter::default(),
            standing,
            replaced: Notify::new(),
        }
    }

    /// What is read ahead. Never held across an await.
    pub(crate) fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reader has filled the buffer to `entries`: it wants to know when half of them are gone.
    pub(crate) fn filled(&self, entries: usize) {
        self.low_mark.store(entries / 2, Ordering::Relaxed);
        self.ready.notify_one();
    }

    /// The buffer holds `entries` now.
    pub(crate) fn drained_to(&self, entries: usize) {
        if entries <= self.low_mark.load(Ordering::Relaxed) {
            self.low.notify_one();
        }
    }

    /// True while results are written and claims are answered.
    pub(crate) fn is_writable(&self) -> bool {
        !self.unwritable.load(Ordering::Relaxed) && self.unsettled.get() == 0
    }

    /// True while, besides, it is known who is suppressed, and what is claimed can be stood by.
    pub(crate) fn may_claim(&self) -> bool {
        self.is_writable() && self.blind.get() == 0 && self.standing.may_claim()
    }
}
