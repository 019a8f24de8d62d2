//! The most that was sent per second since the sends began whose outcome may come only now.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::ERRORS_SETTLE;
use crate::exact;

/// The largest measure of the last one to two times that a send may wait for its outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Peak {
    since: Duration,
    #[serde(with = "exact")]
    now: f64,
    #[serde(with = "exact")]
    before: f64,
}

impl Peak {
    pub(super) fn add(&mut self, measured: f64, now: Duration) {
        let age = now.saturating_sub(self.since);
        if age >= ERRORS_SETTLE {
            self.before = if age < 2 * ERRORS_SETTLE { self.now } else { 0.0 };
            (self.since, self.now) = (now, 0.0);
        }
        self.now = self.now.max(measured);
    }

    /// Recipients per second.
    pub(super) const fn most(&self) -> f64 {
        self.now.max(self.before)
    }
}
