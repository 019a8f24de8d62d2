//! Messages as callers and operators see them: accepted, looked at, called back, sent again, given up.

use bytes::Bytes;
use fred::interfaces::KeysInterface;
use fred::types::{Key, Value};
use paceline_domain::id::MessageId;
use paceline_domain::reason::Reason;
use paceline_domain::record::Record;

use crate::batch::{Batch, Item, number, record};
use crate::keys::{Stage, StreamKey};
use crate::packed::{self, Unreadable, millis};
use crate::script;
use crate::{
    Change, Durability, Enqueued, Evidence, Finding, Looked, NewMessage, Redrive, Store, StoreError,
};

impl Store {
    /// Accepts messages of one shard, each at most once, and answers, in order, once all of them are kept as durably as one of
    /// them asks: duplicates too, since the first call may not know yet.
    ///
    /// # Errors
    /// If Redis refuses the batch or can't reach the level (then nothing of it was accepted), or does not answer or keep it in
    /// time (then anything may have been, and the same call again finds out).
    pub async fn enqueue(&self, shard: u16, items: Vec<NewMessage>) -> Result<Vec<Enqueued>, StoreError> {
        let levels = items.iter().map(|message| message.durability);
        let asked = levels.max().unwrap_or(Durability::Local);
        let mut batch = Batch::default();
        for message in items {
            let stream = batch.stream(&StreamKey::of(&message.record, Stage::Queued))?;
            let ttl = paceline_domain::time::Millis(0) + message.ttl;
            let item = Item::new(message.id)
                .bytes(&millis(ttl))
                .u16(stream)
                .u8(message.resubmit.into())
                .bytes(&message.logged);
            batch.push(message.id, item);
            batch.also(packed::pack(&message.record)?);
            batch.also(message.request);
        }
        self.ensure_groups(shard, batch.streams(), true).await?;
        let answers = self.keep_batch(&script::ENQUEUE, shard, batch, asked).await?;
        answers.into_iter().map(enqueued).collect()
    }

    /// A message's record.
    ///
    /// # Errors
    /// If Redis does not answer, or the record can't be read.
    pub async fn get(&self, id: MessageId) -> Result<Option<Record>, StoreError> {
        let records = self.get_many(id.shard(self.shards()), &[id]).await?;
        Ok(records.into_iter().next().flatten())
    }

    /// The records of messages of one shard, in order; `None` for what is not there.
    ///
    /// # Errors
    /// If Redis does not answer, or a record can't be read.
    pub async fn get_many(&self, shard: u16, ids: &[MessageId]) -> Result<Vec<Option<Record>>, StoreError> {
        let keys = ids.iter().map(|&id| self.keys.record(shard, id)).collect();
        let unreadable = |problem| match problem {
            Unreadable::Newer => StoreError::bug("a record has the format of a newer release"),
            Unreadable::Corrupt => StoreError::bug("a record can't be read"),
        };
        self.get_keys(keys)
            .await?
            .into_iter()
            .map(|bytes| bytes.map(|bytes| packed::unpack(&bytes).map_err(unreadable)))
            .map(Option::transpose)
            .collect()
    }

    /// What stands under the ids of messages of one shard, in order, each judged for itself.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn inspect(&self, shard: u16, ids: &[MessageId]) -> Result<Vec<Looked>, StoreError> {
        let keys = ids.iter().map(|&id| self.keys.record(shard, id)).collect();
        let looked = |bytes: Option<Bytes>| match bytes.map(|bytes| packed::unpack(&bytes)) {
            None => Looked::Missing,
            Some(Ok(record)) => Looked::Record(Box::new(record)),
            Some(Err(Unreadable::Newer)) => Looked::Newer,
            Some(Err(Unreadable::Corrupt)) => Looked::Corrupt,
        };
        Ok(self.get_keys(keys).await?.into_iter().map(looked).collect())
    }

    /// The records of messages of one shard, in order; `None` for what is not there or can't be read by this release, so that
    /// one such record does not hide its neighbours.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn get_readable(
        &self,
        shard: u16,
        ids: &[MessageId],
    ) -> Result<Vec<Option<Record>>, StoreError> {
        let keys = ids.iter().map(|&id| self.keys.record(shard, id)).collect();
        let found = self.get_keys(keys).await?.into_iter();
        Ok(found.map(|bytes| packed::unpack(&bytes?).ok()).collect())
    }

    /// The requests of messages of one shard, in order; `None` for what is at rest or not there.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn requests(&self, shard: u16, ids: &[MessageId]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let keys = ids.iter().map(|&id| self.keys.request(shard, id)).collect();
        self.get_keys(keys).await
    }

    /// Ends a message that no sender has claimed.
    ///
    /// # Errors
    /// If Redis refuses or does not answer.
    pub async fn cancel(&self, id: MessageId) -> Result<Change, StoreError> {
        let mut batch = Batch::default();
        batch.own(number(Reason::CancelledByCaller.code().into()));
        batch.push(id, Item::new(id));
        self.change_one(&script::CANCEL, id, batch).await
    }

    /// Sends a dead letter again.
    ///
    /// # Errors
    /// If Redis refuses or does not answer.
    pub async fn redrive(&self, id: MessageId) -> Result<Change, StoreError> {
        let one = vec![Redrive { id, request: None }];
        let changes = self
            .redrive_all(id.shard(self.shards()), one, Bytes::new())
            .await?;
        Ok(changes.into_iter().next().unwrap_or(Change::Missing))
    }

    /// Sends dead letters of one shard again; the answers are in order. `act` is the `LoggedAct` of a person that led to it, for
    /// the log.
    ///
    /// # Errors
    /// If Redis refuses or does not answer; the same call again is safe.
    pub async fn redrive_all(
        &self,
        shard: u16,
        items: Vec<Redrive>,
        act: Bytes,
    ) -> Result<Vec<Change>, StoreError> {
        let ids: Vec<MessageId> = items.iter().map(|item| item.id).collect();
        let streams = self.queued_streams(shard, &ids).await?;
        let mut batch = Batch::default();
        batch.act(act);
        for (Redrive { id, request }, stream) in items.into_iter().zip(streams) {
            let number = batch.stream_or_none(stream.as_ref())?;
            batch.push(id, Item::new(id).u16(number));
            batch.also(request.unwrap_or_default());
        }
        self.ensure_groups(shard, batch.streams(), false).await?;
        let changes = self.keep_changes(&script::REDRIVE, shard, batch).await?;
        self.hint(Stage::Queued);
        Ok(changes)
    }

    /// Gives a dead letter up.
    ///
    /// # Errors
    /// If Redis refuses or does not answer.
    pub async fn discard(&self, id: MessageId) -> Result<Change, StoreError> {
        let shard = id.shard(self.shards());
        let changes = self.discard_all(shard, &[id], Bytes::new()).await?;
        Ok(changes.into_iter().next().unwrap_or(Change::Missing))
    }

    /// Gives dead letters of one shard up; the answers are in order. `act` as above.
    ///
    /// # Errors
    /// If Redis refuses or does not answer; the same call again is safe.
    pub async fn discard_all(
        &self,
        shard: u16,
        ids: &[MessageId],
        act: Bytes,
    ) -> Result<Vec<Change>, StoreError> {
        let mut batch = Batch::default();
        batch.act(act);
        for &id in ids {
            batch.push(id, Item::new(id));
        }
        self.keep_changes(&script::DISCARD, shard, batch).await
    }

    /// Ends messages of one shard whose recipient is erased, wherever they wait, and deletes what was to be sent; the answers are in
    /// order. What is being sent is left. `act` as above.
    ///
    /// # Errors
    /// If Redis refuses or does not answer; the same call again is safe.
    pub async fn erase_all(
        &self,
        shard: u16,
        ids: &[MessageId],
        act: Bytes,
    ) -> Result<Vec<Change>, StoreError> {
        let mut batch = Batch::default();
        batch.act(act);
        for &id in ids {
            batch.push(id, Item::new(id));
        }
        self.keep_changes(&script::ERASE, shard, batch).await
    }

    /// Writes what providers' events show of messages of one shard; the answers are in order.
    ///
    /// # Errors
    /// If Redis refuses or does not answer.
    pub async fn evidence(&self, shard: u16, items: Vec<Evidence>) -> Result<Vec<Change>, StoreError> {
        self.settle_doubts(shard, items, Bytes::new()).await
    }

    /// The same by a person, who knows more than the events: `act` is the `LoggedAct` that says so.
    ///
    /// # Errors
    /// If Redis refuses or does not answer; the same call again is safe.
    pub async fn settle_doubts(
        &self,
        shard: u16,
        items: Vec<Evidence>,
        act: Bytes,
    ) -> Result<Vec<Change>, StoreError> {
        let mut batch = Batch::default();
        batch.act(act);
        for Evidence { id, finding } in items {
            let item = match &finding {
                Finding::Sent {
                    provider,
                    provider_id,
                } => Item::new(id)
                    .u8(1)
                    .u8(provider.code())
                    .bytes(&[0; 4 + 2 + 6])
                    .text(provider_id)?,
                Finding::NotSent {
                    attempt,
                    reason,
                    delay,
                } => Item::new(id)
                    .u8(0)
                    .u8(0)
                    .u32(*attempt)
                    .u16(reason.code())
                    .bytes(&millis(paceline_domain::time::Millis(0) + *delay))
                    .text("")?,
            };
            batch.push(id, item);
        }
        self.keep_changes(&script::EVIDENCE, shard, batch).await
    }

    async fn change_one(
        &self,
        script: &script::Script,
        id: MessageId,
        batch: Batch,
    ) -> Result<Change, StoreError> {
        let changes = self.keep_changes(script, id.shard(self.shards()), batch).await?;
        Ok(changes.into_iter().next().unwrap_or(Change::Missing))
    }

    /// The queued stream of each message, where its record can be read.
    pub(crate) async fn queued_streams(
        &self,
        shard: u16,
        ids: &[MessageId],
    ) -> Result<Vec<Option<StreamKey>>, StoreError> {
        let keys = ids.iter().map(|&id| self.keys.record(shard, id)).collect();
        let stored = self.get_keys(keys).await?;
        let stream = |bytes: Option<Bytes>| {
            let record = packed::unpack(&bytes?).ok()?;
            Some(StreamKey::of(&record, Stage::Queued))
        };
        Ok(stored.into_iter().map(stream).collect())
    }

    async fn get_keys(&self, keys: Vec<Key>) -> Result<Vec<Option<Bytes>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let values = self.commands.ask(self.commands.client().mget(keys)).await?;
        let Value::Array(values) = values else {
            return Err(StoreError::bug("MGET answered with no list"));
        };
        Ok(values
            .into_iter()
            .map(|value| (!value.is_null()).then(|| value.into_bytes().unwrap_or_default()))
            .collect())
    }
}

fn enqueued((word, packed): (String, Bytes)) -> Result<Enqueued, StoreError> {
    let answer = match word.as_str() {
        "new" => Enqueued::New,
        "duplicate" => Enqueued::Duplicate,
        "resubmitted" => Enqueued::Resubmitted,
        "conflict" => Enqueued::KeyConflict,
        "newer" => return Ok(Enqueued::Newer),
        "corrupt" => return Ok(Enqueued::Corrupt),
        _ => return Err(StoreError::bug(format!("enqueue answered {word}"))),
    };
    Ok(match record(&packed) {
        Ok(record) => answer(record),
        Err(Unreadable::Newer) => Enqueued::Newer,
        Err(Unreadable::Corrupt) => Enqueued::Corrupt,
    })
}
