//! The rate that the provider last took while it complained: near it and past it, the rate rises slowly for a while.
//!
//! Steps of 5 % would run into the same limit every few seconds, and each run costs rejections and a fifth of the rate. Past it they must
//! be smaller still: a provider's bucket hides for some time that its limit is passed, and by then each step counts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::exact;

/// How near below it counts as near it.
const WIDTH: f64 = 0.05;
/// The steps below and above it.
const RATIO_BELOW: f64 = 1.01;
const RATIO_ABOVE: f64 = 1.0025;
/// How long the rate is careful there. Then the limit has moved: in that time these steps empty a bucket of ten seconds.
const TIME_MAX: Duration = Duration::from_secs(120);

/// What is known of the last rate before a cut.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Plateau {
    /// What the provider took per second when the rate was cut.
    #[serde(with = "exact")]
    w_max: f64,
    /// When the rate came near it.
    reached: Option<Duration>,
}

impl Plateau {
    pub(super) const fn at(w_max: f64) -> Self {
        Self { w_max, reached: None }
    }

    /// By how much `rate` rises if it is near the plateau or past it, and not for longer than that lasts.
    pub(super) fn ratio(&mut self, rate: f64, now: Duration) -> Option<f64> {
        if rate < (1.0 - WIDTH) * self.w_max {
            return None;
        }
        let lasts = now.saturating_sub(*self.reached.get_or_insert(now)) < TIME_MAX;
        let ratio = if rate < self.w_max {
            RATIO_BELOW
        } else {
            RATIO_ABOVE
        };
        lasts.then_some(ratio)
    }
}
