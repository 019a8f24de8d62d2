//! Template bundles by their content hash, so that a message can pin the version it was accepted with.

use bytes::Bytes;
use fred::interfaces::KeysInterface;
use fred::types::Expiration;

use crate::keys;
use crate::{Store, StoreError};

/// A bundle outlives its last use by 400 days: longer than any message that could name it.
pub(crate) const KEPT_SECONDS: i64 = 400 * 24 * 60 * 60;

impl Store {
    /// Stores a bundle, or keeps a stored one for longer.
    ///
    /// # Errors
    /// If Redis does not take it.
    pub async fn put_bundle(&self, hash: &[u8; 32], bytes: Bytes) -> Result<(), StoreError> {
        let kept = Some(Expiration::EX(KEPT_SECONDS));
        let client = self.commands.client();
        let set = client.set::<(), _, _>(keys::bundle(hash), bytes, kept, None, false);
        Ok(self.commands.ask(set).await?)
    }

    /// The bundle of that hash.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn get_bundle(&self, hash: &[u8; 32]) -> Result<Option<Bytes>, StoreError> {
        Ok(self
            .reader
            .ask(self.reader.client().get(keys::bundle(hash)))
            .await?)
    }
}
