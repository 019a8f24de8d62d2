//! Finding open messages that nothing names, and naming them again: what a person deleted, or a fault of ours left out.
//!
//! Every open message has its request, so the walk is over the requests. Whether a sorted set names a message, and whether the
//! active streams name its stream, is one look, made in the script that puts it back. Whether an entry names a queued one takes a walk over its streams, and that walk
//! must find the entry wherever it goes meanwhile: see [`Store::tickets`].

use bytes::Bytes;
use fred::interfaces::KeysInterface;
use fred::types::Value;
use paceline_domain::id::MessageId;
use paceline_domain::record::Ticket;

use crate::batch::{Batch, Item, number, record};
use crate::keys::{Stage, StreamKey};
use crate::packed::{millis, unpack_ticket};
use crate::script;
use crate::streams::list;
use crate::{Scrubbed, Store, StoreError, TicketPage};

impl Store {
    /// One page of a shard's messages that have a request, that is all open and dead ones, from `cursor` on (`"0"` at first).
    /// Redis looks at about `count` keys for it. Returns the next cursor, `"0"` at the end; what was there from the first
    /// page to the last is in one of them.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn scan_requests(
        &self,
        shard: u16,
        cursor: &str,
        count: u32,
    ) -> Result<(String, Vec<MessageId>), StoreError> {
        let prefix = self.keys.request_prefix(shard);
        let client = self.reader.client();
        let page = client.scan_page::<Value, _, _>(cursor, format!("{prefix}*"), Some(count), None);
        let mut parts = list(self.reader.ask(page).await?)?.into_iter();
        let next = parts.next().and_then(Value::into_string);
        let next = next.ok_or_else(|| StoreError::bug("SCAN answered without a cursor"))?;
        let keys = list(parts.next().unwrap_or(Value::Null))?;
        let ids = keys.into_iter().filter_map(|key| {
            let id: MessageId = key.as_str()?.strip_prefix(&prefix)?.parse().ok()?;
            (id.shard(self.shards()) == shard).then_some(id)
        });
        Ok((next, ids.collect()))
    }

    /// Which messages up to `count` entries of a stream name, after the entry `after` (from the first one on without).
    ///
    /// Who reads a queued stream to its end and then the ready one of the same lane, identity and tenant has seen every entry
    /// that was there all the while: an entry that moves goes to its stream's end or on to the ready stream, and its copy
    /// is there before it goes.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn tickets(
        &self,
        shard: u16,
        stream: &StreamKey,
        after: Option<&str>,
        count: u32,
    ) -> Result<TicketPage, StoreError> {
        let entries = self.first_fields(shard, stream, after, count).await?;
        let mut page = TicketPage {
            last: entries.last().map(|(id, _)| id.clone()),
            tickets: Vec::new(),
            others: false,
        };
        for (_, (name, value)) in entries {
            let ticket = (name == "e").then(|| unpack_ticket(&value)).flatten();
            match ticket {
                Some(ticket) => page.tickets.push(ticket),
                None => page.others = true,
            }
        }
        Ok(page)
    }

    /// Notes those streams that hold entries and that nobody would read, since they are not among the active ones; returns how
    /// many.
    ///
    /// # Errors
    /// If Redis refuses or does not answer.
    pub async fn activate(&self, shard: u16, streams: &[StreamKey]) -> Result<u64, StoreError> {
        let mut keys = vec![self.keys.active(shard)];
        keys.extend(streams.iter().map(|stream| self.keys.stream(shard, stream)));
        let noted = self.run(&script::ACTIVATE, keys, Vec::new()).await?;
        Ok(noted.as_u64().unwrap_or(0))
    }

    /// Up to `count` entries of a stream behind the entry `after`, oldest first: their ids, and the first field of each, which says
    /// what message it is of.
    pub(crate) async fn first_fields(
        &self,
        shard: u16,
        stream: &StreamKey,
        after: Option<&str>,
        count: u32,
    ) -> Result<Vec<(String, (String, Bytes))>, StoreError> {
        let from = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let keys = vec![self.keys.stream(shard, stream)];
        let args = vec![Value::from(from), number(count.into())];
        let mut parts = list(self.reader.run(&script::TICKETS, keys, args).await?)?.into_iter();
        let mut entries = Vec::with_capacity(parts.len() / 3);
        while let (Some(id), Some(name), Some(value)) = (parts.next(), parts.next(), parts.next()) {
            let id = id
                .into_string()
                .ok_or_else(|| StoreError::bug("an entry without its id"))?;
            // A name that is no text is none of ours.
            let name = name.into_string().unwrap_or_default();
            entries.push((id, (name, value.into_bytes().unwrap_or_default())));
        }
        Ok(entries)
    }

    /// Looks at messages of one shard and names those again that nothing names; the answers are in order. A ticket tells that
    /// no entry was found of that queued message.
    ///
    /// # Errors
    /// If Redis refuses or does not answer.
    pub async fn scrub(
        &self,
        shard: u16,
        items: &[(MessageId, Option<(StreamKey, Ticket)>)],
    ) -> Result<Vec<Scrubbed>, StoreError> {
        let mut batch = Batch::default();
        for (id, without_entry) in items {
            let queued = without_entry.as_ref().map(|(stream, _)| stream.at(Stage::Queued));
            let stream = batch.stream_or_none(queued.as_ref())?;
            let (accepted_at, generation) = without_entry
                .as_ref()
                .map_or_else(Default::default, |(_, ticket)| {
                    (ticket.accepted_at, ticket.generation)
                });
            let item = Item::new(*id)
                .bytes(&millis(accepted_at))
                .u32(generation)
                .u16(stream);
            batch.push(*id, item);
        }
        self.ensure_groups(shard, batch.streams(), false).await?;
        let answers = self.run_batch(&script::SCRUB, shard, batch).await?;
        let judged = answers.into_iter().map(|(word, packed)| {
            Ok(match word.as_str() {
                "named" | "newer" => Scrubbed::Named,
                "indexed" => Scrubbed::Indexed(record(&packed).ok()),
                "orphan" => Scrubbed::Orphan,
                _ => return Err(StoreError::bug(format!("a script answered {word}"))),
            })
        });
        judged.collect()
    }
}
