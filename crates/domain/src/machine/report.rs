//! What comes of a claim: the sender's report, its silence, and the end of doubt.
//!
//! A positive report is evidence and goes the way of evidence. Every other one speaks for its own claim only, and counts
//! as long as that claim is the record's: while sending, or later, while in doubt about it.

use std::time::Duration;

use super::{Outcome, Step, Why, deferred, evidence, moved, requeued};
use crate::reason::Reason;
use crate::record::{DoubtPolicy, Fence, Record, State};
use crate::time::Millis;

pub(super) fn reported(record: &Record, fence: Fence, outcome: &Outcome, now: Millis) -> Step {
    match (outcome, stale(record, fence)) {
        (Outcome::Accepted { provider_id }, _) => evidence::accepted(record, Reason::None, provider_id, now),
        (_, Some(why)) => Step::Unchanged(why),
        (Outcome::Refused { reason }, None) => Step::Moved(moved(record, State::Dead, *reason, now)),
        (Outcome::Failed { reason, delay }, None) => Step::Moved(failed(record, *reason, *delay, now)),
        (Outcome::Deferred { reason, delay }, None) => Step::Moved(deferred(record, *reason, *delay, now)),
        (Outcome::Unknown { .. }, None) if record.state == State::InDoubt => Step::Unchanged(Why::Already),
        (Outcome::Unknown { reason }, None) => Step::Moved(doubted(record, *reason, now)),
    }
}

pub(super) fn claim_lapsed(record: &Record, fence: Fence, now: Millis) -> Step {
    match refusal(record, State::Sending, fence, now) {
        Some(why) => Step::Unchanged(why),
        None => Step::Moved(doubted(record, Reason::ClaimLapsed, now)),
    }
}

/// The policy's resend is spent by taking it, whatever becomes of that attempt.
pub(super) fn window_over(record: &Record, fence: Fence, now: Millis) -> Step {
    if let Some(why) = refusal(record, State::InDoubt, fence, now) {
        return Step::Unchanged(why);
    }
    let resend = record.policy == DoubtPolicy::Resend && !record.resent && record.expires_at > now;
    Step::Moved(if resend {
        Record {
            resent: true,
            ..requeued(record, Reason::DoubtResent, now)
        }
    } else {
        moved(record, State::Dead, Reason::DoubtUnsettled, now)
    })
}

fn failed(record: &Record, reason: Reason, delay: Duration, now: Millis) -> Record {
    let tries = record.tries.saturating_add(1);
    let next = if tries >= u32::from(record.tries_max) {
        moved(record, State::Dead, Reason::TriesExhausted, now)
    } else {
        deferred(record, reason, delay, now)
    };
    Record { tries, ..next }
}

fn doubted(record: &Record, reason: Reason, now: Millis) -> Record {
    Record {
        maybe_sent: true,
        due_at: now + Duration::from_secs(u64::from(record.doubt_window_s)),
        ..moved(record, State::InDoubt, reason, now)
    }
}

/// Why a report of `fence` no longer counts.
fn stale(record: &Record, fence: Fence) -> Option<Why> {
    if !matches!(record.state, State::Sending | State::InDoubt) {
        Some(Why::WrongState)
    } else if record.fence() != fence {
        Some(Why::StaleFence)
    } else {
        None
    }
}

/// Why the time that `fence`'s claim has in `state` is not over.
fn refusal(record: &Record, state: State, fence: Fence, now: Millis) -> Option<Why> {
    if record.state != state {
        Some(Why::WrongState)
    } else if record.fence() != fence {
        Some(Why::StaleFence)
    } else if record.due_at > now {
        Some(Why::NotDue)
    } else {
        None
    }
}
