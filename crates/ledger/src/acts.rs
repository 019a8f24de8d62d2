//! What people did, and to which messages.

use paceline_domain::id::MessageId;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _, Transaction};

use crate::ledger::connection;
use crate::query::millis;
use crate::rows::{ROWS_MAX, integer, placeholders};
use crate::{Act, Ledger, LedgerError};

impl Ledger {
    /// Writes an act that no log has, such as an erasure.
    ///
    /// # Errors
    /// If the database refuses or does not answer: then it may be there.
    pub async fn record_act(&self, act: &Act) -> Result<(), LedgerError> {
        self.within(async {
            let (mut writing, _) = self.begin(0).await?;
            write(&mut writing, std::slice::from_ref(act)).await?;
            writing.commit().await?;
            Ok(())
        })
        .await
    }

    /// The newest `count` acts of a tenant, the newest first, without the messages that they were about.
    ///
    /// # Errors
    /// If the database refuses or does not answer.
    pub async fn acts(&self, tenant: &str, count: u32) -> Result<Vec<Act>, LedgerError> {
        let sql =
            "SELECT id, at, act, who, why, tenant FROM acts WHERE tenant = $1 ORDER BY at DESC, id LIMIT $2";
        self.within(async {
            let rows = sqlx::query(sql)
                .bind(tenant.to_owned())
                .bind(i64::from(count))
                .fetch_all(&self.pool)
                .await?;
            let act = |row: &AnyRow| {
                Ok(Act {
                    id: row.try_get(0)?,
                    at: millis(row, 1)?,
                    act: row.try_get(2)?,
                    who: row.try_get(3)?,
                    why: row.try_get(4)?,
                    tenant: row.try_get(5)?,
                    messages: Vec::new(),
                })
            };
            rows.iter().map(act).collect()
        })
        .await
    }
}

pub(crate) async fn write(
    writing: &mut Transaction<'static, sqlx::Any>,
    acts: &[Act],
) -> Result<(), LedgerError> {
    for act in acts {
        sqlx::query(
            "INSERT INTO acts (id, at, act, who, why, tenant) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .bind(act.id.clone())
        .bind(integer(act.at.0))
        .bind(act.act.clone())
        .bind(act.who.clone())
        .bind(act.why.clone())
        .bind(act.tenant.clone())
        .execute(connection(writing))
        .await?;
        name_messages(writing, &act.id, &act.messages).await?;
    }
    Ok(())
}

/// Says of messages that an act was about them.
pub(crate) async fn name_messages(
    writing: &mut Transaction<'static, sqlx::Any>,
    act_id: &str,
    messages: &[MessageId],
) -> Result<(), LedgerError> {
    for chunk in messages.chunks(ROWS_MAX) {
        let sql = format!(
            "INSERT INTO acted_on (act_id, message_id) VALUES {} ON CONFLICT DO NOTHING",
            placeholders(0, chunk.len(), 2)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for id in chunk {
            query = query.bind(act_id.to_owned()).bind(id.0.to_vec());
        }
        query.execute(connection(writing)).await?;
    }
    Ok(())
}
