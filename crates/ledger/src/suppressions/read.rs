//! Reading suppressions: by page for people, by revision for what is written to Redis.

use paceline_domain::keyed::AddressHash;
use paceline_domain::suppression::SuppressionReason;
use paceline_domain::time::Millis;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::{StandingSuppression, SuppressionKey, SuppressionRemoved, SuppressionRow, standing};
use crate::query::millis;
use crate::rows::{integer, unsigned};
use crate::{Ledger, LedgerError};

pub(super) const COLUMNS: &str = "tenant, category, address, reason, source, who, why, at, sealed, removed_at, removed_by, removed_why, revision";

/// What is asked for; empty and `None` are all.
#[derive(Clone, Debug, Default)]
pub struct SuppressionFilter {
    pub tenant: String,
    /// Empty for the whole tenant's.
    pub category: Option<String>,
    pub reason: Option<SuppressionReason>,
    pub address: Option<AddressHash>,
    /// Those that were removed, too.
    pub removed: bool,
}

/// Where a page begins: after this row, by category, address and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuppressionPage {
    pub category: String,
    pub address: AddressHash,
    pub reason: SuppressionReason,
}

impl Ledger {
    /// Up to `count` suppressions of a tenant that `filter` lets through, after `page`.
    ///
    /// # Errors
    /// If the database refuses or does not answer.
    pub async fn suppressions(
        &self,
        filter: &SuppressionFilter,
        page: Option<&SuppressionPage>,
        count: u32,
    ) -> Result<Vec<SuppressionRow>, LedgerError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM suppressions WHERE tenant = $1 AND ($2 = 1 OR category = $3) AND ($4 = 0 OR reason = $4) AND \
             ($5 = 0 OR address = $6) AND ($7 = 1 OR removed_at = 0) AND ($8 = 0 OR (category, address, reason) > ($9, $10, $11)) \
             ORDER BY category, address, reason LIMIT $12"
        );
        let (after, reason) = page.map_or((AddressHash([0; 16]), 0), |page| {
            (page.address, i64::from(page.reason.letter()))
        });
        self.within(async {
            let rows = sqlx::query(AssertSqlSafe(sql))
                .bind(filter.tenant.clone())
                .bind(i64::from(filter.category.is_none()))
                .bind(filter.category.clone().unwrap_or_default())
                .bind(filter.reason.map_or(0, |reason| i64::from(reason.letter())))
                .bind(i64::from(filter.address.is_some()))
                .bind(filter.address.map_or_else(Vec::new, |address| address.0.to_vec()))
                .bind(i64::from(filter.removed))
                .bind(i64::from(page.is_some()))
                .bind(page.map_or_else(String::new, |page| page.category.clone()))
                .bind(after.0.to_vec())
                .bind(reason)
                .bind(i64::from(count))
                .fetch_all(&self.pool)
                .await?;
            rows.iter().map(row).collect()
        })
        .await
    }

    /// What is true of up to `count` addresses that changed after `revision`, and the revision to go on from: the same one once
    /// there is no more.
    ///
    /// # Errors
    /// If the database refuses or does not answer.
    pub async fn suppressions_changed(
        &self,
        revision: u64,
        count: u32,
    ) -> Result<(Vec<StandingSuppression>, u64), LedgerError> {
        // Rows of one revision are of one call, but not always of one key; they come together.
        let sql = "SELECT tenant, category, address, revision FROM suppressions WHERE revision > $1 AND revision <= \
                   (SELECT COALESCE(MAX(revision), 0) FROM (SELECT revision FROM suppressions WHERE revision > $1 \
                   ORDER BY revision LIMIT $2) AS part)";
        self.within(async {
            let mut connection = self.pool.acquire().await?;
            let rows = sqlx::query(sql)
                .bind(integer(revision))
                .bind(i64::from(count))
                .fetch_all(&mut *connection)
                .await?;
            let mut last = revision;
            let mut keys = Vec::with_capacity(rows.len());
            for row in &rows {
                keys.push(key(row)?);
                last = last.max(unsigned(row.try_get(3)?));
            }
            Ok((standing(&mut connection, keys).await?, last))
        })
        .await
    }

    /// The revision after which everything was changed at `at` or later, by the clocks of those who changed it; `None` if nothing was.
    ///
    /// # Errors
    /// If the database refuses or does not answer.
    pub async fn suppressions_before(&self, at: Millis) -> Result<Option<u64>, LedgerError> {
        self.within(async {
            let sql = "SELECT COALESCE(MIN(revision), 0) FROM suppressions WHERE changed_at >= $1";
            let first: i64 = sqlx::query_scalar(sql)
                .bind(integer(at.0))
                .fetch_one(&self.pool)
                .await?;
            Ok(unsigned(first).checked_sub(1))
        })
        .await
    }
}

/// The key in a row's first three columns.
pub(super) fn key(row: &AnyRow) -> Result<SuppressionKey, LedgerError> {
    let address: Vec<u8> = row.try_get(2)?;
    let address = <[u8; 16]>::try_from(address.as_slice());
    Ok(SuppressionKey {
        tenant: row.try_get(0)?,
        category: row.try_get(1)?,
        address: AddressHash(address.map_err(|error| sqlx::Error::Decode(error.into()))?),
    })
}

pub(super) fn reason(row: &AnyRow, column: usize) -> Result<SuppressionReason, LedgerError> {
    let code: i64 = row.try_get(column)?;
    Ok(SuppressionReason::from_letter(u8::try_from(code).unwrap_or(0)))
}

/// A row of [`COLUMNS`].
pub(super) fn row(row: &AnyRow) -> Result<SuppressionRow, LedgerError> {
    let removed_at = millis(row, 9)?;
    let removed = if removed_at.0 == 0 {
        None
    } else {
        Some(SuppressionRemoved {
            at: removed_at,
            by: row.try_get(10)?,
            why: row.try_get(11)?,
        })
    };
    Ok(SuppressionRow {
        key: key(row)?,
        reason: reason(row, 3)?,
        source: row.try_get(4)?,
        who: row.try_get(5)?,
        why: row.try_get(6)?,
        at: millis(row, 7)?,
        sealed: row.try_get(8)?,
        removed,
        revision: unsigned(row.try_get(12)?),
    })
}
