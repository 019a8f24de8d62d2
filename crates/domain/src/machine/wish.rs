//! What callers and operators want.

use super::{Step, Why, moved, requeued};
use crate::lane::Lane;
use crate::reason::Reason;
use crate::record::{Record, State};
use crate::time::Millis;

/// What a sender has claimed, or may have sent, can't be called back.
pub(super) fn cancelled(record: &Record, reason: Reason, now: Millis) -> Step {
    match record.state {
        State::Scheduled | State::Queued | State::Deferred | State::Held => {
            Step::Moved(moved(record, State::Cancelled, reason, now))
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

/// What a sender has claimed is on its way; all else that is not at rest, or a dead letter, goes.
pub(super) fn erased(record: &Record, now: Millis) -> Step {
    let end = match record.state {
        State::Scheduled | State::Queued | State::Deferred | State::Held => State::Cancelled,
        State::Dead | State::InDoubt => State::Discarded,
        State::Cancelled | State::Discarded => return Step::Unchanged(Why::Already),
        State::Sending | State::Accepted | State::Expired | State::Suppressed => {
            return Step::Unchanged(Why::WrongState);
        }
    };
    Step::Moved(moved(record, end, Reason::Erased, now))
}

/// What a call may ask for anew of a message that is there.
pub(super) struct Wish<'a> {
    pub(super) lane: Lane,
    pub(super) identity: &'a str,
    pub(super) send_at: Millis,
    pub(super) expires_at: Millis,
}

/// Only what ended provably unsent is taken up again. The acceptance stays the same, so that late events of earlier
/// attempts still find their message. Lane, identity and times are those of the new call: the identity of the old one may be
/// gone, and nobody would send by it.
pub(super) fn resubmitted(record: &Record, wish: &Wish<'_>, now: Millis) -> Step {
    if !record.state.at_rest() || record.state == State::Accepted {
        return Step::Unchanged(Why::WrongState);
    }
    if record.maybe_sent {
        return Step::Unchanged(Why::MaybeSent);
    }
    let queued = Record {
        tries: 0,
        lane: wish.lane,
        identity: wish.identity.to_owned(),
        send_at: wish.send_at,
        expires_at: wish.expires_at,
        ..requeued(record, Reason::Resubmitted, now)
    };
    Step::Moved(if wish.send_at > now {
        Record {
            state: State::Scheduled,
            due_at: wish.send_at,
            ..queued
        }
    } else {
        queued
    })
}
