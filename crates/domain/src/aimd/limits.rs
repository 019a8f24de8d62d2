//! What bounds a key's rate, before any provider has answered.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::WINDOW;
use crate::exact;

/// Who sets the rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The provider's answers.
    Adaptive,
    /// The configuration alone: the start rate, save after an outage.
    Static,
}

/// What the configuration says of one key. Rates are in recipients per second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    pub mode: Mode,
    /// Where a new key starts.
    #[serde(with = "exact")]
    pub start: f64,
    #[serde(with = "exact")]
    pub floor: f64,
    #[serde(with = "exact")]
    pub ceiling: f64,
    /// What the account allows, if that is known.
    #[serde(with = "exact::option")]
    pub max_send_rate: Option<f64>,
    /// Whether errors (5xx, timeouts) cut as throttles do.
    pub cut_on_errors: bool,
    /// The shortest feedback window, if that is longer than [`WINDOW`].
    #[serde(default)]
    pub feedback: Duration,
}

impl Limits {
    /// The highest rate.
    #[must_use]
    pub fn top(&self) -> f64 {
        self.max_send_rate
            .map_or(self.ceiling, |quota| quota.min(self.ceiling))
    }

    /// How often there is at most one decision where all answers come soon.
    #[must_use]
    pub fn window(&self) -> Duration {
        self.feedback.max(WINDOW)
    }

    /// The lowest: an account that allows less than the floor wins.
    #[must_use]
    pub fn bottom(&self) -> f64 {
        self.floor.min(self.top())
    }
}
