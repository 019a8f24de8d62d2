//! Which templates are published: what services that follow it may use, beside their directories.
//!
//! A field is `name@version`. Its value is a format byte, 1, the hash of the bundle, and that of the files as they were written. The field `rev` changes with every change, so that
//! who looks every two seconds reads one field. All of it stands in the slot of the bundles, which are written first: a Redis
//! that loses its newest writes loses an announcement no later than its bundle.

use std::collections::BTreeSet;

use bytes::Bytes;
use fred::interfaces::{HashesInterface, KeysInterface};
use fred::types::Value;

use crate::batch::bytes;
use crate::bundles::KEPT_SECONDS;
use crate::keys;
use crate::{Store, StoreError};

const FORMAT: u8 = 1;
const REVISION: &str = "rev";

/// The templates that are announced at a time, each version for itself: as many as a directory may have.
pub const ANNOUNCED_MAX: usize = 2_000;

/// A version of a template that may be used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Announced {
    /// Of [a-z0-9_-].
    pub name: String,
    pub version: u32,
    /// Of its bundle.
    pub hash: [u8; 32],
    /// Of the files as they were written, whatever a release builds of them.
    pub authored: [u8; 32],
}

/// All that stands announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcements {
    pub announced: Vec<Announced>,
    /// Fields that this release can't read: a newer one may have written them.
    pub unreadable: Vec<String>,
}

impl Store {
    /// What changes whenever what is announced does; `None` if nothing is.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn announcements_revision(&self) -> Result<Option<Bytes>, StoreError> {
        let client = self.commands.client();
        let revision = client.hget(keys::PUBLISHED, REVISION);
        Ok(self.commands.ask(revision).await?)
    }

    /// All that stands announced, in no order.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn announcements(&self) -> Result<Announcements, StoreError> {
        let client = self.commands.client();
        let all = client.hgetall::<Vec<(String, Bytes)>, _>(keys::PUBLISHED);
        let mut found = Announcements::default();
        for (field, value) in self.commands.ask(all).await? {
            match read(&field, &value) {
                Some(announced) => found.announced.push(announced),
                None if field == REVISION => {}
                None => found.unreadable.push(field),
            }
        }
        Ok(found)
    }

    /// Announces these, and takes back others; each bundle must have been put before. All of `announced` are seen at once. `revision` must be
    /// one that was not used before, such as a random one.
    ///
    /// # Errors
    /// If Redis refuses or does not answer: some of it may be done.
    pub async fn announce(
        &self,
        announced: &[Announced],
        taken_back: &[Announced],
        revision: u64,
    ) -> Result<(), StoreError> {
        let client = self.commands.client();
        if !taken_back.is_empty() {
            let fields: Vec<String> = taken_back.iter().map(field).collect();
            let gone = client.hdel::<(), _, _>(keys::PUBLISHED, fields);
            self.commands.ask(gone).await?;
        }
        let of = |announced| (field(announced), bytes(value(announced)));
        let mut fields: Vec<(String, Value)> = announced.iter().map(of).collect();
        fields.push((REVISION.to_owned(), format!("{revision:016x}").into()));
        let set = client.hset::<(), _, _>(keys::PUBLISHED, fields);
        Ok(self.commands.ask(set).await?)
    }

    /// Keeps a stored bundle for longer; false if there is none of that hash.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn keep_bundle(&self, hash: &[u8; 32]) -> Result<bool, StoreError> {
        let client = self.commands.client();
        let kept = client.expire::<i64, _>(keys::bundle(hash), KEPT_SECONDS, None);
        Ok(self.commands.ask(kept).await? == 1)
    }

    /// True if all bundles of these hashes are there. One command: a few hundred at most.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn has_bundles(&self, hashes: &BTreeSet<[u8; 32]>) -> Result<bool, StoreError> {
        if hashes.is_empty() {
            return Ok(true);
        }
        let client = self.commands.client();
        let keys: Vec<_> = hashes.iter().map(keys::bundle).collect();
        let there = client.exists::<usize, _>(keys);
        Ok(self.commands.ask(there).await? == hashes.len())
    }
}

fn field(announced: &Announced) -> String {
    format!("{}@{}", announced.name, announced.version)
}

fn value(announced: &Announced) -> Vec<u8> {
    [&[FORMAT], announced.hash.as_slice(), &announced.authored].concat()
}

fn read(field: &str, value: &[u8]) -> Option<Announced> {
    let (name, version) = field.split_once('@')?;
    let (&FORMAT, hashes) = value.split_first()? else {
        return None;
    };
    let (hash, authored) = hashes.split_first_chunk()?;
    Some(Announced {
        name: name.to_owned(),
        version: version.parse().ok()?,
        hash: *hash,
        authored: authored.try_into().ok()?,
    })
}
