//! Puts scheduled and deferred messages into their queue when their time has come.
//!
//! Any worker may do it; the script lets only the first one in. A time has come when Redis's clock and this worker's own
//! both say so, so that a jump of either sends nothing early.

use std::sync::Arc;
use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::record::State;
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
    let mut skip = 0;
    while !stop.is_requested() {
        // Whoever does not know the stops puts nothing on its way.
        if shared.stops.current().is_none() {
            pause(EVERY, &stop).await;
            continue;
        }
        match look(&shared, shard, skip).await {
            Ok(Some(next)) => skip = next,
            Ok(None) => {
                skip = 0;
                pause(EVERY, &stop).await;
            }
            Err(error) => {
                shared.metrics.store_error("promote");
                tracing::debug!(shard, %error, "promoting failed");
                pause_after_error(&stop).await;
            }
        }
    }
}

/// One look past the first `skip`; where there may be more, how many the next one must skip: all that have to stay. Ids of
/// records that can't be read go along, for the script takes them off the list.
async fn look(shared: &Shared, shard: u16, skip: u32) -> Result<Option<u32>, StoreError> {
    let due = shared.store.later_due_after(shard, skip, LOOK_MAX).await?;
    let ripe = ripe(&due, shared.clock.wall());
    let (mut promoted, mut stayed) = (0, 0);
    for ids in ripe.chunks(BATCH) {
        let records = shared.store.get_readable(shard, ids).await?;
        let streams = records
            .iter()
            .map(|record| record.as_ref().map(|record| StreamKey::of(record, Stage::Queued)));
        let items: Vec<_> = ids.iter().copied().zip(streams).collect();
        for (id, change) in ids.iter().zip(shared.store.promote(shard, &items).await?) {
            note(shard, *id, &change);
            promoted += u64::from(matches!(change, Change::Moved(_)));
            stayed += u32::from(stays(&change));
        }
    }
    if promoted > 0 {
        shared.metrics.promoted.add(promoted, &[]);
        shared.store.hint(Stage::Queued);
    }
    // Behind what is not ripe nothing is: the earliest come first.
    let more = ripe.len() == LOOK_MAX as usize;
    Ok(more.then(|| skip.saturating_add(stayed)))
}

/// True if the id may still be on the list: a newer release's, one that another worker has put there again, or one that the
/// script can read and this release can't. One too many only waits for the next round.
const fn stays(change: &Change) -> bool {
    match change {
        Change::Newer | Change::Corrupt => true,
        Change::Unchanged(record) => matches!(record.state, State::Scheduled | State::Deferred),
        Change::Moved(_) | Change::Missing => false,
    }
}

fn note(shard: u16, id: MessageId, change: &Change) {
    match change {
        Change::Missing => tracing::warn!(shard, message_id = %id, "an id without a record was due"),
        Change::Corrupt => {
            tracing::error!(shard, message_id = %id, "a due record can't be read, it is among the dead letters");
        }
        Change::Moved(_) | Change::Unchanged(_) | Change::Newer => {}
    }
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
