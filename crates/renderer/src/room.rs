//! How much the senders may have rendered: bulk mail waits as a request of a kilobyte, not as twelve of html.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use paceline_domain::record::Provider;
use paceline_store::throttle::RateKey;
use paceline_store::{Stage, Store, StoreError, StreamKey};
use tokio::time::Instant;

use crate::config::WorkSettings;

/// How long a rate that was read is good for.
const RATE_AGE_MAX: Duration = Duration::from_secs(1);
/// Rates that are remembered; past it all are read anew.
const RATES_MAX: usize = 1_000;

pub(crate) struct Room {
    store: Store,
    ready_min: u64,
    ready_for: Duration,
    rates: Mutex<HashMap<String, (Instant, Option<f64>)>>,
}

impl Room {
    pub(crate) fn new(store: Store, work: &WorkSettings) -> Self {
        Self {
            store,
            ready_min: work.ready_min,
            ready_for: work.ready_for,
            rates: Mutex::default(),
        }
    }

    /// True while the ready stream beside this queued one holds less than its bound.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub(crate) async fn is_left(&self, shard: u16, queued: &StreamKey) -> Result<bool, StoreError> {
        let backlog = self.store.backlog(shard, &queued.at(Stage::Ready)).await?;
        // The usual case needs no rate.
        if backlog < self.bound(None) {
            return Ok(true);
        }
        let rate = self.rate(&queued.identity).await?;
        Ok(backlog < self.bound(rate))
    }

    /// A shard's part of what the rate takes away in `ready_for`, and at least of `ready_min`.
    fn bound(&self, rate: Option<f64>) -> u64 {
        let by_rate = rate.unwrap_or(0.0) * self.ready_for.as_secs_f64();
        (self.ready_min.max(by_rate as u64) / u64::from(self.store.shards())).max(1)
    }

    async fn rate(&self, identity: &str) -> Result<Option<f64>, StoreError> {
        let known = self.rates().get(identity).copied();
        if let Some((read_at, rate)) = known
            && read_at.elapsed() < RATE_AGE_MAX
        {
            return Ok(rate);
        }
        let key = RateKey {
            provider: Provider::Ses.as_str().to_owned(),
            identity: identity.to_owned(),
        };
        let rate = self.store.granted_rate(&key).await?;
        let mut rates = self.rates();
        if rates.len() >= RATES_MAX {
            rates.clear();
        }
        rates.insert(identity.to_owned(), (Instant::now(), rate));
        Ok(rate)
    }

    fn rates(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Instant, Option<f64>)>> {
        self.rates
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
