//! Whatever comes, in whatever order: the invariants hold, and the machine answers.

use std::time::Duration;

use proptest::prelude::*;

use super::{HOUR, MINUTE, NOW, queued, wished};
use crate::machine::{Event, Outcome, Step, accept, invariants, step};
use crate::reason::Reason;
use crate::record::{DoubtPolicy, Fence, Nonce, Provider, Record, State, Ticket};
use crate::time::Millis;

/// What may come, to be aimed at a record: at its own ticket and fence, or past them.
#[derive(Clone, Debug)]
struct Aim {
    kind: u8,
    own: bool,
    number: u32,
    delay: Duration,
    wait: Duration,
}

/// Proof that it was sent is rare, for nothing comes after it; claims are frequent, for most things come after them.
fn aims() -> impl Strategy<Value = Aim> {
    const EVIDENCE: [u8; 2] = [6, 13];
    const CLAIM: u8 = 20;
    let kind = prop_oneof![
        1 => prop::sample::select(&EVIDENCE[..]),
        20 => (0..CLAIM).prop_filter("no evidence", |kind| !EVIDENCE.contains(kind)),
        8 => Just(CLAIM),
    ];
    let own = prop::bool::weighted(0.8);
    (kind, own, 0..5_u32, 0..5_000_u64, 0..2_000_u64).prop_map(|(kind, own, number, delay, wait)| Aim {
        kind,
        own,
        number,
        delay: Duration::from_secs(delay),
        wait: Duration::from_secs(wait),
    })
}

impl Aim {
    fn at(&self, record: &Record, now: Millis) -> Event {
        let nonce = Nonce(u64::from(self.number).to_be_bytes());
        let (delay, reason) = (self.delay, Reason::Other);
        let (ticket, fence) = if self.own {
            (record.ticket(), record.fence())
        } else {
            let attempt = self.number;
            let generation = self.number;
            let accepted_at = record.accepted_at;
            (
                Ticket {
                    accepted_at,
                    generation,
                },
                Fence { attempt, nonce },
            )
        };
        let report = |outcome| Event::Reported { fence, outcome };
        let provider = Provider::Ses;
        let provider_id = "x".repeat(self.number as usize);
        match self.kind {
            0 => Event::Due,
            1 => Event::Buried { ticket, reason },
            2 => Event::Postponed {
                ticket,
                reason,
                delay,
            },
            3 => Event::Held { ticket },
            4 => Event::Released,
            5 => Event::Suppressed {
                ticket,
                reason: Reason::AddressSuppressed,
            },
            6 => report(Outcome::Accepted { provider_id }),
            7 => report(Outcome::Refused { reason }),
            8 => report(Outcome::Failed { reason, delay }),
            9 => report(Outcome::Deferred { reason, delay }),
            10 => report(Outcome::Unknown { reason }),
            11 => Event::ClaimLapsed { fence },
            12 => Event::WindowOver { fence },
            13 => Event::EvidenceSent {
                provider,
                provider_id,
            },
            14 => Event::EvidenceNotSent {
                attempt: fence.attempt,
                reason,
                delay,
            },
            15 => Event::Cancelled {
                reason: Reason::CancelledByCaller,
            },
            16 => Event::Redriven,
            17 => Event::Discarded,
            18 => Event::Erased,
            19 => Event::Resubmitted {
                lane: record.lane,
                identity: record.identity.clone(),
                send_at: now + delay,
                expires_at: Millis(0),
                ttl: HOUR,
            },
            _ => Event::Claimed {
                ticket,
                nonce,
                lease: self.delay + MINUTE,
                provider,
            },
        }
    }
}

proptest! {
    #[test]
    fn no_sequence_of_events_breaks_an_invariant(
        resend: bool,
        tries_max in 1..4_u8,
        aims in prop::collection::vec(aims(), 1..80),
    ) {
        let policy = if resend { DoubtPolicy::Resend } else { DoubtPolicy::Hold };
        let mut record = accept(Record { policy, tries_max, ..wished() }, HOUR * 20, NOW);
        let mut now = NOW;
        prop_assert_eq!(invariants::record(&record), Ok(()));
        for aim in aims {
            now = now + aim.wait;
            let event = aim.at(&record, now);
            if let Step::Moved(next) = step(&record, &event, now) {
                prop_assert_eq!(invariants::transition(&record, &next), Ok(()), "{:?} in {:?}", event, record);
                record = next;
            }
        }
    }

    #[test]
    fn at_the_end_of_every_counter_and_time_the_machine_still_answers(
        state in prop::sample::select(&State::ALL[..]),
        aim in aims(),
        policy in prop::sample::select(&[DoubtPolicy::Hold, DoubtPolicy::Resend][..]),
    ) {
        let record = Record {
            state,
            policy,
            revision: u32::MAX,
            attempt: u32::MAX,
            generation: u32::MAX,
            tries: u32::MAX,
            doubt_window_s: u32::MAX,
            expires_at: Millis::MAX,
            ..queued()
        };
        let event = aim.at(&record, Millis::MAX);
        if let Step::Moved(next) = step(&record, &event, Millis::MAX) {
            prop_assert!(next.due_at <= Millis::MAX);
        }
    }
}
