//! Who is not written to: a projection of the ledger, in 256 hashes by the first byte of the address's keyed hash.
//!
//! A field is the hash (16 bytes), the tenant, and for one category alone a zero byte and the category. Its value, format 1,
//! all numbers big-endian:
//!
//! | bytes | field |
//! |---|---|
//! | 1 | format: 1 |
//! | 6 | revision of the ledger's row: the later one stays, whichever is written last |
//! | 1 | the reason's letter; 0 for one that was removed |
//! | 6 | since when (ms) |
//!
//! Every format begins with these 14 bytes. What was removed stays as a value, so that a repeated or late write of an older revision
//! does not bring it back. The field `run` names the run of Redis for which the ledger's whole bucket is known to be written.

use std::collections::BTreeMap;

use bytes::Bytes;
use fred::interfaces::ClientLike;
use fred::types::{Key, Value};
use futures_util::future::try_join_all;
use paceline_domain::keyed::AddressHash;
use paceline_domain::suppression::{Suppressed, SuppressionReason};
use paceline_domain::time::Millis;

use crate::batch::{bytes, number};
use crate::durability::Wait;
use crate::keys;
use crate::packed::millis;
use crate::runs::Run;
use crate::script;
use crate::streams::list;
use crate::{Durability, Store, StoreError};

/// The most entries in one script.
const ENTRIES_MAX: usize = 1_000;
const FORMAT: u8 = 1;
const VALUE_BYTES: usize = 14;
const REVISION_MAX: u64 = (1 << 48) - 1;
const ADDRESSEE_FORMAT: u8 = 1;
const DESPITE_COMPLAINT: u8 = 1;
/// The field for the run of Redis on which a bucket was complete.
const RUN: &str = "run";

/// The number of buckets.
pub const SUPPRESSION_BUCKETS: u16 = 256;

/// What one address is suppressed for, or no longer: a row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    pub tenant: String,
    pub address: AddressHash,
    /// Empty for the whole tenant.
    pub category: String,
    /// Rises with each change of the row. Below 2^48.
    pub revision: u64,
    /// `None` once it is removed.
    pub reason: Option<SuppressionReason>,
    pub at: Millis,
}

/// What of a message its suppressions are looked up by. It stands in the ready stream beside the rendered parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressee {
    pub address: AddressHash,
    /// Empty for none.
    pub category: String,
    /// The template's wish: transactional mail goes although the person complained.
    pub despite_complaint: bool,
}

/// What a look-up found of one addressee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup {
    pub suppressed: Suppressed,
    /// False where Redis may lack suppressions of this address, since nobody has said that all of them were written: it came back empty,
    /// or nobody keeps any.
    pub complete: bool,
}

/// Whether a bucket has all that the ledger has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketState {
    Complete,
    /// It was complete on another run of Redis, which may have had more.
    Behind,
    /// It never was, or Redis came back empty.
    Empty,
}

impl Store {
    /// Writes suppressions and removals, each kept at the deployment's level once this answers. Safe to repeat.
    ///
    /// # Errors
    /// If Redis refuses, does not answer or does not keep them in time: some may be written.
    pub async fn suppress(&self, items: &[Suppression]) -> Result<(), StoreError> {
        let wait = self.guard.wait(Durability::Local)?;
        for part in items.chunks(ENTRIES_MAX) {
            let mut entries = BTreeMap::<u8, Vec<Value>>::new();
            for item in part {
                let entry = entries.entry(item.address.0[0]).or_default();
                entry.push(bytes(field(&item.address, &item.tenant, &item.category)));
                entry.push(bytes(value(item)?));
            }
            let origin = Value::from_static_str(if wait == Wait::Nothing { "" } else { "origin" });
            let writes = self.calls(entries, 2).into_iter().map(|mut call| {
                call.args.push(origin.clone());
                let bucket = call.bucket;
                let place = (keys::suppression_slot(bucket), keys::suppression_wait(bucket));
                self.keep(
                    &script::SUPPRESS,
                    (call.keys, call.args),
                    call.entries,
                    place,
                    wait,
                )
            });
            try_join_all(writes).await?;
        }
        Ok(())
    }

    /// What the addressees of messages are suppressed for, in order, by tenant.
    ///
    /// # Errors
    /// If Redis does not answer: then nothing is known, and nothing may be sent.
    pub async fn suppressed(&self, asked: &[(&str, &Addressee)]) -> Result<Vec<Lookup>, StoreError> {
        let mut fields = BTreeMap::<u8, Vec<Value>>::new();
        // In which bucket, and which of its fields, the answers stand.
        let mut places = Vec::with_capacity(asked.len());
        for (tenant, to) in asked {
            let bucket = to.address.0[0];
            let entry = fields.entry(bucket).or_insert_with(|| vec![RUN.into()]);
            places.push((bucket, entry.len(), !to.category.is_empty()));
            entry.push(bytes(field(&to.address, tenant, "")));
            if !to.category.is_empty() {
                entry.push(bytes(field(&to.address, tenant, &to.category)));
            }
        }
        let found = self.look_up(fields).await?;
        let of = |bucket: u8, at: usize| found.get(&bucket)?.get(at);
        let read = |bucket: u8, at: usize| reason(of(bucket, at)?);
        Ok(places
            .into_iter()
            .map(|(bucket, at, has_category)| Lookup {
                suppressed: Suppressed {
                    tenant: read(bucket, at),
                    category: has_category.then(|| read(bucket, at + 1)).flatten(),
                },
                complete: of(bucket, 0).is_some_and(|run| !run.is_empty()),
            })
            .collect())
    }

    /// Whether a bucket has all that the ledger has, and the run of Redis that says so.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn suppression_bucket(&self, bucket: u8) -> Result<(Run, BucketState), StoreError> {
        self.mark(bucket, String::new()).await
    }

    /// Notes that all the ledger has of a bucket was written, on this run of Redis; answers what is true of it now.
    ///
    /// # Errors
    /// If Redis refuses or does not answer.
    pub async fn suppression_bucket_complete(
        &self,
        bucket: u8,
        run: &Run,
    ) -> Result<BucketState, StoreError> {
        Ok(self.mark(bucket, run.0.clone()).await?.1)
    }

    /// Holds the key of the addresses' hashes against the one that the first process used: under two keys nobody would be found
    /// suppressed. `fingerprint` tells nothing of the key.
    ///
    /// # Errors
    /// If it is another key, or Redis does not answer.
    pub async fn check_address_key(&self, fingerprint: &str) -> Result<(), StoreError> {
        crate::connect::check_stored(&self.commands, "address_key", fingerprint, "address_key").await
    }

    /// Whether some process knows people by hashes here, and so may suppress them.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn has_address_key(&self) -> Result<bool, StoreError> {
        crate::connect::has_stored(&self.commands, "address_key").await
    }

    async fn mark(&self, bucket: u8, run: String) -> Result<(Run, BucketState), StoreError> {
        let (keys, args) = (vec![keys::suppressions(bucket)], vec![Value::from(run)]);
        let answer = list(self.run(&script::SUPPRESSION_MARK, keys, args).await?)?;
        let words: Vec<String> = answer.into_iter().filter_map(Value::into_string).collect();
        let [run, word] = <[String; 2]>::try_from(words)
            .map_err(|_| StoreError::bug("a bucket's mark is no pair of words"))?;
        let state = match word.as_str() {
            "complete" => BucketState::Complete,
            "behind" => BucketState::Behind,
            "empty" => BucketState::Empty,
            _ => return Err(StoreError::bug(format!("a bucket's mark is {word}"))),
        };
        Ok((Run(run), state))
    }

    async fn look_up(
        &self,
        fields: BTreeMap<u8, Vec<Value>>,
    ) -> Result<BTreeMap<u8, Vec<Bytes>>, StoreError> {
        let counts: Vec<(u8, usize)> = fields
            .iter()
            .map(|(bucket, fields)| (*bucket, fields.len()))
            .collect();
        let calls = self.calls(fields, 1).into_iter();
        let answers = calls.map(|call| async move {
            let values = list(self.run(&script::SUPPRESSIONS, call.keys, call.args).await?)?;
            if values.len() == call.entries {
                Ok(values)
            } else {
                Err(StoreError::bug(
                    "a look-up answered for another number of addresses",
                ))
            }
        });
        let answers = try_join_all(answers).await?;
        let mut values = answers
            .into_iter()
            .flatten()
            .map(|value| value.into_bytes().unwrap_or_default());
        let of = |(bucket, count)| (bucket, values.by_ref().take(count).collect());
        Ok(counts.into_iter().map(of).collect())
    }

    /// The scripts' calls for these arguments of buckets, `width` to an entry: one for all, and on a Cluster, where each bucket is in a
    /// slot of its own, one for each.
    fn calls(&self, buckets: BTreeMap<u8, Vec<Value>>, width: usize) -> Vec<Call> {
        let mut calls: Vec<Call> = Vec::new();
        for (bucket, entries) in buckets {
            if calls.is_empty() || self.commands.client().is_clustered() {
                calls.push(Call::new(bucket));
            }
            let Some(call) = calls.last_mut() else { continue };
            let count = entries.len() / width;
            call.keys.push(keys::suppressions(bucket));
            call.args.push(number(count as u64));
            call.args.extend(entries);
            call.entries += count;
        }
        calls
    }
}

/// One call of a script on buckets.
struct Call {
    /// One of them.
    bucket: u8,
    keys: Vec<Key>,
    args: Vec<Value>,
    entries: usize,
}

impl Call {
    const fn new(bucket: u8) -> Self {
        Self {
            bucket,
            keys: Vec::new(),
            args: Vec::new(),
            entries: 0,
        }
    }
}

impl Addressee {
    /// Format, flags, hash, category.
    pub(crate) fn pack(&self) -> Bytes {
        let flags = if self.despite_complaint {
            DESPITE_COMPLAINT
        } else {
            0
        };
        let parts = [
            &[ADDRESSEE_FORMAT, flags],
            self.address.0.as_slice(),
            self.category.as_bytes(),
        ];
        parts.concat().into()
    }

    /// `None` for what another release wrote: the sender then reads the recipient itself.
    pub(crate) fn unpack(packed: &[u8]) -> Option<Self> {
        let (&[format, flags], rest) = packed.split_first_chunk()?;
        let (address, category) = rest.split_first_chunk()?;
        (format == ADDRESSEE_FORMAT && flags & !DESPITE_COMPLAINT == 0).then_some(())?;
        Some(Self {
            address: AddressHash(*address),
            category: String::from_utf8(category.to_vec()).ok()?,
            despite_complaint: flags & DESPITE_COMPLAINT != 0,
        })
    }
}

fn field(address: &AddressHash, tenant: &str, category: &str) -> Vec<u8> {
    let mut field = Vec::with_capacity(17 + tenant.len() + category.len());
    field.extend_from_slice(&address.0);
    field.extend_from_slice(tenant.as_bytes());
    if !category.is_empty() {
        field.push(0);
        field.extend_from_slice(category.as_bytes());
    }
    field
}

fn value(item: &Suppression) -> Result<Vec<u8>, StoreError> {
    if item.revision > REVISION_MAX {
        return Err(StoreError::bug("a suppression's revision is over 48 bits"));
    }
    let mut value = Vec::with_capacity(VALUE_BYTES);
    value.push(FORMAT);
    value.extend_from_slice(&item.revision.to_be_bytes()[2..]);
    value.push(item.reason.map_or(0, SuppressionReason::letter));
    value.extend_from_slice(&millis(item.at));
    Ok(value)
}

/// The reason of a stored value. What can't be read stops mail, as it may come of a newer release.
fn reason(value: &[u8]) -> Option<SuppressionReason> {
    match value {
        [] | [_, _, _, _, _, _, _, 0, ..] => None,
        [_, _, _, _, _, _, _, letter, ..] => Some(SuppressionReason::from_letter(*letter)),
        _ => Some(SuppressionReason::Manual),
    }
}

#[cfg(test)]
mod tests {
    use paceline_domain::keyed::AddressHash;

    use super::Addressee;

    #[test]
    fn an_addressee_reads_back_and_those_of_other_releases_do_not() {
        for (category, despite_complaint) in [("", false), ("news", true)] {
            let to = Addressee {
                address: AddressHash([7; 16]),
                category: category.to_owned(),
                despite_complaint,
            };
            assert_eq!(Addressee::unpack(&to.pack()), Some(to));
        }
        let newer = [&[2, 0], [7_u8; 16].as_slice()].concat();
        let flagged = [&[1, 2], [7_u8; 16].as_slice()].concat();
        for other in [&newer[..], &flagged, &newer[..17], b""] {
            assert_eq!(Addressee::unpack(other), None);
        }
    }
}
