//! Looks that keep safe rates alive: while no coordinator answers, each key whose lease has lapsed is looked up in Redis.
//!
//! A safe rate counts for 2 s after a look that showed epoch and version of its lease (`domain::lease::SAFE_LOOK`), so whatever the coordinators
//! have cut or paused since ends it, and so does a Redis that does not answer or has forgotten.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use paceline_kit::Shutdown;
use paceline_store::Store;
use paceline_store::throttle::RateKey;

use crate::pacing::Pacing;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// Keys that are looked at together.
const AT_ONCE: usize = 16;

/// Looks until `stop`.
pub(crate) async fn look(store: Store, pacing: Arc<Pacing>, stop: Shutdown) {
    loop {
        tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let (began, keys) = pacing.to_be_looked_at();
        let looks = stream::iter(&keys);
        looks
            .for_each_concurrent(AT_ONCE, |key| look_at(&store, &pacing, key, began))
            .await;
    }
}

async fn look_at(store: &Store, pacing: &Pacing, key: &RateKey, began: Duration) {
    match store.rate_version(key).await {
        Ok(state) => pacing.looked(key, state, began),
        Err(error) => tracing::debug!(%key, %error, "its rate can't be looked up"),
    }
}
