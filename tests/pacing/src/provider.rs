//! A provider: a token bucket whose limit moves, outages, answers that come late.

use crate::chance::Chance;

/// How its limit moves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    Steady(f64),
    /// From one rate to the other between two points in time, in milliseconds.
    Ramp {
        from: f64,
        to: f64,
        since: u64,
        until: u64,
    },
}

/// What it is like. Rates are in recipients per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    pub limit: Limit,
    /// How many seconds of its limit it lets pass at once.
    pub burst_secs: f64,
    /// How much the limit trembles, as a part of it.
    pub noise: f64,
    /// The share of calls that it throttles for no reason.
    pub throttles: f64,
    /// The shortest and the longest latency in milliseconds.
    pub latency: (u64, u64),
}

/// What came of some sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub accepted: u32,
    pub throttled: u32,
    pub failed: u32,
}

#[derive(Clone, Debug)]
pub struct Provider {
    pub settings: Settings,
    pub down: bool,
    pub accepted: u64,
    pub throttled: u64,
    pub offered: u64,
    level: f64,
    filled_at: u64,
    tremble: f64,
}

impl Provider {
    pub fn new(settings: Settings) -> Self {
        let mut provider = Self {
            settings,
            down: false,
            accepted: 0,
            throttled: 0,
            offered: 0,
            level: 0.0,
            filled_at: 0,
            tremble: 1.0,
        };
        provider.level = provider.limit(0) * settings.burst_secs;
        provider
    }

    pub fn limit(&self, now: u64) -> f64 {
        let limit = match self.settings.limit {
            Limit::Steady(limit) => limit,
            Limit::Ramp {
                from,
                to,
                since,
                until,
            } => {
                let part = now.saturating_sub(since) as f64 / (until - since).max(1) as f64;
                from + (to - from) * part.min(1.0)
            }
        };
        limit * self.tremble
    }

    /// Time passes.
    pub fn fill(&mut self, now: u64, chance: &mut Chance) {
        if self.settings.noise > 0.0 && now.is_multiple_of(1_000) {
            self.tremble = 1.0 + self.settings.noise * (2.0 * chance.part() - 1.0);
        }
        let limit = self.limit(now);
        let elapsed = (now - self.filled_at) as f64 / 1_000.0;
        self.filled_at = now;
        self.level = (self.level + elapsed * limit).min((limit * self.settings.burst_secs).max(1.0));
    }

    /// `n` recipients at once.
    pub fn send(&mut self, n: u32, chance: &mut Chance) -> Outcome {
        self.offered += u64::from(n);
        if self.down {
            return Outcome {
                failed: n,
                ..Outcome::default()
            };
        }
        let by_chance = chance.whole(f64::from(n) * self.settings.throttles).min(n);
        let accepted = (n - by_chance).min(self.level.max(0.0).floor() as u32);
        self.level -= f64::from(accepted);
        self.accepted += u64::from(accepted);
        self.throttled += u64::from(n - accepted);
        Outcome {
            accepted,
            throttled: n - accepted,
            failed: 0,
        }
    }

    /// How long an answer takes, in milliseconds.
    pub fn latency(&self, outcome: Outcome, chance: &mut Chance) -> u64 {
        let (shortest, longest) = self.settings.latency;
        if outcome.failed > 0 && chance.once_in(2) {
            10_000
        } else {
            shortest + chance.below(longest - shortest + 1)
        }
    }
}
