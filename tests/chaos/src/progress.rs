//! How far a run is, and about how long it still takes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::world::now;

/// Of steps that take about equally long.
#[derive(Debug)]
pub struct Progress {
    steps: usize,
    done: AtomicUsize,
    began: Duration,
}

impl Progress {
    /// Begins now.
    #[must_use]
    pub fn of(steps: usize) -> Self {
        Self {
            steps,
            done: AtomicUsize::new(0),
            began: now(),
        }
    }

    /// One more is done: what is left, for people.
    pub fn step(&self) -> String {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        left(done, self.steps, now().saturating_sub(self.began))
    }
}

/// A step that is told once more is beyond the count.
fn left(done: usize, steps: usize, took: Duration) -> String {
    let left = steps.saturating_sub(done);
    let each = took.as_secs_f64() / f64::from(u32::try_from(done.max(1)).unwrap_or(u32::MAX));
    let minutes = each * f64::from(u32::try_from(left).unwrap_or(u32::MAX)) / 60.0;
    format!("{} of {steps}, about {minutes:.0} min left", done.min(steps))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::left;

    #[test]
    fn what_is_left_takes_as_long_as_what_was_done() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert_eq!(left(10, 40, minutes(5)), "10 of 40, about 15 min left");
        assert_eq!(left(40, 40, minutes(5)), "40 of 40, about 0 min left");
        assert_eq!(left(41, 40, minutes(5)), "40 of 40, about 0 min left");
    }
}
