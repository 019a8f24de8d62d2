//! Payloads and rendered parts of the templates that say for how long they are kept.

use paceline_domain::id::MessageId;
use paceline_domain::time::Millis;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _, Transaction};

use crate::ledger::connection;
use crate::query::{message_id, millis};
use crate::rows::{integer, placeholders};
use crate::{Ledger, LedgerError};

/// Rows of one statement: each may have megabytes.
const ROWS_MAX: usize = 16;
/// What one message is shown with.
const SHOWN_MAX: i64 = 16;

/// What is kept of an acceptance of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub id: MessageId,
    pub accepted_at: Millis,
    /// 0 for the payload, else the generation that was rendered.
    pub generation: u32,
    pub until: Millis,
    /// The payload's JSON, or a `RenderedMessage` under zstd.
    pub content: Vec<u8>,
}

impl Ledger {
    /// Keeps these. What is there stays as it is, and what belongs to erased messages is not kept.
    ///
    /// # Errors
    /// If the database refuses or does not answer: then some may be there.
    pub async fn keep(&self, kept: &[Kept]) -> Result<(), LedgerError> {
        for chunk in kept.chunks(ROWS_MAX) {
            self.within(async {
                let (mut writing, _) = self.begin(0).await?;
                write(&mut writing, chunk).await?;
                writing.commit().await?;
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// What is kept of a message: of its newest acceptance the payload, then what was rendered, the newest last; at most 16.
    ///
    /// # Errors
    /// If the database refuses or does not answer.
    pub async fn kept(&self, tenant: &str, id: MessageId) -> Result<Vec<Kept>, LedgerError> {
        let sql = "SELECT k.message_id, k.accepted_at, k.generation, k.kept_until, k.content FROM kept k JOIN messages m ON \
                   m.id = k.message_id AND m.accepted_at = k.accepted_at WHERE k.message_id = $1 AND m.tenant = $2 AND \
                   k.accepted_at = (SELECT MAX(accepted_at) FROM messages WHERE id = $1) ORDER BY k.generation LIMIT $3";
        self.within(async {
            let query = sqlx::query(sql).bind(id.0.to_vec()).bind(tenant.to_owned());
            let rows = query.bind(SHOWN_MAX).fetch_all(&self.pool).await?;
            rows.iter().map(row).collect()
        })
        .await
    }

    /// The newest `count` messages of a template whose payloads are kept, the newest first: of each the payload, then what was
    /// rendered of it last, if it is there.
    ///
    /// # Errors
    /// If the database refuses or does not answer.
    pub async fn newest_kept(
        &self,
        tenant: &str,
        template: &str,
        count: u32,
    ) -> Result<Vec<Kept>, LedgerError> {
        let sql = "SELECT k.message_id, k.accepted_at, k.generation, k.kept_until, k.content FROM kept k JOIN (SELECT p.message_id, \
                   p.accepted_at FROM kept p JOIN messages m ON m.id = p.message_id AND m.accepted_at = p.accepted_at WHERE \
                   p.generation = 0 AND m.tenant = $1 AND m.template = $2 ORDER BY p.accepted_at DESC, p.message_id LIMIT $3) n \
                   ON n.message_id = k.message_id AND n.accepted_at = k.accepted_at WHERE k.generation = 0 OR k.generation = \
                   (SELECT MAX(l.generation) FROM kept l WHERE l.message_id = k.message_id AND l.accepted_at = k.accepted_at) \
                   ORDER BY k.accepted_at DESC, k.message_id, k.generation";
        self.within(async {
            let query = sqlx::query(sql).bind(tenant.to_owned()).bind(template.to_owned());
            let rows = query.bind(i64::from(count)).fetch_all(&self.pool).await?;
            rows.iter().map(row).collect()
        })
        .await
    }

    /// Drops what is kept no longer; answers how much.
    ///
    /// # Errors
    /// If the database refuses or does not answer.
    pub async fn drop_kept(&self, now: Millis) -> Result<u64, LedgerError> {
        self.within(async {
            let (mut writing, _) = self.begin(0).await?;
            let query = sqlx::query("DELETE FROM kept WHERE kept_until <= $1").bind(integer(now.0));
            let dropped = query.execute(connection(&mut writing)).await?.rows_affected();
            writing.commit().await?;
            Ok(dropped)
        })
        .await
    }
}

fn row(row: &AnyRow) -> Result<Kept, LedgerError> {
    Ok(Kept {
        id: message_id(row, 0)?,
        accepted_at: millis(row, 1)?,
        generation: u32::try_from(row.try_get::<i64, _>(2)?).unwrap_or(0),
        until: millis(row, 3)?,
        content: row.try_get(4)?,
    })
}

async fn write(writing: &mut Transaction<'static, sqlx::Any>, kept: &[Kept]) -> Result<(), LedgerError> {
    let sql = format!(
        "WITH news (id, accepted_at, generation, kept_until, content) AS (VALUES {}) INSERT INTO kept (message_id, accepted_at, \
         generation, kept_until, content) SELECT id, accepted_at, generation, kept_until, content FROM news WHERE NOT EXISTS \
         (SELECT 1 FROM messages m WHERE m.id = news.id AND m.accepted_at = news.accepted_at AND m.erased_at > 0) \
         ON CONFLICT DO NOTHING",
        placeholders(0, kept.len(), 5)
    );
    let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    for kept in kept {
        query = query
            .bind(kept.id.0.to_vec())
            .bind(integer(kept.accepted_at.0))
            .bind(i64::from(kept.generation))
            .bind(integer(kept.until.0))
            .bind(kept.content.clone());
    }
    query.execute(connection(writing)).await?;
    Ok(())
}

/// What is erased is kept no longer.
pub(crate) async fn erase(
    writing: &mut Transaction<'static, sqlx::Any>,
    messages: &[(MessageId, Millis)],
) -> Result<(), LedgerError> {
    for (id, accepted_at) in messages {
        let query = sqlx::query("DELETE FROM kept WHERE message_id = $1 AND accepted_at = $2");
        let query = query.bind(id.0.to_vec()).bind(integer(accepted_at.0));
        query.execute(connection(writing)).await?;
    }
    Ok(())
}
