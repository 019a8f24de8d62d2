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
        SendOutcome::Throttled { daily: true, .. } => {
            key_refused(gate, pass, (id, record), Reason::DailyQuota, random, now)
        }
        SendOutcome::Throttled { daily: false, .. } => {
            gate.undecided(pass, now);
            let doublings = record.attempt.saturating_sub(1).min(THROTTLED_DOUBLINGS_MAX);
            Outcome::Deferred {
                reason: Reason::Throttled,
                delay: backoff(doublings, random),
            }
        }
        // Nobody was reached: that is never the message's fault.
        SendOutcome::Transient {
            reason: reason @ (Reason::NotConnected | Reason::NotWritten),
        } => {
            match reason {
                Reason::NotWritten => gate.returned(pass, now),
                _ => gate.undecided(pass, now),
            }
            Outcome::Deferred {
                reason,
                delay: by_attempts,
            }
        }
        SendOutcome::Transient { reason } if gate.failed(pass, id, now) => Outcome::Failed {
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

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use paceline_domain::id::MessageId;
    use paceline_domain::lane::Lane;
    use paceline_domain::machine::{Outcome, accept};
    use paceline_domain::reason::Reason;
    use paceline_domain::record::{DoubtPolicy, Nonce, Record, State};
    use paceline_domain::time::Millis;
    use paceline_providers::SendOutcome;

    use super::{settle, until_usable};
    use crate::key_gate::{KeyGate, PAUSE_MIN};

    const NOW: Duration = Duration::from_secs(500);
    const ID: MessageId = MessageId([3; 16]);

    /// The third attempt of a message that failed once.
    pub(crate) fn record() -> Record {
        let wish = Record {
            state: State::Queued,
            reason: Reason::None,
            revision: 0,
            attempt: 0,
            nonce: Nonce::default(),
            generation: 0,
            tries: 0,
            tries_max: 8,
            maybe_sent: false,
            resent: false,
            policy: DoubtPolicy::Hold,
            lane: Lane::Bulk,
            accepted_at: Millis(0),
            changed_at: Millis(0),
            send_at: Millis(0),
            expires_at: Millis(0),
            due_at: Millis(0),
            doubt_window_s: 900,
            dedupe_window_s: 3_600,
            provider: None,
            provider_id: String::new(),
            tenant: "acme".to_owned(),
            template: "welcome".to_owned(),
            identity: "main".to_owned(),
            digests: Vec::new(),
        };
        Record {
            attempt: 3,
            tries: 1,
            ..accept(wish, Duration::from_secs(3_600), Millis(1_000))
        }
    }

    /// What is reported of `answer`, and whether the key is closed afterwards. Waits are drawn at their bound.
    #[track_caller]
    fn check(answer: SendOutcome, expected: Outcome, closed: bool) {
        let mut gate = KeyGate::default();
        let pass = gate.admit(ID, NOW).expect("an open gate");
        let outcome = settle(&mut gate, pass, (ID, &record()), answer, 1.0, NOW);
        assert_eq!(outcome, expected);
        assert_eq!(gate.paused().is_some(), closed);
    }

    #[test]
    fn each_answer_has_its_meaning() {
        let seconds = Duration::from_secs;
        let provider_id = || "ses-1".to_owned();
        check(
            SendOutcome::Accepted {
                provider_id: provider_id(),
            },
            Outcome::Accepted {
                provider_id: provider_id(),
            },
            false,
        );
        let reason = Reason::MessageRefused;
        check(
            SendOutcome::Refused { reason },
            Outcome::Refused { reason },
            false,
        );
        // The bound after two attempts: 8 s.
        for reason in [Reason::ProviderUnavailable, Reason::NotConnected] {
            let delay = seconds(8);
            check(
                SendOutcome::Transient { reason },
                Outcome::Deferred { reason, delay },
                false,
            );
        }
        let reason = Reason::Throttled;
        check(
            SendOutcome::Throttled {
                daily: false,
                retry_after: None,
            },
            Outcome::Deferred {
                reason,
                delay: seconds(8),
            },
            false,
        );
        let delay = until_usable(PAUSE_MIN, 1.0);
        let reason = Reason::DailyQuota;
        check(
            SendOutcome::Throttled {
                daily: true,
                retry_after: None,
            },
            Outcome::Deferred { reason, delay },
            true,
        );
        let reason = Reason::AccountSuspended;
        check(
            SendOutcome::AccountRefused { reason },
            Outcome::Deferred { reason, delay },
            true,
        );
        let reason = Reason::Timeout;
        check(
            SendOutcome::Unknown { reason },
            Outcome::Unknown { reason },
            false,
        );
    }

    #[test]
    fn a_failure_is_the_messages_own_once_another_passed() {
        let mut gate = KeyGate::default();
        let reason = Reason::ProviderUnavailable;
        let fail = |gate: &mut KeyGate| {
            let pass = gate.admit(ID, NOW).expect("an open gate");
            let answer = SendOutcome::Transient { reason };
            settle(gate, pass, (ID, &record()), answer, 1.0, NOW)
        };
        let outage = fail(&mut gate);
        assert!(matches!(outage, Outcome::Deferred { .. }), "{outage:?}");
        let other = MessageId([4; 16]);
        let pass = gate.admit(other, NOW).expect("an open gate");
        gate.accepted(pass, other, NOW);
        // The bound after one try: 4 s.
        let delay = Duration::from_secs(4);
        assert_eq!(fail(&mut gate), Outcome::Failed { reason, delay });
    }

    #[test]
    fn a_probe_that_was_not_written_is_due_again_at_once_and_one_that_met_nobody_is_not() {
        let check = |reason, at_once| {
            let mut gate = KeyGate::default();
            let other = MessageId([4; 16]);
            let pass = gate.admit(other, NOW).expect("an open gate");
            gate.refused(pass, other, Reason::AccountPaused, NOW);
            let later = NOW + Duration::from_secs(60);
            let probe = gate.admit(ID, later).expect("a probe is due");
            let answer = SendOutcome::Transient { reason };
            settle(&mut gate, probe, (ID, &record()), answer, 1.0, later);
            assert_eq!(gate.admit(ID, later).is_ok(), at_once, "{reason:?}");
        };
        check(Reason::NotWritten, true);
        check(Reason::NotConnected, false);
    }
}
