//! What became of one attempt.

use std::time::Duration;

use paceline_domain::reason::Reason;

/// The outcome of one call to a provider. The classes differ in what they prove, and so in what may follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// The provider took the message, under this id of its own.
    Accepted { provider_id: String },
    /// Not sent, and never will be: the message itself is at fault.
    Refused { reason: Reason },
    /// Not sent: the account, its credentials or the sending identity is at fault. The same message may pass later.
    AccountRefused { reason: Reason },
    /// Not sent: the rate, or with `daily` the daily quota, is used up.
    Throttled {
        daily: bool,
        /// When the provider takes mail again, if it said so: from its answer on, at most a day.
        retry_after: Option<Duration>,
    },
    /// Provably not sent, for a passing reason.
    Transient { reason: Reason },
    /// It may have been sent. Never tried again by a guess.
    Unknown { reason: Reason },
}

impl SendOutcome {
    /// The class as metrics and logs name it.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Refused { .. } => "refused",
            Self::AccountRefused { .. } => "account_refused",
            Self::Throttled { .. } => "throttled",
            Self::Transient { .. } => "transient",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// True if the provider has failed: a 5xx, no answer in time or none that can be read, no connection. A refusal, whoever made it,
    /// and a throttle are no failures.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        match self {
            Self::Transient { reason } | Self::Unknown { reason } => {
                // What was not written never asked the provider.
                !matches!(reason, Reason::NotWritten | Reason::RefusalUnclear)
            }
            Self::Accepted { .. }
            | Self::Refused { .. }
            | Self::AccountRefused { .. }
            | Self::Throttled { .. } => false,
        }
    }

    /// Why; [`Reason::None`] for an accepted message.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Accepted { .. } => Reason::None,
            Self::Refused { reason }
            | Self::AccountRefused { reason }
            | Self::Transient { reason }
            | Self::Unknown { reason } => *reason,
            Self::Throttled { daily: false, .. } => Reason::Throttled,
            Self::Throttled { daily: true, .. } => Reason::DailyQuota,
        }
    }
}
