//! Throttles that do not say that the limit is near: what a provider refuses whatever is sent.
//!
//! Congestion lessens with the rate; what a provider refuses by chance does not. So the share that is still refused while the rate is a
//! tenth below what was sent at the last cut is taken for noise, and only what exceeds it cuts. It is never more than what is refused
//! lately at whatever rate, so that it is forgotten with its cause; and never more than [`SHARE_MAX`]: where more is refused below a cut, the
//! limit has fallen, and what was seen there is nothing. Chance alone must not exceed it: a window may have four deviations more.

use serde::{Deserialize, Serialize};

use super::THROTTLED_SHARE;
use super::window::{Window, count};
use crate::exact;

/// What is less cuts no large flow.
const SHARE_MIN: f64 = THROTTLED_SHARE / 2.0;
/// The most that is noise, of all sends.
pub(super) const SHARE_MAX: f64 = 0.02;
/// How far below what was sent at the last cut congestion would be over.
const BELOW: f64 = 0.9;
/// As many sends are remembered, the newest counting the most.
const SENT_MAX: f64 = 10_000.0;
/// Fewer throttles than these are a straggler or two.
const EVIDENCE_MIN: f64 = 5.0;
/// What chance may add, in deviations of a number of independent throttles.
const DEVIATIONS: f64 = 4.0;

/// What is known of a provider's noise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Noise {
    /// What was sent per second at the last cut by throttles.
    #[serde(with = "exact::option")]
    cut_at: Option<f64>,
    below: Seen,
    lately: Seen,
}

/// Sends and throttles of the last windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Seen {
    #[serde(with = "exact")]
    sent: f64,
    #[serde(with = "exact")]
    throttled: f64,
}

impl Noise {
    /// Throttles cut the rate while this much was sent, per second.
    pub(super) const fn cut_at(&mut self, sent: f64) {
        self.cut_at = Some(sent);
    }

    /// A window has ended in which at most `rate` was sent, per second. True if there is noise now that was not known before.
    pub(super) fn hear(&mut self, window: &Window, rate: f64) -> bool {
        let was_known = self.share() > 0.0;
        self.lately.add(window);
        if self.cut_at.is_some_and(|sent| rate <= BELOW * sent) {
            self.below.add(window);
            if is_above(window.throttled, SHARE_MAX * count(window.sent), 1.0) {
                self.below = Seen::default();
            }
        }
        !was_known && self.share() > 0.0
    }

    /// The share of the sends that is refused by chance; 0 while none is known.
    pub(super) fn share(&self) -> f64 {
        let seen = self.below.share(0.0).min(self.lately.share(0.0));
        let is_known = self.below.throttled >= EVIDENCE_MIN;
        if is_known && (SHARE_MIN..=SHARE_MAX).contains(&seen) {
            // As far as chance may have hidden some of it.
            let most = self.below.share(1.0).min(self.lately.share(1.0));
            most.min(SHARE_MAX)
        } else {
            0.0
        }
    }

    /// True if of `sent` so many are throttled that `share` of them, and at least one, is not noise.
    pub(super) fn is_exceeded(&self, throttled: u64, sent: f64, share: f64) -> bool {
        is_above(throttled, self.share() * sent, (share * sent).max(1.0))
    }
}

/// True if a number of throttles is `more` above what chance makes of `expected` ones.
fn is_above(throttled: u64, expected: f64, more: f64) -> bool {
    count(throttled) >= expected + DEVIATIONS * expected.sqrt() + more
}

impl Seen {
    fn add(&mut self, window: &Window) {
        let (sent, throttled) = (
            self.sent + count(window.sent),
            self.throttled + count(window.throttled),
        );
        let kept = (SENT_MAX / sent).min(1.0);
        (self.sent, self.throttled) = (kept * sent, kept * throttled);
    }

    /// The share of throttles, as if chance had made so many deviations more of them.
    fn share(&self, deviations: f64) -> f64 {
        (self.throttled + deviations * self.throttled.sqrt()) / self.sent.max(1.0)
    }
}
