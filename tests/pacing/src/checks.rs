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

/// What is remembered of a key.
#[derive(Debug, Default)]
pub struct OfKey {
    /// When each rate came into force, by what was written.
    pub rates: Vec<(u64, f64)>,
    passed: Passed,
    /// What its controller knows that the account allows, by what was written.
    max_send_rate: Option<f64>,
    /// Since when nothing may go, by a pause or an open breaker.
    stopped_at: Option<u64>,
    half_open: Option<u64>,
    last_sent_at: u64,
}

/// What the checks remember.
#[derive(Debug, Default)]
pub struct Checks {
    pub keys: Vec<OfKey>,
    /// Since when the account allows so much, by what is written of all its keys.
    account: Vec<(u64, f64)>,
    /// Cuts by the provider's answers.
    pub cuts: usize,
    /// Since when somebody could lead, and who could.
    vacant_since: u64,
    fit: Vec<usize>,
    run: u64,
    led_by: Option<(Term, u64)>,
    pub vacancy_max: u64,
    /// Of all that happened: two runs of a seed have the same.
    pub digest: u64,
}

/// How long a lease counts in the books, in milliseconds.
fn books_ms() -> u64 {
    u64::try_from(in_books(TTL).as_millis()).unwrap_or(u64::MAX)
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl Checks {
    pub fn new(identities: usize, account: Option<f64>) -> Self {
        Self {
            keys: (0..identities).map(|_| OfKey::default()).collect(),
            account: account.map(|rate| (0, rate)).into_iter().collect(),
            ..Self::default()
        }
    }

    /// 4: of a key Redis takes no write of an older epoch than one that it took in the same run.
    pub fn writes(&mut self, redis: &mut Redis, key: usize, epoch: u64) -> Result<(), Broken> {
        let written = redis.written.entry(key).or_default();
        invariants::never_older([(*written, 0), (epoch, 0)])?;
        *written = epoch;
        Ok(())
    }

    /// What the account allows holds once each of its keys has it.
    fn look_at_account(&mut self, now: u64) {
        let known = self.keys.iter().filter_map(|key| key.max_send_rate);
        let Some(rate) = known.max_by(f64::total_cmp) else {
            return;
        };
        if let Some((_, last)) = self.account.last()
            && last.to_bits() != rate.to_bits()
        {
            self.account.push((now, rate));
        }
    }

    /// What came into force is written.
    pub fn in_force(
        &mut self,
        (key, rates): (usize, &[f64]),
        half_opens: bool,
        controller: Option<&Controller>,
        now: u64,
    ) -> Result<(), Broken> {
        let of_key = &mut self.keys[key];
        of_key.rates.extend(rates.iter().map(|rate| (now, *rate)));
        if half_opens {
            of_key.half_open = Some(0);
        }
        let Some(controller) = controller else {
            return Ok(());
        };
        let known = controller.account().and_then(|it| it.max_send_rate);
        of_key.max_send_rate = known.or(of_key.max_send_rate);
        let by = controller.in_force().by;
        let standing = controller.standing();
        if standing != Standing::HalfOpen {
            of_key.half_open = None;
        }
        let stopped = matches!(by, LimitedBy::Paused) || standing == Standing::Open;
        // What was granted between two pauses goes out with the second.
        let since = of_key
            .stopped_at
            .filter(|_| rates.iter().all(|rate| *rate <= 0.0));
        of_key.stopped_at = stopped.then(|| since.unwrap_or(now));
        self.look_at_account(now);
        invariants::controller_is_sound(controller)
    }

    fn note(&mut self, number: u64) {
        self.digest = (self.digest.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// What was in force at any time in the last `ms`.
fn lately(rates: &[(u64, f64)], ms: u64, now: u64) -> impl Iterator<Item = f64> + '_ {
    let horizon = now.saturating_sub(ms);
    let first = rates.iter().rposition(|(at, _)| *at <= horizon).unwrap_or(0);
    rates[first..].iter().map(|(_, rate)| *rate)
}

impl World {
    /// Looks at what holds now, with so much `sent` of each key in this step.
    pub(crate) fn check(&mut self, sent: &[u32]) -> Result<(), Broken> {
        let now = self.now;
        let mut all = 0.0;
        for (key, sent) in sent.iter().enumerate() {
            let held = self.held(key);
            all += held;
            self.check_key(key, *sent, held)?;
            self.check_leader(key, held)?;
            self.checks.note(u64::from(*sent));
            self.checks.note(held.to_bits());
        }
        // 3.
        if self.plan.account.is_some() {
            let allowed = lately(&self.checks.account, books_ms(), now);
            invariants::identities_within_account([all], allowed)?;
        }
        self.check_vacancy()
    }

    /// What the senders of a key may be sending.
    pub fn held(&self, key: usize) -> f64 {
        let of_key = self.senders.iter().filter(|sender| sender.identity == key);
        of_key.map(|sender| sender.held(self.now)).sum()
    }

    fn check_key(&mut self, key: usize, sent: u32, held: f64) -> Result<(), Broken> {
        let now = self.now;
        let of_key = &mut self.checks.keys[key];
        let allowed = lately(&of_key.rates, books_ms(), now).fold(0.0, f64::max);
        // 1 and 8: by what senders know, in learning or not.
        invariants::learning_within_rate(held, allowed)?;
        // 2: a sender's clock may run fast, and all bursts together are a tenth of a second of the rate.
        let by_its_clock = allowed * (1.0 + CLOCK_DRIFT_MAX);
        let step = millis(STEP_MS);
        of_key
            .passed
            .step(u64::from(sent), by_its_clock, burst_of(allowed), step)?;
        if sent > 0 {
            of_key.last_sent_at = now;
        }
        // 11 and 12.
        if let Some(stopped_at) = of_key.stopped_at {
            invariants::pause_holds(millis(stopped_at), millis(of_key.last_sent_at))?;
        }
        if let Some(spent) = &mut of_key.half_open {
            *spent += u64::from(sent);
            invariants::breaker_holds(Standing::HalfOpen, *spent)?;
        }
        Ok(())
    }

    /// What concerns the newest leader's books and state of a key.
    fn check_leader(&mut self, index: usize, held: f64) -> Result<(), Broken> {
        let now = self.now;
        let Some(leader) = self.leader() else {
            return Ok(());
        };
        let at = self.coordinators[leader].clock.at(now);
        let Some(lead) = &self.coordinators[leader].lead else {
            return Ok(());
        };
        let since = lead.since;
        let Some(key) = lead.keys.get(&index) else {
            return Ok(());
        };
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
