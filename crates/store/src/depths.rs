//! How much is where, for the queue command and the metrics.

use fred::interfaces::{SortedSetsInterface, StreamsInterface};
use fred::types::Value;
use futures_util::future::try_join_all;
use paceline_domain::time::Millis;

use crate::batch::BATCH_MAX;
use crate::keys::{StreamKey, Waiting};
use crate::script;
use crate::store::is_code;
use crate::streams::{entries, list};
use crate::{Depths, Store, StoreError, StreamDepth};

impl Store {
    /// How much is in each active stream and in the sets of waiting ids, over all shards. The parts are read one after the
    /// other: a message that moves meanwhile may be seen twice or not at all.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn depths(&self) -> Result<Depths, StoreError> {
        let mut depths = Depths::default();
        for shard in 0..self.shards() {
            let streams = self.active(shard).await?;
            let streams = streams.into_iter().map(|stream| self.stream_depth(shard, stream));
            depths.streams.extend(try_join_all(streams).await?);
            for waiting in Waiting::ALL {
                let client = self.reader.client();
                let count: u64 = self
                    .reader
                    .ask(client.zcard(self.keys.waiting(shard, waiting)))
                    .await?;
                *match waiting {
                    Waiting::Open => &mut depths.open,
                    Waiting::Later => &mut depths.later,
                    Waiting::Doubt => &mut depths.doubt,
                    Waiting::Dead => &mut depths.dead,
                    Waiting::Held => &mut depths.held,
                } += count;
            }
        }
        Ok(depths)
    }

    /// How many entries a stream holds.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn backlog(&self, shard: u16, stream: &StreamKey) -> Result<u64, StoreError> {
        let client = self.reader.client();
        let length = client.xlen(self.keys.stream(shard, stream));
        Ok(self.reader.ask(length).await?)
    }

    /// How many entries each of a shard's streams holds, in order, asked for in as few commands as may be.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn backlogs(&self, shard: u16, streams: &[StreamKey]) -> Result<Vec<u64>, StoreError> {
        if let [stream] = streams {
            return Ok(vec![self.backlog(shard, stream).await?]);
        }
        let mut backlogs = Vec::with_capacity(streams.len());
        for streams in streams.chunks(BATCH_MAX) {
            let keys = streams.iter().map(|stream| self.keys.stream(shard, stream));
            let lengths = self.reader.run(&script::LENGTHS, keys.collect(), Vec::new());
            let lengths = list(lengths.await?)?;
            if lengths.len() != streams.len() {
                return Err(StoreError::bug("lengths of another number of streams"));
            }
            backlogs.extend(lengths.iter().map(|length| length.as_u64().unwrap_or(0)));
        }
        Ok(backlogs)
    }

    async fn stream_depth(&self, shard: u16, stream: StreamKey) -> Result<StreamDepth, StoreError> {
        let client = self.reader.client();
        let key = self.keys.stream(shard, &stream);
        let backlog: u64 = self.reader.ask(client.xlen(key.clone())).await?;
        let summary = client.xpending::<Value, _, _, _>(key.clone(), stream.stage.group(), ());
        let pending = match self.reader.ask(summary).await {
            Err(error) if is_code(&error, "NOGROUP") => 0,
            summary => list(summary?)?.first().and_then(Value::as_u64).unwrap_or(0),
        };
        let oldest = client.xrange::<Value, _, _, _>(key, "-", "+", Some(1));
        let oldest = entries(self.reader.ask(oldest).await?)?;
        let came = oldest
            .first()
            .and_then(|(id, _)| id.split('-').next()?.parse().ok())
            .map(Millis);
        Ok(StreamDepth {
            shard,
            stream,
            backlog,
            pending,
            oldest: came,
        })
    }
}
