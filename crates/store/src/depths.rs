//! How much is where, for the queue command and the metrics.

use fred::interfaces::{SortedSetsInterface, StreamsInterface};
use fred::types::Value;
use futures_util::future::try_join_all;
use paceline_domain::time::Millis;

use crate::keys::{StreamKey, Waiting};
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
        let length = self.reader.client().xlen(self.keys.stream(shard, stream));
        Ok(self.reader.ask(length).await?)
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
