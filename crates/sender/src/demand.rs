//! How much of a key's rate this sender could use now: what it tells the coordinator that it wants.
//!
//! Pure. Three cases: nothing waits (0), something waits and is soon done (somewhat more than what is being sent, at least 1),
//! or more waits than fits into the read-ahead (all that the open requests could carry, by Little's law).

use std::time::Duration;

/// How long a sighting of mail counts: longer than the pause between two looks at the streams.
const FRESH: Duration = Duration::from_secs(1);
/// The call's duration that is assumed before the first answer.
const FIRST_LATENCY: f64 = 0.1;
/// What a sender ever asks for.
const WANTS_MAX: f64 = 5_000.0;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    active_until: Duration,
    backlog_until: Duration,
    /// Of the provider's answers, averaged, in seconds.
    latency: f64,
    sent_before: u64,
    asked_at: Duration,
}

impl Demand {
    pub(crate) const fn new(now: Duration) -> Self {
        Self {
            active_until: now,
            backlog_until: now,
            latency: FIRST_LATENCY,
            sent_before: 0,
            asked_at: now,
        }
    }

    /// Streams of the key hold mail; with `backlog` more than fits. True if that is news, and more is wanted than was asked for.
    pub(crate) fn saw(&mut self, backlog: bool, now: Duration) -> bool {
        let is_news = self.active_until <= now || (backlog && self.backlog_until <= now);
        self.active_until = now + FRESH;
        if backlog {
            self.backlog_until = now + FRESH;
        }
        is_news
    }

    pub(crate) fn answered(&mut self, took: Duration) {
        self.latency += (took.as_secs_f64() - self.latency) * 0.05;
    }

    /// Recipients per second. `sent_total` counts what was sent so far, `in_flight_max` what may be open at once.
    pub(crate) fn wants(&mut self, sent_total: u64, in_flight_max: u32, now: Duration) -> f64 {
        let elapsed = now.saturating_sub(self.asked_at).as_secs_f64().max(0.05);
        let sent = u32::try_from(sent_total.saturating_sub(self.sent_before)).unwrap_or(u32::MAX);
        self.sent_before = sent_total;
        self.asked_at = now;
        if self.active_until <= now {
            0.0
        } else if self.backlog_until <= now {
            (f64::from(sent) / elapsed * 1.5).clamp(1.0, WANTS_MAX)
        } else {
            (f64::from(in_flight_max) / self.latency.max(0.001)).clamp(1.0, WANTS_MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Demand, WANTS_MAX};

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(10_000 + millis)
    }

    fn check(wants: f64, expected: f64) {
        assert!((wants - expected).abs() < 1e-6, "{wants} is not {expected}");
    }

    #[test]
    fn wants_follow_what_waits() {
        let mut demand = Demand::new(ms(0));
        check(demand.wants(0, 100, ms(0)), 0.0);
        assert!(demand.saw(false, ms(500)), "from idle to active");
        assert!(!demand.saw(false, ms(600)));
        check(demand.wants(0, 100, ms(1_000)), 1.0);
        check(demand.wants(100, 100, ms(1_500)), 300.0);
        assert!(demand.saw(true, ms(1_600)), "from some to more than fits");
        assert!(!demand.saw(true, ms(1_700)));
        assert!(!demand.saw(false, ms(1_800)));
        check(demand.wants(100, 100, ms(2_000)), 1_000.0);
        check(demand.wants(100, 100, ms(3_000)), 0.0);
        assert!(
            demand.saw(true, ms(4_000)),
            "idle again, and at once more than fits"
        );
    }

    #[test]
    fn slow_answers_lower_what_could_be_used() {
        let mut demand = Demand::new(ms(0));
        for _ in 0..500 {
            demand.answered(Duration::from_secs(10));
        }
        demand.saw(true, ms(1));
        let wants = demand.wants(0, 100, ms(2));
        assert!((9.9..10.1).contains(&wants), "{wants}");
        for _ in 0..500 {
            demand.answered(Duration::from_micros(10));
        }
        check(demand.wants(0, 100, ms(3)), WANTS_MAX);
    }
}
