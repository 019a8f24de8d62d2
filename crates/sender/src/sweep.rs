//! Ends what nobody ends: claims whose sender is gone, and doubts whose window is over.
//!
//! Every sender sweeps every shard; the scripts let only the first one in. What is over is over by both clocks, Redis's and
//! this worker's own: see [`crate::sightings`].

use std::sync::Arc;
use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::reason::Reason;
use paceline_domain::record::{Fence, Record, State};
use paceline_domain::time::Millis;
use paceline_kit::Shutdown;
use paceline_store::{Change, Stage, StoreError};

use crate::shared::{Shard, Shared};
use crate::sightings::{Period, Sightings};

const EVERY: Duration = Duration::from_secs(1);
/// Ids that one look takes in, the longest overdue first: the bound of what is remembered.
const LOOK_MAX: u32 = 1_000;
/// Ids in one script.
const BATCH: usize = 64;
/// How often consumers that are gone are looked for, and for how long they must have been.
const CONSUMERS_EVERY: Duration = Duration::from_secs(600);
const CONSUMERS_IDLE: Duration = Duration::from_secs(3_600);

pub(crate) struct Sweeper<P> {
    shared: Arc<Shared<P>>,
    shard: Arc<Shard>,
    open: Sightings,
    doubt: Sightings,
    consumers_at: Duration,
}

/// What a sorted set's ids wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    Open,
    Doubt,
}

impl<P: Send + Sync + 'static> Sweeper<P> {
    pub(crate) fn new(shared: Arc<Shared<P>>, shard: Arc<Shard>) -> Self {
        Self {
            consumers_at: shared.clock.boot(),
            shared,
            shard,
            open: Sightings::default(),
            doubt: Sightings::default(),
        }
    }

    /// Sweeps until `stop`.
    pub(crate) async fn run(mut self, stop: Shutdown) {
        loop {
            tokio::select! {
                () = stop.requested() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            if let Err(error) = self.round().await {
                self.shared.metrics.store_error("sweep");
                tracing::debug!(shard = self.shard.number, %error, "sweep failed");
            }
        }
    }

    async fn round(&mut self) -> Result<(), StoreError> {
        self.sweep(Waiting::Open).await?;
        self.sweep(Waiting::Doubt).await?;
        self.remove_consumers().await
    }

    async fn sweep(&mut self, waiting: Waiting) -> Result<(), StoreError> {
        let (shared, shard) = (Arc::clone(&self.shared), self.shard.number);
        let overdue = match waiting {
            Waiting::Open => shared.store.open_due(shard, LOOK_MAX).await?,
            Waiting::Doubt => shared.store.doubt_due(shard, LOOK_MAX).await?,
        };
        let sightings = match waiting {
            Waiting::Open => &mut self.open,
            Waiting::Doubt => &mut self.doubt,
        };
        let unknown = sightings.look(&overdue, shared.clock.boot());
        for ids in unknown.chunks(BATCH) {
            for (&id, record) in ids.iter().zip(shared.store.get_readable(shard, ids).await?) {
                if let Some((deadline, period)) = record.and_then(|record| period(waiting, &record)) {
                    sightings.learn(id, deadline, period);
                }
            }
        }
        let over = sightings.over(shared.clock.boot());
        for items in over.chunks(BATCH) {
            let changes = match waiting {
                Waiting::Open => shared.store.lapse(shard, items).await?,
                Waiting::Doubt => shared.store.resolve(shard, items).await?,
            };
            self.ended(waiting, items, &changes);
        }
        Ok(())
    }

    fn ended(&self, waiting: Waiting, items: &[(MessageId, Fence)], changes: &[Change]) {
        for ((id, _), change) in items.iter().zip(changes) {
            let Change::Moved(record) = change else { continue };
            if waiting == Waiting::Open {
                self.shared.metrics.doubt(Reason::ClaimLapsed);
            }
            if record.state == State::Queued {
                self.shared.store.hint(Stage::Queued);
            }
            tracing::warn!(
                message_id = %id,
                tenant = record.tenant,
                template = record.template,
                attempt = record.attempt,
                state = record.state.as_str(),
                reason = record.reason.as_str(),
                "nobody reported in time"
            );
        }
    }

    async fn remove_consumers(&mut self) -> Result<(), StoreError> {
        let now = self.shared.clock.boot();
        if now.saturating_sub(self.consumers_at) < CONSUMERS_EVERY {
            return Ok(());
        }
        self.consumers_at = now;
        let store = &self.shared.store;
        for stream in store.active(self.shard.number).await? {
            store
                .remove_idle_consumers(self.shard.number, &stream, CONSUMERS_IDLE)
                .await?;
        }
        Ok(())
    }
}

/// The deadline that the record says now, and the time that it ends.
fn period(waiting: Waiting, record: &Record) -> Option<(Millis, Period)> {
    let length = match (waiting, record.state) {
        (Waiting::Open, State::Sending) => record.due_at.since(record.changed_at),
        (Waiting::Doubt, State::InDoubt) => Duration::from_secs(u64::from(record.doubt_window_s)),
        _ => return None,
    };
    let fence = record.fence();
    Some((record.due_at, Period { fence, length }))
}
