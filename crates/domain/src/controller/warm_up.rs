//! The first days of an identity that no mailbox provider knows yet: 100 recipients on the first day, twice as many each day.
//!
//! A day is a whole UTC day, counted from any epoch; its number comes from outside. A day counts as a step only if at least half of
//! its cap was used, fewer than 2 % of what was accepted bounced, and the key was not paused at any time; else the same cap
//! holds for another day. It ends when the cap has reached the account's quota. Within a day a tenth of the cap may go at once, and
//! another tenth every 36 minutes, so that a day's mail is no spike.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::percent;

/// Recipients on the first day.
const FIRST_DAY: u64 = 100;
/// No cap doubles more often than this: above it is no real quota.
const LEVEL_MAX: u32 = 40;
/// The share of a cap that may go at once: one of so many.
const BURSTS: u64 = 10;
/// The time over which a day's cap is spread.
const SPREAD: Duration = Duration::from_hours(6);
const USED_PERCENT_MIN: u64 = 50;
const BOUNCED_PERCENT_MAX: u64 = 2;

/// What becomes of mail above the day's cap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// It waits.
    Defer,
    /// It goes by this identity, which is warm.
    To(String),
}

/// What happens to an identity that is warmed up. Counts are of recipients and new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time passes: today is the day of this number.
    Day {
        day: u64,
        /// The account's quota, in recipients a day.
        quota: u64,
    },
    Granted(u64),
    GivenBack(u64),
    Spent(u64),
    Accepted(u64),
    /// Hard bounces.
    Bounced(u64),
    /// Whether the key is paused, by whichever rule.
    Paused(bool),
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The cap has doubled.
    Advanced { cap: u64 },
    /// The cap is as it was.
    Held { cap: u64, why: Held },
    /// The cap has reached the quota: no rule of this kind holds any more.
    Ended,
}

/// Why a day was no step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Held {
    /// The key was paused.
    Paused,
    /// Less than half of the cap was used.
    Unused,
    /// 2 % of what was accepted bounced, or nothing was accepted.
    Bounced,
}

impl Held {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Unused => "unused",
            Self::Bounced => "bounced",
        }
    }
}

/// How far a warm-up has come, as senders are told it: they repeat it to a leader whose memory is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// The number of the day on which it began.
    pub first_day: u64,
    /// How often the cap has doubled; `None` once it has ended.
    pub level: Option<u32>,
    /// The identity by which mail above a day's cap goes; `None` where it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflow_to: Option<String>,
}

/// The warm-up's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmUp {
    overflow: Overflow,
    day: u64,
    level: u32,
    today: Today,
    paused: bool,
    ended: bool,
    /// When the burst will be whole again.
    theoretical_arrival_time: Duration,
}

/// Recipients of today.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Today {
    spent: u64,
    accepted: u64,
    bounced: u64,
    was_paused: bool,
}

impl Overflow {
    /// Mail above the cap goes by this identity, if there is one.
    #[must_use]
    pub fn to(identity: Option<String>) -> Self {
        identity.map_or(Self::Defer, Self::To)
    }

    /// The identity by which it goes.
    #[must_use]
    pub fn identity(&self) -> Option<&str> {
        match self {
            Self::Defer => None,
            Self::To(identity) => Some(identity),
        }
    }
}

impl WarmUp {
    /// The first day is the one of number `day`.
    #[must_use]
    pub const fn start(day: u64, overflow: Overflow) -> Self {
        Self {
            overflow,
            day,
            level: 0,
            today: Today {
                spent: 0,
                accepted: 0,
                bounced: 0,
                was_paused: false,
            },
            paused: false,
            ended: false,
            theoretical_arrival_time: Duration::ZERO,
        }
    }

    /// The cap has doubled so often before a memory was lost; never lowers it. More than once a day it has not.
    pub fn resume(&mut self, word: &Word) {
        let days = u32::try_from(self.day.saturating_sub(word.first_day)).unwrap_or(u32::MAX);
        let level = word.level.unwrap_or(0).min(days).min(LEVEL_MAX);
        self.level = self.level.max(level);
    }

    /// How often the cap has doubled.
    #[must_use]
    pub const fn level(&self) -> u32 {
        self.level
    }

    /// Takes in one event.
    pub fn step(&mut self, event: Event, now: Duration) -> Option<Step> {
        let today = &mut self.today;
        match event {
            Event::Day { day, quota } => return self.turn(day, quota),
            Event::Granted(n) => {
                let from = self.theoretical_arrival_time.max(now);
                self.theoretical_arrival_time = from.saturating_add(self.cost(n));
            }
            Event::GivenBack(n) => {
                self.theoretical_arrival_time = self.theoretical_arrival_time.saturating_sub(self.cost(n));
            }
            Event::Spent(n) => today.spent = today.spent.saturating_add(n),
            Event::Accepted(n) => today.accepted = today.accepted.saturating_add(n),
            Event::Bounced(n) => today.bounced = today.bounced.saturating_add(n),
            Event::Paused(paused) => {
                self.paused = paused;
                today.was_paused |= paused;
            }
        }
        None
    }

    /// What may be granted, with `outstanding` recipients granted and not spent; `None` once it has ended.
    #[must_use]
    pub fn left(&self, outstanding: u64, now: Duration) -> Option<u64> {
        if self.ended {
            return None;
        }
        let of_the_day = self
            .cap()
            .saturating_sub(self.today.spent.saturating_add(outstanding));
        Some(of_the_day.min(self.burst(now)))
    }

    /// True if the day's cap is used up, as far as it is not granted.
    #[must_use]
    pub fn is_used_up(&self, outstanding: u64) -> bool {
        !self.ended && self.today.spent.saturating_add(outstanding) >= self.cap()
    }

    /// Recipients of today at the most.
    #[must_use]
    pub const fn cap(&self) -> u64 {
        FIRST_DAY << self.level
    }

    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    #[must_use]
    pub const fn overflow(&self) -> &Overflow {
        &self.overflow
    }

    /// Recipients spent today.
    #[must_use]
    pub const fn spent_today(&self) -> u64 {
        self.today.spent
    }

    /// A new day begins, or the quota is another.
    fn turn(&mut self, day: u64, quota: u64) -> Option<Step> {
        if self.ended {
            return None;
        }
        let step = if day > self.day {
            let held = if day == self.day + 1 {
                self.held()
            } else {
                Some(Held::Unused)
            };
            self.day = day;
            self.today = Today {
                was_paused: self.paused,
                ..Today::default()
            };
            Some(held)
        } else {
            None
        };
        if step == Some(None) && self.level < LEVEL_MAX {
            self.level += 1;
        }
        if self.cap() >= quota {
            self.ended = true;
            return Some(Step::Ended);
        }
        let cap = self.cap();
        step.map(|held| held.map_or(Step::Advanced { cap }, |why| Step::Held { cap, why }))
    }

    /// Why the day that ends is no step, if it is none.
    fn held(&self) -> Option<Held> {
        let Today {
            spent,
            accepted,
            bounced,
            was_paused,
        } = self.today;
        if was_paused || self.paused {
            Some(Held::Paused)
        } else if percent::is_below(spent, self.cap(), USED_PERCENT_MIN) {
            Some(Held::Unused)
        } else if percent::is_below(bounced, accepted, BOUNCED_PERCENT_MAX) {
            None
        } else {
            Some(Held::Bounced)
        }
    }

    /// Recipients that may go at once now: at most a tenth of the cap.
    #[expect(clippy::cast_possible_truncation, reason = "at most a tenth of the cap")]
    fn burst(&self, now: Duration) -> u64 {
        let each = self.cost(1).as_nanos().max(1);
        let whole = self.cost(self.cap() / BURSTS);
        let missing = self.theoretical_arrival_time.saturating_sub(now);
        (whole.saturating_sub(missing).as_nanos() / each) as u64
    }

    /// The time in which so many recipients may go.
    fn cost(&self, n: u64) -> Duration {
        let each = SPREAD.as_nanos() / u128::from(self.cap());
        let nanos = each.saturating_mul(u128::from(n));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests;
