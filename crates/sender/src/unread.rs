//! Ends ready mail whose time is over and that this sender does not read: of identities that its settings don't have, or whose
//! key may not send. Where no other sender reads it either, nothing else would end it.
//!
//! It goes through those streams in turn and takes nothing from whoever may read them: only what is past its time ends, by the
//! script's judgement. Every sender does so, so what it looks at in vain is little at a time; what it ends, nobody looks at again.

use std::collections::VecDeque;
use std::time::Duration;

use paceline_store::{Change, Stage, StoreError, StreamKey};

use crate::shared::{Shard, Shared};

/// Entries of one look.
const LOOK_MAX: u32 = 64;
/// Looks of one round, that is in a second.
const LOOKS_MAX: u32 = 64;
/// Entries that are looked at in vain in one round.
const IDLE_MAX: usize = 512;
/// From the end of one turn to the beginning of the next one, at least.
const EVERY: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(crate) struct Unread {
    /// The streams that are left in this turn.
    left: VecDeque<StreamKey>,
    /// The last entry that was seen of the first of them.
    after: Option<String>,
    /// When the next turn begins, on the boot-time clock.
    begins_at: Duration,
}

impl Unread {
    /// The next looks, if it is time for some. They go on at once while there is something to end.
    pub(crate) async fn round<P>(&mut self, shared: &Shared<P>, shard: &Shard) -> Result<(), StoreError> {
        let now = shared.clock.boot();
        if self.left.is_empty() {
            if now < self.begins_at {
                return Ok(());
            }
            self.begins_at = now + EVERY;
            self.left = shared.store.active(shard.number).await?.into();
        }
        let mut idle = 0;
        for _ in 0..LOOKS_MAX {
            // What is read again by now is left to its reader, also in the middle.
            while self.left.front().is_some_and(|stream| is_read(shared, stream)) {
                self.next_stream();
            }
            let Some(stream) = self.left.front().cloned() else {
                self.begins_at = now + EVERY;
                return Ok(());
            };
            idle += self.look(shared, shard, &stream).await?;
            if idle >= IDLE_MAX {
                break;
            }
        }
        Ok(())
    }

    /// Looks at the next entries of the first stream and ends those that are past their time; returns how many are not.
    async fn look<P>(
        &mut self,
        shared: &Shared<P>,
        shard: &Shard,
        stream: &StreamKey,
    ) -> Result<usize, StoreError> {
        let store = &shared.store;
        let entries = store
            .look(shard.number, stream, self.after.as_deref(), LOOK_MAX)
            .await?;
        let changes = store.expire(shard.number, &entries).await?;
        let expired = changes.iter().filter(|change| matches!(change, Change::Moved(_)));
        let expired = expired.inspect(|_| shared.metrics.claim("expired")).count();
        if expired > 0 {
            tracing::info!(%stream, expired, "mail that nobody reads is past its time");
        }
        let looked = entries.len();
        if looked < LOOK_MAX as usize {
            // The script looks whether it is empty.
            store.retire(shard.number, std::slice::from_ref(stream)).await?;
            self.next_stream();
        } else {
            self.after = entries.into_iter().next_back().map(|entry| entry.entry_id);
        }
        Ok(looked - expired)
    }

    fn next_stream(&mut self) {
        self.left.pop_front();
        self.after = None;
    }
}

/// False for ready streams that this sender does not read now.
fn is_read<P>(shared: &Shared<P>, stream: &StreamKey) -> bool {
    stream.stage != Stage::Ready
        || shared
            .pacing
            .room(&stream.identity, stream.lane, shared.limits.read_ahead.rate_max)
            > 0
}
