//! Ends ready mail whose time is over and that this sender does not read: of identities that its settings don't have, or whose
//! key may not send. Where no other sender reads it either, nothing else would end it.
//!
//! It goes through those streams at a slow pace and takes nothing from whoever may read them: only what is past its time ends,
//! by the script's judgement.

use std::collections::VecDeque;
use std::time::Duration;

use paceline_store::{Change, Stage, StoreError, StreamKey};

use crate::shared::{Shard, Shared};

/// Entries of one look: they come with all that was rendered.
const LOOK_MAX: u32 = 32;
/// From the beginning of one turn to the next one, at least.
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
    /// The next look, if it is time for one.
    pub(crate) async fn round<P>(&mut self, shared: &Shared<P>, shard: &Shard) -> Result<(), StoreError> {
        let now = shared.clock.boot();
        if self.left.is_empty() {
            if now < self.begins_at {
                return Ok(());
            }
            self.begins_at = now + EVERY;
            self.left = shared.store.active(shard.number).await?.into();
        }
        // What is read again by now is left to its reader, also in the middle.
        while self.left.front().is_some_and(|stream| is_read(shared, stream)) {
            self.next_stream();
        }
        let Some(stream) = self.left.front() else {
            return Ok(());
        };
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
        if entries.len() < LOOK_MAX as usize {
            // The script looks whether it is empty.
            store.retire(shard.number, std::slice::from_ref(stream)).await?;
            self.next_stream();
        } else {
            self.after = entries.into_iter().next_back().map(|entry| entry.entry_id);
        }
        Ok(())
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
            .room(&stream.identity, shared.limits.read_ahead.rate_max)
            > 0
}
