//! What waits for a time: claims whose lease may be over, doubts, scheduled and deferred messages, dead letters.
//!
//! The lists say what is due by Redis's clock, which may jump. That does no harm to what only waits; whoever ends a lease or
//! a window goes by a clock of its own too, and looks at all that stands: see [`crate::waiting_all`].

use paceline_domain::id::MessageId;
use paceline_domain::record::Fence;
use paceline_domain::time::Millis;

use crate::batch::{Batch, Item, number};
use crate::keys::{Stage, StreamKey, Waiting};
use crate::script;
use crate::streams::list;
use crate::{Change, Store, StoreError};

impl Store {
    /// Scheduled and deferred messages whose time has come, and when it came.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn later_due(&self, shard: u16, count: u32) -> Result<Vec<(MessageId, Millis)>, StoreError> {
        self.later_due_after(shard, 0, count).await
    }

    /// As [`Store::later_due`], without the first `skip`: those that were seen and have to stay, as records of a newer
    /// release do, must not hide the others.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn later_due_after(
        &self,
        shard: u16,
        skip: u32,
        count: u32,
    ) -> Result<Vec<(MessageId, Millis)>, StoreError> {
        self.due(shard, Waiting::Later, skip, count).await
    }

    /// Dead letters, the oldest first, and since when they are.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn dead(&self, shard: u16, count: u32) -> Result<Vec<(MessageId, Millis)>, StoreError> {
        self.due(shard, Waiting::Dead, 0, count).await
    }

    async fn due(
        &self,
        shard: u16,
        waiting: Waiting,
        skip: u32,
        count: u32,
    ) -> Result<Vec<(MessageId, Millis)>, StoreError> {
        let keys = vec![self.keys.waiting(shard, waiting)];
        let args = vec![self.now(), number(count.into()), number(skip.into())];
        let answer = self.run(&script::DUE, keys, args).await?;
        let mut parts = list(answer)?.into_iter();
        let mut due = Vec::new();
        while let (Some(member), Some(score)) = (parts.next(), parts.next()) {
            let id = member.into_bytes().and_then(|bytes| bytes[..].try_into().ok());
            match (id, score.as_u64()) {
                (Some(id), Some(at)) => due.push((MessageId(id), Millis(at))),
                _ => return Err(StoreError::bug("a sorted set holds what is no id")),
            }
        }
        Ok(due)
    }

    /// Puts claims whose lease is over in doubt; the answers are in order.
    ///
    /// # Errors
    /// If Redis refuses or does not answer.
    pub async fn lapse(&self, shard: u16, items: &[(MessageId, Fence)]) -> Result<Vec<Change>, StoreError> {
        let mut batch = Batch::default();
        for &(id, fence) in items {
            batch.push(id, fenced(id, fence));
        }
        self.change_batch(&script::LAPSE, shard, batch).await
    }

    /// Ends doubts whose window is over, as each template's policy says; the answers are in order.
    ///
    /// # Errors
    /// If Redis refuses or does not answer.
    pub async fn resolve(&self, shard: u16, items: &[(MessageId, Fence)]) -> Result<Vec<Change>, StoreError> {
        let ids: Vec<_> = items.iter().map(|&(id, _)| id).collect();
        let streams = self.queued_streams(shard, &ids).await?;
        let mut batch = Batch::default();
        for (&(id, fence), stream) in items.iter().zip(streams) {
            let number = batch.stream_or_none(stream.as_ref())?;
            batch.push(id, fenced(id, fence).u16(number));
        }
        self.ensure_groups(shard, batch.streams(), false).await?;
        self.change_batch(&script::RESOLVE, shard, batch).await
    }

    /// Puts what is due into its queue; the answers are in order. The stream is that of the message's record, and `None`
    /// where there is none to read: such an id leaves the list, a corrupt one for the dead letters.
    ///
    /// # Errors
    /// If Redis refuses or does not answer.
    pub async fn promote<S>(&self, shard: u16, items: &[(MessageId, S)]) -> Result<Vec<Change>, StoreError>
    where
        S: Clone + Into<Option<StreamKey>>,
    {
        let mut batch = Batch::default();
        for (id, stream) in items {
            let stream: Option<StreamKey> = stream.clone().into();
            let queued = stream.map(|stream| stream.at(Stage::Queued));
            let number = batch.stream_or_none(queued.as_ref())?;
            batch.push(*id, Item::new(*id).u16(number));
        }
        self.ensure_groups(shard, batch.streams(), false).await?;
        self.change_batch(&script::PROMOTE, shard, batch).await
    }
}

fn fenced(id: MessageId, fence: Fence) -> Item {
    Item::new(id).u32(fence.attempt).bytes(&fence.nonce.0)
}
