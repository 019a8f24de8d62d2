//! Whether the service can do its work: it needs Redis and the ledger.

use std::time::Duration;

use paceline_kit::Shutdown;
use paceline_kit::health::Health;
use paceline_ledger::Ledger;
use paceline_store::Store;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// Says by health what does not answer, until `stop`.
pub(crate) async fn look_after(store: Store, ledger: Ledger, health: Health, stop: Shutdown) {
    while !stop.is_requested() {
        let (redis, database) = tokio::join!(store.ping(), ledger.ping());
        match (redis, database) {
            (Ok(()), Ok(())) => health.set_ready().await,
            (Err(_), _) => health.set_not_ready("redis does not answer").await,
            (_, Err(_)) => health.set_not_ready("the ledger does not answer").await,
        }
        // Ends the pause at a shutdown.
        let _ = tokio::time::timeout(EVERY, stop.requested()).await;
    }
    health.set_not_ready("draining").await;
}
