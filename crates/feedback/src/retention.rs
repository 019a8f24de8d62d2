//! The ledger's months: those to come are made ahead of time, those past the retention go.

use std::time::Duration;

use paceline_kit::Shutdown;
use paceline_kit::clock::Clock;
use paceline_ledger::{Ledger, Retained};

/// Between two looks: months are made two ahead, so that a database that is away for days harms nothing.
const EVERY: Duration = Duration::from_secs(3600);
/// What was logged before an erasure is long copied then.
const ERASED_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Makes the coming months. What is written before a month is made keeps it from being made, so it is done first of all; a failure is
/// logged.
pub(crate) async fn prepare(ledger: &Ledger, clock: &impl Clock) {
    if let Err(error) = ledger.prepare_months(clock.wall()).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "the ledger's coming months are not made"
        );
    }
}

/// Looks each hour until `stop`. Several processes may do so at one time.
pub(crate) async fn keep(ledger: Ledger, clock: impl Clock, retention: Duration, stop: Shutdown) {
    loop {
        prepare(&ledger, &clock).await;
        let now = clock.wall();
        match ledger.drop_kept(now).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "kept no longer, as their templates say"),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the ledger keeps what it should not any more"
            ),
        }
        if !retention.is_zero() {
            match ledger.retain(now - retention).await {
                Ok(gone) if gone != Retained::default() => {
                    tracing::info!(
                        partitions = gone.partitions.len(),
                        rows = gone.rows,
                        "past the retention"
                    );
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the ledger keeps what is past its retention"
                ),
            }
        }
        if let Err(error) = ledger.forget_erased_addresses(now - ERASED_KEPT).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the ledger keeps hashes of erased addresses"
            );
        }
        if tokio::time::timeout(EVERY, stop.requested()).await.is_ok() {
            return;
        }
    }
}
