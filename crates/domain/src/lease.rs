//! Capacity leases: who may spend how much of a rate, until when, by whose word.
//!
//! A key's rate belongs to the coordinator. Senders hold parts of it as leases, and the sum of what they hold never exceeds
//! the rate, whatever is lost, doubled, late or dead. That rests on three rules:
//!
//! - a sender counts a lease's time from **before** it asked and a hundredth short, the coordinator from **after** it decided,
//!   a hundredth and [`MARGIN`] long: a lease is over for its holder before it is over in the books, and no two machines'
//!   clocks are ever compared;
//! - a sender that asks again gives up every answer that is still under way, so that what it says it holds is what it holds;
//! - what the coordinator takes back is free only when the sender has said that it holds less, or the lease is over.

pub mod books;
pub mod budget;
pub mod invariant;
pub mod sender;
pub mod share;

use std::fmt;
use std::time::Duration;

use data_encoding::HEXLOWER;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use books::{Books, Granted, Line, Request, Reserve};
pub use sender::{Ask, Counts, Grant, LocalLease, Refusal, Stale};

/// How far two machines' clocks may run apart.
pub const CLOCK_DRIFT_MAX: f64 = 0.01;

/// What the coordinator adds to a lease's time, beyond the drift: for a process that is slow to look at its clock.
pub const MARGIN: Duration = Duration::from_millis(200);

/// What the coordinator tells a sender to keep a lease for.
pub const TTL: Duration = Duration::from_secs(2);

/// How long a safe rate may be spent after its lease has lapsed.
pub const SAFE_TTL: Duration = Duration::from_secs(60);

/// How long a sender may go on at its safe rate after a look that showed its key's state unchanged.
pub const SAFE_LOOK: Duration = Duration::from_secs(2);

/// How often a sender asks in quiet times.
pub const REFRESH: Duration = Duration::from_millis(500);

/// How long a lease of this time to live stays in the books.
#[must_use]
pub fn in_books(ttl: Duration) -> Duration {
    ttl.mul_f64(1.0 + CLOCK_DRIFT_MAX) + MARGIN
}

/// An incarnation of a sender: made at its start, so that a restarted one never inherits. Written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HolderId(pub [u8; 16]);

impl HolderId {
    /// Reads what its `Display` writes.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for HolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HEXLOWER.encode_display(&self.0).fmt(f)
    }
}

impl Serialize for HolderId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HolderId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::read(&text).ok_or_else(|| D::Error::custom("is not 32 hexadecimal digits"))
    }
}

impl fmt::Debug for HolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
