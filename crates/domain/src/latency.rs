//! How long a provider's answers take: what nearly all of them take, over the last half to whole minute. Pure.
//!
//! Counts by length, each bound a quarter above the one before, so that the figure is never below what was seen and at most a quarter
//! above it.

use std::time::Duration;

/// The least bound: whatever is shorter counts as this long.
const SHORTEST: Duration = Duration::from_millis(10);
/// What one bound is of the next.
const STEP: f64 = 1.25;
/// The last bound is some 12 s. Whatever is longer counts as that.
const BOUNDS: usize = 33;
/// How long what was seen counts, and once more as long.
const SPAN: Duration = Duration::from_secs(30);
/// Fewer answers say nothing of one in a hundred.
const ANSWERS_MIN: u64 = 20;

/// The answers of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latency {
    since: Duration,
    now: [u64; BOUNDS],
    before: [u64; BOUNDS],
}

impl Latency {
    /// Nothing was seen yet.
    #[must_use]
    pub const fn new(now: Duration) -> Self {
        Self {
            since: now,
            now: [0; BOUNDS],
            before: [0; BOUNDS],
        }
    }

    /// So many answers came that `took` so long.
    pub fn answered(&mut self, count: u64, took: Duration, now: Duration) {
        self.turn(now);
        let place = bounds().position(|bound| took <= bound).unwrap_or(BOUNDS - 1);
        self.now[place] = self.now[place].saturating_add(count);
    }

    /// What 99 of 100 answers take; `None` while too few are known.
    pub fn p99(&mut self, now: Duration) -> Option<Duration> {
        self.turn(now);
        let all = |place: usize| self.now[place].saturating_add(self.before[place]);
        let answers = (0..BOUNDS).fold(0, |sum: u64, place| sum.saturating_add(all(place)));
        let mut left = answers / 100;
        let slowest = (0..BOUNDS).rev().find(|place| {
            let here = all(*place);
            let is_it = here > left;
            left = left.saturating_sub(here);
            is_it
        })?;
        bounds().nth(slowest).filter(|_| answers >= ANSWERS_MIN)
    }

    fn turn(&mut self, now: Duration) {
        let age = now.saturating_sub(self.since);
        if age >= SPAN {
            let before = std::mem::replace(&mut self.now, [0; BOUNDS]);
            self.before = if age < 2 * SPAN { before } else { [0; BOUNDS] };
            self.since = now;
        }
    }
}

fn bounds() -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(SHORTEST), |bound| Some(bound.mul_f64(STEP))).take(BOUNDS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Latency;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn what_nearly_all_answers_take_is_said_at_most_a_quarter_too_long() {
        let mut latency = Latency::new(ms(0));
        for n in 0..1_000 {
            let took = if n % 200 == 0 { 9_000 } else { 100 + n % 300 };
            latency.answered(1, ms(took), ms(n));
        }
        let p99 = latency.p99(ms(1_000)).expect("enough");
        assert!((ms(395)..=ms(500)).contains(&p99), "{p99:?}");
        latency.answered(20, ms(60_000), ms(1_100));
        let p99 = latency.p99(ms(1_200)).expect("enough");
        assert!((ms(9_000)..=ms(13_000)).contains(&p99), "{p99:?}");
    }

    #[test]
    fn few_answers_and_old_ones_say_nothing() {
        let mut latency = Latency::new(ms(0));
        latency.answered(19, ms(50), ms(10));
        assert_eq!(latency.p99(ms(20)), None);
        latency.answered(1, ms(50), ms(20));
        assert!(latency.p99(ms(30)).is_some());
        assert!(latency.p99(ms(59_000)).is_some(), "a whole span later");
        assert_eq!(latency.p99(ms(95_000)), None);
    }
}
