//! The alert on Redis's clock: scheduled mail is late, and leases last longer than they should, where it is not the workers'.
//!
//! Nothing relies on the alert: what is over or due is so by both clocks. It tells a person that one of them is wrong.

use std::time::Duration;

use opentelemetry::metrics::Meter;
use paceline_store::Store;

use crate::Shutdown;
use crate::clock::Clock;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// A difference over this is an alert, in ms.
const DIFFERENCE_MAX: u64 = 2_000;

/// Compares Redis's clock with this process's wall clock once a second until `stop`: the gauge
/// `paceline.redis.clock_difference` has the difference in seconds, positive where Redis is ahead, and one over 2 s is logged as
/// an error when it begins.
pub async fn watch(meter: Meter, store: Store, clock: impl Clock, stop: Shutdown) {
    let gauge = meter
        .f64_gauge("paceline.redis.clock_difference")
        .with_unit("s")
        .with_description("Redis's clock less this process's wall clock, of the node that differs most")
        .build();
    let mut differs = false;
    loop {
        // Without an answer there is nothing to compare; health tells of that.
        if let Ok(difference) = store.clock_difference(|| clock.wall()).await {
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53 ms")]
            let seconds = difference as f64 / 1_000.0;
            gauge.record(seconds, &[]);
            let over = is_over(difference);
            if over && !differs {
                tracing::error!(
                    difference_s = seconds,
                    "redis's clock and this machine's differ, one is wrong"
                );
            } else if differs && !over {
                tracing::info!(
                    difference_s = seconds,
                    "redis's clock and this machine's agree again"
                );
            }
            differs = over;
        }
        if tokio::time::timeout(EVERY, stop.requested()).await.is_ok() {
            return;
        }
    }
}

fn is_over(difference: i64) -> bool {
    difference.unsigned_abs() > DIFFERENCE_MAX
}

#[cfg(test)]
mod tests {
    use super::is_over;

    #[test]
    fn more_than_two_seconds_either_way_is_an_alert() {
        for (difference, expected) in [
            (0, false),
            (2_000, false),
            (-2_000, false),
            (2_001, true),
            (-2_001, true),
            (3_600_000, true),
            (i64::MIN, true),
        ] {
            assert_eq!(is_over(difference), expected, "{difference}");
        }
    }
}
