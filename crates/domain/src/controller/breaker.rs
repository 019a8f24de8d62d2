//! The circuit breaker of a provider that fails: no calls while it is away, then a few, then all.
//!
//! Closed, it counts the answers of the last 30 s; with at least 50 calls, more than 5 % of failures (5xx, timeouts, no
//! connection) among what was not throttled, and at least 5 of them, open it. They must be seen without the sender that failed the most,
//! too, where others send: one that is sick stops nobody else. A throttle is no failure. Open, nothing goes for 30 s, twice as long after
//! each probe that failed, at most 300 s, with a jitter so that breakers of several keys do not come back together.
//! Half-open, exactly one sender holds a counted budget of 20 recipients: no herd of senders that probe at once. If at least 95 %
//! of them are well, it closes, and the rate goes on at half of what it was; a second failure among them opens it again.
//!
//! The prober is the first that asks. One that has nothing to send for a minute must hand over; one that is gone leaves probes of
//! which nobody knows the outcome, so another begins after another pause.

mod holders;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::percent;
use super::rolling::Rolling;
use crate::exact;
use crate::lease::HolderId;
use holders::Holders;

/// Recipients of one probe, over all senders.
pub const PROBES: u64 = 20;
const CALLS_MIN: u64 = 50;
const FAILURES_MIN: u64 = 5;
const FAILED_PERCENT_MAX: u64 = 5;
const OPEN_MIN: Duration = Duration::from_secs(30);
const OPEN_MAX: Duration = Duration::from_secs(300);
/// The jitter is up to a fifth, to either side.
const JITTER: f64 = 0.2;
/// The longest that a send waits for its outcome, the provider's timeout included.
const SETTLE: Duration = Duration::from_secs(12);
/// How long a prober may have nothing to send before it hands over.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// The rate of probes, in recipients per second: this much, or a hundredth of the rate before.
const PROBE_RATE_MIN: f64 = 1.0;
const PROBE_SHARE: f64 = 0.01;
/// The rate that it closes with is half of the rate before, but no less than this.
const CLOSE_RATE_MIN: f64 = 10.0;

/// What happens. Counts are of recipients and new.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// Recipients of a budget were spent.
    Spent(u64),
    /// What a sender sent, and what came of sends.
    Answers {
        holder: HolderId,
        sent: u64,
        accepted: u64,
        failed: u64,
        throttled: u64,
    },
    /// A sender asks. `idle` if it holds no rate, so that it can't be spending.
    Asked {
        holder: HolderId,
        wants: bool,
        idle: bool,
    },
    /// A sender has left or lapsed.
    Gone(HolderId),
    /// Time passes. `rate` is what the controller would allow, `random` any number from 0 to 1.
    Tick { rate: f64, random: f64 },
}

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    Closed,
    Open,
    HalfOpen,
}

/// Why it opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// More than 5 % of the calls failed.
    Failures,
    /// More than 5 % of the probes failed.
    ProbesFailed,
    /// What came of the probes is not known: the sender is gone, or the leader that it told.
    ProbesLost,
}

impl Cause {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failures => "failures",
            Self::ProbesFailed => "probes_failed",
            Self::ProbesLost => "probes_lost",
        }
    }
}

/// A change of where it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Transition {
    Opened {
        cause: Cause,
        until: Duration,
    },
    HalfOpened,
    /// The probes were well: go on with at most this rate.
    Closed {
        rate: f64,
    },
}

/// The breaker's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Breaker {
    state: State,
    /// Probes that failed since it was closed.
    failures: u32,
    calls: Rolling,
    failed: Rolling,
    throttled: Rolling,
    #[serde(default)]
    holders: Holders,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Closed,
    Open {
        until: Duration,
        #[serde(with = "exact")]
        rate_before: f64,
    },
    HalfOpen {
        #[serde(with = "exact")]
        rate_before: f64,
        probe: Probe,
    },
}

/// One budget of probes and what came of it, in recipients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Probe {
    holder: Option<HolderId>,
    /// The holder must hand over: it gets no rate any more.
    revoked: bool,
    /// The holder is gone, and of what it spent nobody will tell.
    lost: bool,
    spent: u64,
    sent: u64,
    answered: u64,
    failed: u64,
    throttled: u64,
    /// When something was spent or sent last.
    active_at: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        let lately = || Rolling::new(Duration::from_secs(1), 30);
        Self {
            state: State::Closed,
            failures: 0,
            calls: lately(),
            failed: lately(),
            throttled: lately(),
            holders: Holders::default(),
        }
    }
}

impl Breaker {
    /// Takes in one event.
    pub fn step(&mut self, event: Event, now: Duration) -> Option<Transition> {
        match event {
            Event::Answers {
                holder,
                sent,
                failed,
                throttled,
                ..
            } if self.standing() == Standing::Closed => {
                self.calls.add(sent, now);
                self.failed.add(failed, now);
                self.throttled.add(throttled, now);
                self.holders.add(holder, sent, failed, throttled, now);
            }
            Event::Answers {
                sent,
                accepted,
                failed,
                throttled,
                ..
            } => self.count_probes(sent, accepted, failed, throttled, now),
            Event::Asked { holder, wants, idle } => self.ask(holder, wants, idle, now),
            Event::Spent(n) => {
                if let State::HalfOpen { probe, .. } = &mut self.state {
                    probe.spend(n, now);
                }
            }
            Event::Gone(holder) => {
                if let State::HalfOpen { probe, .. } = &mut self.state
                    && probe.holder == Some(holder)
                {
                    probe.holder = None;
                    probe.lost = probe.spent > 0;
                }
            }
            Event::Tick { rate, random } => return self.tick(rate, random, now),
        }
        None
    }

    #[must_use]
    pub const fn standing(&self) -> Standing {
        match self.state {
            State::Closed => Standing::Closed,
            State::Open { .. } => Standing::Open,
            State::HalfOpen { .. } => Standing::HalfOpen,
        }
    }

    /// The rate that it allows, in recipients per second; `None` while it is closed.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        match self.state {
            State::Closed => None,
            State::Open { .. } => Some(0.0),
            State::HalfOpen { rate_before, .. } => Some((rate_before * PROBE_SHARE).max(PROBE_RATE_MIN)),
        }
    }

    /// Whether this sender may spend at all.
    #[must_use]
    pub fn admits(&self, holder: HolderId) -> bool {
        match &self.state {
            State::Closed => true,
            State::Open { .. } => false,
            State::HalfOpen { probe, .. } => probe.holder == Some(holder) && !probe.revoked,
        }
    }

    /// Probes that may still be granted, with `unspent` granted and not spent; `None` while it is closed.
    #[must_use]
    pub fn left(&self, unspent: u64) -> Option<u64> {
        match self.state {
            State::Closed => None,
            State::Open { .. } => Some(0),
            State::HalfOpen { probe, .. } => Some(PROBES.saturating_sub(probe.spent.saturating_add(unspent))),
        }
    }

    /// What comes while it is open is of sends from before.
    fn count_probes(&mut self, sent: u64, accepted: u64, failed: u64, throttled: u64, now: Duration) {
        let State::HalfOpen { probe, .. } = &mut self.state else {
            return;
        };
        let answered = accepted.saturating_add(failed).saturating_add(throttled);
        probe.sent = probe.sent.saturating_add(sent);
        probe.answered = probe.answered.saturating_add(answered);
        probe.failed = probe.failed.saturating_add(failed);
        probe.throttled = probe.throttled.saturating_add(throttled);
        if sent > 0 {
            probe.active_at = now;
        }
    }

    fn ask(&mut self, holder: HolderId, wants: bool, idle: bool, now: Duration) {
        let State::HalfOpen { probe, .. } = &mut self.state else {
            return;
        };
        if probe.revoked && idle && probe.holder == Some(holder) {
            (probe.holder, probe.revoked) = (None, false);
        }
        if probe.holder.is_none() && !probe.lost && wants && idle {
            (probe.holder, probe.active_at) = (Some(holder), now);
        }
    }

    fn tick(&mut self, rate: f64, random: f64, now: Duration) -> Option<Transition> {
        match &mut self.state {
            State::Closed => {
                let (calls, failed) = (self.calls.sum(now), self.failed.sum(now));
                let judged = calls.saturating_sub(self.throttled.sum(now));
                let fails = failed >= FAILURES_MIN && percent::is_above(failed, judged, FAILED_PERCENT_MAX);
                let trips = calls >= CALLS_MIN && fails && self.holders.agree(now);
                trips.then(|| self.open(rate, Cause::Failures, random, now))
            }
            State::Open { until, .. } if now < *until => None,
            State::Open { rate_before, .. } => {
                self.state = State::HalfOpen {
                    rate_before: *rate_before,
                    probe: Probe::new(now),
                };
                Some(Transition::HalfOpened)
            }
            State::HalfOpen { rate_before, probe } => {
                let rate_before = *rate_before;
                match probe.judge(now) {
                    Some(Judgement::Well) => Some(self.close(rate_before)),
                    Some(Judgement::Failed) => {
                        self.failures = self.failures.saturating_add(1);
                        Some(self.open(rate_before, Cause::ProbesFailed, random, now))
                    }
                    Some(Judgement::Lost) => Some(self.open(rate_before, Cause::ProbesLost, random, now)),
                    None => None,
                }
            }
        }
    }

    fn open(&mut self, rate_before: f64, cause: Cause, random: f64, now: Duration) -> Transition {
        let until = now + open_time(self.failures, random);
        self.state = State::Open { until, rate_before };
        Transition::Opened { cause, until }
    }

    fn close(&mut self, rate_before: f64) -> Transition {
        *self = Self::default();
        Transition::Closed {
            rate: (rate_before / 2.0).max(CLOSE_RATE_MIN),
        }
    }
}

enum Judgement {
    Well,
    Failed,
    Lost,
}

impl Probe {
    const fn new(now: Duration) -> Self {
        Self {
            holder: None,
            revoked: false,
            lost: false,
            spent: 0,
            sent: 0,
            answered: 0,
            failed: 0,
            throttled: 0,
            active_at: now,
        }
    }

    fn spend(&mut self, n: u64, now: Duration) {
        self.spent = self.spent.saturating_add(n);
        if n > 0 {
            self.active_at = now;
        }
    }

    fn judge(&mut self, now: Duration) -> Option<Judgement> {
        // Two of twenty: whatever comes of the others.
        if percent::is_above(self.failed, PROBES, FAILED_PERCENT_MAX) {
            return Some(Judgement::Failed);
        }
        let quiet = now.saturating_sub(self.active_at);
        if self.answered >= PROBES || (self.spent >= PROBES && quiet >= SETTLE && !self.lost) {
            if self.sent == 0 {
                // Put back, or counted by a leader that is gone: nothing is known.
                return Some(Judgement::Lost);
            }
            let judged = self.sent.saturating_sub(self.throttled);
            let failed = percent::is_above(self.failed, judged, FAILED_PERCENT_MAX);
            return Some(if failed {
                Judgement::Failed
            } else {
                Judgement::Well
            });
        }
        if self.lost {
            return Some(Judgement::Lost);
        }
        self.revoked |= self.holder.is_some() && quiet >= IDLE_MAX;
        None
    }
}

/// 30 s, twice as long after each failure, at most 300 s; a fifth shorter or longer as `random` says.
fn open_time(failures: u32, random: f64) -> Duration {
    let doubled = OPEN_MIN.saturating_mul(1 << failures.min(8)).min(OPEN_MAX);
    let random = if random.is_finite() {
        random.clamp(0.0, 1.0)
    } else {
        0.5
    };
    doubled.mul_f64(1.0 - JITTER + 2.0 * JITTER * random)
}

#[cfg(test)]
mod tests;
