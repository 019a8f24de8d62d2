//! What a provider's answer means: for the message, and for the key it was sent under.

use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::machine::Outcome;
use paceline_domain::reason::Reason;
use paceline_domain::record::Record;
use paceline_domain::retry::backoff;
use paceline_providers::SendOutcome;

use crate::key_gate::{KeyGate, Pass};

/// A throttled message waits at most about half a minute: the key's rate does the rest.
const THROTTLED_DOUBLINGS_MAX: u32 = 4;

/// Tells the gate what came of the attempt, and says what is to be reported of the message. `record` is the claim's;
/// `random` is drawn evenly from `[0, 1)`.
pub fn settle(
    gate: &mut KeyGate,
    pass: Pass,
    (id, record): (MessageId, &Record),
    answer: SendOutcome,
    random: f64,
    now: Duration,
) -> Outcome {
    // Backs off although no try is counted: by the claims that there were.
    let by_attempts = backoff(record.attempt.saturating_sub(1), random);
    match answer {
        SendOutcome::Accepted { provider_id } => {
            gate.accepted(pass, id, now);
            Outcome::Accepted { provider_id }
        }
        SendOutcome::Refused { reason } => {
            gate.returned(pass, now);
            Outcome::Refused { reason }
        }
        SendOutcome::AccountRefused { reason } => key_refused(gate, pass, (id, record), reason, random, now),
        SendOutcome::Throttled { daily: true } => {
            key_refused(gate, pass, (id, record), Reason::DailyQuota, random, now)
        }
        SendOutcome::Throttled { daily: false } => {
            gate.undecided(pass, now);
            let doublings = record.attempt.saturating_sub(1).min(THROTTLED_DOUBLINGS_MAX);
            Outcome::Deferred {
                reason: Reason::Throttled,
                delay: backoff(doublings, random),
            }
        }
        // Nobody was reached: that is never the message's fault.
        SendOutcome::Transient {
            reason: reason @ Reason::NotConnected,
        } => {
            gate.undecided(pass, now);
            Outcome::Deferred {
                reason,
                delay: by_attempts,
            }
        }
        SendOutcome::Transient { reason } if gate.failed(pass, now) => Outcome::Failed {
            reason,
            delay: backoff(record.tries, random),
        },
        SendOutcome::Transient { reason } => Outcome::Deferred {
            reason,
            delay: by_attempts,
        },
        SendOutcome::Unknown { reason } => {
            gate.undecided(pass, now);
            Outcome::Unknown { reason }
        }
    }
}

/// How long a message waits whose key is closed for `wait`: somewhat longer, and not all of them equally long.
#[must_use]
pub fn until_usable(wait: Duration, random: f64) -> Duration {
    wait.mul_f64(1.0 + random.clamp(0.0, 1.0)) + backoff(0, random)
}

fn key_refused(
    gate: &mut KeyGate,
    pass: Pass,
    (id, record): (MessageId, &Record),
    reason: Reason,
    random: f64,
    now: Duration,
) -> Outcome {
    let refusal = gate.refused(pass, id, reason, now);
    if refusal.own {
        Outcome::Failed {
            reason,
            delay: backoff(record.tries, random).max(refusal.wait),
        }
    } else {
        Outcome::Deferred {
            reason,
            delay: until_usable(refusal.wait, random),
        }
    }
}
