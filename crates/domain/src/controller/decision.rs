//! What a controller decides, and why: every decision has a reason.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::overrides::{Kind, Wrong};
use super::{bounces, breaker, route, warm_up};
use crate::aimd;
use crate::exact;
use crate::lease::HolderId;
use crate::lease::budget::Allowance;
use crate::reason::Reason;

/// What set the rate in force. Where several rules allow the same, the first of them here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitedBy {
    /// Paused by hand.
    Paused,
    /// The provider has paused the account.
    AccountDisabled,
    /// Too many hard bounces.
    Bounces,
    /// The daily quota is used up.
    DailyQuota,
    /// The warm-up's day is used up, or its burst.
    WarmUp,
    /// The provider fails.
    Breaker,
    /// The provider refuses the account or the identity.
    Refused,
    /// Capped by hand.
    Cap,
    /// What the account's other identities leave.
    Account,
    /// The account's own limit.
    Quota,
    Ceiling,
    Floor,
    Aimd,
    /// Nothing has changed it yet, or nothing may.
    Start,
}

impl LimitedBy {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::AccountDisabled => "account_disabled",
            Self::Bounces => "bounces",
            Self::DailyQuota => "daily_quota",
            Self::WarmUp => "warm_up",
            Self::Breaker => "breaker",
            Self::Refused => "refused",
            Self::Cap => "cap",
            Self::Account => "account",
            Self::Quota => "quota",
            Self::Ceiling => "ceiling",
            Self::Floor => "floor",
            Self::Aimd => "aimd",
            Self::Start => "start",
        }
    }

    /// True for what a person or the provider has paused: a day with such a pause is no step of a warm-up.
    #[must_use]
    pub const fn is_pause(self) -> bool {
        matches!(self, Self::Paused | Self::AccountDisabled | Self::Bounces)
    }
}

impl From<aimd::LimitedBy> for LimitedBy {
    fn from(by: aimd::LimitedBy) -> Self {
        match by {
            aimd::LimitedBy::Start => Self::Start,
            aimd::LimitedBy::Aimd => Self::Aimd,
            aimd::LimitedBy::Ceiling => Self::Ceiling,
            aimd::LimitedBy::Quota => Self::Quota,
            aimd::LimitedBy::Floor => Self::Floor,
        }
    }
}

/// The rate in force, in recipients per second, and what set it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effective {
    #[serde(with = "exact")]
    pub rate: f64,
    pub by: LimitedBy,
}

/// What bounds a sender's budget the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetedBy {
    /// No rule counts: there is no budget.
    Nothing,
    DailyQuota,
    WarmUp,
    Probes,
}

/// A decision.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// The provider's answers, or its account, changed what is tried.
    Aimd(aimd::Decision),
    /// Another rate is in force, or another rule set it.
    Rate {
        from: f64,
        to: f64,
        by: LimitedBy,
        version: u64,
    },
    /// A sender's budget; `None` is without a bound.
    Granted {
        holder: HolderId,
        allowance: Option<Allowance>,
        by: BudgetedBy,
    },
    Bounces(bounces::Verdict),
    Breaker(breaker::Transition),
    /// The identity's mail goes by another provider.
    Rerouted(route::Rerouted),
    WarmUp(warm_up::Step),
    /// Mail above the warm-up's cap goes by this identity; `None`: it waits again.
    Overflow(Option<String>),
    /// The provider said that the quota is used up.
    QuotaExceeded {
        until: Duration,
    },
    /// The provider refuses the account or the identity, as a sender sees it.
    Refused(Reason),
    /// It takes mail again.
    RefusalOver,
    Set(Kind),
    Cleared(Kind),
    Expired(Kind),
    /// What somebody wanted to set is wrong.
    NotSet(Wrong),
}

impl Decision {
    /// Why, as a code for metrics and journals.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Aimd(aimd::Decision::Cut { reason, .. }) => reason.as_str(),
            Self::Aimd(aimd::Decision::Raised { .. }) => "used",
            Self::Rate { by, .. } => by.as_str(),
            Self::Granted { by, .. } => match by {
                BudgetedBy::Nothing => "unlimited",
                BudgetedBy::DailyQuota => "daily_quota",
                BudgetedBy::WarmUp => "warm_up",
                BudgetedBy::Probes => "breaker",
            },
            Self::Bounces(bounces::Verdict::Resume { by_hand: true }) => "by_hand",
            Self::Bounces(bounces::Verdict::Resume { by_hand: false }) => "clean_hour",
            Self::Bounces(_) => "bounces",
            Self::Breaker(breaker::Transition::Opened { cause, .. }) => cause.as_str(),
            Self::Breaker(breaker::Transition::HalfOpened) => "time_over",
            Self::Breaker(breaker::Transition::Closed { .. }) => "probes_well",
            Self::Rerouted(rerouted) => rerouted.cause.as_str(),
            Self::WarmUp(warm_up::Step::Advanced { .. }) => "used",
            Self::WarmUp(warm_up::Step::Held { why, .. }) => why.as_str(),
            Self::WarmUp(warm_up::Step::Ended) => "quota_reached",
            Self::Overflow(_) => "warm_up",
            Self::QuotaExceeded { .. } => "daily_quota",
            Self::Refused(reason) => reason.as_str(),
            Self::RefusalOver => "accepted",
            Self::Set(kind) | Self::Cleared(kind) => kind.as_str(),
            Self::Expired(_) => "expired",
            Self::NotSet(_) => "wrong",
        }
    }
}
