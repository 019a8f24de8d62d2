//! What a controller decides, and which of its rules holds.

use serde::{Deserialize, Serialize};

/// Why a rate was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutReason {
    Throttled,
    Errors,
    /// The account allows less.
    MaxSendRate,
    /// The provider was away: it is tried again with less.
    Breaker,
}

impl CutReason {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Errors => "errors",
            Self::MaxSendRate => "max_send_rate",
            Self::Breaker => "breaker",
        }
    }
}

/// A change of the rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision {
    Cut {
        reason: CutReason,
        from: f64,
        to: f64,
        version: u64,
    },
    Raised {
        from: f64,
        to: f64,
    },
}

/// What set the rate in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitedBy {
    /// Nothing has changed it yet, or nothing may.
    Start,
    Aimd,
    Ceiling,
    /// The account's own limit.
    Quota,
    Floor,
}

impl LimitedBy {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Aimd => "aimd",
            Self::Ceiling => "ceiling",
            Self::Quota => "quota",
            Self::Floor => "floor",
        }
    }
}
