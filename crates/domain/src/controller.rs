//! The controller of one key, (provider, identity): every rule that bounds what its senders may do.
//!
//! [`Controller::step`] takes an event and the time and says what was decided, with the reason of each decision. It has no clock, no
//! I/O and no chance of its own, so a journal of its events replays to the same state ([`journal`]), in production, a simulator or a
//! test. The rate in force is the least that any rule allows; what a rate can't hold back (a day's quota, a warm-up's day, probes) is
//! handed out in counted budgets. Each rule has its module and knows nothing of the others.
//!
//! `now` is the time since the Unix epoch on a clock that does not go back while one leader leads: Redis's time at its election,
//! and what its own boot-time clock has counted since. A time before the last one is taken for the last one.
//!
//! What it does not do: the leases of the rate (`lease::books`) and the account's share (`account`), which look at more than one key.

pub mod account;
pub mod bounces;
pub mod breaker;
pub mod decision;
pub mod event;
pub mod invariants;
pub mod journal;
pub mod overrides;
mod percent;
pub mod quota;
mod refusals;
pub mod rolling;
pub mod route;
pub mod warm_up;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use decision::{BudgetedBy, Decision, Effective, LimitedBy};
pub use event::{Account, Asked, Counts, Event, Settings, Tick};

use crate::aimd::{self, Aimd, Saved};
use crate::lease::HolderId;
use crate::lease::budget::{Allowance, Budget, Left, Said};
use crate::reason::Reason;
use bounces::Bounces;
use breaker::{Breaker, Standing};
use overrides::{Action, Overrides};
use quota::Quota;
use refusals::Refusals;
use route::Route;
use warm_up::{Overflow, WarmUp, Word};

const SECONDS_OF_DAY: u64 = 86_400;
/// How many seconds of its rate a sender may hold unspent of a budget.
const HOLD_SECS: f64 = 2.0;
/// A sender gets at most one of so many parts of what is left, so that the last of it does not lie with one.
const HOLD_PARTS: u64 = 4;
/// What may go while the provider refuses the account: each sender probes, one at a time.
const REFUSED_RATE: f64 = 1.0;

/// The state of one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Controller {
    settings: Settings,
    aimd: Aimd,
    quota: Quota,
    /// What the account's other keys hold unspent.
    siblings_outstanding: u64,
    warm_up: Option<WarmUp>,
    /// The first day of the last warm-up, whether or not it has ended.
    #[serde(default)]
    warm_up_began: Option<u64>,
    overflows: bool,
    bounces: Bounces,
    breaker: Breaker,
    overrides: Overrides,
    refusals: Refusals,
    /// Of the primary provider's key, where the identity has, or had, a backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    route: Option<Route>,
    /// The last look at it.
    account: Option<Account>,
    budget: Budget,
    /// What counts as spent of this key, in recipients, since its state began.
    #[serde(default)]
    spent_total: u64,
    in_force: Effective,
    now: Duration,
}

impl Controller {
    /// The controller of a new key, or of one of which only the rate is known.
    #[must_use]
    pub fn new(settings: Settings, saved: Option<Saved>, now: Duration) -> Self {
        let aimd = Aimd::new(settings.limits, saved, now);
        Self {
            settings,
            aimd,
            quota: Quota::new(settings.daily),
            siblings_outstanding: 0,
            warm_up: None,
            warm_up_began: None,
            overflows: false,
            bounces: Bounces::new(settings.resume),
            breaker: Breaker::default(),
            overrides: Overrides::default(),
            refusals: Refusals::default(),
            route: None,
            account: None,
            budget: Budget::default(),
            spent_total: 0,
            in_force: Effective {
                rate: aimd.rate(),
                by: aimd.limited_by().into(),
            },
            now,
        }
    }

    /// The state that a leader before has saved, under the settings of today. No sender has lapsed by the change of leaders.
    #[must_use]
    pub fn reopened(mut self, settings: Settings, now: Duration) -> Self {
        self.now = self.now.max(now);
        self.settings = settings;
        self.aimd = self.aimd.reopened(self.limits(), self.now);
        if self.account.is_none() {
            self.quota.set_max(settings.daily);
        }
        self.bounces.set_resume(settings.resume);
        self.budget.resume(self.now);
        self.route = self.route.map(Route::reopened);
        self.in_force = self.effective();
        self
    }

    /// The same where a leader that keeps nothing but the rate has led since: go on with its rate and version.
    #[must_use]
    pub fn caught_up(mut self, saved: Saved) -> Self {
        self.aimd = Aimd::new(self.limits(), Some(saved), self.now);
        self.in_force = self.effective();
        self
    }

    /// Takes in one event and says what came of it: at most a few decisions.
    pub fn step(&mut self, event: &Event, now: Duration) -> Vec<Decision> {
        self.now = self.now.max(now);
        let mut decisions = Vec::new();
        match event {
            Event::Asked(asked) => self.asked(asked, &mut decisions),
            Event::Leased { holder, rate } => decisions.push(self.leased(*holder, *rate)),
            Event::Left { holder, counts, said } => self.left(*holder, counts, *said),
            Event::Bounced(n) => self.bounced(*n),
            Event::Account(account) => self.looked(account, &mut decisions),
            Event::Siblings { spent, outstanding } => {
                self.quota.spent(*spent, self.now);
                self.siblings_outstanding = *outstanding;
            }
            Event::Set(it) => self.set(it, &mut decisions),
            Event::Cleared(kind) => {
                if self.overrides.clear(*kind) {
                    decisions.push(Decision::Cleared(*kind));
                }
            }
            Event::WarmUp(overflow) => {
                self.warm_up = Some(WarmUp::start(self.day(), overflow.clone()));
                self.warm_up_began = Some(self.day());
            }
            Event::Warm => self.warm_up = None,
            Event::Settings(settings) => self.reconfigure(settings, &mut decisions),
            Event::Tick(tick) => self.tick(tick, &mut decisions),
        }
        self.settle(&mut decisions);
        debug_assert_eq!(invariants::controller_is_sound(self), Ok(()));
        decisions
    }

    /// The rate in force and what set it.
    #[must_use]
    pub const fn in_force(&self) -> Effective {
        self.in_force
    }

    /// The time of the last event, since the Unix epoch.
    #[must_use]
    pub const fn now(&self) -> Duration {
        self.now
    }

    /// Rises with each cut of the rate in force; leases carry it.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.aimd.version()
    }

    /// What of it a leader needs that has nothing else.
    #[must_use]
    pub const fn saved(&self) -> Saved {
        self.aimd.saved()
    }

    /// Whether this sender may spend at all: while the provider is probed, one alone.
    #[must_use]
    pub fn admits(&self, holder: HolderId) -> bool {
        !self.settings.breaker || self.breaker.admits(holder)
    }

    /// Where the breaker stands, for the route.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        self.breaker.standing()
    }

    /// By which provider the identity's mail goes, for its primary provider's key; `None` where nothing was seen of a backup.
    #[must_use]
    pub const fn route(&self) -> Option<&Route> {
        self.route.as_ref()
    }

    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    #[must_use]
    pub const fn aimd(&self) -> &Aimd {
        &self.aimd
    }

    #[must_use]
    pub const fn quota(&self) -> &Quota {
        &self.quota
    }

    #[must_use]
    pub const fn warm_up(&self) -> Option<&WarmUp> {
        self.warm_up.as_ref()
    }

    /// The number of the UTC day on which the last warm-up began, whether or not it has ended.
    #[must_use]
    pub const fn warm_up_began(&self) -> Option<u64> {
        self.warm_up_began
    }

    /// How far the warm-up has come, for senders to keep; `None` if there was none.
    #[must_use]
    pub fn warm_up_word(&self) -> Option<Word> {
        Some(Word {
            first_day: self.warm_up_began?,
            level: self.warm_up.as_ref().map(WarmUp::level),
            overflow_to: self
                .warm_up
                .as_ref()
                .and_then(|it| it.overflow().identity().map(str::to_owned)),
        })
    }

    /// The identity by which mail goes that the warm-up's day has no room for. Whatever else stops the key stops that mail, too.
    #[must_use]
    pub fn overflow_to(&self) -> Option<&str> {
        let by = self.in_force.by;
        let is_stopped = by.is_pause()
            || by == LimitedBy::DailyQuota
            || self.breaker.standing() != Standing::Closed
            || self.refusals.reason().is_some();
        let warm_up = self.warm_up.as_ref().filter(|_| self.overflows && !is_stopped)?;
        warm_up.overflow().identity()
    }

    /// Today's number, in whole UTC days since the epoch.
    #[must_use]
    pub const fn today(&self) -> u64 {
        self.day()
    }

    /// The last look at the account.
    #[must_use]
    pub const fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// What of this key counts as spent, in recipients, since its state began.
    #[must_use]
    pub const fn spent_total(&self) -> u64 {
        self.spent_total
    }

    #[must_use]
    pub const fn bounces(&self) -> &Bounces {
        &self.bounces
    }

    #[must_use]
    pub const fn overrides(&self) -> &Overrides {
        &self.overrides
    }

    /// Granted and not spent, of all senders, in recipients.
    #[must_use]
    pub fn outstanding(&self) -> u64 {
        self.budget.outstanding()
    }

    /// What the account's other keys hold, as it was told last, in recipients.
    #[must_use]
    pub const fn siblings_outstanding(&self) -> u64 {
        self.siblings_outstanding
    }

    /// What may still be granted now, and by which rule; `None` is without a bound.
    #[must_use]
    pub fn left_to_grant(&self) -> (Option<Left>, BudgetedBy) {
        let outstanding = self.budget.outstanding();
        let of_account = outstanding.saturating_add(self.siblings_outstanding);
        let warm_up = self.warm_up.as_ref();
        let rules = [
            (self.quota.left(of_account, self.now), BudgetedBy::DailyQuota),
            (
                warm_up
                    .and_then(|it| it.left(outstanding, self.now))
                    .map(Left::all),
                BudgetedBy::WarmUp,
            ),
            (self.breaker.left(outstanding).map(Left::all), BudgetedBy::Probes),
        ];
        let mut least = (None, BudgetedBy::Nothing);
        for (left, by) in rules {
            let Some(left) = left else { continue };
            least = match least {
                (Some(before), before_by) if Left::min(before, left) == before => (Some(before), before_by),
                (Some(before), _) => (Some(before.min(left)), by),
                (None, _) => (Some(left), by),
            };
        }
        least
    }
}

mod steps;

#[cfg(test)]
mod tests;
