//! The rate controller of one key: additive increase, multiplicative decrease, in windows.
//!
//! [`Aimd::step`] is a pure function of (state, event, now), so that production, simulations and a replayed journal take the
//! same decisions. The rules, each against a way in which simpler controllers fail:
//!
//! - One 20 % cut for each window, however many throttles it brings: cutting on every one stands at a quarter of the limit.
//! - A throttle counts only if its send was issued under the newest version: what was under way at a cut is no news about the
//!   rate after it.
//! - The cut is taken from what was really sent, so that a rate that nobody used does not have to be cut away step by step;
//!   and the rate rises only while at least 80 % of it are used. What was refused was not sent: where the provider takes less than
//!   the cut would leave, the rate goes to what it takes, at most down to the half at once.
//! - A window of which a twentieth is refused already is not waited for: its cut comes at once, if the last one is a window ago.
//! - A lone straggler does not cut a large flow: throttles must be 0.5 % of the window's sends.
//! - Nor do throttles cut again that a cut does not lessen: they are the provider's noise and not its limit, at most 2 % of the sends.
//! - A window with 1 % of errors (and at least 5) cuts once, too; errors carry no version, so after any cut they count again
//!   only when the last send from before it must have timed out. Such a cut is taken from the most that was sent since those
//!   sends began: a flow whose sends all wait for a timeout sends next to nothing when the errors come.
//! - After an outage it goes on at half, in both modes; a static rate comes back to its own by the same steps.
//! - Near what the provider took at the last cut the rate rises by 1 % instead of 5 %, past it by a quarter of a percent, for up to
//!   two minutes: it finds the same limit again with fewer rejections. It never rises above twice what was really sent.
//! - An account that allows less cuts at once; one that allows more is only a higher cap.

mod decision;
mod limits;
mod meter;
mod noise;
mod peak;
mod plateau;
mod window;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use decision::{CutReason, Decision, LimitedBy};
pub use limits::{Limits, Mode};
pub use meter::{Delta, Meter, Totals};
use noise::Noise;
use peak::Peak;
use plateau::Plateau;
use window::{Window, count, is_share};

use crate::exact;
use crate::lease::REFRESH;

/// The shortest feedback window: how often there is at most one decision ([`Aimd::feedback_window`]).
pub const WINDOW: Duration = Duration::from_secs(1);

/// What answers take makes it no longer than this.
const WINDOW_MAX: Duration = Duration::from_secs(15);
const CUT_RATIO: f64 = 0.8;
/// The deepest cut, whatever was refused: a provider that refuses all for a moment says nothing of its limit.
const CUT_RATIO_MIN: f64 = 0.5;
const RAISE_RATIO: f64 = 1.05;
/// The least step up, so that a small rate rises at all.
const RAISE_MIN: f64 = 1.0;
/// The rate rises to at most this many times of what was sent.
const GROWTH_MAX: f64 = 2.0;
/// A cut starts from at most this many times of what was sent.
const MEASURED_HEADROOM: f64 = 1.25;
/// What a provider takes as its limit falls is in part what its bucket had saved up: at a cut that follows another at once, a tenth.
const NOT_SAVED_UP: f64 = 0.9;
/// Below this share of use the rate is not what limits the senders, and is held.
const UTILISATION_MIN: f64 = 0.8;
const THROTTLED_SHARE: f64 = 0.005;
/// With this share of its sends refused, the rest of a window is not waited for.
const LOST_SHARE: f64 = 0.05;
const ERROR_SHARE: f64 = 0.01;
const ERRORS_MIN: u64 = 5;
/// The longest that a send waits for its outcome, the provider's timeout included.
const ERRORS_SETTLE: Duration = Duration::from_secs(12);

/// What of the controller outlives a restart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    #[serde(with = "exact")]
    pub rate: f64,
    pub version: u64,
}

/// The controller's state.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Aimd {
    limits: Limits,
    #[serde(with = "exact")]
    rate: f64,
    /// Rises with each cut; leases carry it.
    version: u64,
    /// The version of the last cut of this rate: throttles of sends under an older one are no news.
    cut_version: u64,
    last_cut: Option<Duration>,
    plateau: Option<Plateau>,
    decided: bool,
    window: Window,
    /// What was sent per second, by the end of the window before.
    #[serde(with = "exact")]
    measured_before: f64,
    #[serde(default)]
    peak: Peak,
    #[serde(default)]
    noise: Noise,
    /// What nearly all of the provider's answers take, as senders see it.
    #[serde(default)]
    latency: Option<Duration>,
    /// A static rate that is on its way back from an outage.
    #[serde(default)]
    restarted: bool,
}

/// What happens to a key. Counts are of recipients and new since the event before, rates in recipients per second.
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
    /// Another rule lowers what is leased: the version rises, and throttles count as before.
    Superseded,
    /// The account allows this much now, if that is known. What is no rate is ignored.
    MaxSendRate(Option<f64>),
    /// The configuration is another.
    Limits(Limits),
    /// The provider is back after an outage: go on with at most this much.
    Restart(f64),
    /// Nearly all of the provider's answers take this long.
    Latency(Duration),
    /// Time passes. `measured` is what all senders send, `taken` what of it the provider did not refuse ([`Meter`]).
    Tick { measured: f64, taken: f64 },
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
            cut_version: saved.map_or(1, |saved| saved.version.max(1)),
            last_cut: None,
            plateau: None,
            decided: saved.is_some() && limits.mode == Mode::Adaptive,
            window: Window::at(now),
            measured_before: 0.0,
            peak: Peak::default(),
            noise: Noise::default(),
            latency: None,
            restarted: false,
        }
    }

    /// The state that a leader before has saved, under the limits of today.
    #[must_use]
    pub fn reopened(&self, limits: Limits, now: Duration) -> Self {
        let mut opened = Self::new(limits, Some(self.saved()), now);
        if self.restarted && limits.mode == Mode::Static && self.rate < opened.rate {
            opened.rate = self.rate.max(limits.bottom());
            (opened.restarted, opened.decided) = (true, true);
        }
        opened
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
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The share of the sends that the provider refuses by chance, as far as that is known; it cuts nothing.
    #[must_use]
    pub fn noise(&self) -> f64 {
        self.noise.share()
    }

    /// What nearly all of the provider's answers take; `None` while nobody has said it.
    #[must_use]
    pub const fn latency(&self) -> Option<Duration> {
        self.latency
    }

    /// How often there is at most one decision: no sooner than a refresh and nearly all answers have come since the one before.
    #[must_use]
    pub fn feedback_window(&self) -> Duration {
        let seen = self.latency.map_or(Duration::ZERO, |latency| REFRESH + latency);
        seen.min(WINDOW_MAX).max(self.limits.window())
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
            Event::Throttled { version, count } if version >= self.cut_version => {
                window.throttled = window.throttled.saturating_add(count);
            }
            Event::Throttled { count, .. } => {
                window.throttled_late = window.throttled_late.saturating_add(count);
            }
            Event::VersionSeen(version) if version > self.version => {
                (self.version, self.cut_version) = (version, version);
            }
            Event::Superseded => self.version = self.version.saturating_add(1),
            Event::MaxSendRate(allowed) => return self.relimit(allowed, now),
            Event::Limits(limits) => {
                self.limits = limits;
                self.restarted &= limits.mode == Mode::Static;
                return self.relimit(limits.max_send_rate, now);
            }
            Event::Restart(rate) => return self.restart(rate, now),
            Event::Latency(latency) => self.latency = Some(latency),
            Event::Tick { measured, taken } => {
                let (measured, taken) = (sound(measured), sound(taken));
                if now >= self.window.start + self.feedback_window() || self.is_lost(measured, now) {
                    return self.close(measured, taken, now);
                }
            }
            Event::VersionSeen(_) => {}
        }
        (self, None)
    }

    /// Whether the window's end need not be waited for: so much was refused of all that a window sends, and the last cut is a
    /// window ago.
    #[expect(clippy::cast_precision_loss, reason = "counts of one second")]
    fn is_lost(&self, measured: f64, now: Duration) -> bool {
        let window = self.feedback_window();
        let is_cut_lately = self.last_cut.is_some_and(|cut| now < cut + window);
        if self.limits.mode == Mode::Static || is_cut_lately {
            return false;
        }
        let sends = measured.max(self.measured_before) * window.as_secs_f64();
        self.noise.is_exceeded(
            self.window.throttled,
            sends.max(self.window.sent as f64),
            LOST_SHARE,
        )
    }

    /// Ends the window and decides: one cut, one raise, or none.
    fn close(mut self, measured: f64, taken: f64, now: Duration) -> (Self, Option<Decision>) {
        // An answer may come a window later than its send, when the flow has ended already.
        let sent_lately = measured.max(self.measured_before);
        if self.noise.hear(&self.window, self.rate) {
            // The cuts until here were made for it: they say nothing of where the limit is.
            self.plateau = None;
        }
        let reason = self.cut_reason(now);
        self.peak.add(measured, now);
        let decision = match (self.limits.mode, reason) {
            (Mode::Static, None) if self.restarted => self.raise(measured, now),
            (Mode::Static, _) => None,
            (Mode::Adaptive, Some(CutReason::Errors)) => {
                let sent = self.peak.most();
                Some(self.cut(CutReason::Errors, (sent, sent), now))
            }
            (Mode::Adaptive, Some(reason)) => {
                // Of a flow that ends, or does not use its rate, the answers are those of other sends.
                let is_used = measured >= UTILISATION_MIN * self.rate;
                let taken = if is_used { taken } else { sent_lately };
                Some(self.cut(reason, (sent_lately, taken), now))
            }
            (Mode::Adaptive, None) => self.raise(measured, now),
        };
        if self.restarted && self.rate >= self.top() {
            (self.restarted, self.decided) = (false, false);
        }
        self.window = Window::at(now);
        self.measured_before = measured;
        self.decided |= decision.is_some() && (self.restarted || self.limits.mode == Mode::Adaptive);
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
        if self.noise.is_exceeded(throttled, count(sent), THROTTLED_SHARE) {
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

    /// From what was sent and what of it was taken, per second.
    fn cut(&mut self, reason: CutReason, (sent, taken): (f64, f64), now: Duration) -> Decision {
        let base = self.rate.min(MEASURED_HEADROOM * sent);
        let is_falling = self.follows(now) && self.window.refused_share() >= LOST_SHARE;
        let taken = if is_falling { NOT_SAVED_UP * taken } else { taken };
        let to = CUT_RATIO * base.min(MEASURED_HEADROOM * taken);
        let to = to
            .max(CUT_RATIO_MIN * base)
            .clamp(self.limits.bottom(), self.rate);
        self.plateau = self.plateau_of(base, now);
        if reason == CutReason::Throttled {
            self.noise.cut_at(self.rate.min(sent));
        }
        self.lower(to, reason, now)
    }

    /// True for a cut that follows another at once.
    fn follows(&self, now: Duration) -> bool {
        self.last_cut
            .is_some_and(|cut| now < cut + 2 * self.feedback_window())
    }

    /// Where more than a cut was refused the limit is elsewhere: more cuts follow, or it was nothing. And the cut that follows at
    /// once finds the provider's bucket still empty: what is refused then says nothing of the limit.
    fn plateau_of(&self, base: f64, now: Duration) -> Option<Plateau> {
        let taken = 1.0 - self.window.refused_share();
        match self.plateau {
            _ if taken < CUT_RATIO => None,
            Some(before) if self.follows(now) => Some(before),
            _ => Some(Plateau::at(taken * base)),
        }
    }

    fn lower(&mut self, to: f64, reason: CutReason, now: Duration) -> Decision {
        let from = self.rate;
        self.rate = to;
        self.version = self.version.saturating_add(1);
        self.cut_version = self.version;
        self.last_cut = Some(now);
        Decision::Cut {
            reason,
            from,
            to,
            version: self.version,
        }
    }

    fn raise(&mut self, measured: f64, now: Duration) -> Option<Decision> {
        let Window {
            sent,
            throttled,
            throttled_late,
            ..
        } = self.window;
        let throttled = throttled.saturating_add(throttled_late);
        let congested = self.noise.is_exceeded(throttled, count(sent), THROTTLED_SHARE);
        let from = self.rate;
        if congested || measured < UTILISATION_MIN * from {
            return None;
        }
        let careful = self.plateau.as_mut().and_then(|plateau| plateau.ratio(from, now));
        let step = careful.map_or_else(
            || (from * RAISE_RATIO).max(from + RAISE_MIN),
            |ratio| from * ratio,
        );
        let to = step.min(GROWTH_MAX * measured).min(self.top());
        self.rise(to)
    }

    fn rise(&mut self, to: f64) -> Option<Decision> {
        let from = self.rate;
        (to > from).then(|| {
            self.rate = to;
            Decision::Raised { from, to }
        })
    }

    /// Less is in force at once. More is only a higher cap, unless the rate is below the floor that is possible now.
    fn relimit(mut self, allowed: Option<f64>, now: Duration) -> (Self, Option<Decision>) {
        if allowed.is_some_and(|rate| !rate.is_finite() || rate < 0.0) {
            return (self, None);
        }
        self.limits.max_send_rate = allowed;
        let wished = match self.limits.mode {
            Mode::Adaptive => self.rate,
            Mode::Static if self.restarted => self.rate.min(self.limits.start),
            Mode::Static => self.limits.start,
        };
        let to = wished.clamp(self.limits.bottom(), self.limits.top());
        let decision = if to < self.rate {
            self.begin_anew(now);
            Some(self.lower(to, CutReason::MaxSendRate, now))
        } else {
            self.rise(to)
        };
        self.decided |= decision.is_some() && self.limits.mode == Mode::Adaptive;
        (self, decision)
    }

    fn restart(mut self, rate: f64, now: Duration) -> (Self, Option<Decision>) {
        let to = rate.clamp(self.limits.bottom(), self.limits.top());
        if to.is_nan() || to >= self.rate {
            return (self, None);
        }
        self.begin_anew(now);
        self.decided = true;
        self.restarted = self.limits.mode == Mode::Static;
        let decision = self.lower(to, CutReason::Breaker, now);
        (self, Some(decision))
    }

    /// The most that it rises to by itself.
    fn top(&self) -> f64 {
        match self.limits.mode {
            Mode::Adaptive => self.limits.top(),
            Mode::Static => self.limits.start.clamp(self.limits.bottom(), self.limits.top()),
        }
    }

    /// What was seen so far is no news about the rate that is put in force now.
    fn begin_anew(&mut self, now: Duration) {
        self.window = Window::at(now);
        self.plateau = None;
    }
}

/// What at least nine in ten of them say, of how long answers take: one sender with a trouble of its own slows nobody.
#[must_use]
pub fn latency_of_most(said: impl IntoIterator<Item = Duration>) -> Option<Duration> {
    let mut said: Vec<Duration> = said.into_iter().collect();
    said.sort_unstable();
    let most = (9 * said.len()).div_ceil(10).checked_sub(1)?;
    said.get(most).copied()
}

/// A measure, or 0 for what is none.
const fn sound(measure: f64) -> f64 {
    if measure.is_finite() {
        measure.max(0.0)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests;
