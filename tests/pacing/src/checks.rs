//! What is looked at after each step: the invariants of `controller::invariants`, with what they need of the past.

use std::time::Duration;

use paceline_domain::aimd;
use paceline_domain::controller::breaker::Standing;
use paceline_domain::controller::invariants::{self, Broken, Passed};
use paceline_domain::controller::{Controller, LimitedBy};
use paceline_domain::gcra::burst_of;
use paceline_domain::lease::invariant::granted_within_bound;
use paceline_domain::lease::{CLOCK_DRIFT_MAX, TTL, in_books};

use crate::redis::{Redis, Term};
use crate::world::{STEP_MS, World};

/// What the checks remember.
#[derive(Debug, Default)]
pub struct Checks {
    /// When each rate came into force, by what was written.
    pub rates: Vec<(u64, f64)>,
    /// Cuts by the provider's answers.
    pub cuts: usize,
    passed: Passed,
    bursts: (f64, f64),
    /// Since when nothing may go, by a pause or an open breaker.
    stopped_at: Option<u64>,
    pub stopped: bool,
    half_open: Option<u64>,
    last_sent_at: u64,
    /// Since when somebody could lead, and who could.
    vacant_since: u64,
    fit: Vec<usize>,
    run: u64,
    led_by: Option<(Term, u64)>,
    pub vacancy_max: u64,
    /// Of all that happened: two runs of a seed have the same.
    pub digest: u64,
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl Checks {
    /// 4: Redis takes no write of an older epoch than one that it took in the same run.
    pub fn writes(&mut self, redis: &mut Redis, epoch: u64) -> Result<(), Broken> {
        invariants::never_older([(redis.written, 0), (epoch, 0)])?;
        redis.written = epoch;
        Ok(())
    }

    /// What came into force is written.
    pub fn in_force(
        &mut self,
        rates: &[f64],
        half_opens: bool,
        controller: Option<&Controller>,
        now: u64,
    ) -> Result<(), Broken> {
        self.rates.extend(rates.iter().map(|rate| (now, *rate)));
        if half_opens {
            self.half_open = Some(0);
        }
        let Some(controller) = controller else {
            return Ok(());
        };
        let by = controller.in_force().by;
        let standing = controller.standing();
        if standing != Standing::HalfOpen {
            self.half_open = None;
        }
        self.stopped = matches!(by, LimitedBy::Paused) || standing == Standing::Open;
        // What was granted between two pauses goes out with the second.
        let since = self.stopped_at.filter(|_| rates.iter().all(|rate| *rate <= 0.0));
        self.stopped_at = self.stopped.then(|| since.unwrap_or(now));
        invariants::controller_is_sound(controller)
    }

    fn since(&self, ms: u64, now: u64) -> impl Iterator<Item = f64> + '_ {
        let horizon = now.saturating_sub(ms);
        let first = self.rates.iter().rposition(|(at, _)| *at <= horizon).unwrap_or(0);
        self.rates[first..].iter().map(|(_, rate)| *rate)
    }

    /// The most that all bursts came to in the last one to two seconds.
    fn bursts_lately(&mut self, bursts: f64, now: u64) -> f64 {
        if now.is_multiple_of(1_000) {
            self.bursts = (0.0, self.bursts.0);
        }
        self.bursts.0 = self.bursts.0.max(bursts);
        self.bursts.0.max(self.bursts.1)
    }

    fn note(&mut self, number: u64) {
        self.digest = (self.digest.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl World {
    /// Looks at what holds now, with `sent` in this step.
    pub(crate) fn check(&mut self, sent: u32) -> Result<(), Broken> {
        let now = self.now;
        let lives = u64::try_from(in_books(TTL).as_millis()).unwrap_or(u64::MAX);
        let held: f64 = self.senders.iter().map(|sender| sender.held(now)).sum();
        let allowed = self.checks.since(lives, now).fold(0.0, f64::max);
        // 1 and 8: by what senders know, in learning or not.
        invariants::learning_within_rate(held, allowed)?;
        // 2.
        let bursts: f64 = self.senders.iter().map(|sender| sender.burst(now)).sum();
        let bursts = self.checks.bursts_lately(bursts, now).max(burst_of(allowed));
        let step = millis(STEP_MS);
        // A sender's clock may run fast.
        let by_its_clock = allowed * (1.0 + CLOCK_DRIFT_MAX);
        self.checks
            .passed
            .step(u64::from(sent), by_its_clock, bursts, step)?;
        self.check_leader(held)?;
        if sent > 0 {
            self.checks.last_sent_at = now;
        }
        // 11 and 12.
        if let Some(stopped_at) = self.checks.stopped_at {
            invariants::pause_holds(millis(stopped_at), millis(self.checks.last_sent_at))?;
        }
        if let Some(spent) = &mut self.checks.half_open {
            *spent += u64::from(sent);
            invariants::breaker_holds(Standing::HalfOpen, *spent)?;
        }
        self.check_vacancy()?;
        self.checks.note(u64::from(sent));
        self.checks.note(held.to_bits());
        Ok(())
    }

    /// What concerns the newest leader's books and state.
    fn check_leader(&mut self, held: f64) -> Result<(), Broken> {
        let now = self.now;
        let Some(leader) = self.leader() else {
            return Ok(());
        };
        let at = self.coordinators[leader].clock.at(now);
        let Some(lead) = &self.coordinators[leader].lead else {
            return Ok(());
        };
        let since = lead.since;
        let Some(key) = &lead.key else { return Ok(()) };
        invariants::one_cut_per_window(&key.cuts, aimd::WINDOW)?;
        let (rate, version) = (key.controller.in_force().rate, key.controller.version());
        // What it grants before its first write is written is fenced if another leads by then.
        if key.books.is_learning(at) {
            // 8.
            if at > since + in_books(TTL) {
                return Err(Broken::Learning { held, rate });
            }
        } else {
            // 1. What the books count may be more than the rate: what senders said that they hold while the books learned was said at
            // different times. What they grant is not.
            let outstanding = key.books.outstanding(at);
            invariants::leases_within_rate(held, outstanding, [f64::INFINITY])?;
            if granted_within_bound(&key.books, at).is_err() {
                let (outstanding, allowed) = (key.books.leased(at), key.books.bound(at));
                return Err(Broken::Leases {
                    held,
                    outstanding,
                    allowed,
                });
            }
        }
        self.checks.note(rate.to_bits());
        self.checks.note(version);
        Ok(())
    }

    /// 13: while somebody could lead, somebody does.
    fn check_vacancy(&mut self) -> Result<(), Broken> {
        let now = self.now;
        let fit: Vec<usize> = (0..self.coordinators.len())
            .filter(|index| {
                let it = &self.coordinators[*index];
                let busy = [it.frozen_until, it.dead_until, it.mute_until, it.deaf_until];
                !self.redis.is_down(now) && busy.iter().all(|until| now >= *until)
            })
            .collect();
        // Taken or renewed by somebody who may be gone already: the lead's time begins anew.
        let led_by = self.redis.led_by();
        let is_taken = led_by.is_some() && led_by != self.checks.led_by;
        self.checks.led_by = led_by;
        let has_lost_one = self.checks.fit.iter().any(|index| !fit.contains(index));
        if self.leader().is_some()
            || fit.is_empty()
            || has_lost_one
            || is_taken
            || self.redis.run != self.checks.run
        {
            self.checks.vacant_since = now;
        }
        (self.checks.fit, self.checks.run) = (fit, self.redis.run);
        self.checks.vacancy_max = self.checks.vacancy_max.max(now - self.checks.vacant_since);
        invariants::led_again(millis(self.checks.vacant_since), millis(now))
    }
}
