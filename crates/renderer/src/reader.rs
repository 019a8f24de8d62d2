//! Reads one shard's queued streams: transactional before bulk, the streams of a lane in turn, and only those of which the
//! senders have not enough rendered.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use paceline_domain::lane::Lane;
use paceline_kit::Shutdown;
use paceline_store::{Entry, Listing, Stage, StoreError, StreamKey};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::batch::Batch;
use crate::shared::{Shared, pause_after_error};

/// Between two looks without a hint.
const POLL: Duration = Duration::from_millis(50);
/// How often drained streams are taken from the active ones, and what others have left is looked for in a part of the others:
/// in all of them in half of the time after which it may be taken over.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);
/// Entries of one stream that are taken over in one round; each is rendered alone.
const RECLAIM_MAX: usize = 64;
/// Where there are many streams, so much of each is read in its turn: a stream costs Redis as much as an entry.
const OF_EACH: usize = 4;

pub(crate) struct Reader {
    shared: Arc<Shared>,
    shard: u16,
    listing: Listing,
    /// The stream of each lane that was read last: those behind it come next.
    read_last: HashMap<Lane, StreamKey>,
    kept_up_at: Instant,
    /// The same for what others have left.
    kept_up_last: Option<StreamKey>,
    /// Streams of which a read brought nothing.
    drained: HashSet<StreamKey>,
    batches: JoinSet<()>,
    /// Held also by what was taken over last, until it is at its end.
    lone: Arc<()>,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, shard: u16) -> Self {
        Self {
            listing: Listing::new(shared.store.clone(), shard, Stage::Queued),
            shared,
            shard,
            read_last: HashMap::new(),
            kept_up_at: Instant::now(),
            kept_up_last: None,
            drained: HashSet::new(),
            batches: JoinSet::new(),
            lone: Arc::new(()),
        }
    }

    /// Reads until `stop`, then sees the batches that are under way to their end. A read is never cut off: its entries would
    /// be delivered to nobody.
    pub(crate) async fn run(mut self, stop: Shutdown) {
        while !stop.is_requested() {
            match self.look(&stop).await {
                Ok(0) => {
                    self.listing.forget();
                    tokio::select! {
                        () = stop.requested() => {}
                        () = self.shared.store.wait_hint(Stage::Queued, POLL) => {}
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    self.shared.metrics.store_error("read");
                    tracing::debug!(shard = self.shard, %error, "streams can't be read");
                    pause_after_error(&stop).await;
                }
            }
        }
        while self.batches.join_next().await.is_some() {}
        let fetching = &self.shared.attached.tasks;
        fetching.close();
        fetching.wait().await;
    }

    /// One look over all streams; says how many entries came.
    async fn look(&mut self, stop: &Shutdown) -> Result<usize, StoreError> {
        let streams = self.listing.streams().await?;
        if self.kept_up_at.elapsed() >= UPKEEP_EVERY {
            self.kept_up_at = Instant::now();
            let drained: Vec<StreamKey> = self.drained.drain().collect();
            self.shared.store.retire(self.shard, &drained).await?;
            for stream in part(
                &streams,
                self.kept_up_last.as_ref(),
                self.shared.work.reclaim_idle / 2,
            ) {
                self.take_over(&stream, stop).await?;
                self.kept_up_last = Some(stream);
            }
        }
        let mut came = 0;
        for lane in Lane::ALL {
            let (read, full) = self.read(lane, &streams, stop).await?;
            came += read;
            // Bulk only after transactional came back short.
            if full {
                break;
            }
        }
        Ok(came)
    }

    /// Reads one lane; says how many entries came, and whether there may be more.
    async fn read(
        &mut self,
        lane: Lane,
        streams: &[StreamKey],
        stop: &Shutdown,
    ) -> Result<(usize, bool), StoreError> {
        let mut entries = Vec::new();
        let full = self.fill(lane, streams, &mut entries, stop).await;
        let read = entries.len();
        // They are delivered, whatever became of the reads behind theirs.
        if read > 0 {
            let batch = Batch::new(Arc::clone(&self.shared), self.shard, stop.clone());
            self.batches.spawn(async move { batch.run(entries).await });
        }
        Ok((read, full?))
    }

    /// Reads the streams in turn until the batch is full or all have had their turn; true if the last ones gave all that was asked
    /// for.
    async fn fill(
        &mut self,
        lane: Lane,
        streams: &[StreamKey],
        entries: &mut Vec<Entry>,
        stop: &Shutdown,
    ) -> Result<bool, StoreError> {
        let batch_max = self.shared.work.batch_max.get() as usize;
        let mut in_turn = behind(streams, self.read_last.get(&lane));
        in_turn.retain(|stream| stream.lane == lane);
        let mut full = false;
        for streams in in_turn.chunks((batch_max / OF_EACH).max(1)) {
            let missing = batch_max - entries.len();
            if missing == 0 {
                break;
            }
            let mut chosen = self.with_room(streams).await?;
            chosen.truncate(missing);
            let Some(last) = chosen.last() else { continue };
            self.read_last.insert(lane, last.clone());
            self.wait_for_room(stop).await;
            // COUNT holds for each stream.
            let (count, asked) = (missing / chosen.len(), missing / chosen.len() * chosen.len());
            let more = self.read_streams(chosen, count).await?;
            full = more.len() >= asked;
            entries.extend(more);
        }
        Ok(full)
    }

    /// Those of the streams of which the senders have not enough rendered.
    async fn with_room(&self, streams: &[&StreamKey]) -> Result<Vec<StreamKey>, StoreError> {
        let left = self.shared.room.is_left(self.shard, streams).await?;
        let mut with_room = Vec::with_capacity(streams.len());
        for (&stream, left) in streams.iter().zip(left) {
            if left {
                with_room.push(stream.clone());
            } else {
                self.shared.metrics.withheld();
            }
        }
        Ok(with_room)
    }

    /// Reads up to `count` entries of each stream, and notes which had none.
    async fn read_streams(
        &mut self,
        streams: Vec<StreamKey>,
        count: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let (store, name) = (&self.shared.store, &self.shared.name);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let entries = store
            .read(self.shard, Stage::Queued, name, &streams, count)
            .await?;
        let mut took: HashMap<&StreamKey, u64> = HashMap::new();
        for entry in &entries {
            *took.entry(&entry.stream).or_default() += 1;
        }
        for stream in &streams {
            if let Some(&count) = took.get(stream) {
                self.shared.room.took(self.shard, stream, count);
            }
        }
        let drained = streams.iter().filter(|stream| !took.contains_key(stream));
        self.drained.extend(drained.cloned());
        Ok(entries)
    }

    /// Waits until fewer batches are under way than may be.
    async fn wait_for_room(&mut self, stop: &Shutdown) {
        while self.batches.len() >= self.shared.work.batches_max.get() {
            if let Some(Err(error)) = self.batches.join_next().await {
                // Its entries are still pending, and are taken over later.
                tracing::error!(shard = self.shard, %error, "a batch ended badly");
                pause_after_error(stop).await;
            }
        }
    }

    /// Takes over what another renderer has read and left, one by one: an entry that ends its renderer must not take its
    /// neighbours along. A failing store ends the round: each delivery counts against its entry, and those made while nothing
    /// can be brought to its end would have good mail buried.
    async fn take_over(&mut self, stream: &StreamKey, stop: &Shutdown) -> Result<(), StoreError> {
        let idle = self.shared.work.reclaim_idle;
        for _ in 0..RECLAIM_MAX {
            // The last one's files may still be fetched, which nobody here waits for.
            if stop.is_requested() || Arc::strong_count(&self.lone) > 1 {
                return Ok(());
            }
            let entries = self
                .shared
                .store
                .reclaim(self.shard, stream, &self.shared.name, idle, 1)
                .await?;
            if entries.is_empty() {
                return Ok(());
            }
            tracing::info!(%stream, "an entry taken over that another renderer had left");
            let (shared, lone) = (Arc::clone(&self.shared), Arc::clone(&self.lone));
            let batch = Batch::taken_over(shared, self.shard, stop.clone(), lone);
            Box::pin(batch.run(entries)).await;
            if batch.has_met_errors() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The streams in which to look this time for what others have left: those behind `last`, so many that all have had their turn
/// after `time`.
fn part(streams: &[StreamKey], last: Option<&StreamKey>, time: Duration) -> Vec<StreamKey> {
    let turns = usize::try_from(time.as_millis() / UPKEEP_EVERY.as_millis()).unwrap_or(usize::MAX);
    let count = streams.len().div_ceil(turns.max(1));
    behind(streams, last).into_iter().take(count).cloned().collect()
}

/// The streams, which are in order, from the one behind `last` on and around.
fn behind<'a>(streams: &'a [StreamKey], last: Option<&StreamKey>) -> Vec<&'a StreamKey> {
    let first = streams.partition_point(|stream| last.is_some_and(|last| stream <= last));
    streams[first..].iter().chain(&streams[..first]).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use paceline_domain::lane::Lane;
    use paceline_store::{Stage, StreamKey};

    use super::{behind, part};

    fn streams(tenants: &[&str]) -> Vec<StreamKey> {
        let stream = |tenant: &&str| StreamKey {
            stage: Stage::Queued,
            lane: Lane::Bulk,
            identity: "main".to_owned(),
            tenant: (*tenant).to_owned(),
        };
        tenants.iter().map(stream).collect()
    }

    fn tenants<'a>(streams: impl IntoIterator<Item = &'a StreamKey>) -> String {
        streams.into_iter().map(|stream| stream.tenant.as_str()).collect()
    }

    #[test]
    fn turns_go_on_behind_the_last_one_also_if_it_is_gone() {
        let all = streams(&["a", "b", "d", "e"]);
        let after = |tenant: &str| tenants(behind(&all, streams(&[tenant]).first()));
        assert_eq!(tenants(behind(&all, None)), "abde");
        assert_eq!(after("b"), "deab");
        assert_eq!(after("c"), "deab");
        assert_eq!(after("e"), "abde");
        assert_eq!(behind(&[], all.first()), Vec::<&StreamKey>::new());
    }

    #[test]
    fn all_streams_have_been_looked_at_in_time() {
        let all = streams(&["a", "b", "c", "d", "e", "f", "g"]);
        let mut last = None;
        let mut seen = String::new();
        for _ in 0..3 {
            let now = part(&all, last.as_ref(), Duration::from_secs(3));
            seen += &tenants(&now);
            last = now.last().cloned();
        }
        assert_eq!(seen, "abcdefgab");
        // Less than the time between two looks: all at once.
        assert_eq!(part(&all, last.as_ref(), Duration::from_millis(20)).len(), 7);
    }
}
