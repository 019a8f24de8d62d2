//! Puts scheduled and deferred messages into their queue when their time has come.
//!
//! Any worker may do it; the script lets only the first one in. A time has come when Redis's clock and this worker's own
//! both say so, so that a jump of either sends nothing early.

use std::sync::Arc;
use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::time::Millis;
use paceline_kit::Shutdown;
use paceline_store::{Change, Stage, StoreError, StreamKey};

use crate::shared::{Shared, pause, pause_after_error};

/// Between two looks, and so how late a message is at the most where nothing else holds it up.
const EVERY: Duration = Duration::from_millis(100);
/// Ids of one look, the longest overdue first.
const LOOK_MAX: u32 = 500;
/// Ids of one script.
const BATCH: usize = 64;

/// Promotes what is due in one shard until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, shard: u16, stop: Shutdown) {
    while !stop.is_requested() {
        match look(&shared, shard).await {
            Ok(full) if full => {}
            Ok(_) => pause(EVERY, &stop).await,
            Err(error) => {
                shared.metrics.store_error("promote");
                tracing::debug!(shard, %error, "promoting failed");
                pause_after_error(&stop).await;
            }
        }
    }
}

/// One look; true if there is more.
async fn look(shared: &Shared, shard: u16) -> Result<bool, StoreError> {
    let due = shared.store.later_due(shard, LOOK_MAX).await?;
    let ripe = ripe(&due, shared.clock.wall());
    let mut promoted = 0;
    for ids in ripe.chunks(BATCH) {
        let records = shared.store.get_readable(shard, ids).await?;
        let known = ids
            .iter()
            .zip(records)
            .filter_map(|(id, record)| Some((*id, record?)));
        let items: Vec<_> = known
            .map(|(id, record)| (id, StreamKey::of(&record, Stage::Queued)))
            .collect();
        if items.len() < ids.len() {
            tracing::error!(
                shard,
                ids = ids.len() - items.len(),
                "ids are due whose records can't be read"
            );
        }
        if items.is_empty() {
            continue;
        }
        let changes = shared.store.promote(shard, &items).await?;
        promoted += changes
            .iter()
            .filter(|change| matches!(change, Change::Moved(_)))
            .count();
    }
    if promoted > 0 {
        shared.metrics.promoted.add(promoted as u64, &[]);
        shared.store.hint(Stage::Queued);
    }
    Ok(promoted > 0 && due.len() == LOOK_MAX as usize)
}

/// Those whose time has come by this worker's wall clock too.
fn ripe(due: &[(MessageId, Millis)], now: Millis) -> Vec<MessageId> {
    due.iter()
        .filter(|(_, at)| *at <= now)
        .map(|(id, _)| *id)
        .collect()
}

#[cfg(test)]
mod tests {
    use paceline_domain::id::MessageId;
    use paceline_domain::time::Millis;

    use super::ripe;

    #[test]
    fn what_only_redis_s_clock_calls_due_waits() {
        let id = |byte| MessageId([byte; 16]);
        let due = [
            (id(1), Millis(1_000)),
            (id(2), Millis(2_000)),
            (id(3), Millis(3_600_000)),
        ];
        assert_eq!(ripe(&due, Millis(2_000)), [id(1), id(2)]);
        assert!(ripe(&due, Millis(0)).is_empty());
    }
}
