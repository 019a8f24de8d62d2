//! The way to the wire: promotion, what rendering finds, and the claim.
//!
//! All but promotion act for an entry of a stream, and entries are copied, kept and delivered late. So each needs the
//! record's own ticket, which changes whenever the message goes back to its queue.

use std::time::Duration;

use super::{Step, Why, moved, requeued};
use crate::reason::Reason;
use crate::record::{Nonce, Provider, Record, State, Ticket};
use crate::time::Millis;

/// What a sender brings to a claim.
pub(super) struct Claim {
    pub(super) nonce: Nonce,
    pub(super) lease: Duration,
    pub(super) provider: Provider,
}

pub(super) fn due(record: &Record, now: Millis) -> Step {
    if !matches!(record.state, State::Scheduled | State::Deferred) {
        return Step::Unchanged(Why::WrongState);
    }
    if record.due_at > now {
        return Step::Unchanged(Why::NotDue);
    }
    if let Some(expired) = expired(record, now) {
        return expired;
    }
    Step::Moved(requeued(record, Reason::None, now))
}

pub(super) fn buried(record: &Record, ticket: Ticket, reason: Reason, now: Millis) -> Step {
    match refusal(record, ticket) {
        Some(why) => Step::Unchanged(why),
        None => Step::Moved(moved(record, State::Dead, reason, now)),
    }
}

/// Unlike a report's, this delay is not cut at `expires_at`: promotion looks at it first.
pub(super) fn postponed(
    record: &Record,
    ticket: Ticket,
    reason: Reason,
    delay: Duration,
    now: Millis,
) -> Step {
    match refusal(record, ticket) {
        Some(why) => Step::Unchanged(why),
        None => Step::Moved(Record {
            due_at: now + delay,
            ..moved(record, State::Deferred, reason, now)
        }),
    }
}

pub(super) fn held(record: &Record, ticket: Ticket, now: Millis) -> Step {
    match refusal(record, ticket) {
        Some(why) => Step::Unchanged(why),
        None => Step::Moved(moved(record, State::Held, Reason::Stopped, now)),
    }
}

pub(super) fn released(record: &Record, now: Millis) -> Step {
    match record.state {
        State::Held => Step::Moved(requeued(record, Reason::None, now)),
        _ => Step::Unchanged(Why::WrongState),
    }
}

pub(super) fn suppressed(record: &Record, ticket: Ticket, reason: Reason, now: Millis) -> Step {
    if let Some(why) = refusal(record, ticket) {
        return Step::Unchanged(why);
    }
    expired(record, now).unwrap_or_else(|| Step::Moved(moved(record, State::Suppressed, reason, now)))
}

pub(super) fn claimed(record: &Record, ticket: Ticket, claim: Claim, now: Millis) -> Step {
    if let Some(why) = refusal(record, ticket) {
        return Step::Unchanged(why);
    }
    if let Some(expired) = expired(record, now) {
        return expired;
    }
    Step::Moved(Record {
        attempt: record.attempt.saturating_add(1),
        nonce: claim.nonce,
        provider: Some(record.bound_to().unwrap_or(claim.provider)),
        due_at: now + claim.lease,
        ..moved(record, State::Sending, Reason::None, now)
    })
}

/// Why an entry with this ticket is not the one that the record waits for.
fn refusal(record: &Record, ticket: Ticket) -> Option<Why> {
    if record.state != State::Queued {
        Some(Why::WrongState)
    } else if record.ticket() != ticket {
        Some(Why::StaleTicket)
    } else {
        None
    }
}

/// The end by time, if it has come.
fn expired(record: &Record, now: Millis) -> Option<Step> {
    (record.expires_at <= now).then(|| Step::Moved(moved(record, State::Expired, Reason::PastExpiry, now)))
}
