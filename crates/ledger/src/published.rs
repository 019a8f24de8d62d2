//! Templates that were published: every version once, for good.

use paceline_domain::time::Millis;
use sqlx::any::AnyRow;
use sqlx::{Row as _, Transaction};

use crate::ledger::connection;
use crate::query::millis;
use crate::rows::integer;
use crate::{Ledger, LedgerError};

/// A version of a template, as it is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedVersion {
    pub name: String,
    pub version: u32,
    /// Of the bundle that is rendered.
    pub hash: Vec<u8>,
    pub at: Millis,
    pub who: String,
    pub why: String,
}

/// What is to be published.
#[derive(Clone, Debug)]
pub struct NewVersion {
    pub told: PublishedVersion,
    /// The hash of the files as they were written.
    pub authored: Vec<u8>,
    /// The bundle, packed.
    pub bundle: Vec<u8>,
}

/// What is announced of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewestVersion {
    pub name: String,
    pub version: u32,
    /// Of the bundle that is rendered.
    pub hash: Vec<u8>,
    /// Of the files as they were written.
    pub authored: Vec<u8>,
}

/// How much may be published.
#[derive(Clone, Copy, Debug)]
pub struct PublishBounds {
    /// Names.
    pub templates_max: u32,
    /// Versions of one template.
    pub versions_max: u32,
    /// A version must be among so many newest ones of its template.
    pub newest: u32,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publishing {
    Done,
    /// The same files are there under that version: this is what is there.
    Already(PublishedVersion),
    /// Other files are.
    VersionTaken,
    /// There are as many newer versions as are used.
    Outdated,
    TemplatesFull,
    VersionsFull,
}

/// An index has all of it.
const NEWEST: &str = "SELECT name, version, hash, authored FROM (SELECT name, version, hash, authored, ROW_NUMBER() OVER (PARTITION BY name \
                      ORDER BY version DESC) AS place FROM templates) AS ranked WHERE place <= $1 ORDER BY name, version DESC LIMIT $2";
const TOLD: &str = "name, version, hash, at, who, why";

impl Ledger {
    /// Writes a version, unless something is against it: then nothing is written. Safe to repeat.
    ///
    /// # Errors
    /// If the database refuses or does not answer: then it may be there.
    pub async fn publish(
        &self,
        version: &NewVersion,
        bounds: PublishBounds,
    ) -> Result<Publishing, LedgerError> {
        self.within(async {
            // Publishers follow each other, so what is read here is true until the commit.
            let (mut writing, _) = self.begin(0).await?;
            let outcome = against(&mut writing, version, bounds).await?;
            if outcome == Publishing::Done {
                insert(&mut writing, version).await?;
                writing.commit().await?;
            }
            Ok(outcome)
        })
        .await
    }

    /// What [`Ledger::publish`] would say now. Writes nothing.
    ///
    /// # Errors
    /// If the database refuses or does not answer.
    pub async fn may_publish(
        &self,
        version: &NewVersion,
        bounds: PublishBounds,
    ) -> Result<Publishing, LedgerError> {
        self.within(async {
            let (mut reading, _) = self.begin(0).await?;
            against(&mut reading, version, bounds).await
        })
        .await
    }

    /// Versions by name, the newest of each first: of one template, or of all for an empty name; those after `after`, at most `count`.
    ///
    /// # Errors
    /// If the database refuses or does not answer.
    pub async fn published(
        &self,
        name: &str,
        after: Option<(&str, u32)>,
        count: u32,
    ) -> Result<Vec<PublishedVersion>, LedgerError> {
        let sql = format!(
            "SELECT {TOLD} FROM templates WHERE ($1 = '' OR name = $1) AND (name > $2 OR (name = $2 AND version < $3)) \
             ORDER BY name, version DESC LIMIT $4"
        );
        let (after_name, after_version) = after.unwrap_or_default();
        self.within(async {
            let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(name.to_owned());
            let query = query.bind(after_name.to_owned()).bind(i64::from(after_version));
            let rows = query.bind(i64::from(count)).fetch_all(&self.pool).await?;
            rows.iter().map(row).collect()
        })
        .await
    }

    /// The `newest` versions of each template, at most `count` in all.
    ///
    /// # Errors
    /// If the database refuses or does not answer.
    pub async fn newest_published(&self, newest: u32, count: u32) -> Result<Vec<NewestVersion>, LedgerError> {
        self.within(async {
            let query = sqlx::query(NEWEST).bind(i64::from(newest));
            let rows = query.bind(i64::from(count)).fetch_all(&self.pool).await?;
            let newest = rows.iter().map(|row| {
                Ok(NewestVersion {
                    name: row.try_get(0)?,
                    version: u32::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0),
                    hash: row.try_get(2)?,
                    authored: row.try_get(3)?,
                })
            });
            newest.collect()
        })
        .await
    }

    /// The packed bundle of a version, or of a template's newest one.
    ///
    /// # Errors
    /// If the database refuses or does not answer.
    pub async fn published_bundle(
        &self,
        name: &str,
        version: Option<u32>,
    ) -> Result<Option<Vec<u8>>, LedgerError> {
        let sql = "SELECT bundle FROM templates WHERE name = $1 AND version = COALESCE($2, (SELECT MAX(version) FROM templates \
                   WHERE name = $1))";
        self.within(async {
            let query = sqlx::query_scalar(sql).bind(name.to_owned());
            let query = query.bind(version.map(i64::from));
            Ok(query.fetch_optional(&self.pool).await?)
        })
        .await
    }
}

/// What stands against a version; `Done` if nothing does.
async fn against(
    writing: &mut Transaction<'static, sqlx::Any>,
    version: &NewVersion,
    bounds: PublishBounds,
) -> Result<Publishing, LedgerError> {
    let (name, number) = (&version.told.name, i64::from(version.told.version));
    let sql = format!("SELECT {TOLD}, authored FROM templates WHERE name = $1 AND version = $2");
    let query = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(name.clone())
        .bind(number);
    if let Some(there) = query.fetch_optional(connection(writing)).await? {
        let authored: Vec<u8> = there.try_get(6)?;
        return Ok(if authored == version.authored {
            Publishing::Already(row(&there)?)
        } else {
            Publishing::VersionTaken
        });
    }
    let sql = "SELECT COUNT(*), COALESCE(SUM(CASE WHEN version > $2 THEN 1 ELSE 0 END), 0) FROM templates WHERE name = $1";
    let query = sqlx::query(sql).bind(name.clone()).bind(number);
    let counts = query.fetch_one(connection(writing)).await?;
    let (versions, newer): (i64, i64) = (counts.try_get(0)?, counts.try_get(1)?);
    if versions == 0 {
        let count = sqlx::query_scalar("SELECT COUNT(DISTINCT name) FROM templates");
        let templates: i64 = count.fetch_one(connection(writing)).await?;
        if templates >= i64::from(bounds.templates_max) {
            return Ok(Publishing::TemplatesFull);
        }
    }
    Ok(if newer >= i64::from(bounds.newest) {
        Publishing::Outdated
    } else if versions >= i64::from(bounds.versions_max) {
        Publishing::VersionsFull
    } else {
        Publishing::Done
    })
}

async fn insert(
    writing: &mut Transaction<'static, sqlx::Any>,
    version: &NewVersion,
) -> Result<(), LedgerError> {
    let told = &version.told;
    sqlx::query(
        "INSERT INTO templates (name, version, authored, hash, at, who, why, bundle) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(told.name.clone())
    .bind(i64::from(told.version))
    .bind(version.authored.clone())
    .bind(told.hash.clone())
    .bind(integer(told.at.0))
    .bind(told.who.clone())
    .bind(told.why.clone())
    .bind(version.bundle.clone())
    .execute(connection(writing))
    .await?;
    Ok(())
}

fn row(row: &AnyRow) -> Result<PublishedVersion, LedgerError> {
    Ok(PublishedVersion {
        name: row.try_get(0)?,
        version: u32::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0),
        hash: row.try_get(2)?,
        at: millis(row, 3)?,
        who: row.try_get(4)?,
        why: row.try_get(5)?,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sqlx::Row as _;

    use super::NEWEST;
    use crate::{Ledger, LedgerSettings};

    #[tokio::test]
    async fn what_is_announced_is_read_without_a_bundle() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = LedgerSettings {
            url: format!("sqlite:{}", folder.path().join("ledger.db").display()),
            connections_max: 1,
            timeout: Duration::from_secs(20),
        };
        let ledger = Ledger::connect(&settings).await.expect("it opens");
        let plan = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {NEWEST}"));
        let plan = sqlx::query(plan)
            .bind(4_i64)
            .bind(9_i64)
            .fetch_all(&ledger.pool)
            .await;
        let plan: Vec<String> = plan.expect("a plan").iter().map(|row| row.get(3)).collect();
        let reads: Vec<_> = plan.iter().filter(|step| step.contains("templates")).collect();
        assert!(
            reads.len() == 1 && reads[0].contains("COVERING INDEX templates_announced"),
            "{plan:?}"
        );
    }
}
