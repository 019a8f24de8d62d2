//! How long to wait before the next try.
//!
//! Exponential backoff with full jitter: the bound doubles with each failed try, the wait is drawn evenly from all of it.
//! Messages that failed together thus come back apart, which a fixed or a slightly shaken wait does not achieve
//! (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>). Randomness is an argument.

use std::time::Duration;

/// The bound of the wait after the first failure.
pub const BACKOFF_BASE: Duration = Duration::from_secs(2);
/// The bound never grows past this.
pub const BACKOFF_MAX: Duration = Duration::from_secs(600);
/// No wait is shorter: a draw near zero must not make a loop without pause.
pub const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// The wait before a message is tried again that had failed `tries` times before its newest failure, which is the number
/// in its record while that failure is reported: 0 for the first. `random` is drawn evenly from `[0, 1)`; whatever lies
/// outside counts as the nearer end, and NaN as 0.
#[must_use]
pub fn backoff(tries: u32, random: f64) -> Duration {
    // 2 s * 2^9 is past the bound already; the minimum only keeps the shift in range.
    let bound = (BACKOFF_BASE * (1 << tries.min(16))).min(BACKOFF_MAX);
    let share = if random.is_nan() {
        0.0
    } else {
        random.clamp(0.0, 1.0)
    };
    bound.mul_f64(share).max(BACKOFF_MIN)
}

#[cfg(test)]
mod tests {
    use super::{BACKOFF_BASE, BACKOFF_MAX, BACKOFF_MIN, backoff};
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn the_bound_doubles_up_to_ten_minutes() {
        let bounds: Vec<u64> = (0..11).map(|tries| backoff(tries, 1.0).as_secs()).collect();
        assert_eq!(bounds, [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
        assert_eq!(backoff(u32::MAX, 1.0), BACKOFF_MAX);
    }

    #[test]
    fn the_wait_is_an_even_share_of_the_bound() {
        assert_eq!(backoff(3, 0.5), Duration::from_secs(8));
        assert_eq!(backoff(3, 0.25), Duration::from_secs(4));
    }

    #[test]
    fn a_draw_out_of_range_counts_as_the_nearer_end() {
        for random in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(backoff(5, random), BACKOFF_MIN);
        }
        assert_eq!(backoff(0, f64::INFINITY), BACKOFF_BASE);
    }

    proptest! {
        #[test]
        fn every_wait_lies_between_the_minimum_and_its_bound(tries: u32, random in 0.0..1.0_f64) {
            let wait = backoff(tries, random);
            prop_assert!(wait >= BACKOFF_MIN);
            prop_assert!(wait <= BACKOFF_MAX);
            prop_assert!(tries > 8 || wait <= BACKOFF_BASE * (1 << tries));
        }

        #[test]
        fn more_tries_never_wait_less_for_the_same_draw(tries in 0_u32..40, random in 0.0..1.0_f64) {
            prop_assert!(backoff(tries, random) <= backoff(tries + 1, random));
        }
    }
}
