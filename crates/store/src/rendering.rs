//! What becomes of a queued message: handed to the senders, or not rendered.

use std::time::Duration;

use fred::interfaces::StreamsInterface;
use fred::types::Value;
use futures_util::future::join_all;
use paceline_domain::time::Millis;

use crate::batch::{Batch, Item, number};
use crate::keys::{Stage, StreamKey};
use crate::packed::{millis, pack_ticket};
use crate::script::{self, Script};
use crate::{Change, HandOff, HandOffError, Store, StoreError, Unrendered};

impl Store {
    /// Hands rendered messages of one shard to the senders, at least once; the claim refuses a second copy.
    ///
    /// Two flights, never one: rendered mail goes into the ready streams, and only the queued entries of what was answered
    /// with an id are acknowledged and deleted. As one pipeline this deleted mail when Redis was full. The bodies go by plain
    /// commands: Lua would copy and hash each.
    ///
    /// # Errors
    /// If nothing was tried. Else each message is answered for itself, in order. Where one failed, its queued entry is still
    /// there and is delivered again.
    pub async fn hand_off(
        &self,
        shard: u16,
        items: Vec<HandOff>,
    ) -> Result<Vec<Result<(), HandOffError>>, StoreError> {
        self.check_safe()?;
        self.ensure_groups(shard, &ready_streams(&items), true).await?;
        let added = join_all(items.iter().map(|item| self.add_ready(shard, item))).await;
        let both = items.iter().zip(&added);
        let handed_on = both.filter(|(_, added)| added.is_ok()).map(|(item, _)| item);
        let settled = self.settle_handed_off(shard, handed_on).await;
        let answer = |added: Result<(), StoreError>| {
            added.map_err(HandOffError::NotAdded)?;
            settled.clone().map_err(HandOffError::NotSettled)
        };
        Ok(added.into_iter().map(answer).collect())
    }

    /// The second flight of [`Store::hand_off`] alone, for what was answered with [`HandOffError::NotSettled`]: notes that
    /// the ready streams hold entries, and ends the queued ones.
    ///
    /// # Errors
    /// If Redis refuses or does not answer; the same call again is safe.
    pub async fn settle_handed_off(
        &self,
        shard: u16,
        items: impl IntoIterator<Item = &HandOff>,
    ) -> Result<(), StoreError> {
        let items: Vec<&HandOff> = items.into_iter().collect();
        let mut ended: Vec<(&StreamKey, Vec<String>)> = Vec::new();
        for item in &items {
            match ended.iter_mut().find(|(stream, _)| **stream == item.stream) {
                Some((_, ids)) => ids.push(item.entry_id.clone()),
                None => ended.push((&item.stream, vec![item.entry_id.clone()])),
            }
        }
        self.settle(
            shard,
            Stage::Queued,
            &ready_streams(items.iter().copied()),
            &ended,
        )
        .await
    }

    /// Logs what the ledger is to know before the message can be sent: at least once, as the hand-off itself.
    async fn log_before(&self, shard: u16, item: &HandOff) -> Result<(), StoreError> {
        for (field, value) in [("k", &item.kept), ("a", &item.act)] {
            if !value.is_empty() {
                let (client, log) = (self.commands.client(), self.keys.log(shard));
                let entry = vec![(field, value.clone())];
                let add = client.xadd::<Value, _, _, _, _>(log, false, None, "*", entry);
                self.commands.ask(add).await?;
            }
        }
        Ok(())
    }

    async fn add_ready(&self, shard: u16, item: &HandOff) -> Result<(), StoreError> {
        self.log_before(shard, item).await?;
        let ticket = bytes::Bytes::copy_from_slice(&pack_ticket(item.id, item.ticket));
        let rendered_at = bytes::Bytes::copy_from_slice(&millis(item.rendered_at));
        let mut fields = vec![("e", ticket), ("z", item.rendered.clone()), ("t", rendered_at)];
        fields.extend(item.to.as_ref().map(|to| ("s", to.pack())));
        let client = self.commands.client();
        let add = client.xadd::<Value, _, _, _, _>(
            self.keys.stream(shard, &item.stream.at(Stage::Ready)),
            false,
            None,
            "*",
            fields,
        );
        let added = self.commands.ask(add).await?;
        if added.is_null() {
            return Err(StoreError::bug("XADD answered without an id"));
        }
        Ok(())
    }

    /// Puts queued messages that can't be rendered among the dead letters; their entries go.
    ///
    /// # Errors
    /// If Redis refuses or does not answer.
    pub async fn bury(&self, shard: u16, items: Vec<Unrendered>) -> Result<Vec<Change>, StoreError> {
        self.end_queued(&script::BURY, shard, Batch::default(), &items)
            .await
    }

    /// The same of one message, with a `LoggedAct` that says in the log why; empty for none.
    ///
    /// # Errors
    /// As [`Store::bury`].
    pub async fn bury_one(
        &self,
        shard: u16,
        item: &Unrendered,
        act: bytes::Bytes,
    ) -> Result<Vec<Change>, StoreError> {
        let mut batch = Batch::default();
        batch.act(act);
        self.end_queued(&script::BURY, shard, batch, std::slice::from_ref(item))
            .await
    }

    /// Lets queued messages that can't be rendered now wait for `delay`; their entries go.
    ///
    /// # Errors
    /// If Redis refuses or does not answer.
    pub async fn postpone(
        &self,
        shard: u16,
        delay: Duration,
        items: Vec<Unrendered>,
    ) -> Result<Vec<Change>, StoreError> {
        let mut batch = Batch::default();
        batch.own(number((Millis(0) + delay).0));
        self.end_queued(&script::POSTPONE, shard, batch, &items).await
    }

    async fn end_queued(
        &self,
        script: &Script,
        shard: u16,
        mut batch: Batch,
        items: &[Unrendered],
    ) -> Result<Vec<Change>, StoreError> {
        for item in items {
            let stream = batch.stream(&item.stream)?;
            let bytes = Item::new(item.id)
                .bytes(&millis(item.ticket.accepted_at))
                .u32(item.ticket.generation)
                .u16(item.reason.code())
                .u16(stream)
                .text(&item.entry_id)?;
            batch.push(item.id, bytes);
        }
        self.change_batch(script, shard, batch).await
    }
}

fn ready_streams<'a>(items: impl IntoIterator<Item = &'a HandOff>) -> Vec<StreamKey> {
    let mut ready: Vec<_> = items
        .into_iter()
        .map(|item| item.stream.at(Stage::Ready))
        .collect();
    ready.sort_unstable();
    ready.dedup();
    ready
}
