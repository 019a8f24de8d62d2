//! What was counted since the last decision. What it means is the controller's to say.

use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Window {
    pub(super) start: Duration,
    pub(super) sent: u64,
    pub(super) errors: u64,
    /// Throttles of sends under the newest version.
    pub(super) throttled: u64,
    /// Throttles of sends that were under way at the last cut.
    pub(super) throttled_late: u64,
}

impl Window {
    pub(super) const fn at(start: Duration) -> Self {
        Self {
            start,
            sent: 0,
            errors: 0,
            throttled: 0,
            throttled_late: 0,
        }
    }

    /// Which part of the window's sends was throttled.
    #[expect(clippy::cast_precision_loss, reason = "counts of one second")]
    pub(super) fn refused_share(&self) -> f64 {
        let Self { sent, throttled, .. } = *self;
        (throttled as f64 / sent.max(1) as f64).min(1.0)
    }
}

/// A count of one window, to reckon with.
#[expect(clippy::cast_precision_loss, reason = "counts of one second")]
pub(super) const fn count(n: u64) -> f64 {
    n as f64
}

/// True if `count` is at least one and at least `share` of `sent`.
#[expect(clippy::cast_precision_loss, reason = "counts of one second")]
pub(super) fn is_share(count: u64, sent: u64, share: f64) -> bool {
    count as f64 >= (sent as f64 * share).max(1.0)
}
