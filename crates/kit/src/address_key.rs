//! The deployment's key of the hashes that people are known by. Where one process has it, all need it, and the same one: a sender
//! without it would find nobody suppressed.

use anyhow::Context as _;
use paceline_domain::address::Address;
use paceline_domain::keyed::{self, AddressHash};
use paceline_store::{Store, StoreError};

use crate::secret::Secret;
use crate::settings::SettingsError;

const SETTING: &str = "address_key";

/// The key, of at least 32 bytes.
#[derive(Clone, Debug)]
pub struct AddressKey(Secret);

impl AddressKey {
    /// The setting `address_key`; `None` where it is empty, as in a deployment without feedback.
    ///
    /// # Errors
    /// If it is too short.
    pub fn read(setting: &Secret) -> Result<Option<Self>, SettingsError> {
        if setting.expose().is_empty() {
            return Ok(None);
        }
        setting.check_key(SETTING)?;
        Ok(Some(Self(setting.clone())))
    }

    /// The setting, held against the key of the others.
    ///
    /// # Errors
    /// If it is too short, another one than theirs, or Redis does not answer.
    pub async fn agreed(setting: &Secret, store: &Store) -> anyhow::Result<Option<Self>> {
        let key = Self::read(setting)?;
        Self::agree(key.as_ref(), store)
            .await
            .context("address_key can't be used")?;
        Ok(key)
    }

    #[must_use]
    pub fn hash(&self, address: &Address) -> AddressHash {
        keyed::address_hash(self.bytes(), address)
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.expose().as_bytes()
    }

    /// Holds this process's key against that of the others, which Redis has a fingerprint of.
    ///
    /// # Errors
    /// If it is another one, or there is none and others have one; or Redis does not answer.
    async fn agree(key: Option<&Self>, store: &Store) -> Result<(), StoreError> {
        match key {
            Some(key) => {
                store
                    .check_address_key(&keyed::key_fingerprint(key.bytes()))
                    .await
            }
            None if store.has_address_key().await? => Err(StoreError::Misconfigured {
                setting: SETTING,
                found: "nothing".to_owned(),
                remedy: "set the key that feedback has: without it, who is suppressed would be written to"
                    .to_owned(),
            }),
            None => Ok(()),
        }
    }
}
