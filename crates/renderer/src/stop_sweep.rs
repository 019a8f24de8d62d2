//! Brings stops to everything that waits, wherever it does, and lets go what a released stop held.
//!
//! That nothing stopped is sent does not depend on it: nobody claims without a young copy of the stops. It makes a cancellation
//! final for what is scheduled, deferred and held, clears streams that nobody reads, and releases. Any renderer may do it; the
//! scripts let only the first one in. It goes through each shard in turn, a page at a time, and once more every half a minute
//! while a stop stands: what another release, or a process that was frozen, put there meanwhile is found then.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::record::State;
use paceline_domain::stop::{Release, StopMode, StopSet};
use paceline_kit::Shutdown;
use paceline_kit::stops::{self, Stored};
use paceline_store::waiting_all::{Page, Place};
use paceline_store::{Change, Entry, EntryBody, Stage, Stopped, StoreError, StreamKey};
use paceline_wire::{convert, v1};
use prost::Message as _;

use crate::shared::{Shared, pause};

/// Between two looks at the stops.
const EVERY: Duration = Duration::from_millis(500);
/// Between two turns while nothing changes.
const TURN_EVERY: Duration = Duration::from_secs(30);
/// A released stop is forgotten after a turn that found nothing of it and began so long after it was seen to be released: twice
/// as long as anybody's copy is good for, who may hold something for its sake until then.
const SETTLED: Duration = Duration::from_secs(4);
/// Ids of one page, and of one script.
const PAGE: u32 = 512;
const BATCH: usize = 64;
/// Pages of one stream or set in one turn: two million messages.
const PAGES_MAX: u32 = 4_096;

pub(crate) struct Sweep {
    shared: Arc<Shared>,
    stop: Shutdown,
    /// What the last turn went by, and when it began, on the boot-time clock.
    swept: Option<(Arc<StopSet>, Duration)>,
    /// Since when stops are known to be released.
    released: HashMap<String, Duration>,
}

impl Sweep {
    pub(crate) fn new(shared: Arc<Shared>, stop: Shutdown) -> Self {
        Self {
            shared,
            stop,
            swept: None,
            released: HashMap::new(),
        }
    }

    /// Sweeps until the shutdown.
    pub(crate) async fn run(mut self) {
        while !self.stop.is_requested() {
            if let Err(error) = self.round().await {
                self.shared.metrics.store_error("stop_sweep");
                tracing::debug!(%error, "sweeping for the stops failed");
            }
            pause(EVERY, &self.stop).await;
        }
    }

    async fn round(&mut self) -> Result<(), StoreError> {
        let Some(stops) = self.shared.stops.current() else {
            return Ok(());
        };
        let now = self.shared.clock.boot();
        self.released
            .retain(|id, _| stops.released().any(|(stop, _)| stop.id == *id));
        for (stop, _) in stops.released() {
            self.released.entry(stop.id.clone()).or_insert(now);
        }
        if stops.is_empty() {
            self.swept = None;
            return Ok(());
        }
        let same = |(swept, at): &(Arc<StopSet>, Duration)| {
            Arc::ptr_eq(swept, &stops) && now.saturating_sub(*at) < TURN_EVERY
        };
        if self.released.is_empty() && self.swept.as_ref().is_some_and(same) {
            return Ok(());
        }
        let mut freed = 0;
        for shard in 0..self.shared.store.shards() {
            self.sweep_streams(shard, &stops).await?;
            self.sweep_later(shard, &stops).await?;
            freed += self.sweep_held(shard, &stops).await?;
        }
        if freed == 0 && !self.stop.is_requested() {
            self.forget(&stops, now).await?;
        }
        self.swept = Some((stops, now));
        Ok(())
    }

    /// Forgets released stops after a turn, begun at `began`, that found nothing of theirs.
    async fn forget(&self, stops: &StopSet, began: Duration) -> Result<(), StoreError> {
        for (stop, _) in stops.released() {
            let since = self.released.get(&stop.id);
            if since.is_some_and(|since| began.saturating_sub(*since) >= SETTLED) {
                let seen = paceline_wire::stops::pack(stop);
                self.shared.store.write_stop(&stop.id, Some(seen), None).await?;
                tracing::info!(stop = stop.id, "all that a released stop held is on its way");
            }
        }
        Ok(())
    }

    async fn sweep_streams(&self, shard: u16, stops: &StopSet) -> Result<(), StoreError> {
        for stream in self.shared.store.active(shard).await? {
            if !stops.may_meet(&stream.tenant, stream.lane) {
                continue;
            }
            let mut after: Option<String> = None;
            for _ in 0..PAGES_MAX {
                let store = &self.shared.store;
                let entries = store.look(shard, &stream, after.as_deref(), PAGE).await?;
                for entries in entries.chunks(BATCH) {
                    self.stop_entries(shard, stops, &stream, entries).await?;
                }
                if entries.len() < PAGE as usize || self.stop.is_requested() {
                    break;
                }
                after = entries.into_iter().next_back().map(|entry| entry.entry_id);
            }
        }
        Ok(())
    }

    async fn stop_entries(
        &self,
        shard: u16,
        stops: &StopSet,
        stream: &StreamKey,
        entries: &[Entry],
    ) -> Result<(), StoreError> {
        let ids: Vec<MessageId> = entries.iter().filter_map(id_of).collect();
        let stored = stops::stored(&self.shared.store, shard, &ids, stops.asks_for_tags()).await?;
        let met: HashMap<MessageId, StopMode> = stored
            .iter()
            .filter(|stored| stored.record.state == State::Queued)
            .filter_map(|stored| Some((stored.id, stops.verdict(&stored.subject())?)))
            .collect();
        let stopped = |entry: &Entry| match &entry.body {
            EntryBody::Message { id, ticket, .. } => Some(Stopped {
                stream: entry.stream.clone(),
                entry_id: entry.entry_id.clone(),
                id: *id,
                ticket: *ticket,
                cancel: *met.get(id)? == StopMode::Cancel,
            }),
            EntryBody::Newer | EntryBody::Corrupt => None,
        };
        let items: Vec<Stopped> = entries.iter().filter_map(stopped).collect();
        if !items.is_empty() {
            let store = &self.shared.store;
            let changes = store.stop_entries(shard, stream.stage, &items).await?;
            self.shared.metrics.stopped(&changes);
        }
        Ok(())
    }

    /// Only a cancellation reaches what waits for its time: what is to be held is met when it is due.
    async fn sweep_later(&self, shard: u16, stops: &StopSet) -> Result<(), StoreError> {
        if !stops.standing().any(|stop| stop.mode == StopMode::Cancel) {
            return Ok(());
        }
        let mut place = Place::default();
        for _ in 0..PAGES_MAX {
            let page = self.shared.store.later_from(shard, place, PAGE).await?;
            for stored in self.stored(shard, stops, &page).await? {
                let cancelled = stored
                    .iter()
                    .filter(|stored| stops.verdict(&stored.subject()) == Some(StopMode::Cancel));
                let ids: Vec<MessageId> = cancelled.map(|stored| stored.id).collect();
                self.cancel(shard, &ids, Bytes::new()).await?;
            }
            match page.next {
                Some(next) if !self.stop.is_requested() => place = next,
                _ => break,
            }
        }
        Ok(())
    }

    /// Ends what a cancellation meets, and what was released goes its way; returns how many messages were.
    async fn sweep_held(&self, shard: u16, stops: &StopSet) -> Result<u64, StoreError> {
        let mut place = Place::default();
        let mut freed = 0;
        for _ in 0..PAGES_MAX {
            let page = self.shared.store.held_from(shard, place, PAGE).await?;
            for stored in self.stored(shard, stops, &page).await? {
                freed += self.free(shard, stops, &stored).await?;
            }
            match page.next {
                Some(next) if !self.stop.is_requested() => place = next,
                _ => break,
            }
        }
        Ok(freed)
    }

    async fn free(&self, shard: u16, stops: &StopSet, stored: &[Stored]) -> Result<u64, StoreError> {
        let mut ended = Vec::new();
        let mut released: BTreeMap<&str, (&Release, Vec<MessageId>)> = BTreeMap::new();
        for stored in stored {
            let subject = stored.subject();
            if stops.verdict(&subject) == Some(StopMode::Cancel) {
                ended.push(stored.id);
            } else if let Some((stop, release)) = stops.release_of(&subject) {
                let ids = released.entry(&stop.id).or_insert_with(|| (release, Vec::new()));
                ids.1.push(stored.id);
            }
        }
        self.cancel(shard, &ended, Bytes::new()).await?;
        let mut freed = ended.len();
        for (release, ids) in released.values() {
            freed += ids.len();
            let act = act(release, ids);
            if release.cancel {
                self.cancel(shard, ids, act).await?;
            } else {
                let changes = self.shared.store.release(shard, ids, act).await?;
                let moved = changes.iter().filter(|change| matches!(change, Change::Moved(_)));
                self.shared.metrics.released(moved.count());
                self.shared.store.hint(Stage::Queued);
            }
        }
        Ok(freed as u64)
    }

    async fn cancel(&self, shard: u16, ids: &[MessageId], act: Bytes) -> Result<(), StoreError> {
        if !ids.is_empty() {
            let changes = self.shared.store.cancel_stopped(shard, ids, act).await?;
            self.shared.metrics.stopped(&changes);
        }
        Ok(())
    }

    /// The messages of a page, a script's worth at a time.
    async fn stored(&self, shard: u16, stops: &StopSet, page: &Page) -> Result<Vec<Vec<Stored>>, StoreError> {
        let ids: Vec<MessageId> = page.ids.iter().map(|(id, _)| *id).collect();
        let mut all = Vec::new();
        for ids in ids.chunks(BATCH) {
            all.push(stops::stored(&self.shared.store, shard, ids, stops.asks_for_tags()).await?);
        }
        Ok(all)
    }
}

const fn id_of(entry: &Entry) -> Option<MessageId> {
    match &entry.body {
        EntryBody::Message { id, .. } => Some(*id),
        EntryBody::Newer | EntryBody::Corrupt => None,
    }
}

/// What the log says of a release.
fn act(release: &Release, ids: &[MessageId]) -> Bytes {
    v1::LoggedAct {
        at: Some(convert::timestamp(release.said.at)),
        act: if release.cancel { "cancel" } else { "release" }.to_owned(),
        who: release.said.who.clone(),
        why: release.said.why.clone(),
        tenant: String::new(),
        message_ids: ids.iter().map(|id| Bytes::copy_from_slice(&id.0)).collect(),
    }
    .encode_to_vec()
    .into()
}
