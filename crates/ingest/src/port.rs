//! What ingest needs of the store to accept messages: a trait, so that tests can be the slow or failing store.

use paceline_domain::id::MessageId;
use paceline_domain::record::Record;
use paceline_store::{Durability, Enqueued, NewMessage, Stage, Store, StoreError};

/// Where messages are kept.
pub(crate) trait Messages: Clone + Send + Sync + 'static {
    /// Stores messages of one shard in one atomic step, and answers for each, in order.
    fn write(
        &self,
        shard: u16,
        messages: Vec<NewMessage>,
    ) -> impl Future<Output = Result<Vec<Enqueued>, StoreError>> + Send;

    /// True if the store can keep messages at this level.
    fn reaches(&self, level: Durability) -> bool;

    /// The message's record, if there is one.
    fn find(&self, id: MessageId) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send;
}

impl Messages for Store {
    async fn write(&self, shard: u16, messages: Vec<NewMessage>) -> Result<Vec<Enqueued>, StoreError> {
        let answers = self.enqueue(shard, messages).await?;
        self.hint(Stage::Queued);
        Ok(answers)
    }

    fn reaches(&self, level: Durability) -> bool {
        Self::reaches(self, level)
    }

    async fn find(&self, id: MessageId) -> Result<Option<Record>, StoreError> {
        self.get(id).await
    }
}
