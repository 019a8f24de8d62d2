//! The last minutes of a key, for people: what was in force, what was used, what was throttled.

use std::collections::VecDeque;
use std::time::Duration;

/// Ten minutes at one sample a second.
const SAMPLES_MAX: usize = 600;
const EVERY: Duration = Duration::from_secs(1);
/// What is throttled is told per second over so many seconds.
const THROTTLED_SECS: u64 = 5;

/// Recipients per second at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) rate: f32,
    pub(crate) used: f32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    samples: VecDeque<Sample>,
    next_at: Duration,
    /// Throttled answers by the second, of the last few.
    throttled: VecDeque<(u64, u64)>,
}

impl Recent {
    /// Time passes.
    #[expect(clippy::cast_possible_truncation, reason = "a picture needs no more digits")]
    pub(super) fn tick(&mut self, rate: f64, used: f64, now: Duration) {
        if now < self.next_at {
            return;
        }
        self.next_at = now + EVERY;
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            rate: rate as f32,
            used: used as f32,
        });
    }

    /// So many recipients were answered with "too fast".
    pub(super) fn throttled(&mut self, n: u64, now: Duration) {
        let second = now.as_secs();
        self.throttled.retain(|(at, _)| at + THROTTLED_SECS > second);
        match self.throttled.back_mut() {
            _ if n == 0 => {}
            Some((at, count)) if *at == second => *count = count.saturating_add(n),
            _ => self.throttled.push_back((second, n)),
        }
    }

    /// Recipients per second over the last seconds.
    pub(super) fn throttled_per_second(&self, now: Duration) -> f64 {
        let second = now.as_secs();
        let alive = self
            .throttled
            .iter()
            .filter(|(at, _)| at + THROTTLED_SECS > second);
        let sum = alive.fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
        sum as f64 / THROTTLED_SECS as f64
    }

    /// One each second, oldest first.
    pub(super) fn samples(&self) -> impl Iterator<Item = Sample> + '_ {
        self.samples.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Recent, SAMPLES_MAX};

    #[test]
    fn ten_minutes_are_kept_at_one_a_second() {
        let mut recent = Recent::default();
        for tick in 0..10_000 {
            recent.tick(f64::from(tick), 0.0, Duration::from_millis(100 * tick as u64));
        }
        let rates: Vec<f32> = recent.samples().map(|sample| sample.rate).collect();
        assert_eq!(rates.len(), SAMPLES_MAX);
        assert!((rates[599] - 9_990.0).abs() < 0.1 && (rates[598] - 9_980.0).abs() < 0.1);
    }

    #[test]
    fn throttles_count_for_five_seconds() {
        let mut recent = Recent::default();
        let at = Duration::from_secs;
        recent.throttled(10, at(100));
        recent.throttled(5, at(101));
        assert!((recent.throttled_per_second(at(101)) - 3.0).abs() < 1e-9);
        assert!((recent.throttled_per_second(at(105)) - 1.0).abs() < 1e-9);
        assert!(recent.throttled_per_second(at(106)) < 1e-9);
    }
}
