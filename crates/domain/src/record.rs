//! The record of a message: all that the state machine knows of it.
//!
//! The store packs it into about 150 bytes; `machine` moves it. Nothing personal stands in it: the request (recipient,
//! data) is stored apart and goes when the message is at rest.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::lane::Lane;
use crate::reason::Reason;
use crate::time::Millis;

/// Where a message stands. The letter is the state in the stored record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    Queued,
    Scheduled,
    Sending,
    Deferred,
    InDoubt,
    Held,
    Accepted,
    Dead,
    Cancelled,
    Expired,
    Suppressed,
    Discarded,
}

impl State {
    pub const ALL: [Self; 12] = [
        Self::Queued,
        Self::Scheduled,
        Self::Sending,
        Self::Deferred,
        Self::InDoubt,
        Self::Held,
        Self::Accepted,
        Self::Dead,
        Self::Cancelled,
        Self::Expired,
        Self::Suppressed,
        Self::Discarded,
    ];

    /// The byte in the stored record.
    #[must_use]
    pub const fn letter(self) -> u8 {
        match self {
            Self::Queued => b'q',
            Self::Scheduled => b'c',
            Self::Sending => b's',
            Self::Deferred => b'f',
            Self::InDoubt => b'i',
            Self::Held => b'h',
            Self::Accepted => b'a',
            Self::Dead => b'd',
            Self::Cancelled => b'n',
            Self::Expired => b'e',
            Self::Suppressed => b'u',
            Self::Discarded => b'x',
        }
    }

    #[must_use]
    pub fn from_letter(letter: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.letter() == letter)
    }

    /// The name in metrics, logs and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Scheduled => "scheduled",
            Self::Sending => "sending",
            Self::Deferred => "deferred",
            Self::InDoubt => "in_doubt",
            Self::Held => "held",
            Self::Accepted => "accepted",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Suppressed => "suppressed",
            Self::Discarded => "discarded",
        }
    }

    /// True where nothing moves by itself any more. `Dead` counts: only a person or evidence moves it.
    #[must_use]
    pub const fn at_rest(self) -> bool {
        matches!(
            self,
            Self::Accepted
                | Self::Dead
                | Self::Cancelled
                | Self::Expired
                | Self::Suppressed
                | Self::Discarded
        )
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What becomes of a message whose doubt nothing settled within its window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoubtPolicy {
    /// To the dead letters, for a person.
    #[default]
    Hold,
    /// Once more, at most once per acceptance: for codes whose loss is worse than a double.
    Resend,
}

/// Who takes the mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    Ses,
    /// The backup.
    Mailgun,
}

impl Provider {
    pub const ALL: [Self; 2] = [Self::Ses, Self::Mailgun];

    /// The provider of a name, if it is one of ours.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.as_str() == name)
    }

    /// The byte in the stored record; 0 stands for none.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ses => 1,
            Self::Mailgun => 2,
        }
    }

    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Ses),
            2 => Some(Self::Mailgun),
            _ => None,
        }
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ses => "ses",
            Self::Mailgun => "mailgun",
        }
    }
}

/// Eight random bytes made by the sender for each claim call. With the attempt's number it is the fence: two senders that
/// both counted "attempt 1" after a lost write are told apart by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub [u8; 8]);

/// What a claim, and every report of it, must match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence {
    pub attempt: u32,
    pub nonce: Nonce,
}

/// What an entry of a stream must match to be the record's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    pub accepted_at: Millis,
    pub generation: u32,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    pub state: State,
    pub reason: Reason,
    /// Raised by one with every transition.
    pub revision: u32,
    /// Raised by one with every claim.
    pub attempt: u32,
    /// Of the newest claim.
    pub nonce: Nonce,
    /// Raised by one whenever the message goes back to its queue.
    pub generation: u32,
    /// Attempts that failed for the message's own reasons.
    pub tries: u32,
    pub tries_max: u8,
    /// Set for good once an attempt's outcome was unknown.
    pub maybe_sent: bool,
    /// The policy's one resend is spent.
    pub resent: bool,
    pub policy: DoubtPolicy,
    pub lane: Lane,
    pub accepted_at: Millis,
    pub changed_at: Millis,
    /// What the caller asked for; zero for "at once".
    pub send_at: Millis,
    /// Nothing is sent after it. Always set: the caller's wish or the template's time to live, whichever is sooner.
    pub expires_at: Millis,
    /// By state: the lease's deadline (sending), when it is due (scheduled, deferred), when the window is over (in doubt);
    /// else zero.
    pub due_at: Millis,
    /// How long evidence is awaited, in seconds.
    pub doubt_window_s: u32,
    /// How long the record outlives its message, in seconds.
    pub dedupe_window_s: u32,
    pub provider: Option<Provider>,
    /// The provider's id, once accepted.
    pub provider_id: String,
    pub tenant: String,
    pub template: String,
    pub identity: String,
    /// Keyed digests of what an idempotency key does not cover, for the comparison by field; empty without a key.
    pub digests: Vec<u8>,
}

impl Record {
    #[must_use]
    pub const fn fence(&self) -> Fence {
        Fence {
            attempt: self.attempt,
            nonce: self.nonce,
        }
    }

    /// The provider that alone may send it: what may have been sent never moves to another one.
    #[must_use]
    pub const fn bound_to(&self) -> Option<Provider> {
        if self.maybe_sent { self.provider } else { None }
    }

    #[must_use]
    pub const fn ticket(&self) -> Ticket {
        Ticket {
            accepted_at: self.accepted_at,
            generation: self.generation,
        }
    }
}
