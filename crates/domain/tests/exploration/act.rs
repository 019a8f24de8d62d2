//! What may happen to a record, in 12 bits.

use std::time::Duration;

use paceline_domain::lane::Lane;
use paceline_domain::machine::{Event, Outcome};
use paceline_domain::reason::Reason;
use paceline_domain::record::{Fence, Provider, Record, Ticket};
use paceline_domain::time::Millis;

use crate::version::{Claim, LATER, NOW, nonce_of};

const DELAY: Duration = Duration::from_millis(100);

/// What came of a claim, without its particulars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    Accepted,
    Refused,
    Failed,
    Deferred,
    Unknown,
}

impl Answer {
    pub(crate) const ALL: [Self; 5] = [
        Self::Accepted,
        Self::Refused,
        Self::Failed,
        Self::Deferred,
        Self::Unknown,
    ];

    fn outcome(self) -> Outcome {
        match self {
            Self::Accepted => Outcome::Accepted {
                provider_id: String::new(),
            },
            Self::Refused => Outcome::Refused {
                reason: Reason::MessageRefused,
            },
            Self::Failed => Outcome::Failed {
                reason: Reason::ProviderUnavailable,
                delay: DELAY,
            },
            Self::Deferred => Outcome::Deferred {
                reason: Reason::NotWritten,
                delay: DELAY,
            },
            Self::Unknown => Outcome::Unknown {
                reason: Reason::Timeout,
            },
        }
    }
}

/// What happens to a record. `entry` is the generation of an entry, `slot` the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Due,
    Buried,
    Postponed,
    Held {
        entry: u32,
    },
    Released,
    Suppressed {
        entry: u32,
    },
    Claimed {
        entry: u32,
        slot: usize,
    },
    Asserted {
        claim: Claim,
        slot: usize,
    },
    Reported {
        attempt: u32,
        slot: usize,
        answer: Answer,
    },
    ClaimLapsed,
    WindowOver,
    EvidenceSent,
    EvidenceNotSent {
        attempt: u32,
    },
    Cancelled,
    Redriven,
    Discarded,
    Erased,
    Resubmitted {
        scheduled: bool,
    },
}

/// Rows of the table are told apart by these.
impl Act {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Buried => "buried",
            Self::Postponed => "postponed",
            Self::Held { .. } => "held",
            Self::Released => "released",
            Self::Suppressed { .. } => "suppressed",
            Self::Claimed { .. } => "claimed",
            Self::Asserted { .. } => "asserted",
            Self::Reported { answer, .. } => match answer {
                Answer::Accepted => "reported accepted",
                Answer::Refused => "reported refused",
                Answer::Failed => "reported failed",
                Answer::Deferred => "reported deferred",
                Answer::Unknown => "reported unknown",
            },
            Self::ClaimLapsed => "claim lapsed",
            Self::WindowOver => "window over",
            Self::EvidenceSent => "event says sent",
            Self::EvidenceNotSent { .. } => "event says not sent",
            Self::Cancelled => "cancelled",
            Self::Redriven => "redriven",
            Self::Discarded => "discarded",
            Self::Erased => "erased",
            Self::Resubmitted { .. } => "resubmitted",
        }
    }

    /// A number of its own.
    pub(crate) fn code(self) -> u64 {
        let (kind, a, b, c) = match self {
            Self::Due => (0, 0, 0, 0),
            Self::Buried => (1, 0, 0, 0),
            Self::Postponed => (2, 0, 0, 0),
            Self::Held { entry } => (3, entry, 0, 0),
            Self::Released => (4, 0, 0, 0),
            Self::Suppressed { entry } => (5, entry, 0, 0),
            Self::Claimed { entry, slot } => (6, entry, slot, 0),
            Self::Reported {
                attempt,
                slot,
                answer,
            } => (7, attempt, slot, answer as u64),
            Self::ClaimLapsed => (8, 0, 0, 0),
            Self::WindowOver => (9, 0, 0, 0),
            Self::EvidenceSent => (10, 0, 0, 0),
            Self::EvidenceNotSent { attempt } => (11, attempt, 0, 0),
            Self::Cancelled => (12, 0, 0, 0),
            Self::Redriven => (13, 0, 0, 0),
            Self::Discarded => (14, 0, 0, 0),
            Self::Resubmitted { scheduled } => (15, u32::from(scheduled), 0, 0),
            Self::Erased => (17, 0, 0, 0),
            Self::Asserted { claim, slot } => (16, 0, slot, u64::from(claim.0)),
        };
        kind | u64::from(a) << 5 | (b as u64) << 8 | c << 10
    }

    /// The event for `record`, and when it happens: what waits for a time happens at that time.
    pub(crate) fn event(self, record: &Record) -> (Event, Millis) {
        let ticket = |generation| Ticket {
            generation,
            ..record.ticket()
        };
        match self {
            Self::Due => (Event::Due, LATER),
            Self::Buried => (
                Event::Buried {
                    ticket: record.ticket(),
                    reason: Reason::RenderFailed,
                },
                NOW,
            ),
            Self::Postponed => (
                Event::Postponed {
                    ticket: record.ticket(),
                    reason: Reason::BundleMissing,
                    delay: DELAY,
                },
                NOW,
            ),
            Self::Held { entry } => (
                Event::Held {
                    ticket: ticket(entry),
                },
                NOW,
            ),
            Self::Released => (Event::Released, NOW),
            Self::Suppressed { entry } => (
                Event::Suppressed {
                    ticket: ticket(entry),
                    reason: Reason::AddressSuppressed,
                },
                NOW,
            ),
            Self::Claimed { entry, slot } => (
                Event::Claimed {
                    ticket: ticket(entry),
                    nonce: nonce_of(slot as u32 + 1),
                    lease: DELAY,
                    provider: Provider::Ses,
                },
                NOW,
            ),
            Self::Reported {
                attempt,
                slot,
                answer,
            } => {
                let fence = Fence {
                    attempt,
                    nonce: nonce_of(slot as u32 + 1),
                };
                let outcome = answer.outcome();
                (Event::Reported { fence, outcome }, NOW)
            }
            Self::ClaimLapsed => (
                Event::ClaimLapsed {
                    fence: record.fence(),
                },
                LATER,
            ),
            Self::WindowOver => (
                Event::WindowOver {
                    fence: record.fence(),
                },
                LATER,
            ),
            _ => (self.untimed(record), NOW),
        }
    }

    fn untimed(self, record: &Record) -> Event {
        match self {
            Self::Asserted { claim, slot } => Event::Asserted {
                claim: Box::new(claim.record(slot, record.policy)),
                lease: DELAY,
            },
            Self::EvidenceSent => Event::EvidenceSent {
                provider: Provider::Ses,
                provider_id: String::new(),
            },
            Self::EvidenceNotSent { attempt } => Event::EvidenceNotSent {
                attempt,
                reason: Reason::MessageRefused,
                delay: DELAY,
            },
            Self::Cancelled => Event::Cancelled {
                reason: Reason::CancelledByCaller,
            },
            Self::Redriven => Event::Redriven,
            Self::Discarded => Event::Discarded,
            Self::Erased => Event::Erased,
            Self::Resubmitted { scheduled } => Event::Resubmitted {
                lane: Lane::Transactional,
                identity: String::new(),
                send_at: if scheduled { LATER } else { Millis(0) },
                expires_at: Millis(0),
                ttl: Duration::from_secs(3_600),
            },
            _ => unreachable!("an act with a ticket, a fence or a time"),
        }
    }
}
