//! What Redis has forgotten: at level `local` a Redis that was replaced may lack messages, or their last moves, that the ledger knows.

use paceline_domain::id::MessageId;
use paceline_domain::record::State;
use paceline_domain::time::Millis;
use sqlx::{AssertSqlSafe, Row as _};

use crate::ledger::{connection, take};
use crate::query::{message_id, messages_of, millis};
use crate::rows::{integer, placeholders, unsigned};
use crate::{Event, Ledger, LedgerError, NewEvent, events};

/// The event's kind.
const KIND: &str = "lost";

/// A message that is under way, as far as the ledger knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpenMessage {
    pub id: MessageId,
    pub accepted_at: Millis,
    pub revision: u32,
}

impl Ledger {
    /// The run of Redis that a shard's messages were last held against; `None` before the first time.
    ///
    /// # Errors
    /// If the database refuses or does not answer.
    pub async fn redis_run(&self, shard: u16) -> Result<Option<String>, LedgerError> {
        self.within(async {
            let query = sqlx::query_scalar("SELECT run FROM redis_runs WHERE shard = $1");
            Ok(query.bind(i64::from(shard)).fetch_optional(&self.pool).await?)
        })
        .await
    }

    /// Notes that a shard's messages were held against this run of Redis.
    ///
    /// # Errors
    /// If the database refuses or does not answer: then it may be noted.
    pub async fn set_redis_run(&self, shard: u16, run: &str) -> Result<(), LedgerError> {
        self.within(async {
            let (mut writing, _) = self.begin(0).await?;
            let sql = "INSERT INTO redis_runs (shard, run) VALUES ($1, $2) ON CONFLICT (shard) DO UPDATE SET run = excluded.run";
            let query = sqlx::query(sql).bind(i64::from(shard)).bind(run.to_owned());
            query.execute(connection(&mut writing)).await?;
            writing.commit().await?;
            Ok(())
        })
        .await
    }

    /// Up to `count` messages that are not at rest and not marked as lost, after `last`, by rising id and acceptance. It reads
    /// through all messages once for all of its pages: there is no index of those that are open.
    ///
    /// # Errors
    /// If the database refuses or does not answer.
    pub async fn open_messages(
        &self,
        last: Option<OpenMessage>,
        count: u32,
    ) -> Result<Vec<OpenMessage>, LedgerError> {
        let open: Vec<String> = State::ALL
            .into_iter()
            .filter(|state| !state.at_rest())
            .map(|state| state.letter().to_string())
            .collect();
        let sql = format!(
            "SELECT id, accepted_at, revision FROM messages WHERE (id > $1 OR (id = $1 AND accepted_at > $2)) AND state IN ({}) \
             AND lost_at = 0 ORDER BY id, accepted_at LIMIT $3",
            open.join(", ")
        );
        let (id, accepted_at) = last.map_or((Vec::new(), -1), |last| {
            (last.id.0.to_vec(), integer(last.accepted_at.0))
        });
        self.within(async {
            let query = sqlx::query(AssertSqlSafe(sql)).bind(id).bind(accepted_at);
            let rows = query.bind(i64::from(count)).fetch_all(&self.pool).await?;
            rows.iter()
                .map(|row| {
                    Ok(OpenMessage {
                        id: message_id(row, 0)?,
                        accepted_at: millis(row, 1)?,
                        revision: u32::try_from(row.try_get::<i64, _>(2)?).unwrap_or(0),
                    })
                })
                .collect()
        })
        .await
    }

    /// Marks messages as lost that still stand where they were seen, at most 500, and makes it an event; answers how many.
    ///
    /// # Errors
    /// If the database refuses or does not answer: then all may be marked, or none.
    pub async fn mark_lost(&self, messages: &[OpenMessage], at: Millis) -> Result<u64, LedgerError> {
        if messages.is_empty() {
            return Ok(0);
        }
        let sql = format!(
            "WITH seen (id, accepted_at, revision) AS (VALUES {}) UPDATE messages SET lost_at = $1 FROM seen WHERE \
             messages.id = seen.id AND messages.accepted_at = seen.accepted_at AND messages.revision = seen.revision AND \
             messages.lost_at = 0 RETURNING messages.id, messages.accepted_at",
            placeholders(1, messages.len(), 3)
        );
        self.within(async {
            let (mut writing, _) = self.begin(0).await?;
            let mut query = sqlx::query(AssertSqlSafe(sql))
                .persistent(false)
                .bind(integer(at.0));
            for message in messages {
                query = query
                    .bind(message.id.0.to_vec())
                    .bind(integer(message.accepted_at.0))
                    .bind(i64::from(message.revision));
            }
            let rows = query.fetch_all(connection(&mut writing)).await?;
            let keys: Result<_, LedgerError> = rows
                .iter()
                .map(|row| Ok((message_id(row, 0)?, millis(row, 1)?)))
                .collect();
            let rows = messages_of(connection(&mut writing), &keys?).await?;
            let before = take(&mut writing, rows.len()).await?;
            let numbers = unsigned(before) + 1..;
            let lost: Vec<Event> = numbers
                .zip(rows.into_values())
                .map(|(seq, row)| event(seq, row, at))
                .collect();
            events::write(&mut writing, &lost).await?;
            writing.commit().await?;
            Ok(lost.len() as u64)
        })
        .await
    }
}

fn event(seq: u64, row: crate::MessageRow, at: Millis) -> Event {
    let message = row.message;
    let event = NewEvent {
        id: format!(
            "paceline:{}:{}:{}:{KIND}",
            message.id, message.accepted_at.0, row.revision
        ),
        message_id: message.id,
        accepted_at: message.accepted_at,
        attempt: 0,
        tenant: message.tenant,
        template: message.template,
        lane: message.lane,
        kind: KIND.to_owned(),
        at,
        received_at: at,
        detail: "{}".to_owned(),
    };
    Event { seq, event }
}
