//! Fair shares of a rate, and the bursts that go with them.

use crate::gcra::burst_of;

/// The exact max-min fair shares: nobody gets more than it wants, and what one leaves the others share, so that no share can
/// grow without taking from one that is not larger. Their sum is the smaller of `capacity` and all that is wanted.
#[must_use]
pub fn max_min(capacity: f64, wants: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wants.len()).collect();
    order.sort_by(|&a, &b| wants[a].total_cmp(&wants[b]));
    let mut shares = vec![0.0; wants.len()];
    let mut left = capacity.max(0.0);
    let mut claimants = wants.len();
    for index in order {
        #[expect(clippy::cast_precision_loss, reason = "a number of senders")]
        let equal = left / claimants as f64;
        shares[index] = wants[index].max(0.0).min(equal);
        left -= shares[index];
        claimants -= 1;
    }
    shares
}

/// The max-min shares of those who want something, and on top of each an equal part of half of what nobody wants. A sender can only
/// guess what it wants from what it sent: mail that comes unevenly must not wait for a rate that lies idle. The other half stays
/// free, so that who joins finds something.
#[must_use]
pub fn shares(capacity: f64, wants: &[f64]) -> Vec<f64> {
    let mut shares = max_min(capacity, wants);
    #[expect(clippy::cast_precision_loss, reason = "a number of senders")]
    let spare = (capacity - shares.iter().sum::<f64>()).max(0.0) / 2.0 / wants.len().max(1) as f64;
    shares.iter_mut().for_each(|share| *share += spare);
    shares
}

/// How many senders may hold a part of `rate` at a time: as many as can have a burst of one within the burst of the whole.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is far below 2^53, and `as` saturates"
)]
pub fn holders_max(rate: f64) -> usize {
    burst_of(rate).floor() as usize
}

/// The burst of one part of `rate`, held by `holders` senders at a time: one recipient for each of them, and a part of what is
/// then left of the whole's burst. So the bursts of all together stay within it.
#[must_use]
pub fn burst_of_share(share: f64, rate: f64, holders: usize) -> f64 {
    if rate <= 0.0 {
        return 1.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "a number of senders")]
    let spare = (burst_of(rate) - holders as f64).max(0.0);
    1.0 + spare * (share / rate).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{burst_of_share, holders_max, max_min, shares};
    use crate::gcra::burst_of;

    #[track_caller]
    fn check(capacity: f64, wants: &[f64], expect: &[f64]) {
        let shares = max_min(capacity, wants);
        let same = shares.iter().zip(expect).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(
            same && shares.len() == expect.len(),
            "{shares:?} is not {expect:?}"
        );
    }

    #[test]
    fn what_the_modest_leave_the_others_share() {
        check(120.0, &[1_000.0, 50.0, 10.0], &[60.0, 50.0, 10.0]);
        check(120.0, &[10.0, 10.0, 10.0], &[10.0, 10.0, 10.0]);
        check(100.0, &[1_000.0, 0.0, 1_000.0, 30.0], &[35.0, 0.0, 35.0, 30.0]);
        check(0.0, &[5.0], &[0.0]);
        check(10.0, &[], &[]);
    }

    #[test]
    fn small_rates_go_to_few() {
        assert_eq!(holders_max(1.0), 1);
        assert_eq!(holders_max(14.0), 1);
        assert_eq!(holders_max(200.0), 20);
        assert!((burst_of_share(14.0, 14.0, 1) - 1.4).abs() < 1e-9);
        assert!((burst_of_share(250.0, 1_000.0, 4) - 25.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn shares_are_max_min_fair(capacity in 0.0_f64..5_000.0, wants in prop::collection::vec(0.0_f64..2_000.0, 1..40)) {
            let shares = max_min(capacity, &wants);
            let sum: f64 = shares.iter().sum();
            let wanted: f64 = wants.iter().sum();
            prop_assert!((sum - wanted.min(capacity)).abs() < 1e-6, "work-conserving: {sum}");
            let largest = shares.iter().copied().fold(0.0, f64::max);
            for (share, want) in shares.iter().zip(&wants) {
                prop_assert!(share <= want);
                prop_assert!(*share >= want - 1e-9 || *share >= largest - 1e-6, "{share} of {want}: not max-min");
            }
        }

        #[test]
        fn what_nobody_wants_is_shared_equally_by_half(capacity in 0.0_f64..5_000.0, wants in prop::collection::vec(0.1_f64..2_000.0, 1..40)) {
            let fair = max_min(capacity, &wants);
            let rest = capacity - fair.iter().sum::<f64>();
            let more: Vec<f64> = shares(capacity, &wants).iter().zip(&fair).map(|(all, fair)| all - fair).collect();
            prop_assert!((more.iter().sum::<f64>() - rest / 2.0).abs() < 1e-6, "{more:?} of {rest}");
            prop_assert!(more.iter().all(|part| (part - more[0]).abs() < 1e-6), "{more:?}");
        }

        #[test]
        fn bursts_together_stay_within_the_burst_of_the_whole(rate in 1.0_f64..5_000.0, wants in prop::collection::vec(0.1_f64..2_000.0, 1..600)) {
            let holders = wants.len().min(holders_max(rate));
            let shares = max_min(rate, &wants[..holders]);
            let bursts: f64 = shares.iter().map(|share| burst_of_share(*share, rate, holders)).sum();
            prop_assert!(bursts <= burst_of(rate) + 1e-6, "{bursts}");
        }
    }
}
