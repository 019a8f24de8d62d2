//! The log of transitions: what watchers read and the ledger copies.

use bytes::Bytes;
use fred::interfaces::StreamsInterface;
use fred::types::Value;

use crate::packed::{self, Transition};
use crate::streams;
use crate::{Store, StoreError};

impl Store {
    /// Up to `count` entries of the log after the entry `last` ("0" for the first that is kept), oldest first, each with the
    /// transitions of one script.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn log_since(
        &self,
        shard: u16,
        last: &str,
        count: u64,
    ) -> Result<Vec<(String, Vec<Transition>)>, StoreError> {
        let client = self.reader.client();
        let read = client.xread::<Value, _, _>(Some(count), None, self.keys.log(shard), last);
        let entries = streams::by_stream(self.reader.ask(read).await?)?;
        Ok(entries
            .into_iter()
            .flat_map(|(_, entries)| entries)
            .map(|(id, fields)| (id, transitions(&fields)))
            .collect())
    }

    /// The newest entry's id, to read on from; "0-0" if there is none.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn log_end(&self, shard: u16) -> Result<String, StoreError> {
        let client = self.commands.client();
        let newest = client.xrevrange::<Value, _, _, _>(self.keys.log(shard), "+", "-", Some(1));
        let entries = streams::entries(self.commands.ask(newest).await?)?;
        Ok(entries
            .into_iter()
            .next()
            .map_or_else(|| "0-0".to_owned(), |(id, _)| id))
    }
}

fn transitions(fields: &[(String, Bytes)]) -> Vec<Transition> {
    let field = |name: &str| fields.iter().find(|field| field.0 == name).map(|field| &*field.1);
    packed::unpack_transitions(field("e").unwrap_or_default(), field("r").unwrap_or_default())
}
