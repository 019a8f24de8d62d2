//! Stops, and what becomes of messages that they meet. What a stop says is not read here: see `wire::stops`.

use bytes::Bytes;
use fred::interfaces::HashesInterface;
use fred::types::{Key, Value};
use paceline_domain::id::MessageId;
use paceline_domain::reason::Reason;
use paceline_domain::record::Ticket;

use crate::batch::{Batch, Item, bytes, number};
use crate::durability::{Durability, Wait};
use crate::keys::{self, Stage, StreamKey};
use crate::packed::millis;
use crate::script;
use crate::{Change, Store, StoreError};

/// The most stops at a time: every claim of a message looks through them.
pub const STOPS_MAX: usize = 64;

/// An entry that a stop has met.
#[derive(Clone, Debug)]
pub struct Stopped {
    pub stream: StreamKey,
    pub entry_id: String,
    pub id: MessageId,
    pub ticket: Ticket,
    /// It ends as cancelled instead of being held.
    pub cancel: bool,
}

/// What became of a stop that was to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopWritten {
    Written,
    /// It stands otherwise than the caller saw it.
    Changed,
    /// There are as many as can be.
    Full,
}

impl Store {
    /// All stops by their ids.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn stops(&self) -> Result<Vec<(String, Bytes)>, StoreError> {
        let client = self.commands.client();
        let all = client.hgetall::<Vec<(String, Bytes)>, _>(keys::STOPS);
        Ok(self.commands.ask(all).await?)
    }

    /// Writes a stop (`None` removes it) if it still stands as the caller saw it, and answers once that is kept.
    ///
    /// # Errors
    /// If Redis refuses, does not answer or does not keep it in time; the same call again is safe.
    pub async fn write_stop(
        &self,
        id: &str,
        seen: Option<Bytes>,
        stop: Option<Bytes>,
    ) -> Result<StopWritten, StoreError> {
        let wait = self.guard.wait(Durability::Local)?;
        let origin = if wait == Wait::Nothing { "" } else { "origin" };
        let args = vec![
            Value::from(id),
            bytes(stop.unwrap_or_default()),
            bytes(seen.unwrap_or_default()),
            number(STOPS_MAX as u64),
            Value::from(origin),
        ];
        let place = (keys::stops_slot(), Key::from_static_str(keys::STOPS_WAIT));
        let call = (vec![Key::from_static_str(keys::STOPS)], args);
        let answers = self.keep(&script::STOP_WRITE, call, 1, place, wait).await?;
        match answers.first().map(|(word, _)| word.as_str()) {
            Some("written") => Ok(StopWritten::Written),
            Some("changed") => Ok(StopWritten::Changed),
            Some("full") => Ok(StopWritten::Full),
            _ => Err(StoreError::bug("stop_write answered with another word")),
        }
    }

    /// Holds or ends messages of one shard by their entries of one stage; the answers are in order. The entries go. What Redis loses of
    /// it is met again. `act` is the `LoggedAct` of the person whose stop has met them, for the log.
    ///
    /// # Errors
    /// If Redis refuses or does not answer; the same call again is safe.
    pub async fn stop_entries(
        &self,
        shard: u16,
        stage: Stage,
        items: &[Stopped],
        act: Bytes,
    ) -> Result<Vec<Change>, StoreError> {
        let mut batch = Batch::default();
        batch.own(stage.group());
        batch.act(act);
        for item in items {
            if item.stream.stage != stage {
                return Err(StoreError::bug("an entry of another stage in a batch"));
            }
            let stream = batch.stream(&item.stream)?;
            let bytes = Item::new(item.id)
                .bytes(&millis(item.ticket.accepted_at))
                .u32(item.ticket.generation)
                .u8(item.cancel.into())
                .u16(stream)
                .text(&item.entry_id)?;
            batch.push(item.id, bytes);
        }
        self.change_batch(&script::STOP, shard, batch).await
    }

    /// Ends messages of one shard that no sender has claimed, since a stop says so; the answers are in order. `act` is the `LoggedAct` of
    /// a person that led to it, for the log.
    ///
    /// # Errors
    /// If Redis refuses or does not answer; the same call again is safe.
    pub async fn cancel_stopped(
        &self,
        shard: u16,
        ids: &[MessageId],
        act: Bytes,
    ) -> Result<Vec<Change>, StoreError> {
        let mut batch = Batch::default();
        batch.own(number(Reason::Stopped.code().into()));
        batch.act(act);
        for &id in ids {
            batch.push(id, Item::new(id));
        }
        self.keep_changes(&script::CANCEL, shard, batch).await
    }

    /// Puts held messages of one shard back into their queues; the answers are in order. `act` as above.
    ///
    /// # Errors
    /// If Redis refuses or does not answer; the same call again is safe.
    pub async fn release(
        &self,
        shard: u16,
        ids: &[MessageId],
        act: Bytes,
    ) -> Result<Vec<Change>, StoreError> {
        let streams = self.queued_streams(shard, ids).await?;
        let mut batch = Batch::default();
        batch.act(act);
        for (&id, stream) in ids.iter().zip(streams) {
            let number = batch.stream_or_none(stream.as_ref())?;
            batch.push(id, Item::new(id).u16(number));
        }
        self.ensure_groups(shard, batch.streams(), false).await?;
        self.keep_changes(&script::RELEASE, shard, batch).await
    }
}
