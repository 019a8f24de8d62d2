//! Questions: one message's history, and the search for messages.

use std::collections::{BTreeMap, BTreeSet};

use paceline_domain::id::MessageId;
use paceline_domain::reason::Reason;
use paceline_domain::record::State;
use paceline_domain::time::Millis;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use crate::rows::{ROWS_MAX, integer, placeholders, unsigned};
use crate::types::lane;
use crate::{Act, Event, Ledger, LedgerError, LoggedMessage, MessageRow, Move, events};

const MESSAGE: &str = "m.id, m.accepted_at, m.tenant, m.template, m.bundle_hash, m.lane, m.identity, m.recipient, \
                       m.user_hash, m.send_at, m.expires_at, m.tags, m.digests, m.revision, m.state, m.reason, m.changed_at, \
                       m.erased_at";
/// Rows that one message's history is shown with, of each kind.
const HISTORY_MAX: i64 = 1_000;

/// What is looked for; what is empty or `None` is not asked.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub tenant: String,
    pub template: String,
    /// Keyed hash of the recipient's address.
    pub recipient: Vec<u8>,
    /// Keyed hash of the user id.
    pub user_hash: Vec<u8>,
    pub state: Option<State>,
    /// Accepted at or after.
    pub from: Millis,
    /// Accepted before; zero: until now.
    pub until: Millis,
}

/// Where a page begins: after this message, in the order of falling acceptance time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub accepted_at: Millis,
    pub id: MessageId,
}

/// One acceptance of a message, and all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    pub row: MessageRow,
    /// By rising revision.
    pub moves: Vec<Move>,
    /// Second contents of revisions, by rising revision: Redis lost writes.
    pub conflicts: Vec<Move>,
    /// In the order in which the ledger learnt of them.
    pub events: Vec<Event>,
    /// By rising time; without the other messages that they were about.
    pub acts: Vec<Act>,
}

impl Ledger {
    /// A message's newest acceptance, and its history, of each kind the first 1,000.
    ///
    /// # Errors
    /// If the database refuses or does not answer.
    pub async fn timeline(&self, tenant: &str, id: MessageId) -> Result<Option<Timeline>, LedgerError> {
        self.within(async {
            let sql = format!(
                "SELECT {MESSAGE} FROM messages m WHERE m.id = $1 AND m.tenant = $2 ORDER BY m.accepted_at DESC LIMIT 1"
            );
            let row = sqlx::query(AssertSqlSafe(sql))
                .bind(id.0.to_vec())
                .bind(tenant.to_owned())
                .fetch_optional(&self.pool)
                .await?;
            let Some(row) = row.as_ref().map(message).transpose()? else {
                return Ok(None);
            };
            let accepted_at = row.message.accepted_at;
            Ok(Some(Timeline {
                row,
                moves: self.moves_of("transitions", id, accepted_at).await?,
                conflicts: self.moves_of("conflicts", id, accepted_at).await?,
                events: self.events_of(id, accepted_at).await?,
                acts: self.acts_on(id).await?,
            }))
        })
        .await
    }

    async fn moves_of(
        &self,
        table: &str,
        id: MessageId,
        accepted_at: Millis,
    ) -> Result<Vec<Move>, LedgerError> {
        let sql = format!(
            "SELECT message_id, accepted_at, revision, state, reason, attempt, at, rendered_at FROM {table} WHERE \
             message_id = $1 AND accepted_at = $2 ORDER BY revision LIMIT $3"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(id.0.to_vec())
            .bind(integer(accepted_at.0))
            .bind(HISTORY_MAX)
            .fetch_all(&self.pool)
            .await?;
        let moves: Result<Vec<Option<Move>>, LedgerError> = rows.iter().map(transition).collect();
        Ok(moves?.into_iter().flatten().collect())
    }

    async fn events_of(&self, id: MessageId, accepted_at: Millis) -> Result<Vec<Event>, LedgerError> {
        let sql = format!(
            "SELECT {} FROM events WHERE message_id = $1 AND accepted_at = $2 ORDER BY seq LIMIT $3",
            events::COLUMNS
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(id.0.to_vec())
            .bind(integer(accepted_at.0))
            .bind(HISTORY_MAX)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(events::event).collect()
    }

    async fn acts_on(&self, id: MessageId) -> Result<Vec<Act>, LedgerError> {
        let sql = "SELECT a.id, a.at, a.act, a.who, a.why, a.tenant FROM acted_on o JOIN acts a ON a.id = o.act_id WHERE \
                   o.message_id = $1 ORDER BY a.at LIMIT $2";
        let rows = sqlx::query(sql)
            .bind(id.0.to_vec())
            .bind(HISTORY_MAX)
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
                messages: vec![id],
            })
        };
        rows.iter().map(act).collect()
    }

    /// Up to `count` messages that `filter` lets through, the newest first, after `page`.
    ///
    /// # Errors
    /// If the database refuses or does not answer.
    pub async fn search(
        &self,
        filter: &Filter,
        page: Option<Page>,
        count: u32,
    ) -> Result<Vec<MessageRow>, LedgerError> {
        let sql = format!(
            "SELECT {MESSAGE} FROM messages m WHERE m.tenant = $1 AND ($2 = '' OR m.template = $2) AND \
             ($3 = 0 OR m.recipient = $4) AND ($5 = 0 OR m.user_hash = $6) AND ($7 = 0 OR m.state = $7) AND \
             m.accepted_at >= $8 AND m.accepted_at < $9 AND (m.accepted_at < $10 OR (m.accepted_at = $10 AND m.id < $11)) \
             ORDER BY m.accepted_at DESC, m.id DESC LIMIT $12"
        );
        let until = if filter.until.0 == 0 {
            i64::MAX
        } else {
            integer(filter.until.0)
        };
        let (before, id) = page.map_or((i64::MAX, Vec::new()), |page| {
            (integer(page.accepted_at.0), page.id.0.to_vec())
        });
        self.within(async {
            let rows = sqlx::query(AssertSqlSafe(sql))
                .bind(filter.tenant.clone())
                .bind(filter.template.clone())
                .bind(integer(filter.recipient.len() as u64))
                .bind(filter.recipient.clone())
                .bind(integer(filter.user_hash.len() as u64))
                .bind(filter.user_hash.clone())
                .bind(filter.state.map_or(0, |state| i64::from(state.letter())))
                .bind(integer(filter.from.0))
                .bind(until)
                .bind(before)
                .bind(id)
                .bind(i64::from(count))
                .fetch_all(&self.pool)
                .await?;
            rows.iter().map(message).collect()
        })
        .await
    }
}

/// The rows of messages, by id and acceptance.
pub(crate) async fn messages_of(
    connection: &mut AnyConnection,
    keys: &BTreeSet<(MessageId, Millis)>,
) -> Result<BTreeMap<(MessageId, Millis), MessageRow>, LedgerError> {
    let mut known = BTreeMap::new();
    let keys: Vec<_> = keys.iter().copied().collect();
    for chunk in keys.chunks(ROWS_MAX) {
        let sql = format!(
            "WITH asked (id, accepted_at) AS (VALUES {}) SELECT {MESSAGE} FROM asked JOIN messages m ON m.id = asked.id AND \
             m.accepted_at = asked.accepted_at",
            placeholders(0, chunk.len(), 2)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for (id, accepted_at) in chunk {
            query = query.bind(id.0.to_vec()).bind(integer(accepted_at.0));
        }
        for row in query.fetch_all(&mut *connection).await? {
            let row = message(&row)?;
            known.insert((row.message.id, row.message.accepted_at), row);
        }
    }
    Ok(known)
}

fn message(row: &AnyRow) -> Result<MessageRow, LedgerError> {
    Ok(MessageRow {
        message: LoggedMessage {
            id: message_id(row, 0)?,
            accepted_at: millis(row, 1)?,
            tenant: row.try_get(2)?,
            template: row.try_get(3)?,
            bundle_hash: row.try_get(4)?,
            lane: lane(row.try_get(5)?),
            identity: row.try_get(6)?,
            recipient: row.try_get(7)?,
            user_hash: row.try_get(8)?,
            send_at: millis(row, 9)?,
            expires_at: millis(row, 10)?,
            tags: row.try_get(11)?,
            digests: row.try_get(12)?,
        },
        revision: number(row, 13)?,
        state: state(row, 14)?,
        reason: reason(row, 15)?,
        changed_at: millis(row, 16)?,
        erased_at: millis(row, 17)?,
    })
}

/// `None` for a state of a newer release.
pub(crate) fn transition(row: &AnyRow) -> Result<Option<Move>, LedgerError> {
    let Some(state) = state(row, 3)? else {
        return Ok(None);
    };
    Ok(Some(Move {
        id: message_id(row, 0)?,
        accepted_at: millis(row, 1)?,
        revision: number(row, 2)?,
        state,
        reason: reason(row, 4)?,
        attempt: number(row, 5)?,
        at: millis(row, 6)?,
        rendered_at: millis(row, 7)?,
    }))
}

pub(crate) fn message_id(row: &AnyRow, column: usize) -> Result<MessageId, LedgerError> {
    let bytes: Vec<u8> = row.try_get(column)?;
    let bytes = <[u8; 16]>::try_from(bytes.as_slice());
    bytes
        .map(MessageId)
        .map_err(|error| sqlx::Error::Decode(error.into()).into())
}

pub(crate) fn millis(row: &AnyRow, column: usize) -> Result<Millis, LedgerError> {
    Ok(Millis(unsigned(row.try_get(column)?)))
}

fn number(row: &AnyRow, column: usize) -> Result<u32, LedgerError> {
    Ok(u32::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0))
}

fn state(row: &AnyRow, column: usize) -> Result<Option<State>, LedgerError> {
    let code: i64 = row.try_get(column)?;
    Ok(u8::try_from(code).ok().and_then(State::from_letter))
}

fn reason(row: &AnyRow, column: usize) -> Result<Reason, LedgerError> {
    let code: i64 = row.try_get(column)?;
    Ok(Reason::from_code(u16::try_from(code).unwrap_or(u16::MAX)))
}
