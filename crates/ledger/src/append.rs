//! Writing what the shards' logs say: acceptances, transitions, acts.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use paceline_domain::id::MessageId;
use paceline_domain::time::Millis;
use sqlx::{AssertSqlSafe, Row as _, Transaction};

use crate::ledger::connection;
use crate::query::{message_id, millis};
use crate::rows::{ROWS_MAX, integer, placeholders};
use crate::types::lane_code;
use crate::{Act, Appended, Ledger, LedgerError, LoggedMessage, Move, acts, erasure, events, kept, outcomes};

type Key = (MessageId, Millis);
type Writing = Transaction<'static, sqlx::Any>;

impl Ledger {
    /// Writes a part of a log, in one transaction. What is there already stays as it is, so that the same part may come again.
    /// What `messages` has not of the messages in `moves`, another call had, or will have, or nobody knows.
    ///
    /// # Errors
    /// If the database refuses or does not answer: then all of it may be there, or nothing.
    pub async fn append(
        &self,
        messages: &[LoggedMessage],
        moves: &[Move],
        acts: &[Act],
    ) -> Result<Appended, LedgerError> {
        self.within(async {
            let (mut writing, before) = self.begin(outcomes::count(moves)).await?;
            let mut moved = Vec::new();
            for chunk in messages.chunks(ROWS_MAX) {
                moved.extend(write_messages(&mut writing, chunk).await?);
            }
            name_unknown(&mut writing, moves).await?;
            let mut appended = Appended::default();
            for chunk in moves.chunks(ROWS_MAX) {
                appended.moves += write_moves(&mut writing, chunk).await?;
            }
            if appended.moves < moves.len() as u64 {
                appended.conflicts = write_conflicts(&mut writing, moves).await?;
            }
            advance(&mut writing, moves).await?;
            let known = outcomes::of(&mut writing, moves, before).await?;
            events::write(&mut writing, &known).await?;
            let late = outcomes::before(&mut writing, &moved).await?;
            events::write(&mut writing, &late).await?;
            acts::write(&mut writing, acts).await?;
            writing.commit().await?;
            Ok(appended)
        })
        .await
    }
}

/// Answers with those that had moved before the ledger learnt of their acceptance, or again.
async fn write_messages(writing: &mut Writing, messages: &[LoggedMessage]) -> Result<Vec<Key>, LedgerError> {
    // One statement may name a row only once.
    let last: BTreeMap<Key, &LoggedMessage> = messages.iter().map(|m| ((m.id, m.accepted_at), m)).collect();
    let erased = erasure::erased_at(writing, messages).await?;
    let sql = format!(
        "INSERT INTO messages (id, accepted_at, tenant, template, bundle_hash, lane, identity, recipient, user_hash, send_at, \
         expires_at, tags, digests, erased_at) VALUES {} ON CONFLICT (id, accepted_at) DO UPDATE SET tenant = excluded.tenant, \
         template = excluded.template, bundle_hash = excluded.bundle_hash, lane = excluded.lane, identity = excluded.identity, \
         send_at = excluded.send_at, expires_at = excluded.expires_at, {} RETURNING id, accepted_at, revision, erased_at",
        placeholders(0, last.len(), 14),
        unless_erased()
    );
    let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    for message in last.into_values() {
        let whose = (message.tenant.clone(), message.recipient.clone());
        let erased_at = erased
            .get(&whose)
            .copied()
            .filter(|at| message.accepted_at <= *at);
        let or_none = |hash: &Vec<u8>| erased_at.map_or_else(|| hash.clone(), |_| Vec::new());
        query = query
            .bind(message.id.0.to_vec())
            .bind(integer(message.accepted_at.0))
            .bind(message.tenant.clone())
            .bind(message.template.clone())
            .bind(message.bundle_hash.clone())
            .bind(lane_code(message.lane))
            .bind(message.identity.clone())
            .bind(or_none(&message.recipient))
            .bind(or_none(&message.user_hash))
            .bind(integer(message.send_at.0))
            .bind(integer(message.expires_at.0))
            .bind(erased_at.map_or_else(|| message.tags.clone(), |_| "[]".to_owned()))
            .bind(or_none(&message.digests))
            .bind(integer(erased_at.unwrap_or_default().0));
    }
    let rows = query.fetch_all(connection(writing)).await?;
    let (mut moved, mut erased) = (Vec::new(), Vec::new());
    for row in rows {
        let key = (message_id(&row, 0)?, millis(&row, 1)?);
        if row.try_get::<i64, _>(2)? > 0 {
            moved.push(key);
        }
        if row.try_get::<i64, _>(3)? > 0 {
            erased.push(key);
        }
    }
    // Another copier may have had what a renderer made of them before.
    kept::erase(writing, &erased).await?;
    Ok(moved)
}

/// What comes again of a message stays away from what was erased.
fn unless_erased() -> String {
    let columns = ["recipient", "user_hash", "tags", "digests", "erased_at"].map(|column| {
        format!(
            "{column} = CASE WHEN messages.erased_at = 0 THEN excluded.{column} ELSE messages.{column} END"
        )
    });
    columns.join(", ")
}

/// Moves of messages whose acceptance is not in the ledger get a row, which says only when they were accepted.
async fn name_unknown(writing: &mut Writing, moves: &[Move]) -> Result<(), LedgerError> {
    let keys: BTreeSet<Key> = moves.iter().map(|m| (m.id, m.accepted_at)).collect();
    let keys: Vec<Key> = keys.into_iter().collect();
    for chunk in keys.chunks(ROWS_MAX) {
        let sql = format!(
            "INSERT INTO messages (id, accepted_at) VALUES {} ON CONFLICT DO NOTHING",
            placeholders(0, chunk.len(), 2)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for (id, accepted_at) in chunk {
            query = query.bind(id.0.to_vec()).bind(integer(accepted_at.0));
        }
        query.execute(connection(writing)).await?;
    }
    Ok(())
}

async fn write_moves(writing: &mut Writing, moves: &[Move]) -> Result<u64, LedgerError> {
    insert_moves(writing, "transitions", moves).await
}

async fn insert_moves(writing: &mut Writing, table: &str, moves: &[Move]) -> Result<u64, LedgerError> {
    let sql = format!(
        "INSERT INTO {table} (message_id, accepted_at, revision, state, reason, attempt, at, rendered_at) VALUES {} \
         ON CONFLICT DO NOTHING",
        placeholders(0, moves.len(), 8)
    );
    let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    for m in moves {
        query = query
            .bind(m.id.0.to_vec())
            .bind(integer(m.accepted_at.0))
            .bind(i64::from(m.revision))
            .bind(i64::from(m.state.letter()))
            .bind(i64::from(m.reason.code()))
            .bind(i64::from(m.attempt))
            .bind(integer(m.at.0))
            .bind(integer(m.rendered_at.0));
    }
    Ok(query.execute(connection(writing)).await?.rows_affected())
}

/// Keeps those of `moves` whose revision is there with another content; says how many there are.
async fn write_conflicts(writing: &mut Writing, moves: &[Move]) -> Result<u64, LedgerError> {
    let mut conflicts = 0;
    for chunk in moves.chunks(ROWS_MAX) {
        let sql = format!(
            "WITH asked (id, accepted_at, revision) AS (VALUES {}) SELECT t.message_id, t.accepted_at, t.revision, t.state, \
             t.reason, t.attempt, t.at FROM asked JOIN transitions t ON t.message_id = asked.id AND \
             t.accepted_at = asked.accepted_at AND t.revision = asked.revision",
            placeholders(0, chunk.len(), 3)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for m in chunk {
            query = query
                .bind(m.id.0.to_vec())
                .bind(integer(m.accepted_at.0))
                .bind(i64::from(m.revision));
        }
        let mut there = HashMap::new();
        for row in query.fetch_all(connection(writing)).await? {
            let key: (Vec<u8>, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            let content: (i64, i64, i64, i64) =
                (row.try_get(3)?, row.try_get(4)?, row.try_get(5)?, row.try_get(6)?);
            there.insert(key, content);
        }
        let differs = |m: &&Move| {
            let key = (m.id.0.to_vec(), integer(m.accepted_at.0), i64::from(m.revision));
            let content = (
                i64::from(m.state.letter()),
                i64::from(m.reason.code()),
                i64::from(m.attempt),
                integer(m.at.0),
            );
            there.get(&key).is_some_and(|known| *known != content)
        };
        let differing: Vec<Move> = chunk.iter().filter(differs).copied().collect();
        if !differing.is_empty() {
            conflicts += insert_moves(writing, "conflicts", &differing).await?;
        }
    }
    Ok(conflicts)
}

/// Each message's row shows its highest revision.
async fn advance(writing: &mut Writing, moves: &[Move]) -> Result<(), LedgerError> {
    let mut newest: BTreeMap<Key, &Move> = BTreeMap::new();
    for m in moves {
        let known = newest.entry((m.id, m.accepted_at)).or_insert(m);
        if known.revision < m.revision {
            *known = m;
        }
    }
    let newest: Vec<&Move> = newest.into_values().collect();
    for chunk in newest.chunks(ROWS_MAX) {
        let sql = format!(
            "WITH news (id, accepted_at, revision, state, reason, changed_at) AS (VALUES {}) UPDATE messages SET \
             revision = news.revision, state = news.state, reason = news.reason, changed_at = news.changed_at, lost_at = 0 FROM news \
             WHERE messages.id = news.id AND messages.accepted_at = news.accepted_at AND messages.revision < news.revision",
            placeholders(0, chunk.len(), 6)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for m in chunk {
            query = query
                .bind(m.id.0.to_vec())
                .bind(integer(m.accepted_at.0))
                .bind(i64::from(m.revision))
                .bind(i64::from(m.state.letter()))
                .bind(i64::from(m.reason.code()))
                .bind(integer(m.at.0));
        }
        query.execute(connection(writing)).await?;
    }
    Ok(())
}
