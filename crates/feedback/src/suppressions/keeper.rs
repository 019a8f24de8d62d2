//! Brings to Redis what the ledger has: whatever was changed and not written, and after Redis was replaced all of it.
//!
//! A bucket names the run of Redis for which it is known to be complete. One that names none is that of a Redis that came back empty:
//! senders that mind suppressions claim nothing for its addresses until all was written. One that names another run was complete
//! before a failover or a restart, and may have lost its newest: the last hour is written first, then all of it. Several processes may do so
//! at one time.

use std::time::Duration;

use paceline_kit::Shutdown;
use paceline_store::{BucketState, Run, SUPPRESSION_BUCKETS};

use super::{Suppressions, SuppressionsError};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Buckets of one look, in turn: some for every node of a Cluster.
const LOOKS: u16 = 16;
const PAGE: u32 = 500;
/// What a Redis that was replaced may lack, with a wide margin.
const RECENT: Duration = Duration::from_secs(3_600);

/// The one that does so.
pub(crate) struct Keeper {
    suppressions: Suppressions,
    stop: Shutdown,
    /// The revision up to which this process has written everything; `None` before it has.
    written: Option<u64>,
    turn: u16,
}

/// A bucket that lacks something, or may.
struct Lacking {
    bucket: u16,
    run: Run,
    state: BucketState,
}

impl Keeper {
    pub(crate) fn new(suppressions: Suppressions, stop: Shutdown) -> Self {
        Self {
            suppressions,
            stop,
            written: None,
            turn: 0,
        }
    }

    /// Looks each second until the stop.
    pub(crate) async fn run(mut self) {
        while !self.stop.is_requested() {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "suppressions are not brought to redis");
            }
            // Ends the pause at a stop.
            let _ = tokio::time::timeout(EVERY, self.stop.requested()).await;
        }
    }

    async fn look(&mut self) -> Result<(), SuppressionsError> {
        let mut lacking = Vec::new();
        if let Some(written) = self.written {
            let turn = self.turn;
            self.turn = (turn + LOOKS) % SUPPRESSION_BUCKETS;
            if self.lacking(turn..turn + LOOKS).await?.is_empty() {
                self.written = self.write_since(written).await?;
                return Ok(());
            }
        }
        lacking.extend(self.lacking(0..SUPPRESSION_BUCKETS).await?);
        self.restore(lacking).await
    }

    async fn lacking(&self, buckets: std::ops::Range<u16>) -> Result<Vec<Lacking>, SuppressionsError> {
        let mut lacking = Vec::new();
        for bucket in buckets {
            let (run, state) = self.suppressions.store.suppression_bucket(number(bucket)).await?;
            if state != BucketState::Complete {
                lacking.push(Lacking { bucket, run, state });
            }
        }
        Ok(lacking)
    }

    /// Writes everything, and notes of the buckets that they are complete.
    async fn restore(&mut self, lacking: Vec<Lacking>) -> Result<(), SuppressionsError> {
        if !lacking.is_empty() {
            let empty = lacking
                .iter()
                .filter(|lacking| lacking.state == BucketState::Empty);
            tracing::info!(
                buckets = lacking.len(),
                empty = empty.count(),
                "suppressions are written again"
            );
            let since = self.suppressions.now() - RECENT;
            if let Some(recent) = self.suppressions.ledger.suppressions_before(since).await? {
                self.write_since(recent).await?;
            }
        }
        let Some(written) = self.write_since(0).await? else {
            return Ok(());
        };
        for Lacking { bucket, run, .. } in lacking {
            // If this run has ended meanwhile, the next look begins again.
            let complete = self
                .suppressions
                .store
                .suppression_bucket_complete(number(bucket), &run);
            complete.await?;
        }
        self.written = Some(written);
        Ok(())
    }

    /// Writes what changed after a revision; answers up to which, `None` if it was stopped.
    async fn write_since(&self, mut revision: u64) -> Result<Option<u64>, SuppressionsError> {
        while !self.stop.is_requested() {
            let (standing, last) = self
                .suppressions
                .ledger
                .suppressions_changed(revision, PAGE)
                .await?;
            if last == revision {
                return Ok(Some(revision));
            }
            self.suppressions.project(&standing).await?;
            revision = last;
        }
        Ok(None)
    }
}

/// A bucket's number: there are 256.
fn number(bucket: u16) -> u8 {
    bucket.to_be_bytes()[1]
}
