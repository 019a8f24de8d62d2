//! Months: partitions are made ahead of time, and those past the retention go as a whole.

use jiff::civil::Date;
use jiff::tz::Offset;
use jiff::{Span, Timestamp};
use paceline_domain::time::Millis;
use sqlx::{AssertSqlSafe, Row as _};

use crate::ledger::{Dialect, connection};
use crate::rows::{integer, placeholders, unsigned};
use crate::{Ledger, LedgerError};

/// The tables that are partitioned by the month of acceptance.
const TABLES: [&str; 3] = ["messages", "transitions", "events"];
/// Partitions are there for this month and as many after it.
const MONTHS_AHEAD: u32 = 2;

/// Rows that one statement deletes, so that none takes long, and none keeps writers waiting.
const DELETED_MAX: i64 = 1_000;

/// What a retention took away, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Months dropped as a whole, over all tables: `messages_y2026m01`.
    pub partitions: Vec<String>,
    /// Rows deleted one by one.
    pub rows: u64,
}

impl Ledger {
    /// Makes the partitions of `now`'s month and the next two, where the database has partitions. Repeating it changes nothing. To be
    /// called before anything is written: a month that has rows already can't be made any more, and its rows stay among the others.
    ///
    /// # Errors
    /// If the database refuses or does not answer, for any of the months; the others are made.
    pub async fn prepare_months(&self, now: Millis) -> Result<(), LedgerError> {
        if self.dialect == Dialect::Sqlite {
            return Ok(());
        }
        let mut month = month(now);
        let mut made = Ok(());
        for _ in 0..=MONTHS_AHEAD {
            made = made.and(self.prepare_month(month).await);
            month = next(month);
        }
        made
    }

    async fn prepare_month(&self, month: Date) -> Result<(), LedgerError> {
        let (from, until) = (integer(start(month).0), integer(start(next(month)).0));
        self.within(async {
            let (mut writing, _) = self.begin(0).await?;
            for table in TABLES {
                let sql = format!(
                    "CREATE TABLE IF NOT EXISTS {table}_{name} PARTITION OF {table} FOR VALUES FROM ({from}) TO ({until})",
                    name = name(month)
                );
                sqlx::query(AssertSqlSafe(sql)).execute(connection(&mut writing)).await?;
            }
            writing.commit().await?;
            Ok(())
        })
        .await
    }

    /// Takes away what was accepted before `before`: in PostgreSQL months that end by then as a whole, and of what has no month, and in
    /// SQLite, row by row. Sums, acts and suppressions stay.
    ///
    /// # Errors
    /// If the database refuses or does not answer: then some of it may be gone. The same call goes on.
    pub async fn retain(&self, before: Millis) -> Result<Retained, LedgerError> {
        let mut retained = Retained::default();
        for (table, partition) in self.partitions_before(before).await? {
            let sql = format!("ALTER TABLE {table} DETACH PARTITION {partition}; DROP TABLE {partition}");
            self.within(async {
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.pool).await?;
                Ok(())
            })
            .await?;
            retained.partitions.push(partition);
        }
        for table in self.whole_tables() {
            retained.rows += self.delete(&table, before).await?;
        }
        Ok(retained)
    }

    /// What [`Ledger::retain`] would take away.
    ///
    /// # Errors
    /// If the database refuses or does not answer.
    pub async fn would_retain(&self, before: Millis) -> Result<Retained, LedgerError> {
        let partitions = self.partitions_before(before).await?;
        let mut retained = Retained {
            partitions: partitions.into_iter().map(|(_, partition)| partition).collect(),
            rows: 0,
        };
        for table in self.whole_tables() {
            let sql = format!("SELECT COUNT(*) FROM {table} WHERE accepted_at < $1");
            retained.rows += self
                .within(async {
                    let query = sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql)).bind(integer(before.0));
                    Ok(unsigned(query.fetch_one(&self.pool).await?))
                })
                .await?;
        }
        Ok(retained)
    }

    /// Tables whose rows go one by one: of those that are partitioned, what has no month.
    fn whole_tables(&self) -> impl Iterator<Item = String> {
        let suffix = match self.dialect {
            Dialect::Postgres => "_other",
            Dialect::Sqlite => "",
        };
        let tables = TABLES.into_iter().map(move |table| format!("{table}{suffix}"));
        tables.chain(["conflicts", "kept"].map(str::to_owned))
    }

    async fn delete(&self, table: &str, before: Millis) -> Result<u64, LedgerError> {
        let mut gone = 0;
        loop {
            let part = match self.dialect {
                Dialect::Postgres => self.delete_some(table, before).await?,
                Dialect::Sqlite => self.delete_found(table, before).await?,
            };
            gone += part;
            if part < DELETED_MAX.unsigned_abs() {
                return Ok(gone);
            }
        }
    }

    async fn delete_some(&self, table: &str, before: Millis) -> Result<u64, LedgerError> {
        let sql = format!(
            "DELETE FROM {table} WHERE ctid = ANY (ARRAY (SELECT ctid FROM {table} WHERE accepted_at < $1 LIMIT $2))"
        );
        self.within(async {
            let query = sqlx::query(AssertSqlSafe(sql)).bind(integer(before.0));
            Ok(query.bind(DELETED_MAX).execute(&self.pool).await?.rows_affected())
        })
        .await
    }

    /// Looks first, so that SQLite's one writer is kept waiting by the deletion alone.
    async fn delete_found(&self, table: &str, before: Millis) -> Result<u64, LedgerError> {
        self.within(async {
            let sql = format!("SELECT rowid FROM {table} WHERE accepted_at < $1 LIMIT $2");
            let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(integer(before.0));
            let found: Vec<i64> = query.bind(DELETED_MAX).fetch_all(&self.pool).await?;
            if found.is_empty() {
                return Ok(0);
            }
            let sql = format!(
                "DELETE FROM {table} WHERE rowid IN {}",
                placeholders(0, 1, found.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
            for rowid in found {
                query = query.bind(rowid);
            }
            Ok(query.execute(&self.pool).await?.rows_affected())
        })
        .await
    }

    /// Partitions that end by `before`, with their tables; none where the database has no partitions.
    async fn partitions_before(&self, before: Millis) -> Result<Vec<(String, String)>, LedgerError> {
        if self.dialect == Dialect::Sqlite {
            return Ok(Vec::new());
        }
        let sql = "SELECT CAST(p.relname AS TEXT), CAST(c.relname AS TEXT) FROM pg_inherits i JOIN pg_class c ON \
                   c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent WHERE p.relname IN \
                   ('messages', 'transitions', 'events') ORDER BY 2";
        self.within(async {
            let rows = sqlx::query(sql).fetch_all(&self.pool).await?;
            let mut ended = Vec::new();
            for row in rows {
                let (table, partition): (String, String) = (row.try_get(0)?, row.try_get(1)?);
                let month = partition.rsplit_once('_').and_then(|(_, name)| named(name));
                if month.is_some_and(|month| start(next(month)) <= before) {
                    ended.push((table, partition));
                }
            }
            Ok(ended)
        })
        .await
    }
}

/// The month's first day, UTC.
fn month(at: Millis) -> Date {
    let at = Timestamp::from_millisecond(integer(at.0)).unwrap_or(Timestamp::MAX);
    Offset::UTC.to_datetime(at).date().first_of_month()
}

fn next(month: Date) -> Date {
    month.saturating_add(Span::new().months(1))
}

/// When a month begins; the last one that can be told for what lies beyond.
fn start(month: Date) -> Millis {
    let start = Offset::UTC.to_timestamp(month.at(0, 0, 0, 0));
    start.map_or(Millis::MAX, |start| {
        Millis(u64::try_from(start.as_millisecond()).unwrap_or(0))
    })
}

/// `y2026m11`.
fn name(month: Date) -> String {
    month.strftime("y%Ym%m").to_string()
}

fn named(name: &str) -> Option<Date> {
    let (year, month) = name.strip_prefix('y')?.split_once('m')?;
    Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok()
}

#[cfg(test)]
mod tests {
    use paceline_domain::time::Millis;

    use super::{month, name, named, next, start};

    #[test]
    fn months_follow_each_other_over_the_turn_of_a_year() {
        // 2026-12-31T23:59:59.999Z.
        let december = month(Millis(1_798_761_599_999));
        assert_eq!(name(december), "y2026m12");
        assert_eq!(name(next(december)), "y2027m01");
        assert_eq!(start(next(december)), Millis(1_798_761_600_000));
        assert_eq!(named("y2026m12"), Some(december));
        assert_eq!(named("other"), None);
        assert_eq!(named("y2026m13"), None);
    }
}
