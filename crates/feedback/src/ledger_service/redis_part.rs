//! The part of an erasure that is in Redis: what waits to be sent to a person, and what was rendered of it.

use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::keyed::AddressHash;
use paceline_domain::record::{Record, State};
use paceline_domain::time::Millis;
use paceline_ledger::{Erased, Erasure};
use paceline_store::{Change, EntryBody, Stage, Store, StoreError, StreamKey};
use paceline_wire::status::RpcError;
use paceline_wire::{convert, v1};
use prost::Message as _;

use crate::asked::{PeopleKey, of_store};

/// Requests of one look.
const LOOK: u32 = 256;
/// Requests that are in memory at a time: each may have attachments.
const REQUESTS_MAX: usize = 16;
/// Entries of a ready stream in one look, and looks: a renderer fills no stream with more than seconds of its rate.
const ENTRIES: u32 = 1_000;
const LOOKS_MAX: u32 = 1_000;

/// Whose it is.
pub(super) struct RedisPart<'a> {
    pub(super) store: &'a Store,
    pub(super) people: &'a PeopleKey,
    pub(super) tenant: &'a str,
    pub(super) address: AddressHash,
}

impl RedisPart<'_> {
    /// The person's messages among the next requests of a shard, and the next cursor, "0" at the end.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub(super) async fn look(&self, shard: u16, cursor: &str) -> Result<(String, Vec<MessageId>), RpcError> {
        let of_store = |error: StoreError| of_store(&error);
        let looked = self.store.scan_requests(shard, cursor, LOOK).await;
        let (next, ids) = looked.map_err(of_store)?;
        let mut found = Vec::new();
        for ids in ids.chunks(REQUESTS_MAX) {
            let requests = self.store.requests(shard, ids).await.map_err(of_store)?;
            let both = ids.iter().zip(requests);
            found.extend(both.filter_map(|(id, request)| self.is_theirs(request?).then_some(*id)));
        }
        Ok((next, found))
    }

    /// What can't be read is nobody's: it can't be sent either, and a person finds it among the dead letters.
    fn is_theirs(&self, request: Bytes) -> bool {
        let Ok(request) = v1::StoredRequest::decode(request) else {
            return false;
        };
        let address = request
            .recipient
            .as_ref()
            .and_then(|to| convert::mailbox(to).ok());
        request.tenant == self.tenant
            && address.is_some_and(|to| self.people.hash(to.address()) == self.address)
    }

    /// Counts what [`RedisPart::erase`] would do.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub(super) async fn count(
        &self,
        shard: u16,
        found: &[MessageId],
        counted: &mut Erased,
    ) -> Result<(), RpcError> {
        let records = self.store.get_readable(shard, found).await;
        let records = records.map_err(|error| of_store(&error))?;
        for record in records.into_iter().flatten() {
            match record.state {
                State::Scheduled | State::Queued | State::Deferred | State::Held => counted.cancelled += 1,
                State::Dead | State::InDoubt => counted.discarded += 1,
                State::Sending => counted.sending += 1,
                _ => {}
            }
        }
        Ok(())
    }

    /// Ends those that wait and takes their rendered copies away; what was done, and to which acceptances.
    ///
    /// # Errors
    /// If Redis does not answer: then some of it may be done.
    pub(super) async fn erase(
        &self,
        shard: u16,
        found: &[MessageId],
        erasure: &Erasure,
    ) -> Result<(Erased, Vec<(MessageId, Millis)>), RpcError> {
        let mut erased = Erased::default();
        let mut taken = Vec::new();
        if found.is_empty() {
            return Ok((erased, taken));
        }
        let logged = logged(erasure, found);
        let changes = self.store.erase_all(shard, found, logged).await;
        let changes = changes.map_err(|error| of_store(&error))?;
        let mut streams: Vec<StreamKey> = Vec::new();
        for (id, change) in found.iter().zip(changes) {
            match change {
                Change::Moved(record) => {
                    match record.state {
                        State::Cancelled => erased.cancelled += 1,
                        _ => erased.discarded += 1,
                    }
                    taken.push((*id, record.accepted_at));
                    streams.push(StreamKey::of(&record, Stage::Ready));
                }
                Change::Unchanged(record) => erased.sending += u64::from(is_on_its_way(&record)),
                Change::Missing | Change::Newer | Change::Corrupt => {}
            }
        }
        streams.sort_unstable();
        streams.dedup();
        let ids: Vec<MessageId> = taken.iter().map(|(id, _)| *id).collect();
        for stream in streams {
            let dropped = self.drop_rendered(shard, &stream, &ids).await;
            erased.ready += dropped.map_err(|error| of_store(&error))?;
        }
        Ok((erased, taken))
    }

    /// Drops the rendered copies of these messages. What a renderer adds after this is dropped by whoever reads it next.
    async fn drop_rendered(
        &self,
        shard: u16,
        stream: &StreamKey,
        ids: &[MessageId],
    ) -> Result<u64, StoreError> {
        let mut after: Option<String> = None;
        let mut dropped = 0;
        for _ in 0..LOOKS_MAX {
            let entries = self.store.look(shard, stream, after.as_deref(), ENTRIES).await?;
            let Some(last) = entries.last().map(|entry| entry.entry_id.clone()) else {
                break;
            };
            let theirs = |body: &EntryBody| matches!(body, EntryBody::Message { id, .. } if ids.contains(id));
            let theirs: Vec<String> = entries
                .into_iter()
                .filter(|entry| theirs(&entry.body))
                .map(|entry| entry.entry_id)
                .collect();
            if !theirs.is_empty() {
                self.store.drop_entries(shard, stream, &theirs).await?;
                dropped += theirs.len() as u64;
            }
            after = Some(last);
        }
        Ok(dropped)
    }
}

fn is_on_its_way(record: &Record) -> bool {
    record.state == State::Sending
}

/// What the shard's log says beside the transitions.
fn logged(erasure: &Erasure, ids: &[MessageId]) -> Bytes {
    v1::LoggedAct {
        at: Some(convert::timestamp(erasure.at)),
        act: "erase".to_owned(),
        who: erasure.who.clone(),
        why: erasure.why.clone(),
        tenant: erasure.tenant.clone(),
        message_ids: ids.iter().map(|id| Bytes::copy_from_slice(&id.0)).collect(),
    }
    .encode_to_vec()
    .into()
}
