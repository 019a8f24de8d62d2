//! What else happens to a key at the desk than its senders' calls, and what is told of it.

use std::time::Duration;

use paceline_domain::controller::account::Demand;
use paceline_domain::controller::overrides::Override;
use paceline_domain::controller::warm_up::Overflow;
use paceline_domain::controller::{Decision, Event};
use paceline_domain::lease::HolderId;

use super::key::PacedKey;
use super::recent::Sample;

/// What people are told beside a `Description`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Detail {
    /// Throttled answers per second.
    pub(crate) throttled: f64,
    /// What of the rate the account's other identities leave.
    pub(crate) allotted: Option<f64>,
    pub(crate) account: Option<String>,
    pub(crate) warm_up: Option<WarmUpDay>,
    /// Of the day's quota; `None` is without a bound.
    pub(crate) daily_left: Option<u64>,
    pub(crate) daily_used: u64,
    /// With the time that is left of each.
    pub(crate) overrides: Vec<(Override, Duration)>,
    pub(crate) bounced: u64,
    pub(crate) accepted: u64,
    pub(crate) outstanding: u64,
    pub(crate) shares: Vec<Share>,
    pub(crate) history: Vec<Sample>,
}

/// A warm-up's day, in recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WarmUpDay {
    /// 1 on the first.
    pub(crate) day: u64,
    pub(crate) cap: u64,
    pub(crate) spent: u64,
    /// The identity by which mail above the cap goes.
    pub(crate) overflow_to: Option<String>,
}

/// One sender's share, in recipients per second.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Share {
    pub(crate) sender: String,
    pub(crate) wanted: f64,
    pub(crate) leased: f64,
    pub(crate) used: f64,
}

impl PacedKey {
    /// Something happens that no sender said.
    pub(super) fn happened(&mut self, event: &Event, now: Duration) -> Vec<Decision> {
        self.log.urge();
        self.step(event, now)
    }

    /// The time by which the key's controller counts.
    pub(super) fn time(&self, now: Duration) -> Duration {
        self.boot_at + now
    }

    /// What may be leased: the rate in force, as far as the account's other keys leave it.
    pub(super) fn leasable(&self) -> f64 {
        let rate = self.controller.in_force().rate;
        self.allotted.map_or(rate, |allotted| rate.min(allotted))
    }

    /// The account's other keys leave so much.
    pub(super) fn allot(&mut self, allotted: f64) {
        self.allotted = Some(allotted);
        self.books.set_rate(self.leasable());
    }

    /// What the key needs of its account.
    pub(super) fn demand(&self, now: Duration) -> Demand {
        Demand {
            wants: self.books.wanted(now),
            cap: self.controller.in_force().rate,
            outstanding: self.books.outstanding(now),
        }
    }

    pub(super) const fn spent_total(&self) -> u64 {
        self.controller.spent_total()
    }

    /// Granted and not spent, in recipients.
    pub(super) fn outstanding(&self) -> u64 {
        self.controller.outstanding()
    }

    /// What the account's other keys hold, as it was told last.
    pub(super) const fn siblings_outstanding(&self) -> u64 {
        self.controller.siblings_outstanding()
    }

    /// What the account allowed at the last look, whoever looked.
    pub(super) fn max_send_rate_seen(&self) -> Option<f64> {
        self.controller
            .account()
            .and_then(|account| account.max_send_rate)
    }

    /// Begins the warm-up of the settings, whose first day is `from` at the earliest, once.
    pub(super) fn warm_up_from(&mut self, from: u64, overflow: Overflow, now: Duration) {
        let has_begun = self.controller.warm_up_began() >= Some(from);
        let today = self.time(now).as_secs() / super::SECONDS_OF_DAY;
        if !has_begun && today >= from {
            self.happened(&Event::WarmUp(overflow), now);
        }
    }

    /// True while the identity is being warmed up.
    pub(super) const fn is_warming_up(&self) -> bool {
        self.controller.warm_up().is_some()
    }

    pub(super) fn detail(&self, now: Duration, name: impl Fn(HolderId) -> String, history: bool) -> Detail {
        let time = self.time(now);
        let controller = &self.controller;
        let outstanding = controller.outstanding();
        let (bounced, accepted) = controller.bounces().counts(time);
        let began = controller.warm_up_began().unwrap_or_default();
        let left = |it: &Override| it.until.saturating_sub(time);
        Detail {
            throttled: self.recent.throttled_per_second(now),
            allotted: self.allotted,
            account: None,
            warm_up: controller.warm_up().map(|it| WarmUpDay {
                day: controller.today().saturating_sub(began) + 1,
                cap: it.cap(),
                spent: it.spent_today(),
                overflow_to: it.overflow().identity().map(str::to_owned),
            }),
            daily_left: controller.quota().left(outstanding, time).map(|left| left.all),
            daily_used: controller.quota().used(time),
            overrides: controller
                .overrides()
                .iter()
                .map(|it| (it.clone(), left(it)))
                .collect(),
            bounced,
            accepted,
            outstanding,
            shares: self
                .books
                .lines(now)
                .map(|(holder, wanted, leased)| Share {
                    sender: name(holder),
                    wanted,
                    leased,
                    used: self.meter.measured_of(holder),
                })
                .collect(),
            history: if history {
                self.recent.samples().collect()
            } else {
                Vec::new()
            },
        }
    }
}
