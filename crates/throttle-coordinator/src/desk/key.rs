//! One key at the leader's desk: its controller, its meter and its books, kept in step.

use std::collections::BTreeMap;
use std::time::Duration;

use paceline_domain::aimd::{self, Meter, Totals};
use paceline_domain::controller::breaker::Standing;
use paceline_domain::controller::route::{Route, Sight, Way};
use paceline_domain::controller::warm_up::Word;
use paceline_domain::controller::{Asked, Controller, Counts, Decision, Event, LimitedBy, Settings, Tick};
use paceline_domain::lease::budget::{Allowance, Said};
use paceline_domain::lease::invariant::granted_within_bound;
use paceline_domain::lease::{Books, HolderId, Request};
use paceline_domain::reason::Reason;
use paceline_domain::record::Provider;
use paceline_store::throttle::{Adopted, Commit, Kept, RateKey, Term};

use super::LEAP_MAX;
use super::Refused;
use super::log::Log;
use super::opening::{Opening, Remembered};
use super::recent::Recent;
use super::table::{self, Counted};

/// Senders of one key; further ones are refused.
pub(super) const SENDERS_MAX: usize = 1_000;
/// Decisions that wait for the next tick to be reported; further ones are in force all the same.
const UNREPORTED_MAX: usize = 64;
/// Between two ticks of a key that nobody has a lease of.
const TICK_IDLE: Duration = Duration::from_secs(1);

/// What a sender says of a key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    pub(crate) wants: f64,
    pub(crate) has: f64,
    /// What it may go on with once that has lapsed.
    pub(crate) has_safe: f64,
    pub(crate) has_version: u64,
    pub(crate) totals: Totals,
    pub(crate) accepted: u64,
    pub(crate) granted: u64,
    pub(crate) spent: u64,
    /// What nearly all of the provider's answers take.
    pub(crate) latency: Option<Duration>,
    /// The warm-up as it was told it last.
    pub(crate) warm_up: Option<Word>,
    /// Why the provider refuses the account or the identity, as the sender sees it.
    pub(crate) refused: Option<Reason>,
}

/// What it gets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lease {
    pub(crate) rate: f64,
    pub(crate) burst: f64,
    /// What it may go on with once the lease has lapsed.
    pub(crate) safe_rate: f64,
    pub(crate) version: u64,
    /// Recipients that it may spend over its incarnation; `None` is without a bound.
    pub(crate) granted_total: Option<u64>,
    /// Bulk mail may go while less than this is spent.
    pub(crate) bulk_total: Option<u64>,
    /// The warm-up, for it to repeat.
    pub(crate) warm_up: Option<Word>,
    /// What it has no budget for goes by the warm-up's other identity.
    pub(crate) overflows: bool,
    /// False if it had better ask again soon.
    pub(crate) settled: bool,
}

/// What people are told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Description {
    pub(crate) rate: f64,
    pub(crate) limited_by: LimitedBy,
    pub(crate) leased: f64,
    pub(crate) wanted: f64,
    pub(crate) measured: f64,
    /// What the books have free.
    pub(crate) free: f64,
    pub(crate) version: u64,
    pub(crate) senders: usize,
    /// By which provider the identity's mail goes; `None` without a backup.
    pub(crate) route: Option<Provider>,
    /// `None` without a breaker.
    pub(crate) breaker: Option<Standing>,
}

pub(super) struct PacedKey {
    pub(super) controller: Controller,
    pub(super) meter: Meter,
    /// What each sender had accepted by its last word.
    accepted: BTreeMap<HolderId, u64>,
    /// What each sender says of how long the provider's answers take.
    latencies: BTreeMap<HolderId, Duration>,
    pub(super) books: Books,
    /// What the account's other keys leave of its rate; absent without an account.
    pub(super) allotted: Option<f64>,
    pub(super) recent: Recent,
    pub(super) boot_at: Duration,
    unreported: Vec<Decision>,
    ticked_at: Option<Duration>,
    /// When a snapshot was made for a reader of the journal.
    pub(super) read_at: Option<Duration>,
    /// What Redis does not have yet.
    pub(super) log: Log,
}

impl PacedKey {
    /// Goes on with what the leaders before have left.
    ///
    /// # Errors
    /// What of it can't be read.
    pub(super) fn open(
        settings: Settings,
        (adopted, kept): (&Adopted, &Kept),
        remembered: Option<&Remembered>,
        opening: Opening,
    ) -> Result<Self, String> {
        let controller = opening.controller(settings, adopted, &kept.journal, remembered)?;
        let table = table::read(&kept.leases).filter(|_| adopted.table);
        let (mut meter, mut accepted) = (Meter::default(), BTreeMap::new());
        for (holder, _, counted) in table.iter().flatten() {
            if let Some(Counted {
                totals,
                accepted: known,
            }) = counted
            {
                meter.resume(*holder, totals.clone(), opening.now);
                accepted.insert(*holder, *known);
            }
        }
        Ok(Self {
            books: opening.books(controller.in_force().rate, table.as_deref()),
            log: Log::new(adopted, &kept.journal),
            controller,
            meter,
            accepted,
            latencies: BTreeMap::new(),
            allotted: None,
            recent: Recent::default(),
            boot_at: opening.boot_at,
            unreported: Vec::new(),
            ticked_at: None,
            read_at: None,
        })
    }

    /// Whether a call of this sender can be answered, before anything is changed.
    pub(super) fn admit(&self, holder: HolderId, sequence: u64, now: Duration) -> Result<(), Refused> {
        match self.books.sequence(holder) {
            Some(last) if sequence <= last => Err(Refused::Outdated),
            None if self.books.senders(now) >= SENDERS_MAX => Err(Refused::Full),
            _ if self.log.is_full() => Err(Refused::Unwritten),
            _ => Ok(()),
        }
    }

    pub(super) fn refresh(
        &mut self,
        holder: HolderId,
        sequence: u64,
        item: &Item,
        now: Duration,
    ) -> Result<Lease, Refused> {
        self.expire(now);
        match item.latency {
            Some(latency) => self.latencies.insert(holder, latency),
            None => self.latencies.remove(&holder),
        };
        let counts = self.counts(holder, item, now);
        let asked = Event::Asked(Asked {
            holder,
            counts,
            said: item.said(sequence),
            has_version: item
                .has_version
                .min(self.controller.version().saturating_add(LEAP_MAX)),
            wants: item.wants > 0.0,
            idle: item.has <= 0.0,
            refused: item.refused.map(Reason::code),
            // What this leader's memory has, it knows better.
            warm_up: item.warm_up.clone().filter(|_| self.books.is_learning(now)),
        });
        self.step(&asked, now);
        let request = Request {
            sequence,
            wants: if self.controller.admits(holder) {
                item.wants
            } else {
                0.0
            },
            has: item.has,
            has_safe: item.has_safe,
            // Probes are one sender's, and are over with its lease.
            keeps: self.controller.standing() == Standing::Closed,
        };
        let granted = self
            .books
            .refresh(holder, &request, now)
            .ok_or(Refused::Outdated)?;
        self.log.changed(holder);
        self.log.urge();
        debug_assert_eq!(granted_within_bound(&self.books, now), Ok(()));
        let allowance = self.allowance(holder, granted.rate, now);
        Ok(Lease {
            rate: granted.rate,
            burst: granted.burst,
            safe_rate: granted.safe_rate,
            granted_total: allowance.map(|it| it.granted_total),
            bulk_total: allowance.map(|it| it.bulk_total),
            warm_up: self.controller.warm_up_word(),
            overflows: self.controller.overflow_to().is_some(),
            version: self.controller.version(),
            settled: granted.settled,
        })
    }

    /// Takes in what a leaving sender counted since it reported last, and all that it holds.
    pub(super) fn leave(&mut self, holder: HolderId, item: &Item, now: Duration) {
        let left = Event::Left {
            holder,
            counts: self.counts(holder, item, now),
            said: item.said(u64::MAX),
        };
        self.step(&left, now);
        self.log.urge();
        self.release(holder);
    }

    pub(super) fn release(&mut self, holder: HolderId) {
        if self.books.sequence(holder).is_some() {
            self.log.changed(holder);
            self.log.urge();
        }
        self.books.release(holder);
        self.meter.forget(holder);
        self.accepted.remove(&holder);
        self.latencies.remove(&holder);
    }

    /// What was decided since the tick before: each change that is not just another step of the same rule. `sight` is of an identity with a
    /// backup.
    pub(super) fn tick(&mut self, random: f64, sight: Option<&Sight>, now: Duration) -> Vec<Decision> {
        self.expire(now);
        let since = self.ticked_at.map(|at| now.saturating_sub(at));
        let route = self.controller.route();
        let news = sight.filter(|sight| route.is_none_or(|route| route.is_news(sight)));
        if news.is_some() {
            self.log.urge();
        } else if self.books.senders(now) == 0 && since.is_some_and(|since| since < TICK_IDLE) {
            return std::mem::take(&mut self.unreported);
        }
        self.ticked_at = Some(now);
        let measured = self.meter.measured(now);
        self.recent.tick(self.leasable(), measured, now);
        let books = &self.books;
        self.accepted
            .retain(|holder, _| books.sequence(*holder).is_some());
        self.latencies
            .retain(|holder, _| books.sequence(*holder).is_some());
        // One sender in ten may be alone with its trouble.
        let latency = aimd::latency_of_most(self.latencies.values().copied());
        let is_news = latency != self.controller.aimd().latency();
        // A thousandth is fine enough for what it scatters, and short in the journal.
        let random = (random * 1_000.0).floor() / 1_000.0;
        let taken = Some(self.meter.taken());
        let tick = Tick {
            measured,
            taken,
            random,
            latency: latency.filter(|_| is_news),
            route: news.copied(),
        };
        self.step(&Event::Tick(tick), now);
        std::mem::take(&mut self.unreported)
    }

    /// What Redis must be told now, with the state if that is to go with it; with `all` whatever Redis does not know.
    pub(super) fn depart(
        &mut self,
        (key, term): (&RateKey, &Term),
        all: bool,
        now: Duration,
    ) -> Option<(Commit, Option<Controller>)> {
        let is_idle = self.books.senders(now) == 0;
        let at = self.boot_at + now;
        self.log.is_due(is_idle, all, now).then(|| {
            let counted = |holder| {
                Some(Counted {
                    totals: self.meter.totals(holder)?.clone(),
                    accepted: self.accepted.get(&holder).copied()?,
                })
            };
            let told = (&self.books, counted);
            let commit = self.log.depart((key, term), &self.controller, told, at, now);
            let state = self.log.takes_snapshot().then(|| self.controller.clone());
            (commit, state)
        })
    }

    /// What is remembered of it once this process leads no more.
    pub(super) fn remembered(self, epoch: u64) -> Remembered {
        Remembered {
            written: (epoch, self.log.rev()),
            controller: self.controller,
        }
    }

    pub(super) fn describe(&mut self, now: Duration) -> Description {
        let in_force = self.controller.in_force();
        Description {
            rate: self.leasable(),
            limited_by: if self.leasable() < in_force.rate {
                LimitedBy::Account
            } else {
                in_force.by
            },
            leased: self.books.leased(now),
            wanted: self.books.wanted(now),
            measured: self.meter.measured(now),
            free: (self.leasable() - self.books.outstanding(now)).max(0.0),
            version: self.controller.version(),
            senders: self.books.senders(now),
            route: None,
            breaker: self.standing(),
        }
    }

    /// Where the breaker stands; `None` without one.
    pub(super) fn standing(&self) -> Option<Standing> {
        self.controller
            .settings()
            .breaker
            .then(|| self.controller.standing())
    }

    /// The identity has a backup, so that the provider may be left alone while it fails.
    pub(super) fn have_breaker(&mut self, now: Duration) {
        let settings = *self.controller.settings();
        if !settings.breaker {
            let with = Settings {
                breaker: true,
                ..settings
            };
            self.step(&Event::Settings(with), now);
        }
    }

    /// The way of the identity's mail, for its primary provider's key.
    pub(super) fn way(&self) -> Option<Way> {
        self.controller.route().map(Route::way)
    }

    /// True if the way is known from before: this leader's memory has it, and has lost nothing.
    pub(super) fn knows_way(&self, now: Duration) -> bool {
        self.way().is_some() && !self.books.is_learning(now)
    }

    /// The way that a person has set.
    pub(super) fn way_by_hand(&self) -> Option<Way> {
        self.controller.overrides().way()
    }

    /// The sender's counted budget. While the books learn, nobody is granted more than it has.
    fn allowance(&mut self, holder: HolderId, rate: f64, now: Duration) -> Option<Allowance> {
        // Without a budget there is nothing to decide, and nothing to note.
        self.controller.left_to_grant().0?;
        let rate = if self.books.is_learning(now) { 0.0 } else { rate };
        let leased = Event::Leased { holder, rate };
        let decisions = self.controller_step(&leased, now);
        let allowance = decisions.iter().find_map(|it| match it {
            Decision::Granted { allowance, .. } => Some(*allowance),
            _ => None,
        });
        allowance.flatten()
    }

    fn counts(&mut self, holder: HolderId, item: &Item, now: Duration) -> Counts {
        let new = self.meter.report(holder, item.totals.clone(), now);
        let throttled = new.throttled.iter().map(|(_, count)| count).sum();
        self.recent.throttled(throttled, now);
        let before = self.accepted.insert(holder, item.accepted);
        Counts {
            sent: new.sent,
            accepted: item.accepted.saturating_sub(before.unwrap_or(item.accepted)),
            failed: new.errors,
            throttled: new.throttled,
        }
    }

    #[cfg(test)]
    pub(super) fn happen(&mut self, event: &Event, now: Duration) {
        self.step(event, now);
    }

    pub(super) fn step(&mut self, event: &Event, now: Duration) -> Vec<Decision> {
        let by = self.controller.in_force().by;
        let decisions = self.controller_step(event, now);
        let is_news = |it: &&Decision| match it {
            Decision::Rate { by: now_by, .. } => *now_by != by,
            Decision::Granted { .. } => false,
            _ => true,
        };
        self.unreported.extend(decisions.iter().filter(is_news).cloned());
        self.unreported.truncate(UNREPORTED_MAX);
        decisions
    }

    /// Each event goes this way: what the journal does not have, the next leader does not know.
    fn controller_step(&mut self, event: &Event, now: Duration) -> Vec<Decision> {
        let at = self.boot_at + now;
        // What the senders hold is of what may be leased, which may be less than the rate in force.
        let (rate, version) = (self.leasable(), self.controller.version());
        self.log.happened(event, at, now);
        let decisions = self.controller.step(event, at);
        let after = self.leasable();
        self.books.set_rate(after);
        if after < rate && self.controller.version() > version {
            self.log.cut(self.controller.version(), after, after / rate);
        }
        decisions
    }

    fn expire(&mut self, now: Duration) {
        for holder in self.books.expire(now) {
            self.log.changed(holder);
        }
    }
}

impl Item {
    const fn said(&self, sequence: u64) -> Said {
        Said {
            sequence,
            granted_total: self.granted,
            spent_total: self.spent,
        }
    }
}
