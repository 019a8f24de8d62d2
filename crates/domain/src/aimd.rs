//! The rate controller of one key: additive increase, multiplicative decrease, in windows.
//!
//! [`Aimd::step`] is a pure function of (state, event, now), so that production, simulations and a replayed journal take the
//! same decisions. The rules, each against a way in which simpler controllers fail:
//!
//! - One 20 % cut for each window, however many throttles it brings: cutting on every one stands at a quarter of the limit.
//! - A throttle counts only if its send was issued under the newest version: what was under way at a cut is no news about the
//!   rate after it.
//! - The cut is taken from what was really sent, so that a rate that nobody used does not have to be cut away step by step;
//!   and the rate rises only while at least 80 % of it are used.
//! - A lone straggler does not cut a large flow: throttles must be 0.5 % of the window's sends.
//! - A window with 1 % of errors (and at least 5) cuts once, too; errors carry no version, so after any cut they count again
//!   only when the last send from before it must have timed out.

mod meter;

use std::time::Duration;

pub use meter::{Delta, Meter, Totals};

/// The feedback window: how often there is at most one decision.
pub const WINDOW: Duration = Duration::from_secs(1);

const CUT_RATIO: f64 = 0.8;
const RAISE_RATIO: f64 = 1.05;
/// The least step up, so that a small rate rises at all.
const RAISE_MIN: f64 = 1.0;
/// A cut starts from at most this many times of what was sent.
const MEASURED_HEADROOM: f64 = 1.25;
/// Below this share of use the rate is not what limits the senders, and is held.
const UTILISATION_MIN: f64 = 0.8;
const THROTTLED_SHARE: f64 = 0.005;
const ERROR_SHARE: f64 = 0.01;
const ERRORS_MIN: u64 = 5;
/// The longest that a send waits for its outcome, the provider's timeout included.
const ERRORS_SETTLE: Duration = Duration::from_secs(12);

/// Who sets the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The provider's answers.
    Adaptive,
    /// The configuration alone: the start rate, for ever.
    Static,
}

/// What the configuration says of one key. Rates are in recipients per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub mode: Mode,
    /// Where a new key starts.
    pub start: f64,
    pub floor: f64,
    pub ceiling: f64,
    /// What the account allows, if that is known.
    pub max_send_rate: Option<f64>,
    /// Whether errors (5xx, timeouts) cut as throttles do.
    pub cut_on_errors: bool,
}

impl Limits {
    /// The highest rate.
    #[must_use]
    pub fn top(&self) -> f64 {
        self.max_send_rate
            .map_or(self.ceiling, |quota| quota.min(self.ceiling))
    }

    /// The lowest: an account that allows less than the floor wins.
    #[must_use]
    pub fn bottom(&self) -> f64 {
        self.floor.min(self.top())
    }
}

/// What of the controller outlives a restart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Saved {
    pub rate: f64,
    pub version: u64,
}

/// The controller's state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aimd {
    limits: Limits,
    rate: f64,
    /// Rises with each cut; leases carry it.
    version: u64,
    last_cut: Option<Duration>,
    decided: bool,
    window: Window,
    /// What was sent per second, by the end of the window before.
    measured_before: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Window {
    start: Duration,
    sent: u64,
    errors: u64,
    /// Throttles of sends under the newest version.
    throttled: u64,
    /// Throttles of sends that were under way at the last cut.
    throttled_late: u64,
}

/// What happens to a key. Counts are of recipients and new since the event before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// Sends were issued.
    Sent(u64),
    /// The provider failed or did not answer.
    Failed(u64),
    /// The provider said "too fast" to sends that were issued under lease version `version`.
    Throttled { version: u64, count: u64 },
    /// A sender holds a lease of this version: no later one may be lower, whatever was lost.
    VersionSeen(u64),
    /// Time passes. `measured` is what all senders send, in recipients per second ([`Meter`]).
    Tick { measured: f64 },
}

/// Why a rate was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutReason {
    Throttled,
    Errors,
}

impl CutReason {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Errors => "errors",
        }
    }
}

/// A change of the rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision {
    Cut {
        reason: CutReason,
        from: f64,
        to: f64,
        version: u64,
    },
    Raised {
        from: f64,
        to: f64,
    },
}

/// What set the rate in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitedBy {
    /// Nothing has changed it yet, or nothing may.
    Start,
    Aimd,
    Ceiling,
    /// The account's own limit.
    Quota,
    Floor,
}

impl LimitedBy {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Aimd => "aimd",
            Self::Ceiling => "ceiling",
            Self::Quota => "quota",
            Self::Floor => "floor",
        }
    }
}

impl Aimd {
    /// The controller of a new key, or of a known one at its last good rate.
    #[must_use]
    pub fn new(limits: Limits, saved: Option<Saved>, now: Duration) -> Self {
        let start = match (limits.mode, saved) {
            (Mode::Adaptive, Some(saved)) if saved.rate.is_finite() => saved.rate,
            _ => limits.start,
        };
        Self {
            limits,
            rate: start.clamp(limits.bottom(), limits.top()),
            version: saved.map_or(1, |saved| saved.version.max(1)),
            last_cut: None,
            decided: saved.is_some() && limits.mode == Mode::Adaptive,
            window: Window::at(now),
            measured_before: 0.0,
        }
    }

    /// The rate in force, in recipients per second.
    #[must_use]
    pub const fn rate(&self) -> f64 {
        self.rate
    }

    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    #[must_use]
    pub const fn saved(&self) -> Saved {
        Saved {
            rate: self.rate,
            version: self.version,
        }
    }

    #[must_use]
    pub fn limited_by(&self) -> LimitedBy {
        let Limits {
            max_send_rate,
            ceiling,
            ..
        } = self.limits;
        if !self.decided {
            LimitedBy::Start
        } else if self.rate < self.limits.top() {
            if self.rate > self.limits.bottom() {
                LimitedBy::Aimd
            } else {
                LimitedBy::Floor
            }
        } else if max_send_rate.is_some_and(|quota| quota < ceiling) {
            LimitedBy::Quota
        } else {
            LimitedBy::Ceiling
        }
    }

    /// Takes in one event.
    #[must_use]
    pub fn step(mut self, event: Event, now: Duration) -> (Self, Option<Decision>) {
        let window = &mut self.window;
        match event {
            Event::Sent(count) => window.sent = window.sent.saturating_add(count),
            Event::Failed(count) => window.errors = window.errors.saturating_add(count),
            Event::Throttled { version, count } if version >= self.version => {
                window.throttled = window.throttled.saturating_add(count);
            }
            Event::Throttled { count, .. } => {
                window.throttled_late = window.throttled_late.saturating_add(count);
            }
            Event::VersionSeen(version) => self.version = self.version.max(version),
            Event::Tick { measured } if now >= window.start + WINDOW => return self.close(measured, now),
            Event::Tick { .. } => {}
        }
        (self, None)
    }

    /// Ends the window and decides: one cut, one raise, or none.
    fn close(mut self, measured: f64, now: Duration) -> (Self, Option<Decision>) {
        // An answer may come a window later than its send, when the flow has ended already.
        let sent_lately = measured.max(self.measured_before);
        let reason = self.cut_reason(now);
        let decision = match (self.limits.mode, reason) {
            (Mode::Static, _) => None,
            (Mode::Adaptive, Some(reason)) => Some(self.cut(reason, sent_lately, now)),
            (Mode::Adaptive, None) => self.raise(measured),
        };
        self.window = Window::at(now);
        self.measured_before = measured;
        self.decided |= decision.is_some();
        (self, decision)
    }

    fn cut_reason(&self, now: Duration) -> Option<CutReason> {
        let Window {
            sent,
            errors,
            throttled,
            ..
        } = self.window;
        let errors_settled = self.last_cut.is_none_or(|cut| now >= cut + ERRORS_SETTLE);
        if is_share(throttled, sent, THROTTLED_SHARE) {
            Some(CutReason::Throttled)
        } else if self.limits.cut_on_errors
            && errors_settled
            && errors >= ERRORS_MIN
            && is_share(errors, sent, ERROR_SHARE)
        {
            Some(CutReason::Errors)
        } else {
            None
        }
    }

    fn cut(&mut self, reason: CutReason, sent_lately: f64, now: Duration) -> Decision {
        let from = self.rate;
        let base = from.min(MEASURED_HEADROOM * sent_lately);
        self.rate = (CUT_RATIO * base).clamp(self.limits.bottom(), from);
        self.version += 1;
        self.last_cut = Some(now);
        Decision::Cut {
            reason,
            from,
            to: self.rate,
            version: self.version,
        }
    }

    fn raise(&mut self, measured: f64) -> Option<Decision> {
        let Window {
            sent,
            throttled,
            throttled_late,
            ..
        } = self.window;
        let congested = is_share(throttled.saturating_add(throttled_late), sent, THROTTLED_SHARE);
        let from = self.rate;
        let to = (from * RAISE_RATIO).max(from + RAISE_MIN).min(self.limits.top());
        if congested || measured < UTILISATION_MIN * from || to <= from {
            return None;
        }
        self.rate = to;
        Some(Decision::Raised { from, to })
    }
}

impl Window {
    const fn at(start: Duration) -> Self {
        Self {
            start,
            sent: 0,
            errors: 0,
            throttled: 0,
            throttled_late: 0,
        }
    }
}

/// True if `count` is at least one and at least `share` of `sent`.
#[expect(clippy::cast_precision_loss, reason = "counts of one second")]
fn is_share(count: u64, sent: u64, share: f64) -> bool {
    count as f64 >= (sent as f64 * share).max(1.0)
}

#[cfg(test)]
mod tests;
