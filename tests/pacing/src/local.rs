//! Two designs to compare with, both without a coordinator: each sender has a controller of its own.

use std::time::Duration;

use paceline_domain::gcra::{Gcra, burst_of};

use crate::provider::Outcome;

const FLOOR: f64 = 10.0;
const CEILING: f64 = 5_000.0;

/// A sender's own controller.
#[derive(Clone, Debug)]
pub enum Local {
    /// The published algorithm: 20 % less at every error, 5 % more at every success.
    EachAnswer(Gcra),
    /// The adaptive retry mode of AWS's SDKs (botocore's constants): CUBIC, no more than twice what is measured.
    Cubic(Cubic),
}

impl Local {
    pub fn each_answer(start: f64) -> Self {
        Self::EachAnswer(Gcra::new(start, burst_of(start), Duration::ZERO))
    }

    pub fn cubic(start: f64) -> Self {
        Self::Cubic(Cubic {
            bucket: Gcra::new(start, burst_of(start), Duration::ZERO),
            // Unbounded until the first throttle, as in botocore.
            enabled: false,
            measured: 0.0,
            bucket_at: 0,
            taken: 0,
            w_max: 0.0,
            throttled_at: 0,
        })
    }

    pub fn rate(&self) -> f64 {
        match self {
            Self::EachAnswer(bucket) => bucket.rate(),
            Self::Cubic(cubic) => cubic.bucket.rate(),
        }
    }

    pub fn take_up_to(&mut self, n: u32, now: u64) -> u32 {
        match self {
            Self::EachAnswer(bucket) => bucket.take_up_to(n, Duration::from_millis(now)),
            Self::Cubic(cubic) if cubic.enabled => cubic.bucket.take_up_to(n, Duration::from_millis(now)),
            Self::Cubic(_) => n,
        }
    }

    pub fn answered(&mut self, outcome: Outcome, now: u64) {
        match self {
            Self::EachAnswer(bucket) => {
                let errors = outcome.throttled + outcome.failed;
                let rate = bucket.rate()
                    * 1.05_f64.powi(outcome.accepted.cast_signed())
                    * 0.8_f64.powi(errors.cast_signed());
                let rate = if rate.is_finite() {
                    rate.clamp(FLOOR, CEILING)
                } else {
                    CEILING
                };
                bucket.set_rate(rate, burst_of(rate), Duration::from_millis(now));
            }
            Self::Cubic(cubic) => cubic.answered(outcome, now),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Cubic {
    bucket: Gcra,
    enabled: bool,
    measured: f64,
    bucket_at: u64,
    taken: u64,
    w_max: f64,
    throttled_at: u64,
}

impl Cubic {
    fn answered(&mut self, outcome: Outcome, now: u64) {
        let Outcome {
            accepted,
            throttled,
            failed,
        } = outcome;
        self.taken += u64::from(accepted + throttled + failed);
        let half_second = now / 500;
        if half_second > self.bucket_at {
            let rate = self.taken as f64 / ((half_second - self.bucket_at) as f64 / 2.0);
            self.measured = 0.8 * rate + 0.2 * self.measured;
            (self.taken, self.bucket_at) = (0, half_second);
        }
        for _ in 0..throttled {
            let base = if self.enabled {
                self.measured.min(self.bucket.rate())
            } else {
                self.measured
            };
            (self.w_max, self.throttled_at, self.enabled) = (base, now, true);
            self.put(0.7 * base, now);
        }
        if accepted > 0 && self.enabled {
            let passed = (now - self.throttled_at) as f64 / 1_000.0;
            let k = (self.w_max * 0.3 / 0.4).cbrt();
            self.put(0.4 * (passed - k).powi(3) + self.w_max, now);
        }
    }

    /// At least 0.5/s, and no burst beyond one second, as botocore's bucket.
    fn put(&mut self, rate: f64, now: u64) {
        let rate = rate.min(2.0 * self.measured).max(0.5);
        self.bucket
            .set_rate(rate, rate.max(1.0), Duration::from_millis(now));
    }
}
