//! A world for each seed: what it is like, what happens to it, and what must be so in the end.

use std::time::Duration;

use paceline_domain::aimd::{Limits, Mode};
use paceline_domain::controller::breaker::Standing;
use paceline_domain::controller::invariants::{self, Broken};
use paceline_domain::controller::journal::{Entry, replay};
use paceline_domain::controller::overrides::{Action, Override};
use paceline_domain::controller::quota::DailySend;
use paceline_domain::controller::{Event, Settings, bounces};
use paceline_domain::lease::Reserve;
use paceline_domain::lease::share::holders_max;

use crate::chance::Chance;
use crate::checks::OfKey;
use crate::provider::{self, Limit};
use crate::world::{Design, Plan, STEP_MS, World};

const FAULTS_MS: u64 = 20_000;
/// The lead of who is gone ends after 3 s, another leads within 1 s and learns for 2.2 s; then a lease lapses, and two refreshes.
const CALM_MS: u64 = 10_000;
/// Shares are judged when the rate has been the same for as long as a lease lives, and two refreshes more.
const SETTLED_MS: u64 = 3_300;
/// A breaker closes that late.
const LATE_MS: u64 = 60_000;

/// What a run came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    pub digest: u64,
    pub sent: u64,
    /// What of it at safe rates.
    pub sent_safe: u64,
    /// Cuts by the provider's answers.
    pub cuts: usize,
    pub journal: Vec<Entry>,
    pub vacancy_max: u64,
}

/// Runs a seed twice: it must hold, and tell the same story.
///
/// # Errors
/// What is broken.
pub fn prove(seed: u64) -> Result<Story, String> {
    let story = run(seed)?;
    let again = run(seed)?;
    if story == again {
        Ok(story)
    } else {
        Err(Broken::Replay.to_string())
    }
}

/// Runs a seed once.
///
/// # Errors
/// What is broken, and when.
pub fn run(seed: u64) -> Result<Story, String> {
    let mut world = World::new(seed, plan(seed));
    world.faults = true;
    world.run(FAULTS_MS)?;
    world.calm();
    world.run(CALM_MS)?;
    while world.rates_changed_since(SETTLED_MS) {
        if world.now > FAULTS_MS + LATE_MS {
            return Err("the rate never stands still".to_owned());
        }
        world.run(STEP_MS)?;
    }
    world.check_end()?;
    let keys = || {
        world
            .coordinators
            .iter()
            .filter_map(|it| it.lead.as_ref())
            .flat_map(|lead| lead.keys.values())
    };
    Ok(Story {
        cuts: world.checks.cuts,
        journal: keys().flat_map(|key| key.journal.iter().cloned()).collect(),
        digest: world.checks.digest,
        sent: world.senders.iter().map(|sender| sender.sent).sum(),
        sent_safe: world.sent_safe,
        vacancy_max: world.checks.vacancy_max,
    })
}

/// By a chance of its own: a seed's world is otherwise as it is without.
fn reserve(seed: u64) -> Reserve {
    let mut chance = Chance(seed ^ 0x5afe);
    if chance.once_in(3) {
        Reserve {
            share: 0.05 + 0.45 * chance.part(),
            senders: 1 + chance.below(4) as usize,
        }
    } else {
        Reserve::default()
    }
}

/// The world of a seed.
pub fn plan(seed: u64) -> Plan {
    let mut chance = Chance(seed ^ 0x5eed);
    let senders = match chance.below(100) {
        0..70 => 1 + chance.below(8),
        70..93 => 9 + chance.below(24),
        93..99 => 33 + chance.below(68),
        _ => 200,
    };
    let limit = 20.0 + chance.below(1_500) as f64;
    let warm_up = chance.once_in(12);
    let daily = if !warm_up && chance.once_in(6) {
        DailySend::Limited(100 + chance.below(12_000))
    } else {
        DailySend::Unlimited
    };
    // Two or three identities under one account, which allows less than their senders want, or more.
    let shared = !warm_up && daily == DailySend::Unlimited && senders > 2 && chance.once_in(4);
    let load = 0.3 + 3.0 * chance.part();
    // Who has mail wants at least 1.
    let wants = (0..senders)
        .map(|_| (2.0 * chance.part() * load * limit / senders as f64).max(1.0))
        .collect();
    Plan {
        design: Design::Coordinated,
        settings: Settings {
            limits: Limits {
                mode: Mode::Adaptive,
                start: limit * (0.2 + 2.0 * chance.part()),
                floor: 10.0,
                ceiling: 2_000.0,
                max_send_rate: chance.once_in(6).then(|| 15.0 + chance.below(900) as f64),
                cut_on_errors: !chance.once_in(3),
                feedback: Duration::ZERO,
            },
            daily,
            resume: bounces::Resume::ByHand,
            breaker: chance.once_in(2),
            route_back_after: Duration::from_secs(60),
        },
        provider: provider::Settings {
            limit: if chance.once_in(3) {
                Limit::Ramp {
                    from: limit,
                    to: limit * (0.2 + 2.0 * chance.part()),
                    since: 3_000,
                    until: 18_000,
                }
            } else {
                Limit::Steady(limit)
            },
            burst_secs: if chance.once_in(3) { 10.0 } else { 1.0 },
            noise: if chance.once_in(3) { 0.1 } else { 0.0 },
            throttles: if chance.once_in(4) { 0.01 } else { 0.0 },
            latency: (20, 40 + chance.below(200)),
        },
        wants,
        identities: if shared {
            2 + usize::from(chance.once_in(2))
        } else {
            1
        },
        reserve: reserve(seed),
        account: shared.then(|| limit * (0.3 + 1.2 * chance.part())),
        bad_network: true,
        broadcasts: !chance.once_in(3),
        losses: !warm_up && daily == DailySend::Unlimited,
        warm_up,
        fault_pause: 1_000 + chance.below(6_000),
    }
}

impl World {
    /// Now and then something happens.
    pub(crate) fn upset(&mut self) {
        if self.now < self.next_fault {
            return;
        }
        self.next_fault = self.now + 100 + self.chance.below(self.plan.fault_pause);
        match self.chance.below(10) {
            0..4 => self.upset_sender(),
            4..7 => self.upset_coordinator(),
            7 => self.upset_redis(),
            8 => self.upset_provider(),
            _ => self.by_hand(),
        }
    }

    fn upset_sender(&mut self) {
        let index = usize::try_from(self.chance.below(self.senders.len() as u64)).unwrap_or(0);
        let until = self.now + self.chance.below(5_000);
        match self.chance.below(7) {
            0 => self.replace(index, false),
            1 => self.replace(index, true),
            2 => self.senders[index].mute_until = until,
            3 => self.senders[index].deaf_until = until,
            4 => (self.senders[index].mute_until, self.senders[index].deaf_until) = (until, until),
            5 => self.senders[index].frozen_until = until,
            _ => self.senders[index].wants = (3.0 * self.senders[index].wants * self.chance.part()).max(1.0),
        }
    }

    fn upset_coordinator(&mut self) {
        let index = self.leader().unwrap_or(0);
        let until = self.now + self.chance.below(7_000);
        let it = &mut self.coordinators[index];
        match self.chance.below(5) {
            0 => {
                // Another process in its place, with nothing in its memory.
                (it.lead, it.dead_until, it.epoch_floor) = (None, until, 0);
                (it.next_try, it.frozen_until) = (until, 0);
            }
            // Longer than the lead lasts, or shorter.
            1 => it.frozen_until = until,
            2 => it.mute_until = until,
            3 => (it.deaf_since, it.deaf_until) = (self.now, until),
            _ => (it.mute_until, it.deaf_until) = (until, until),
        }
    }

    fn upset_redis(&mut self) {
        let down_ms = self.chance.below(2_000);
        match self.chance.below(3) {
            0 if self.plan.losses => self.redis.lose_all(self.now, down_ms),
            1 if self.plan.losses => {
                let lost_ms = self.chance.below(2_000);
                self.redis.fail_over(self.now, lost_ms, down_ms);
            }
            2 => self.wall_jump = if self.chance.once_in(2) { 3_600 } else { -3_600 },
            _ => self.redis.down_until = self.now + down_ms,
        }
    }

    fn upset_provider(&mut self) {
        match self.chance.below(7) {
            0 => self.provider.down = true,
            1 | 2 => self.provider.down = false,
            3 => {
                if let Some(rate) = &mut self.plan.account {
                    *rate = 20.0 + self.chance.below(1_500) as f64;
                }
            }
            _ => {
                let limit = 20.0 + self.chance.below(1_500) as f64;
                self.provider.settings.limit = Limit::Steady(limit);
            }
        }
    }

    fn by_hand(&mut self) {
        let Some(leader) = self.leader() else { return };
        let action = match self.chance.below(3) {
            0 => Action::Pause,
            1 => Action::Resume,
            _ => Action::Cap {
                rate: 1.0 + self.chance.below(300) as f64,
            },
        };
        let lasts = Duration::from_millis(1_000 + self.chance.below(6_000));
        let now = self.now;
        let index = usize::try_from(self.chance.below(self.plan.identities as u64)).unwrap_or(0);
        if let Some((key, at)) = self.coordinators[leader].key(index, now) {
            let until = key.time(at) + lasts;
            let (who, why) = ("ops".to_owned(), "a test".to_owned());
            key.step(
                Event::Set(Override {
                    action,
                    who,
                    why,
                    until,
                }),
                at,
            );
        }
    }

    /// All that was broken is well again, and the rate stays what it is.
    fn calm(&mut self) {
        self.faults = false;
        let now = self.now;
        self.provider.down = false;
        self.redis.down_until = now;
        for it in &mut self.coordinators {
            for until in [
                &mut it.frozen_until,
                &mut it.dead_until,
                &mut it.mute_until,
                &mut it.deaf_until,
            ] {
                *until = now.min(*until);
            }
            it.next_try = it.next_try.min(now);
        }
        for it in &mut self.senders {
            for until in [&mut it.frozen_until, &mut it.mute_until, &mut it.deaf_until] {
                *until = now.min(*until);
            }
        }
        self.plan.settings.limits.mode = Mode::Static;
        self.plan.settings.limits.start = 40.0 + self.chance.below(400) as f64;
        let settings = self.plan.settings;
        for it in &mut self.coordinators {
            for index in 0..self.plan.identities {
                if let Some((key, at)) = it.key(index, now) {
                    key.step(Event::Settings(settings), at);
                }
            }
        }
    }

    fn rates_changed_since(&self, ms: u64) -> bool {
        let last = |key: &OfKey| key.rates.last().map_or(0, |(at, _)| *at);
        let changed_at = self.checks.keys.iter().map(last).max();
        changed_at.is_some_and(|at| self.now < at + ms)
    }

    fn check_end(&mut self) -> Result<(), String> {
        let now = self.now;
        let leader = self.leader().ok_or("13: nobody leads in the end")?;
        let broken = |number: u8, broken: Broken| format!("{number}: {broken}, in the end");
        let of_day = self.senders.iter().map(|sender| sender.sent).sum::<u64>();
        let spent = self
            .sends
            .iter()
            .map(|(sent, _)| u64::from(*sent))
            .sum::<u64>()
            .max(of_day);
        if let DailySend::Limited(quota) = self.plan.settings.daily {
            invariants::days_within_quota(&[(Duration::from_millis(now), spent)], quota)
                .map_err(|it| broken(9, it))?;
        }
        if self.plan.warm_up {
            invariants::warm_up_within_cap(spent, 0).map_err(|it| broken(10, it))?;
        }
        for index in 0..self.plan.identities {
            self.check_key_s_end(leader, index)?;
        }
        Ok(())
    }

    fn check_key_s_end(&mut self, leader: usize, index: usize) -> Result<(), String> {
        let now = self.now;
        let broken = |number: u8, broken: Broken| format!("{number}: {broken}, in the end");
        let of_key = || self.senders.iter().filter(|sender| sender.identity == index);
        let held: Vec<f64> = of_key().map(|sender| sender.held(now)).collect();
        let wants: Vec<f64> = of_key().map(|sender| sender.wants).collect();
        let Some((key, _)) = self.coordinators[leader].key(index, now) else {
            return Err("13: no key in the end".to_owned());
        };
        let replayed = replay(&key.journal).map_err(|error| error.to_string())?;
        invariants::replays(&key.controller, &replayed).map_err(|it| broken(14, it))?;
        let rate = key.books.for_leases();
        if wants.len() > holders_max(rate) || key.controller.standing() != Standing::Closed || rate <= 0.0 {
            return Ok(());
        }
        // What nobody wants is leased on top.
        let shares: Vec<f64> = held
            .iter()
            .zip(&wants)
            .map(|(held, wants)| held.min(*wants))
            .collect();
        invariants::shares_are_fair(rate, &wants, &shares).map_err(|it| broken(7, it))?;
        invariants::leases_within_rate(held.iter().sum(), rate, [rate]).map_err(|it| broken(1, it))
    }
}
