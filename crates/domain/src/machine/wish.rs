//! What callers and operators want.

use super::{Step, Why, moved, requeued};
use crate::reason::Reason;
use crate::record::{Record, State};
use crate::time::Millis;

/// What a sender has claimed, or may have sent, can't be called back.
pub(super) fn cancelled(record: &Record, now: Millis) -> Step {
    match record.state {
        State::Scheduled | State::Queued | State::Deferred | State::Held => {
            Step::Moved(moved(record, State::Cancelled, Reason::CancelledByCaller, now))
        }
        State::Cancelled => Step::Unchanged(Why::Already),
        _ => Step::Unchanged(Why::WrongState),
    }
}

/// A person may send again what may have been sent. The policy's resend stays spent.
pub(super) fn redriven(record: &Record, now: Millis) -> Step {
    match record.state {
        State::Dead => Step::Moved(Record {
            tries: 0,
            ..requeued(record, Reason::Redriven, now)
        }),
        _ => Step::Unchanged(Why::WrongState),
    }
}

pub(super) fn discarded(record: &Record, now: Millis) -> Step {
    match record.state {
        State::Dead => Step::Moved(moved(record, State::Discarded, Reason::DiscardedByOperator, now)),
        State::Discarded => Step::Unchanged(Why::Already),
        _ => Step::Unchanged(Why::WrongState),
    }
}

/// Only what ended provably unsent is taken up again. The acceptance stays the same, so that late events of earlier
/// attempts still find their message.
pub(super) fn resubmitted(record: &Record, send_at: Millis, expires_at: Millis, now: Millis) -> Step {
    if !record.state.at_rest() || record.state == State::Accepted {
        return Step::Unchanged(Why::WrongState);
    }
    if record.maybe_sent {
        return Step::Unchanged(Why::MaybeSent);
    }
    let queued = Record {
        tries: 0,
        send_at,
        expires_at,
        ..requeued(record, Reason::Resubmitted, now)
    };
    Step::Moved(if send_at > now {
        Record {
            state: State::Scheduled,
            due_at: send_at,
            ..queued
        }
    } else {
        queued
    })
}
