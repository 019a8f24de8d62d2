//! What shows whether a message was sent.
//!
//! Evidence that it was applies in every state: refusing it in any one of them lets a later redrive, resubmission or
//! resend send a second time with the proof in hand. Evidence that it was not speaks for its own attempt only.

use std::time::Duration;

use super::{Step, Why, deferred, moved};
use crate::reason::Reason;
use crate::record::{Provider, Record, State};
use crate::time::Millis;

/// The event names the provider that sent it, which need not be the one of the newest claim.
pub(super) fn sent(record: &Record, provider: Provider, provider_id: &str, now: Millis) -> Step {
    match accepted(record, Reason::EventSaysSent, provider_id, now) {
        Step::Moved(next) => Step::Moved(Record {
            provider: Some(provider),
            ..next
        }),
        unchanged @ Step::Unchanged(_) => unchanged,
    }
}

pub(super) fn not_sent(record: &Record, attempt: u32, reason: Reason, delay: Duration, now: Millis) -> Step {
    if record.state != State::InDoubt {
        Step::Unchanged(Why::WrongState)
    } else if record.attempt != attempt {
        Step::Unchanged(Why::StaleFence)
    } else {
        Step::Moved(deferred(record, reason, delay, now))
    }
}

/// To `accepted`, from every other state. The first evidence keeps its provider id.
pub(super) fn accepted(record: &Record, reason: Reason, provider_id: &str, now: Millis) -> Step {
    if record.state == State::Accepted {
        return Step::Unchanged(Why::Already);
    }
    let mut next = moved(record, State::Accepted, reason, now);
    if !provider_id.is_empty() {
        provider_id.clone_into(&mut next.provider_id);
    }
    Step::Moved(next)
}
