//! A clock that only the test moves.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use paceline_domain::time::Millis;
use paceline_kit::clock::Clock;

/// Stands still until it is moved. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<Now>>);

#[derive(Clone, Copy, Debug)]
struct Now {
    wall: Millis,
    boot: Duration,
}

impl ManualClock {
    /// Shows `wall`; the machine has just started.
    #[must_use]
    pub fn at(wall: Millis) -> Self {
        let boot = Duration::ZERO;
        Self(Arc::new(Mutex::new(Now { wall, boot })))
    }

    /// Time passes, on both clocks.
    pub fn advance(&self, by: Duration) {
        self.change(|now| {
            now.wall = now.wall + by;
            now.boot += by;
        });
    }

    /// Somebody sets the wall clock, to the past or the future. No time passes.
    pub fn set_wall(&self, wall: Millis) {
        self.change(|now| now.wall = wall);
    }

    fn change(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn now(&self) -> Now {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn wall(&self) -> Millis {
        self.now().wall
    }

    fn boot(&self) -> Duration {
        self.now().boot
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use paceline_domain::time::Millis;
    use paceline_kit::clock::Clock;

    use super::ManualClock;

    #[test]
    fn only_the_wall_clock_jumps() {
        let clock = ManualClock::at(Millis(1_000));
        let same = clock.clone();
        clock.advance(Duration::from_secs(2));
        assert_eq!(
            (same.wall(), same.boot()),
            (Millis(3_000), Duration::from_secs(2))
        );
        same.set_wall(Millis(500));
        assert_eq!(
            (clock.wall(), clock.boot()),
            (Millis(500), Duration::from_secs(2))
        );
    }
}
