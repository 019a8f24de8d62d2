//! The rules that are explored: the machine's own, and ones with a single mistake that the exploration must find.

use std::time::Duration;

use paceline_domain::machine::{Event, Outcome, Step, Why, step};
use paceline_domain::reason::Reason;
use paceline_domain::record::{Fence, Record, State};
use paceline_domain::time::Millis;

/// One mistake each. The last ones are not the machine's: its scripts' and its sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// Evidence counts only while in doubt, or for the claim at hand.
    EvidenceOnlyInDoubt,
    /// Evidence counts, but not for what has ended.
    EvidenceNotAtEnds,
    /// A fence is an attempt's number alone.
    NonceIgnored,
    /// What is not known is tried again.
    UnknownIsFailed,
    /// A claim that ran out is tried again.
    LapseIsFailed,
    /// Nobody looks for claims that ran out.
    LapseForgotten,
    /// A ticket is the acceptance alone.
    GenerationIgnored,
    /// A claim needs a ticket, not a queued record.
    QueueIgnored,
    /// The policy's resend leaves no mark.
    ResendUnmarked,
    /// A redrive starts with a clean record.
    DoubtForgotten,
    /// A resubmission does not look at `maybe_sent`.
    MaybeSentIgnored,
    /// A message on the wire can be cancelled.
    CancelledWhileSending,
    /// "Not sent" counts whatever attempt it speaks of.
    NotSentOfAny,
    /// A claim is asserted only for the entry that it was made for.
    AssertedByTicket,
    /// What has ended is left alone by an assertion.
    AssertionNotAtEnds,
    /// An assertion does not say that the resend is spent.
    AssertionForgetsResend,
    /// The hand-off's two flights are one: the entry may go before its copy is there.
    HandOffInOneFlight,
    /// A sender does not wait for its claim to be durable.
    CallBeforeDurable,
    /// Claims are allowed again before every sender has stood by its own.
    HoldTooShort,
}

/// The machine, with the mistake.
pub(crate) fn stepped(mistake: Option<Mistake>, record: &Record, event: &Event, now: Millis) -> Step {
    let Some(mistake) = mistake else {
        return step(record, event, now);
    };
    if let Some(why) = refused(mistake, record, event) {
        return Step::Unchanged(why);
    }
    let misread = misread(mistake, record, event).unwrap_or_else(|| event.clone());
    let mistaken = mistaken(mistake, record, event).unwrap_or_else(|| record.clone());
    match step(&mistaken, &misread, now) {
        Step::Moved(mut next) => {
            forget(mistake, record, event, &mut next);
            Step::Moved(next)
        }
        unchanged @ Step::Unchanged(_) => unchanged,
    }
}

/// Why the mistake refuses what it should not.
fn refused(mistake: Mistake, record: &Record, event: &Event) -> Option<Why> {
    let refused = match mistake {
        Mistake::EvidenceOnlyInDoubt => positive(event) && !expected(record, event),
        Mistake::EvidenceNotAtEnds => positive(event) && ended(record.state),
        Mistake::LapseForgotten => matches!(event, Event::ClaimLapsed { .. }),
        Mistake::AssertedByTicket => match event {
            Event::Asserted { claim, .. } => {
                record.state != State::Queued || record.ticket() != claim.ticket()
            }
            _ => false,
        },
        Mistake::AssertionNotAtEnds => matches!(event, Event::Asserted { .. }) && ended(record.state),
        _ => false,
    };
    refused.then_some(Why::WrongState)
}

/// What the mistake takes the event for.
fn misread(mistake: Mistake, record: &Record, event: &Event) -> Option<Event> {
    let mut misread = event.clone();
    match (mistake, &mut misread) {
        (Mistake::NonceIgnored, Event::Reported { fence, .. }) if fence.attempt == record.attempt => {
            fence.nonce = record.nonce;
        }
        (
            Mistake::UnknownIsFailed,
            Event::Reported {
                fence,
                outcome: Outcome::Unknown { .. },
            },
        ) => misread = failed(*fence),
        (Mistake::LapseIsFailed, Event::ClaimLapsed { fence }) => misread = failed(*fence),
        (Mistake::GenerationIgnored, Event::Claimed { ticket, .. }) => ticket.generation = record.generation,
        (Mistake::NotSentOfAny, Event::EvidenceNotSent { attempt, .. }) => *attempt = record.attempt,
        _ => return None,
    }
    Some(misread)
}

/// What the mistake takes the record for.
fn mistaken(mistake: Mistake, record: &Record, event: &Event) -> Option<Record> {
    let mut mistaken = record.clone();
    match (mistake, event) {
        (Mistake::QueueIgnored, Event::Claimed { .. }) if record.state != State::Accepted => {
            mistaken.state = State::Queued;
        }
        (Mistake::CancelledWhileSending, Event::Cancelled { .. }) if record.state == State::Sending => {
            mistaken.state = State::Queued;
        }
        (Mistake::MaybeSentIgnored, Event::Resubmitted { .. }) => mistaken.maybe_sent = false,
        _ => return None,
    }
    Some(mistaken)
}

/// What the mistake leaves out of what the record should say next.
fn forget(mistake: Mistake, record: &Record, event: &Event, next: &mut Record) {
    match (mistake, event) {
        (Mistake::ResendUnmarked, Event::WindowOver { .. }) => next.resent = false,
        (Mistake::AssertionForgetsResend, Event::Asserted { .. }) => next.resent = record.resent,
        (Mistake::DoubtForgotten, Event::Redriven) => next.maybe_sent = false,
        (Mistake::MaybeSentIgnored, Event::Resubmitted { .. }) => next.maybe_sent = record.maybe_sent,
        _ => {}
    }
}

/// The event is proof that some attempt was sent.
pub(crate) fn positive(event: &Event) -> bool {
    matches!(
        event,
        Event::EvidenceSent { .. }
            | Event::Reported {
                outcome: Outcome::Accepted { .. },
                ..
            }
    )
}

fn expected(record: &Record, event: &Event) -> bool {
    match (record.state, event) {
        (State::InDoubt, _) => true,
        (State::Sending, Event::Reported { fence, .. }) => *fence == record.fence(),
        (state, _) => state == State::Sending,
    }
}

fn ended(state: State) -> bool {
    matches!(
        state,
        State::Cancelled | State::Expired | State::Suppressed | State::Discarded
    )
}

fn failed(fence: Fence) -> Event {
    Event::Reported {
        fence,
        outcome: Outcome::Failed {
            reason: Reason::Timeout,
            delay: Duration::from_millis(100),
        },
    }
}
