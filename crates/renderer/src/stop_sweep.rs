//! Brings stops to everything that waits, wherever it does, and lets go, or ends, what a released stop kept back.
//!
//! That nothing stopped is sent does not depend on it: nobody claims without a young copy of the stops. It makes a cancellation
//! final for what is scheduled, deferred and held, clears streams that nobody reads, and releases. Any renderer may do it; the
//! scripts let only the first one in. It goes through each shard in turn, a page at a time, and once more every half a minute
//! while a stop stands: what another release, or a process that was frozen, put there meanwhile is found then.
//!
//! A turn may take long, and people change their mind: before each script it looks whether the stops that it goes by are still
//! those of the copy. If not, it breaks off, and the next one begins with the new ones.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::record::State;
use paceline_domain::stop::{Freed, Said, StopMode, StopSet};
use paceline_kit::Shutdown;
use paceline_kit::stops::{self, Met, Stored};
use paceline_store::waiting_all::Place;
use paceline_store::{Change, Entry, EntryBody, Stage, Stopped, StoreError, StreamKey};

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
        let mut turn = Turn::by(stops);
        let mut failed = None;
        // A shard that does not answer keeps nothing back in the others.
        for shard in 0..self.shared.store.shards() {
            if let Err(error) = self.sweep(shard, &mut turn).await {
                failed = Some(error);
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        if turn.is_broken_off {
            return Ok(());
        }
        if turn.is_whole && turn.freed == 0 {
            self.forget(&turn.stops, now).await?;
        }
        self.swept = Some((turn.stops, now));
        Ok(())
    }

    /// In the order in which messages move on, so that none gets past.
    async fn sweep(&self, shard: u16, turn: &mut Turn) -> Result<(), StoreError> {
        if turn.stops.may_cancel() {
            self.sweep_set(shard, turn, Set::Later).await?;
        }
        self.sweep_streams(shard, turn).await?;
        self.sweep_set(shard, turn, Set::Held).await
    }

    /// False once the turn must break off.
    fn goes_on(&self, turn: &mut Turn) -> bool {
        let current = self.shared.stops.current();
        let is_current = current.is_some_and(|current| Arc::ptr_eq(&current, &turn.stops));
        turn.is_broken_off |= self.stop.is_requested() || !is_current;
        !turn.is_broken_off
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

    async fn sweep_streams(&self, shard: u16, turn: &mut Turn) -> Result<(), StoreError> {
        for stream in self.shared.store.active(shard).await? {
            if turn.stops.may_meet(&stream.tenant, stream.lane) {
                self.sweep_stream(shard, turn, &stream).await?;
            }
        }
        Ok(())
    }

    async fn sweep_stream(&self, shard: u16, turn: &mut Turn, stream: &StreamKey) -> Result<(), StoreError> {
        let mut after: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let store = &self.shared.store;
            let entries = store.look(shard, stream, after.as_deref(), PAGE).await?;
            for entries in entries.chunks(BATCH) {
                if !self.goes_on(turn) {
                    return Ok(());
                }
                self.stop_entries(shard, turn, stream, entries).await?;
            }
            if entries.len() < PAGE as usize {
                return Ok(());
            }
            after = entries.into_iter().next_back().map(|entry| entry.entry_id);
        }
        turn.is_whole = false;
        Ok(())
    }

    async fn stop_entries(
        &self,
        shard: u16,
        turn: &mut Turn,
        stream: &StreamKey,
        entries: &[Entry],
    ) -> Result<(), StoreError> {
        let ids: Vec<MessageId> = entries.iter().filter_map(id_of).collect();
        let with_tags = turn.stops.asks_for_tags();
        let stored = stops::stored(&self.shared.store, shard, &ids, with_tags).await?;
        let mut met = HashMap::new();
        for stored in stored
            .iter()
            .filter(|stored| stored.record.state == State::Queued)
        {
            if let Some((stop, mode)) = turn.stops.met_by(&stored.subject()) {
                met.insert(stored.id, (stop, mode));
                turn.freed += u64::from(stop.release.is_some());
            }
        }
        let mut stopped = Met::default();
        for entry in entries {
            if let EntryBody::Message { id, ticket, .. } = &entry.body
                && let Some((stop, mode)) = met.get(id)
            {
                let item = Stopped {
                    stream: entry.stream.clone(),
                    entry_id: entry.entry_id.clone(),
                    id: *id,
                    ticket: *ticket,
                    cancel: *mode == StopMode::Cancel,
                };
                stopped.add(stop, item);
            }
        }
        for (items, act) in stopped.batches(BATCH) {
            let store = &self.shared.store;
            let changes = store.stop_entries(shard, stream.stage, items, act).await?;
            self.shared.metrics.stopped(&changes);
        }
        Ok(())
    }

    /// Ends what a cancellation meets; of what is held, what was released goes its way. What is scheduled or deferred, and to be
    /// held, is met when it is due.
    async fn sweep_set(&self, shard: u16, turn: &mut Turn, set: Set) -> Result<(), StoreError> {
        let mut place = Place::default();
        for _ in 0..PAGES_MAX {
            let page = match set {
                Set::Later => self.shared.store.later_from(shard, place, PAGE).await?,
                Set::Held => self.shared.store.held_from(shard, place, PAGE).await?,
            };
            let ids: Vec<MessageId> = page.ids.iter().map(|(id, _)| *id).collect();
            let mut gone = HashSet::new();
            for ids in ids.chunks(BATCH) {
                if !self.goes_on(turn) {
                    return Ok(());
                }
                let with_tags = turn.stops.asks_for_tags();
                let stored = stops::stored(&self.shared.store, shard, ids, with_tags).await?;
                self.free(shard, turn, &stored, &mut gone).await?;
            }
            match page.next_without(|id| gone.contains(id)) {
                Some(next) => place = next,
                None => return Ok(()),
            }
        }
        turn.is_whole = false;
        Ok(())
    }

    /// Notes in `gone` what has left its set.
    async fn free(
        &self,
        shard: u16,
        turn: &mut Turn,
        stored: &[Stored],
        gone: &mut HashSet<MessageId>,
    ) -> Result<(), StoreError> {
        let mut ended: BTreeMap<&str, (&Said, Vec<MessageId>)> = BTreeMap::new();
        let mut released: BTreeMap<(&str, bool), (Freed<'_>, Vec<MessageId>)> = BTreeMap::new();
        for stored in stored {
            let subject = stored.subject();
            let freed = turn.stops.release_of(&subject);
            match freed.filter(|freed| freed.cancel || stored.record.state == State::Held) {
                Some(freed) => {
                    let key = (freed.stop.id.as_str(), freed.cancel);
                    released
                        .entry(key)
                        .or_insert((freed, Vec::new()))
                        .1
                        .push(stored.id);
                }
                None => {
                    if let Some((stop, StopMode::Cancel)) = turn.stops.met_by(&subject) {
                        let of_stop = ended.entry(&stop.id).or_insert_with(|| (stop.word(), Vec::new()));
                        of_stop.1.push(stored.id);
                    }
                }
            }
        }
        for (said, ids) in ended.values() {
            let act = paceline_wire::stops::act("cancel", said, ids.iter().copied());
            self.cancel(shard, ids, act, gone).await?;
        }
        let mut freed_now = 0;
        for (freed, ids) in released.values() {
            freed_now += ids.len() as u64;
            let name = if freed.cancel { "cancel" } else { "release" };
            let act = paceline_wire::stops::act(name, &freed.release.said, ids.iter().copied());
            if freed.cancel {
                self.cancel(shard, ids, act, gone).await?;
                continue;
            }
            let changes = self.shared.store.release(shard, ids, act).await?;
            let before = gone.len();
            gone.extend(moved(ids, &changes));
            self.shared.metrics.released(gone.len() - before);
            self.shared.store.hint(Stage::Queued);
        }
        drop(released);
        turn.freed += freed_now;
        Ok(())
    }

    async fn cancel(
        &self,
        shard: u16,
        ids: &[MessageId],
        act: Bytes,
        gone: &mut HashSet<MessageId>,
    ) -> Result<(), StoreError> {
        if !ids.is_empty() {
            let changes = self.shared.store.cancel_stopped(shard, ids, act).await?;
            self.shared.metrics.stopped(&changes);
            gone.extend(moved(ids, &changes));
        }
        Ok(())
    }
}

/// Once through everything.
struct Turn {
    stops: Arc<StopSet>,
    /// Messages that were found and that a released stop lets go, or ends.
    freed: u64,
    /// False if something lies behind the bound of pages.
    is_whole: bool,
    is_broken_off: bool,
}

impl Turn {
    const fn by(stops: Arc<StopSet>) -> Self {
        Self {
            stops,
            freed: 0,
            is_whole: true,
            is_broken_off: false,
        }
    }
}

#[derive(Clone, Copy)]
enum Set {
    Later,
    Held,
}

fn moved<'a>(ids: &'a [MessageId], changes: &'a [Change]) -> impl Iterator<Item = MessageId> + 'a {
    let both = ids.iter().zip(changes);
    both.filter_map(|(id, change)| matches!(change, Change::Moved(_)).then_some(*id))
}

const fn id_of(entry: &Entry) -> Option<MessageId> {
    match &entry.body {
        EntryBody::Message { id, .. } => Some(*id),
        EntryBody::Newer | EntryBody::Corrupt => None,
    }
}
