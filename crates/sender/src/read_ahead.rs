//! Reads one shard's ready streams into its buffer, somewhat ahead of what may be sent, and gives back what may not.
//!
//! Reading is not claiming: an entry that was read is pending in its stream, and another sender takes it over when it has been
//! left for some seconds. What is read is bounded by entries, bytes and what the key's rate takes away in two seconds; bulk gets
//! three quarters of each, so that a password reset finds room. Only streams whose key may send are read, transactional before
//! bulk, and bulk only after transactional came back short.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use paceline_domain::lane::Lane;
use paceline_domain::stop::StopSet;
use paceline_kit::Shutdown;
use paceline_store::{Entry, EntryBody, Listing, Stage, StoreError, StreamKey};
use tokio::time::Instant;

use crate::buffer::Held;
use crate::read_plan::{self, Reads};
use crate::shared::{Shard, Shared};
use crate::stopped;

/// Between two looks without a hint.
const POLL: Duration = Duration::from_millis(50);
/// Between two looks of which the first found less than it asked for: lets a batch form.
const PAUSE: Duration = Duration::from_millis(5);
/// The pause after Redis failed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(250);
/// The size of an entry before the first one was seen.
const ENTRY_BYTES: usize = 16 << 10;
/// Streams that are reclaimed from in one round.
const RECLAIM_STREAMS_MAX: usize = 32;
/// How long a stream's end is left alone before it is taken from the active ones.
const RETIRE_EVERY: Duration = Duration::from_secs(1);

pub(crate) struct Reader<P> {
    shared: Arc<Shared<P>>,
    shard: Arc<Shard>,
    listing: Listing,
    /// This shard's part of the bounds.
    entries_max: usize,
    bytes_max: usize,
    rate_max: Duration,
    /// Moves the streams that come first.
    turn: usize,
    entry_bytes: usize,
    reclaimed_at: Duration,
    /// Moves the streams that are reclaimed from.
    reclaim_turn: usize,
    /// Streams of which another sender had left more than there was room for.
    left: BTreeSet<StreamKey>,
    retired_at: Duration,
    /// Streams of which the last read brought less than was asked for.
    short: HashSet<StreamKey>,
    /// Identities of active streams that the settings do not have; told once.
    strangers: HashSet<String>,
    /// The stops by which the buffer was looked through.
    stops: Option<Arc<StopSet>>,
}

/// What a look brought.
struct Look {
    /// All that was asked for came: there is more.
    full: bool,
}

impl<P: Send + Sync + 'static> Reader<P> {
    pub(crate) fn new(shared: Arc<Shared<P>>, shard: Arc<Shard>) -> Self {
        let (limits, shards) = (shared.limits.read_ahead, shared.shards.len());
        let bytes_max = usize::try_from(limits.bytes_max.as_u64()).unwrap_or(usize::MAX);
        let now = shared.clock.boot();
        Self {
            entries_max: (limits.entries_max.get() / shards).max(1),
            bytes_max: (bytes_max / shards).max(1),
            rate_max: limits.rate_max / u32::try_from(shards).unwrap_or(1),
            listing: Listing::new(shared.store.clone(), shard.number, Stage::Ready),
            shared,
            shard,
            turn: 0,
            entry_bytes: ENTRY_BYTES,
            reclaimed_at: now,
            reclaim_turn: 0,
            left: BTreeSet::new(),
            retired_at: now,
            short: HashSet::new(),
            strangers: HashSet::new(),
            stops: None,
        }
    }

    /// Reads until `stop`, then gives back what was not claimed. A read is never cut off: its entries would be delivered to
    /// nobody.
    pub(crate) async fn run(mut self, stop: Shutdown) {
        while !stop.is_requested() {
            let began = Instant::now();
            match self.look().await {
                Ok(Look { full: true }) => {
                    tokio::select! {
                        () = stop.requested() => {}
                        () = self.shard.low.notified() => {}
                        () = tokio::time::sleep(POLL) => {}
                    }
                }
                Ok(Look { full: false }) => {
                    tokio::select! {
                        () = stop.requested() => {}
                        () = self.shared.store.wait_hint(Stage::Ready, POLL) => {}
                    }
                    tokio::time::sleep_until(began + PAUSE).await;
                }
                Err(error) => {
                    self.shared.metrics.store_error("read");
                    tracing::debug!(shard = self.shard.number, %error, "streams can't be read");
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
        let left = self.shard.buffer().remove(|_| true);
        self.give_back(left).await;
    }

    async fn look(&mut self) -> Result<Look, StoreError> {
        let streams = self.active().await?;
        self.give_back_unwanted().await;
        self.take_out_stopped().await;
        // What is taken over is demand like what is read.
        let mut full = self.reclaim(&streams).await?;
        self.short.retain(|stream| streams.binary_search(stream).is_ok());
        let mut drained = HashSet::new();
        let (mut came_short, mut came) = (true, 0);
        for lane in Lane::ALL {
            if !came_short {
                break;
            }
            let reads = self.plan(&streams, lane);
            let asked = read_plan::asked(&reads);
            let counts = self.read(&reads).await?;
            let read: usize = counts.values().sum();
            came_short = read < asked || asked == 0;
            came += read;
            // The next look begins with those that were not dealt anything.
            self.turn = self.turn.wrapping_add(reads.values().map(Vec::len).sum());
            for (count, streams) in reads {
                for stream in streams {
                    let read = counts.get(&stream).copied().unwrap_or(0);
                    if read >= count as usize {
                        self.short.remove(&stream);
                        full.insert(stream.identity);
                        continue;
                    }
                    self.short.insert(stream.clone());
                    if read == 0 {
                        drained.insert(stream);
                    }
                }
            }
        }
        self.tell_demand(&streams, &full);
        self.retire(drained).await?;
        if came == 0 {
            self.listing.forget();
        }
        self.shard.filled(self.shard.buffer().entries());
        Ok(Look {
            full: !full.is_empty(),
        })
    }

    /// The ready streams that hold entries, of identities that this sender has.
    async fn active(&mut self) -> Result<Vec<StreamKey>, StoreError> {
        let mut streams = self.listing.streams().await?.to_vec();
        streams.retain(|stream| {
            let known = self.shared.pacing.knows(&stream.identity);
            if !known && self.strangers.insert(stream.identity.clone()) {
                tracing::warn!(
                    identity = stream.identity,
                    "mail of an identity that the settings do not have is left to other senders, and to its time"
                );
            }
            known
        });
        Ok(streams)
    }

    /// What to read of one lane, for the room that there is.
    fn plan(&self, streams: &[StreamKey], lane: Lane) -> Reads {
        let streams: Vec<&StreamKey> = streams.iter().filter(|stream| stream.lane == lane).collect();
        let buffer = self.shard.buffer();
        let bytes_left = share(self.bytes_max, lane).saturating_sub(buffer.bytes());
        let held = match lane {
            Lane::Transactional => buffer.entries(),
            Lane::Bulk => buffer.entries_in(Lane::Bulk),
        };
        let room = share(self.entries_max, lane)
            .saturating_sub(held)
            .min(self.entries_max.saturating_sub(buffer.entries()))
            .min(bytes_left.div_ceil(self.entry_bytes));
        let room_of = |identity: &str| {
            let room = self.shared.pacing.room(identity, lane, self.rate_max);
            if room == 0 {
                return 0;
            }
            share(room, lane).saturating_sub(buffer.entries_of(identity, lane))
        };
        // A stream that had no more takes its turn, but no room before the others: it may still be empty.
        let most = streams
            .iter()
            .map(|stream| buffer.entries_in_stream(stream))
            .max()
            .unwrap_or(0);
        let held = |stream: &StreamKey| {
            if self.short.contains(stream) {
                most
            } else {
                buffer.entries_in_stream(stream)
            }
        };
        read_plan::deal(&streams, room, room_of, held, self.turn)
    }

    /// Reads into the buffer; says how many entries came of each stream.
    async fn read(&mut self, reads: &Reads) -> Result<HashMap<StreamKey, usize>, StoreError> {
        let (shared, shard) = (&self.shared, &self.shard);
        let flights = reads.iter().map(|(&count, streams)| {
            shared
                .store
                .read(shard.number, Stage::Ready, &shared.limits.name, streams, count)
        });
        let mut counts: HashMap<StreamKey, usize> = HashMap::new();
        let mut failed = None;
        // Each answer counts, whatever became of the others: its entries are delivered.
        for answer in join_all(flights).await {
            match answer {
                Ok(entries) => {
                    for entry in &entries {
                        *counts.entry(entry.stream.clone()).or_default() += 1;
                    }
                    self.keep(entries).await;
                }
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(counts), Err)
    }

    async fn keep(&mut self, entries: Vec<Entry>) {
        let read_at = self.shared.clock.boot();
        let mut foreign: HashMap<StreamKey, Vec<String>> = HashMap::new();
        let mut bytes = 0;
        let mut kept = Vec::with_capacity(entries.len());
        for entry in entries {
            match entry.body {
                EntryBody::Message {
                    id,
                    ticket,
                    rendered,
                    to,
                    rendered_at,
                } => {
                    // Without its parts it is claimed all the same, and ends among the dead letters.
                    let rendered = rendered.unwrap_or_default();
                    bytes += rendered.len();
                    kept.push(Held {
                        stream: entry.stream,
                        entry_id: entry.entry_id,
                        id,
                        ticket,
                        rendered,
                        to,
                        rendered_at,
                        read_at,
                    });
                }
                // Left pending: whoever reclaims it may be of its release.
                EntryBody::Newer => tracing::debug!(stream = %entry.stream, "entry of a newer release"),
                EntryBody::Corrupt => {
                    tracing::error!(stream = %entry.stream, entry = entry.entry_id, "entry that is none of ours is dropped");
                    foreign.entry(entry.stream).or_default().push(entry.entry_id);
                }
            }
        }
        if let Some(mean) = bytes.checked_div(kept.len()) {
            if let Some(stops) = self.shared.stops.current() {
                kept = stopped::part(&self.shared, &self.shard, &stops, kept, |held| held).await;
            }
            for held in kept {
                self.shard.buffer().push(held);
            }
            self.entry_bytes = mean.max(self.entry_bytes * 9 / 10).max(1);
            self.shard.ready.notify_one();
        }
        for (stream, ids) in foreign {
            if let Err(error) = self
                .shared
                .store
                .drop_entries(self.shard.number, &stream, &ids)
                .await
            {
                tracing::debug!(%stream, %error, "entries can't be dropped");
            }
        }
    }

    /// Gives back what may not be sent soon (no rate, a closed key, far more than its rate and budget take away), and what has been
    /// here for so long that another sender is about to take it over. An identity whose rate went down would else keep the
    /// room of the others for as long.
    async fn give_back_unwanted(&self) {
        let now = self.shared.clock.boot();
        let kept_max = self.shared.limits.read_ahead.reclaim_idle / 2;
        // What each identity may keep of each lane: twice its room, so that a rate that goes up and down moves nothing.
        let mut keeps: HashMap<(String, Lane), usize> = HashMap::new();
        let unwanted = self.shard.buffer().remove(|held| {
            let (identity, lane) = (&held.stream.identity, held.stream.lane);
            let keep = keeps.entry((identity.clone(), lane)).or_insert_with(|| {
                self.shared
                    .pacing
                    .room(identity, lane, self.rate_max)
                    .saturating_mul(2)
            });
            let is_kept = *keep > 0 && now.saturating_sub(held.read_at) <= kept_max;
            *keep -= usize::from(is_kept);
            !is_kept
        });
        self.give_back(unwanted).await;
    }

    /// Takes out what a stop meets that was not there when it was read.
    async fn take_out_stopped(&mut self) {
        let Some(stops) = self.shared.stops.current() else {
            return;
        };
        if self
            .stops
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, &stops))
        {
            return;
        }
        let met = self
            .shard
            .buffer()
            .remove(|held| stopped::met_by(&stops, held).is_some());
        stopped::part(&self.shared, &self.shard, &stops, met, |held| held).await;
        self.stops = Some(stops);
    }

    async fn give_back(&self, entries: Vec<Held>) {
        let mut streams: HashMap<StreamKey, Vec<String>> = HashMap::new();
        self.shared.metrics.given_back(entries.len());
        for held in entries {
            streams.entry(held.stream).or_default().push(held.entry_id);
        }
        for (stream, ids) in streams {
            if let Err(error) = self
                .shared
                .store
                .give_back(self.shard.number, &stream, &ids)
                .await
            {
                tracing::debug!(%stream, %error, "entries can't be given back, they are reclaimed later");
            }
        }
    }

    /// Takes over what others have read and left, as far as there is room. Streams of which more was left than there was room
    /// for are looked at each time, the others now and then. Says of which identities there is more: they want a rate for it.
    async fn reclaim(&mut self, streams: &[StreamKey]) -> Result<BTreeSet<String>, StoreError> {
        let now = self.shared.clock.boot();
        let idle = self.shared.limits.read_ahead.reclaim_idle;
        self.left.retain(|stream| streams.binary_search(stream).is_ok());
        let mut candidates: Vec<StreamKey> = self.left.iter().cloned().collect();
        if now.saturating_sub(self.reclaimed_at) >= idle / 2 && !streams.is_empty() {
            self.reclaimed_at = now;
            let in_turn = streams.iter().cycle().skip(self.reclaim_turn % streams.len());
            candidates.extend(in_turn.take(streams.len().min(RECLAIM_STREAMS_MAX)).cloned());
            self.reclaim_turn = self.reclaim_turn.wrapping_add(RECLAIM_STREAMS_MAX);
        }
        for stream in candidates {
            let plan = self.plan(std::slice::from_ref(&stream), stream.lane);
            let Some((&count, _)) = plan.first_key_value() else {
                continue;
            };
            let (store, name) = (&self.shared.store, &self.shared.limits.name);
            let entries = store
                .reclaim(self.shard.number, &stream, name, idle, count)
                .await?;
            if !entries.is_empty() {
                tracing::info!(%stream, entries = entries.len(), "entries taken over that another sender had left");
            }
            if entries.len() >= count as usize {
                self.left.insert(stream);
            } else {
                self.left.remove(&stream);
            }
            self.keep(entries).await;
        }
        Ok(self.left.iter().map(|stream| stream.identity.clone()).collect())
    }

    /// Tells each key what waits for it: it wants at least something while its streams hold mail, and all that it can use while
    /// there is more than was read.
    fn tell_demand(&self, streams: &[StreamKey], full: &BTreeSet<String>) {
        let identities: BTreeSet<&str> = streams.iter().map(|stream| stream.identity.as_str()).collect();
        for identity in identities {
            let unread = self
                .shared
                .pacing
                .room(identity, Lane::Transactional, self.rate_max)
                == 0;
            self.shared
                .pacing
                .saw(identity, unread || full.contains(identity));
        }
    }

    /// Takes streams from the active ones that had nothing to read and of which nothing is held. The script looks again.
    async fn retire(&mut self, drained: HashSet<StreamKey>) -> Result<(), StoreError> {
        let now = self.shared.clock.boot();
        if drained.is_empty() || now.saturating_sub(self.retired_at) < RETIRE_EVERY {
            return Ok(());
        }
        self.retired_at = now;
        let ended: Vec<StreamKey> = {
            let buffer = self.shard.buffer();
            drained
                .into_iter()
                .filter(|stream| !buffer.holds(stream))
                .collect()
        };
        self.shared.store.retire(self.shard.number, &ended).await?;
        Ok(())
    }
}

/// A lane's part of a bound.
fn share(bound: usize, lane: Lane) -> usize {
    match lane {
        Lane::Transactional => bound,
        Lane::Bulk => (bound * 3 / 4).max(1),
    }
}
