//! Who is not written to: the source of what senders look up in Redis.
//!
//! A row says that an address is suppressed for one reason, in a tenant's mail of one category or in all of it. Several rows may
//! be of one address and category; senders see the strongest reason among them. Each change takes a number of the events' counter
//! as its revision, so that the later of two is known wherever they arrive, and a reader by it misses none.

mod read;

use std::collections::{BTreeMap, HashSet};

use paceline_domain::keyed::AddressHash;
use paceline_domain::suppression::SuppressionReason;
use paceline_domain::time::Millis;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _, Transaction};

use crate::ledger::connection;
use crate::rows::{ROWS_MAX, integer, placeholders, unsigned};
use crate::{Act, Ledger, LedgerError, acts};

pub use read::{SuppressionFilter, SuppressionPage};

type Writing = Transaction<'static, sqlx::Any>;

/// Columns of one inserted row.
const COLUMNS: usize = 11;

/// An address within a tenant and a category.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SuppressionKey {
    pub tenant: String,
    /// Empty for the whole tenant.
    pub category: String,
    pub address: AddressHash,
}

/// What is to be suppressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSuppression {
    pub key: SuppressionKey,
    pub reason: SuppressionReason,
    /// Since when. What is older than a removal does not undo it.
    pub at: Millis,
    /// The sealed address; empty where it is not known.
    pub sealed: Vec<u8>,
}

/// What is no longer to be suppressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuppressionRemoval {
    pub tenant: String,
    pub address: AddressHash,
    /// `None` for every category and the whole tenant; empty for the whole tenant.
    pub category: Option<String>,
    /// `None` for every reason.
    pub reason: Option<SuppressionReason>,
}

/// Who changed suppressions, when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuppressionDeed {
    /// By which way: "event", "api", "import", "unsubscribe".
    pub source: String,
    pub who: String,
    pub why: String,
    pub now: Millis,
    /// What a person did, written in the same step.
    pub act: Option<Act>,
}

/// What became of a [`NewSuppression`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suppressing {
    Added,
    /// It was suppressed for this reason already.
    Already,
    /// It was removed at that time or later.
    RemovedSince,
}

/// What an address is suppressed for, all reasons together: what senders see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingSuppression {
    pub key: SuppressionKey,
    /// Of the newest change.
    pub revision: u64,
    /// The strongest; `None` once all were removed.
    pub reason: Option<SuppressionReason>,
    /// Since when, for this reason; zero if there is none.
    pub at: Millis,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuppressionRow {
    pub key: SuppressionKey,
    pub reason: SuppressionReason,
    pub source: String,
    pub who: String,
    pub why: String,
    pub at: Millis,
    pub sealed: Vec<u8>,
    pub removed: Option<SuppressionRemoved>,
    pub revision: u64,
}

/// How a row's suppression ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuppressionRemoved {
    pub at: Millis,
    pub by: String,
    pub why: String,
}

/// What a change came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SuppressionsChanged {
    /// What is true now of every address that was named, changed or not: each once.
    pub standing: Vec<StandingSuppression>,
    /// Of [`Ledger::suppress`] one for each item, in order.
    pub outcomes: Vec<Suppressing>,
    /// Of [`Ledger::unsuppress`]: rows that were removed.
    pub removed: Vec<SuppressionRow>,
}

impl Ledger {
    /// Suppresses, in one transaction. Repeating it changes nothing, and what is older than a removal stays removed.
    ///
    /// # Errors
    /// If the database refuses or does not answer: then all of it may be there, or nothing.
    pub async fn suppress(
        &self,
        items: &[NewSuppression],
        deed: &SuppressionDeed,
    ) -> Result<SuppressionsChanged, LedgerError> {
        self.within(async {
            let (mut writing, before) = self.begin(items.len()).await?;
            let mut changed = SuppressionsChanged::default();
            for (part, chunk) in items.chunks(ROWS_MAX).enumerate() {
                let before = before + i64::try_from(part * ROWS_MAX).unwrap_or(i64::MAX);
                write_chunk(&mut writing, chunk, deed, before, &mut changed).await?;
            }
            acts::write(&mut writing, deed.act.as_slice()).await?;
            writing.commit().await?;
            Ok(changed)
        })
        .await
    }

    /// Removes suppressions, in one transaction. Repeating it changes nothing.
    ///
    /// # Errors
    /// If the database refuses or does not answer: then all of it may be done, or nothing.
    pub async fn unsuppress(
        &self,
        items: &[SuppressionRemoval],
        deed: &SuppressionDeed,
    ) -> Result<SuppressionsChanged, LedgerError> {
        self.within(async {
            let (mut writing, before) = self.begin(items.len()).await?;
            let mut changed = SuppressionsChanged::default();
            for (revision, item) in (before + 1..).zip(items) {
                changed
                    .removed
                    .extend(remove(&mut writing, item, deed, revision).await?);
            }
            let mut keys: Vec<SuppressionKey> = items.iter().filter_map(named).collect();
            keys.extend(changed.removed.iter().map(|row| row.key.clone()));
            changed.standing = standing(connection(&mut writing), keys).await?;
            acts::write(&mut writing, deed.act.as_slice()).await?;
            writing.commit().await?;
            Ok(changed)
        })
        .await
    }
}

/// The key of a removal that names one.
fn named(item: &SuppressionRemoval) -> Option<SuppressionKey> {
    Some(SuppressionKey {
        tenant: item.tenant.clone(),
        category: item.category.clone()?,
        address: item.address,
    })
}

async fn write_chunk(
    writing: &mut Writing,
    items: &[NewSuppression],
    deed: &SuppressionDeed,
    before: i64,
    changed: &mut SuppressionsChanged,
) -> Result<(), LedgerError> {
    let known = reasons(connection(writing), items.iter().map(|item| item.key.clone())).await?;
    // One statement may name a row only once: the latest of several stands for all.
    let mut rows: BTreeMap<(&SuppressionKey, u8), &NewSuppression> = BTreeMap::new();
    for item in items {
        let row = rows.entry((&item.key, item.reason.letter())).or_insert(item);
        if row.at < item.at {
            *row = item;
        }
    }
    let rows: Vec<&NewSuppression> = rows.into_values().collect();
    insert(writing, &rows, deed, before).await?;
    let mut added = HashSet::new();
    for item in items {
        let row = known
            .get(&item.key)
            .and_then(|rows| rows.iter().find(|row| row.reason == item.reason));
        changed.outcomes.push(match row {
            Some(row) if row.removed_at.0 > 0 && row.removed_at >= item.at => Suppressing::RemovedSince,
            Some(row) if row.removed_at.0 == 0 => Suppressing::Already,
            _ if added.insert((&item.key, item.reason)) => Suppressing::Added,
            _ => Suppressing::Already,
        });
    }
    let keys = items.iter().map(|item| item.key.clone());
    changed
        .standing
        .extend(standing(connection(writing), keys).await?);
    Ok(())
}

/// Writes what is new, what comes back, and the sealed address where it was not known.
async fn insert(
    writing: &mut Writing,
    rows: &[&NewSuppression],
    deed: &SuppressionDeed,
    before: i64,
) -> Result<(), LedgerError> {
    if rows.is_empty() {
        return Ok(());
    }
    let of_the_newer = |column: &str| {
        format!(
            "{column} = CASE WHEN suppressions.removed_at > 0 THEN excluded.{column} ELSE suppressions.{column} END"
        )
    };
    let taken_over: Vec<String> = ["source", "who", "why", "at"].map(of_the_newer).into();
    let sql = format!(
        "INSERT INTO suppressions (tenant, category, address, reason, source, who, why, at, sealed, changed_at, revision) \
         VALUES {} ON CONFLICT (tenant, category, address, reason) DO UPDATE SET {}, \
         sealed = CASE WHEN length(excluded.sealed) = 0 THEN suppressions.sealed ELSE excluded.sealed END, \
         removed_at = 0, removed_by = '', removed_why = '', changed_at = excluded.changed_at, revision = excluded.revision \
         WHERE (suppressions.removed_at > 0 AND suppressions.removed_at < excluded.at) OR \
         (suppressions.removed_at = 0 AND length(suppressions.sealed) = 0 AND length(excluded.sealed) > 0)",
        placeholders(0, rows.len(), COLUMNS),
        taken_over.join(", ")
    );
    let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    for (revision, row) in (before + 1..).zip(rows) {
        query = query
            .bind(row.key.tenant.clone())
            .bind(row.key.category.clone())
            .bind(row.key.address.0.to_vec())
            .bind(i64::from(row.reason.letter()))
            .bind(deed.source.clone())
            .bind(deed.who.clone())
            .bind(deed.why.clone())
            .bind(integer(row.at.0))
            .bind(row.sealed.clone())
            .bind(integer(deed.now.0))
            .bind(revision);
    }
    query.execute(connection(writing)).await?;
    Ok(())
}

async fn remove(
    writing: &mut Writing,
    item: &SuppressionRemoval,
    deed: &SuppressionDeed,
    revision: i64,
) -> Result<Vec<SuppressionRow>, LedgerError> {
    let sql = format!(
        "UPDATE suppressions SET removed_at = $1, removed_by = $2, removed_why = $3, changed_at = $1, revision = $4 \
         WHERE tenant = $5 AND address = $6 AND removed_at = 0 AND ($7 = 1 OR category = $8) AND ($9 = 0 OR reason = $9) \
         RETURNING {}",
        read::COLUMNS
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(integer(deed.now.0.max(1)))
        .bind(deed.who.clone())
        .bind(deed.why.clone())
        .bind(revision)
        .bind(item.tenant.clone())
        .bind(item.address.0.to_vec())
        .bind(i64::from(item.category.is_none()))
        .bind(item.category.clone().unwrap_or_default())
        .bind(item.reason.map_or(0, |reason| i64::from(reason.letter())))
        .fetch_all(connection(writing))
        .await?;
    rows.iter().map(read::row).collect()
}

/// One reason of an address.
struct Known {
    reason: SuppressionReason,
    at: Millis,
    removed_at: Millis,
    revision: u64,
}

/// What is true of addresses, each once, and of those alone that have a row.
pub(crate) async fn standing(
    connection: &mut AnyConnection,
    keys: impl IntoIterator<Item = SuppressionKey>,
) -> Result<Vec<StandingSuppression>, LedgerError> {
    let known = reasons(connection, keys).await?;
    let standing = |(key, rows): (SuppressionKey, Vec<Known>)| {
        let strongest = rows
            .iter()
            .filter(|row| row.removed_at.0 == 0)
            .max_by_key(|row| row.reason);
        StandingSuppression {
            key,
            revision: rows.iter().map(|row| row.revision).max().unwrap_or(0),
            reason: strongest.map(|row| row.reason),
            at: strongest.map_or(Millis(0), |row| row.at),
        }
    };
    Ok(known.into_iter().map(standing).collect())
}

async fn reasons(
    connection: &mut AnyConnection,
    keys: impl IntoIterator<Item = SuppressionKey>,
) -> Result<BTreeMap<SuppressionKey, Vec<Known>>, LedgerError> {
    let keys: HashSet<SuppressionKey> = keys.into_iter().collect();
    let keys: Vec<SuppressionKey> = keys.into_iter().collect();
    let mut known: BTreeMap<SuppressionKey, Vec<Known>> = BTreeMap::new();
    for chunk in keys.chunks(ROWS_MAX) {
        let sql = format!(
            "WITH asked (tenant, category, address) AS (VALUES {}) SELECT s.tenant, s.category, s.address, s.reason, s.at, \
             s.removed_at, s.revision FROM asked JOIN suppressions s ON s.tenant = asked.tenant AND \
             s.category = asked.category AND s.address = asked.address",
            placeholders(0, chunk.len(), 3)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for key in chunk {
            query = query
                .bind(key.tenant.clone())
                .bind(key.category.clone())
                .bind(key.address.0.to_vec());
        }
        for row in query.fetch_all(&mut *connection).await? {
            let key = read::key(&row)?;
            known.entry(key).or_default().push(Known {
                reason: read::reason(&row, 3)?,
                at: Millis(unsigned(row.try_get(4)?)),
                removed_at: Millis(unsigned(row.try_get(5)?)),
                revision: unsigned(row.try_get(6)?),
            });
        }
    }
    Ok(known)
}
