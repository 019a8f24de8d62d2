//! The state machine of a message: a pure, total function of (record, event, now).
//!
//! The store's scripts enforce the same transitions on Redis; a property test compares the two, and `tests/exploration.rs`
//! walks every state that two senders, late reports, doubled entries and a store that forgets can reach. Three rules
//! carry the promises:
//!
//! - **A report is never refused.** Evidence that any attempt was sent (a provider's event, a sender's late positive
//!   result) moves the message to `accepted` from every state, whatever its fence, and nothing moves it on from there.
//! - **What is not known is not repeated.** An unknown outcome, or a claim that ran out, is doubt. Only the template's
//!   policy (once per acceptance) or a person takes a message out of it without evidence.
//! - **Whoever acts must hold the present.** Claims need the record's own ticket (acceptance, generation), reports of
//!   failure its own fence (attempt, nonce). What is older changes nothing.
//!
//! The machine does not say which keys and streams a transition touches; that is the store's part.

mod assertion;
mod evidence;
pub mod invariants;
mod queue;
mod report;
#[cfg(test)]
mod tests;
mod wish;

use std::time::Duration;

use crate::lane::Lane;
use crate::reason::Reason;
use crate::record::{Fence, Nonce, Provider, Record, State, Ticket};
use crate::time::Millis;

/// What happened to a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Its time has come: `scheduled` or `deferred` to `queued`.
    Due,
    /// It can't be rendered, and waiting won't help.
    Buried { ticket: Ticket, reason: Reason },
    /// It can't be rendered now.
    Postponed {
        ticket: Ticket,
        reason: Reason,
        delay: Duration,
    },
    /// A stop was met at the claim.
    Held { ticket: Ticket },
    /// The stop is over.
    Released,
    /// The recipient's address was found, at the claim, to be one that must not be written to, and why.
    Suppressed { ticket: Ticket, reason: Reason },
    /// A sender takes it, to write it to `provider` before `lease` is over. What may have been sent keeps the provider of then.
    Claimed {
        ticket: Ticket,
        nonce: Nonce,
        lease: Duration,
        provider: Provider,
    },
    /// The sender that holds `claim` finds that Redis may have lost writes. `claim` is the record as the claim was answered,
    /// `lease` what is left of its time.
    Asserted { claim: Box<Record>, lease: Duration },
    /// What came of a claim, by the sender that held it.
    Reported { fence: Fence, outcome: Outcome },
    /// The claim's lease is over and its sender has not reported.
    ClaimLapsed { fence: Fence },
    /// The window for evidence is over.
    WindowOver { fence: Fence },
    /// A provider's event shows that some attempt was sent. An empty `provider_id` is one that the event did not name.
    EvidenceSent { provider: Provider, provider_id: String },
    /// A provider's event shows that this attempt was not sent.
    EvidenceNotSent {
        attempt: u32,
        reason: Reason,
        delay: Duration,
    },
    /// The caller wants it no more, or a stop ends it; `reason` says which.
    Cancelled { reason: Reason },
    /// A person sends a dead letter once more.
    Redriven,
    /// A person gives a dead letter up.
    Discarded,
    /// What is known of its recipient is erased: it ends wherever it waits.
    Erased,
    /// The caller enqueues it anew and says `resubmit`. A zero `send_at` is "at once", a zero `expires_at` no wish.
    Resubmitted {
        lane: Lane,
        identity: String,
        send_at: Millis,
        expires_at: Millis,
        ttl: Duration,
    },
}

/// What came of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The provider took it. An empty `provider_id` is one that could not be read.
    Accepted { provider_id: String },
    /// The provider refused this message for good.
    Refused { reason: Reason },
    /// Provably not sent, for the message's own reasons: a try is counted.
    Failed { reason: Reason, delay: Duration },
    /// Provably not sent, for reasons that are not the message's: no try is counted.
    Deferred { reason: Reason, delay: Duration },
    /// It may have been sent.
    Unknown { reason: Reason },
}

/// What an event does to a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::large_enum_variant,
    reason = "short-lived, and nearly always the large one"
)]
pub enum Step {
    Moved(Record),
    Unchanged(Why),
}

/// Why an event changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// The record is where the event would take it.
    Already,
    /// The state is none that the event applies to.
    WrongState,
    /// Its time has not come.
    NotDue,
    /// The entry is of another acceptance or generation.
    StaleTicket,
    /// The report is of a claim that is no longer the record's.
    StaleFence,
    /// It may have been sent: only a person may send it again.
    MaybeSent,
}

/// The first revision of a message. `wished` holds what the caller and the template say; a zero `expires_at` in it means
/// that only the template's time to live (`ttl`) bounds it.
#[must_use]
pub fn accept(wished: Record, ttl: Duration, now: Millis) -> Record {
    let scheduled = wished.send_at > now;
    Record {
        state: if scheduled {
            State::Scheduled
        } else {
            State::Queued
        },
        reason: Reason::None,
        revision: 1,
        attempt: 0,
        nonce: Nonce::default(),
        generation: 1,
        tries: 0,
        maybe_sent: false,
        resent: false,
        accepted_at: now,
        changed_at: now,
        expires_at: expiry(wished.send_at, wished.expires_at, ttl, now),
        due_at: if scheduled { wished.send_at } else { Millis(0) },
        provider: None,
        provider_id: String::new(),
        ..wished
    }
}

/// The record of a claim that is asserted where there is none any more.
#[must_use]
pub fn recreate(claim: &Record, lease: Duration, now: Millis) -> Record {
    assertion::recreated(claim, lease, now)
}

/// What `event` does to `record` at `now`.
#[must_use]
pub fn step(record: &Record, event: &Event, now: Millis) -> Step {
    match event {
        Event::Due => queue::due(record, now),
        Event::Buried { ticket, reason } => queue::buried(record, *ticket, *reason, now),
        Event::Postponed {
            ticket,
            reason,
            delay,
        } => queue::postponed(record, *ticket, *reason, *delay, now),
        Event::Held { ticket } => queue::held(record, *ticket, now),
        Event::Released => queue::released(record, now),
        Event::Suppressed { ticket, reason } => queue::suppressed(record, *ticket, *reason, now),
        Event::Claimed {
            ticket,
            nonce,
            lease,
            provider,
        } => queue::claimed(
            record,
            *ticket,
            queue::Claim {
                nonce: *nonce,
                lease: *lease,
                provider: *provider,
            },
            now,
        ),
        Event::Asserted { claim, lease } => assertion::asserted(record, claim, *lease, now),
        Event::Reported { fence, outcome } => report::reported(record, *fence, outcome, now),
        Event::ClaimLapsed { fence } => report::claim_lapsed(record, *fence, now),
        Event::WindowOver { fence } => report::window_over(record, *fence, now),
        Event::EvidenceSent {
            provider,
            provider_id,
        } => evidence::sent(record, *provider, provider_id, now),
        Event::EvidenceNotSent {
            attempt,
            reason,
            delay,
        } => evidence::not_sent(record, *attempt, *reason, *delay, now),
        Event::Cancelled { reason } => wish::cancelled(record, *reason, now),
        Event::Redriven => wish::redriven(record, now),
        Event::Discarded => wish::discarded(record, now),
        Event::Erased => wish::erased(record, now),
        Event::Resubmitted {
            lane,
            identity,
            send_at,
            expires_at,
            ttl,
        } => {
            let wish = wish::Wish {
                lane: *lane,
                identity,
                send_at: *send_at,
                expires_at: expiry(*send_at, *expires_at, *ttl, now),
            };
            wish::resubmitted(record, &wish, now)
        }
    }
}

/// When a message's time is over: by the caller's wish (zero for none) or by its time to live, whichever is sooner.
fn expiry(send_at: Millis, wish: Millis, ttl: Duration, now: Millis) -> Millis {
    let by_ttl = send_at.max(now) + ttl;
    if wish == Millis(0) {
        by_ttl
    } else {
        by_ttl.min(wish)
    }
}

/// The next revision of `record`, in `state`, with no time at which it is due. Every transition starts here.
fn moved(record: &Record, state: State, reason: Reason, now: Millis) -> Record {
    Record {
        state,
        reason,
        revision: record.revision.saturating_add(1),
        changed_at: now,
        due_at: Millis(0),
        ..record.clone()
    }
}

/// The next revision, back in its queue with a ticket that no older entry matches.
fn requeued(record: &Record, reason: Reason, now: Millis) -> Record {
    Record {
        generation: record.generation.saturating_add(1),
        ..moved(record, State::Queued, reason, now)
    }
}

/// The next revision, to be tried again after `delay`, or looked at once its time is over if that is sooner.
fn deferred(record: &Record, reason: Reason, delay: Duration, now: Millis) -> Record {
    Record {
        due_at: (now + delay).min(record.expires_at),
        ..moved(record, State::Deferred, reason, now)
    }
}
