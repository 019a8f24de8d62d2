//! Reads one shard's queued streams: transactional before bulk, the streams of a lane in turn, and only those of which the
//! senders have not enough rendered.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use paceline_domain::lane::Lane;
use paceline_kit::Shutdown;
use paceline_store::{Stage, StoreError, StreamKey};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::batch::Batch;
use crate::shared::{Shared, pause_after_error};

/// Between two looks without a hint.
const POLL: Duration = Duration::from_millis(50);
/// How often what others have left is looked for, and drained streams are taken from the active ones.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);
/// Entries of one stream that are taken over in one round; each is rendered alone.
const RECLAIM_MAX: usize = 64;

pub(crate) struct Reader {
    shared: Arc<Shared>,
    shard: u16,
    /// Moves the streams that come first.
    turn: usize,
    kept_up_at: Instant,
    batches: JoinSet<()>,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, shard: u16) -> Self {
        Self {
            shared,
            shard,
            turn: 0,
            kept_up_at: Instant::now(),
            batches: JoinSet::new(),
        }
    }

    /// Reads until `stop`, then sees the batches that are under way to their end. A read is never cut off: its entries would
    /// be delivered to nobody.
    pub(crate) async fn run(mut self, stop: Shutdown) {
        while !stop.is_requested() {
            match self.look(&stop).await {
                Ok(0) => {
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
    }

    /// One look over all streams; says how many entries came.
    async fn look(&mut self, stop: &Shutdown) -> Result<usize, StoreError> {
        let mut streams = self.shared.store.active(self.shard).await?;
        streams.retain(|stream| stream.stage == Stage::Queued);
        // The set has no order; turns need one.
        streams.sort_unstable();
        self.turn = self.turn.wrapping_add(1);
        if self.kept_up_at.elapsed() >= UPKEEP_EVERY {
            self.kept_up_at = Instant::now();
            self.shared.store.retire(self.shard, &streams).await?;
            for stream in &streams {
                self.take_over(stream, stop).await?;
            }
        }
        let mut came = 0;
        for lane in Lane::ALL {
            let (asked, read) = self.read(lane, &streams, stop).await?;
            came += read;
            // Bulk only after transactional came back short.
            if asked > 0 && read >= asked {
                break;
            }
        }
        Ok(came)
    }

    /// Reads one lane; says how many entries were asked for, and how many came.
    async fn read(
        &mut self,
        lane: Lane,
        streams: &[StreamKey],
        stop: &Shutdown,
    ) -> Result<(usize, usize), StoreError> {
        let batch_max = self.shared.work.batch_max.get() as usize;
        let of_lane: Vec<&StreamKey> = streams.iter().filter(|stream| stream.lane == lane).collect();
        let mut chosen = Vec::new();
        for stream in of_lane
            .iter()
            .cycle()
            .skip(self.turn % of_lane.len().max(1))
            .take(of_lane.len())
        {
            if chosen.len() == batch_max {
                break;
            }
            if self.shared.room.is_left(self.shard, stream).await? {
                chosen.push((*stream).clone());
            } else {
                self.shared.metrics.withheld();
            }
        }
        if chosen.is_empty() {
            return Ok((0, 0));
        }
        // COUNT holds for each stream.
        let count = (batch_max / chosen.len()).max(1);
        self.wait_for_room(stop).await;
        let (store, name) = (&self.shared.store, &self.shared.name);
        let entries = store
            .read(
                self.shard,
                Stage::Queued,
                name,
                &chosen,
                u32::try_from(count).unwrap_or(1),
            )
            .await?;
        let read = entries.len();
        let mut took: HashMap<&StreamKey, u64> = HashMap::new();
        for entry in &entries {
            *took.entry(&entry.stream).or_default() += 1;
        }
        for (stream, count) in took {
            self.shared.room.took(self.shard, stream, count);
        }
        if read > 0 {
            let batch = Batch::new(Arc::clone(&self.shared), self.shard, stop.clone());
            self.batches.spawn(async move { batch.run(entries).await });
        }
        Ok((count * chosen.len(), read))
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
            if stop.is_requested() {
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
            let batch = Batch::new(Arc::clone(&self.shared), self.shard, stop.clone());
            batch.run(entries).await;
            if batch.has_met_errors() {
                return Ok(());
            }
        }
        Ok(())
    }
}
