//! What happens to a key, as its controller is told and as a journal keeps it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bounces::Resume;
use super::overrides::{Kind, Override};
use super::quota::DailySend;
use super::route::Sight;
use super::warm_up::{Overflow, Word};
use crate::aimd::Limits;
use crate::exact;
use crate::lease::HolderId;
use crate::lease::budget::Said;

/// What the configuration says of one key.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub limits: Limits,
    /// The daily quota, until the account is looked at.
    pub daily: DailySend,
    /// What ends a pause by bounces.
    pub resume: Resume,
    /// Whether a provider that fails is left alone.
    pub breaker: bool,
    /// How long the primary provider must have been well before mail comes back to it.
    #[serde(default = "a_minute")]
    pub route_back_after: Duration,
}

/// What a journal means that does not say.
const fn a_minute() -> Duration {
    Duration::from_secs(60)
}

/// What a sender counted since its last word, in recipients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub sent: u64,
    pub accepted: u64,
    /// 5xx, timeouts, no connection.
    pub failed: u64,
    /// Throttled answers by lease version, at most 8.
    pub throttled: Vec<(u64, u64)>,
}

/// What happens to a key. Counts are of recipients and new, rates in recipients per second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A sender reports, and asks for its lease.
    Asked(Asked),
    /// A sender is given so much of the rate: what of the budgets does it need?
    Leased {
        holder: HolderId,
        #[serde(with = "exact")]
        rate: f64,
    },
    /// A sender leaves, with its last counts.
    Left {
        holder: HolderId,
        counts: Counts,
        said: Said,
    },
    /// Hard bounces.
    Bounced(u64),
    /// A look at the provider's account.
    Account(Account),
    /// What the account's other keys spent, and hold unspent.
    Siblings { spent: u64, outstanding: u64 },
    /// Somebody sets something by hand.
    Set(Override),
    /// Somebody takes it back.
    Cleared(Kind),
    /// Today is the first day of the identity's warm-up.
    WarmUp(Overflow),
    /// The identity is warm, somebody says.
    Warm,
    /// The configuration is another.
    Settings(Settings),
    /// Time passes.
    Tick(Tick),
}

/// What is seen as time passes, of all senders together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    /// What they send, in recipients per second.
    #[serde(with = "exact")]
    pub measured: f64,
    /// What of it the provider did not refuse; all, where a journal does not say.
    #[serde(with = "exact::option", default)]
    pub taken: Option<f64>,
    /// Any number from 0 to 1.
    #[serde(with = "exact")]
    pub random: f64,
    /// What nearly all of the provider's answers take, where that is news.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Duration>,
    /// What bears on the identity's way, for its primary provider's key, where that is news.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Sight>,
}

/// A sender's call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    pub holder: HolderId,
    pub counts: Counts,
    pub said: Said,
    /// The version of the lease that it holds.
    pub has_version: u64,
    /// Whether it has something to send.
    pub wants: bool,
    /// Whether it holds no rate, so that it can't be spending.
    pub idle: bool,
    /// Why the provider refuses the account or the identity, as that sender sees it: the code of a [`crate::reason::Reason`].
    pub refused: Option<u16>,
    /// The warm-up as the sender was told it last, where this leader's memory may be lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up: Option<Word>,
}

/// What the provider says of its account.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Account {
    #[serde(with = "exact::option")]
    pub max_send_rate: Option<f64>,
    pub daily: DailySend,
    pub sent_last_24_hours: u64,
    /// False while the provider has paused it.
    pub enabled: bool,
}
