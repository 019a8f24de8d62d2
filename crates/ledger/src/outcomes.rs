//! Outcomes: the transitions that callers wait for, as events.
//!
//! A transition may be copied before the acceptance of its message, by another copier. Then it is no event yet, since nobody knows
//! whose: it becomes one with the acceptance.

use std::collections::BTreeSet;

use paceline_domain::id::MessageId;
use paceline_domain::record::State;
use paceline_domain::time::Millis;
use sqlx::{AssertSqlSafe, Transaction};

use crate::ledger::{connection, take};
use crate::query::{messages_of, transition};
use crate::rows::{ROWS_MAX, integer, placeholders, unsigned};
use crate::{Event, LedgerError, Move, NewEvent};

type Writing = Transaction<'static, sqlx::Any>;

/// The event that a transition is to callers, if they wait for it.
const fn kind(state: State) -> Option<&'static str> {
    match state {
        State::Accepted
        | State::InDoubt
        | State::Dead
        | State::Cancelled
        | State::Expired
        | State::Suppressed
        | State::Discarded => Some(state.as_str()),
        State::Queued | State::Scheduled | State::Sending | State::Deferred | State::Held => None,
    }
}

/// How many events there may be among `moves`.
pub(crate) fn count(moves: &[Move]) -> usize {
    moves.iter().filter(|m| kind(m.state).is_some()).count()
}

/// The events among `moves`, numbered on from `before`, with what their messages' rows say.
pub(crate) async fn of(
    writing: &mut Writing,
    moves: &[Move],
    before: i64,
) -> Result<Vec<Event>, LedgerError> {
    let notable: Vec<(&Move, &str)> = moves
        .iter()
        .filter_map(|m| kind(m.state).map(|kind| (m, kind)))
        .collect();
    let keys: BTreeSet<_> = notable.iter().map(|(m, _)| (m.id, m.accepted_at)).collect();
    let known = messages_of(connection(writing), &keys).await?;
    let mut seq = unsigned(before);
    let event = |(m, kind): (&Move, &str)| {
        let message = &known.get(&(m.id, m.accepted_at))?.message;
        if message.tenant.is_empty() {
            return None;
        }
        seq += 1;
        let event = NewEvent {
            id: format!("paceline:{}:{}:{}", m.id, m.accepted_at.0, m.revision),
            message_id: m.id,
            accepted_at: m.accepted_at,
            attempt: m.attempt,
            tenant: message.tenant.clone(),
            template: message.template.clone(),
            lane: message.lane,
            kind: kind.to_owned(),
            at: m.at,
            received_at: m.at,
            detail: format!("{{\"reason\":\"{}\"}}", m.reason.as_str()),
        };
        Some(Event { seq, event })
    };
    Ok(notable.into_iter().filter_map(event).collect())
}

/// The events of messages that had moved when their acceptance came. What is there already is not written again.
pub(crate) async fn before(
    writing: &mut Writing,
    messages: &[(MessageId, Millis)],
) -> Result<Vec<Event>, LedgerError> {
    let mut moves = Vec::new();
    for chunk in messages.chunks(ROWS_MAX) {
        let sql = format!(
            "WITH asked (id, accepted_at) AS (VALUES {}) SELECT t.message_id, t.accepted_at, t.revision, t.state, t.reason, \
             t.attempt, t.at, t.rendered_at FROM asked JOIN transitions t ON t.message_id = asked.id AND t.accepted_at = asked.accepted_at \
             ORDER BY t.message_id, t.revision",
            placeholders(0, chunk.len(), 2)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for (id, accepted_at) in chunk {
            query = query.bind(id.0.to_vec()).bind(integer(accepted_at.0));
        }
        for row in query.fetch_all(connection(writing)).await? {
            moves.extend(transition(&row)?);
        }
    }
    if moves.is_empty() {
        return Ok(Vec::new());
    }
    let before = take(writing, count(&moves)).await?;
    of(writing, &moves, before).await
}
