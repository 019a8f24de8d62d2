//! The sender's local pacing: the generic cell rate algorithm.
//!
//! A bucket is one number, the theoretical arrival time: when the bucket would be full again. In every window of length `t`
//! it lets at most `rate * t + burst` recipients pass. It starts empty and a change of its rate never fills it, so that a
//! sender that joins, restarts or is given more gains no burst by that. Time is passed in, from any clock that never goes
//! back; all senders' bursts together are bounded by the coordinator, which hands them out (`lease::books`).

use std::time::Duration;

/// A rate below this many per second stands still.
const RATE_MIN: f64 = 1e-6;

/// So that the times stay within their type, whatever is passed in.
const BURST_MAX: f64 = 1e9;

/// How much of its rate a bucket may save up.
const BURST_TIME_SECS: f64 = 0.1;

/// The largest burst of a bucket with this rate: what 100 ms bring, but at least one recipient.
#[must_use]
pub fn burst_of(rate: f64) -> f64 {
    (rate * BURST_TIME_SECS).max(1.0)
}

/// A bucket of permissions to send, in recipients.
#[derive(Clone, Debug)]
pub struct Gcra {
    rate: f64,
    burst: f64,
    /// The time that one recipient costs.
    emission_interval: Duration,
    /// The time that a full bucket is worth.
    burst_offset: Duration,
    theoretical_arrival_time: Duration,
}

impl Gcra {
    /// An empty bucket. A rate that is no positive number stands still; a burst is at least 1.
    #[must_use]
    pub fn new(rate: f64, burst: f64, now: Duration) -> Self {
        let mut bucket = Self {
            rate: 0.0,
            burst: 1.0,
            emission_interval: Duration::MAX,
            burst_offset: Duration::ZERO,
            theoretical_arrival_time: now,
        };
        bucket.set_rate(rate, burst, now);
        bucket
    }

    /// Recipients per second, 0 while it stands still.
    #[must_use]
    pub const fn rate(&self) -> f64 {
        self.rate
    }

    #[must_use]
    pub const fn burst(&self) -> f64 {
        self.burst
    }

    /// How many recipients could be sent to now. Negative after a message that cost more than the burst.
    #[must_use]
    pub fn level(&self, now: Duration) -> f64 {
        if self.rate <= 0.0 {
            return 0.0;
        }
        let missing = self.theoretical_arrival_time.saturating_sub(now);
        self.burst - missing.as_secs_f64() / self.emission_interval.as_secs_f64()
    }

    /// Takes `n`, or says how long to wait until that is worth another try ([`Duration::MAX`] while it stands still).
    ///
    /// What costs more than the burst passes once the bucket is full, and is paid for afterwards.
    ///
    /// # Errors
    /// The wait. Nothing was taken.
    pub fn try_take(&mut self, n: u32, now: Duration) -> Result<(), Duration> {
        if n == 0 {
            return Ok(());
        }
        if self.rate <= 0.0 {
            return Err(Duration::MAX);
        }
        let cost = self.emission_interval.saturating_mul(n);
        let arrival = self.theoretical_arrival_time.max(now).saturating_add(cost);
        let allowed = now.saturating_add(self.burst_offset.max(cost));
        if arrival > allowed {
            return Err(arrival - allowed);
        }
        self.theoretical_arrival_time = arrival;
        Ok(())
    }

    /// Takes as many whole recipients as there are, at most `n`, and says how many.
    pub fn take_up_to(&mut self, n: u32, now: Duration) -> u32 {
        let mut taken = n.min(whole(self.level(now)));
        // The level is rounded, the times are not: one too many is the most that it can be off by.
        while taken > 0 && self.try_take(taken, now).is_err() {
            taken -= 1;
        }
        taken
    }

    /// Puts back what was taken and provably not sent. Never more than a full bucket.
    pub fn put_back(&mut self, n: u32) {
        if self.rate > 0.0 {
            let cost = self.emission_interval.saturating_mul(n);
            self.theoretical_arrival_time = self.theoretical_arrival_time.saturating_sub(cost);
        }
    }

    /// Goes on at another rate and burst: what the bucket holds stays, cut to the new burst; it is never filled. A bucket
    /// that stood still goes on empty.
    pub fn set_rate(&mut self, rate: f64, burst: f64, now: Duration) {
        let level = self.level(now);
        let rate = if rate.is_finite() && rate >= RATE_MIN {
            rate
        } else {
            0.0
        };
        let burst = if burst.is_finite() {
            burst.clamp(1.0, BURST_MAX)
        } else {
            1.0
        };
        self.rate = rate;
        self.burst = burst;
        if rate > 0.0 {
            self.emission_interval = seconds_up(1.0 / rate);
            // By the interval, not by the rate: the interval is rounded, and a full bucket is worth whole intervals.
            self.burst_offset = self.emission_interval.mul_f64(burst);
            let missing = burst - level.min(burst);
            self.theoretical_arrival_time = now.saturating_add(self.emission_interval.mul_f64(missing));
        }
    }
}

/// Rounded up to the next nanosecond, so that no bucket is ever a bit faster than its rate.
fn seconds_up(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds).saturating_add(Duration::from_nanos(1))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and what is negative is no recipient"
)]
fn whole(level: f64) -> u32 {
    (level + 1e-6).floor() as u32
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{Gcra, burst_of};

    const START: Duration = Duration::from_secs(1_000);

    fn ms(millis: u64) -> Duration {
        START + Duration::from_millis(millis)
    }

    #[test]
    fn a_new_bucket_is_empty() {
        let mut bucket = Gcra::new(100.0, 10.0, START);
        assert!(bucket.try_take(1, START).is_err());
        assert_eq!(bucket.take_up_to(100, START), 0);
        assert_eq!(bucket.take_up_to(100, ms(51)), 5);
    }

    #[test]
    fn the_wait_is_enough_and_not_longer() {
        let mut bucket = Gcra::new(7.0, 1.0, START);
        let wait = bucket.try_take(1, START).expect_err("empty");
        assert!(
            bucket
                .try_take(1, START + wait - Duration::from_nanos(1))
                .is_err()
        );
        assert_eq!(bucket.try_take(1, START + wait), Ok(()));
    }

    #[test]
    fn what_is_saved_up_is_bounded_by_the_burst() {
        let mut bucket = Gcra::new(1_000.0, burst_of(1_000.0), START);
        assert_eq!(bucket.take_up_to(10_000, ms(60_000)), 100);
        assert_eq!(bucket.take_up_to(10_000, ms(60_000)), 0);
    }

    #[test]
    fn a_message_larger_than_the_burst_is_paid_for_afterwards() {
        let mut bucket = Gcra::new(10.0, 1.0, START);
        assert!(bucket.try_take(5, ms(90)).is_err());
        assert_eq!(bucket.try_take(5, ms(101)), Ok(()));
        let wait = bucket.try_take(1, ms(101)).expect_err("in debt");
        assert!(
            wait > Duration::from_millis(490) && wait <= Duration::from_millis(510),
            "{wait:?}"
        );
    }

    #[test]
    fn a_raise_does_not_fill_and_a_cut_keeps_no_more_than_its_burst() {
        let mut bucket = Gcra::new(100.0, 10.0, START);
        bucket.set_rate(1_000.0, 100.0, ms(60));
        let level = bucket.level(ms(60));
        assert!((5.9..=6.1).contains(&level), "{level}");
        bucket.set_rate(10.0, 1.0, ms(200));
        let level = bucket.level(ms(200));
        assert!(level <= 1.0, "{level}");
    }

    #[test]
    fn a_bucket_that_stood_still_goes_on_empty() {
        let mut bucket = Gcra::new(100.0, 10.0, START);
        bucket.set_rate(0.0, 1.0, ms(1_000));
        assert_eq!(bucket.try_take(1, ms(5_000)), Err(Duration::MAX));
        bucket.set_rate(100.0, 10.0, ms(6_000));
        assert_eq!(bucket.take_up_to(10, ms(6_000)), 0);
    }

    #[test]
    fn what_is_put_back_can_be_taken_again_once() {
        let mut bucket = Gcra::new(100.0, 10.0, START);
        assert_eq!(bucket.take_up_to(10, ms(1_000)), 10);
        bucket.put_back(3);
        assert_eq!(bucket.take_up_to(10, ms(1_000)), 3);
    }

    #[test]
    fn rates_that_are_none_stand_still() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(
                Gcra::new(rate, f64::NAN, START).try_take(1, ms(9_000)),
                Err(Duration::MAX)
            );
        }
    }

    proptest! {
        /// Over any run of takes, waits and changes of rate: sends <= the integral of the rate + the largest burst.
        #[test]
        fn no_window_passes_more_than_rate_and_burst(
            steps in prop::collection::vec((0_u64..400, 1_u32..20, prop::option::of(1.0_f64..2_000.0)), 1..60),
        ) {
            let mut now = START;
            let mut bucket = Gcra::new(50.0, burst_of(50.0), now);
            let (mut sends, mut earned, mut burst_max) = (Vec::new(), 0.0, 0.0_f64);
            for (wait, n, change) in steps {
                let wait = Duration::from_millis(wait);
                earned += bucket.rate() * wait.as_secs_f64();
                now += wait;
                sends.push((earned, f64::from(bucket.take_up_to(n, now))));
                burst_max = burst_max.max(bucket.burst());
                if let Some(rate) = change {
                    bucket.set_rate(rate, burst_of(rate), now);
                }
            }
            for from in 0..sends.len() {
                let mut sent = 0.0;
                for to in from..sends.len() {
                    sent += sends[to].1;
                    let bound = sends[to].0 - sends[from].0 + burst_max;
                    prop_assert!(sent <= bound + 1e-3, "{sent} > {bound}");
                }
            }
        }
    }
}
