//! How far the ledger is behind the logs, for the alert, and what Redis has forgotten, where it may.

use std::time::Duration;

use paceline_kit::Shutdown;
use paceline_kit::clock::Clock;
use paceline_ledger::Ledger;
use paceline_store::{LogBacklog, Store, StoreError};

use super::lost;
use super::metrics::CopyMetrics;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// Looks at all logs.
pub(crate) struct Lag<C> {
    pub(crate) store: Store,
    pub(crate) ledger: Ledger,
    pub(crate) clock: C,
    pub(crate) metrics: CopyMetrics,
}

impl<C: Clock> Lag<C> {
    /// Looks once a second until `stop`. While Redis does not answer, the gauges stand.
    pub(crate) async fn run(self, stop: Shutdown) {
        while tokio::time::timeout(EVERY, stop.requested()).await.is_err() {
            let backlogs = match self.look().await {
                Ok(backlogs) => backlogs,
                Err(error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "the logs' lag is not known"
                    );
                    continue;
                }
            };
            self.metrics.behind(sum(&backlogs));
            if self.store.may_lose_claims() {
                self.find_lost(&backlogs).await;
            }
        }
    }

    async fn look(&self) -> Result<Vec<LogBacklog>, StoreError> {
        let mut backlogs = Vec::new();
        for shard in 0..self.store.shards() {
            backlogs.push(self.store.log_backlog(shard).await?);
        }
        Ok(backlogs)
    }

    /// Once nothing of the log is on its way to the ledger, and all senders had the time to stand by their claims.
    async fn find_lost(&self, backlogs: &[LogBacklog]) {
        for (shard, backlog) in (0..).zip(backlogs) {
            if !backlog.age.is_zero() {
                continue;
            }
            match lost::find(shard, &self.store, &self.ledger, self.clock.wall()).await {
                Ok(0) => {}
                Ok(lost) => {
                    self.metrics.lost(lost);
                    tracing::error!(
                        shard,
                        messages = lost,
                        "redis has forgotten messages that were under way: they are marked as lost"
                    );
                }
                Err(error) => {
                    tracing::warn!(
                        error = &*error,
                        shard,
                        "what redis may have forgotten is not known yet"
                    );
                }
            }
        }
    }
}

/// Of all shards: the oldest entry is the oldest of any.
fn sum(backlogs: &[LogBacklog]) -> LogBacklog {
    backlogs
        .iter()
        .fold(LogBacklog::default(), |sum, backlog| LogBacklog {
            entries: sum.entries + backlog.entries,
            bytes: sum.bytes + backlog.bytes,
            age: sum.age.max(backlog.age),
        })
}
