//! Each promise: kept by what keeps it, and found broken by what breaks it.

use std::time::Duration;

use super::*;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn noise_is_a_fiftieth_at_most() {
    assert_eq!(noise_is_small(0.02), Ok(()));
    assert!(noise_is_small(0.021).is_err());
}

#[test]
fn what_is_held_is_within_the_books_and_they_within_the_rate() {
    assert_eq!(leases_within_rate(80.0, 90.0, [100.0, 50.0]), Ok(()));
    assert!(leases_within_rate(91.0, 90.0, [100.0]).is_err());
    assert!(leases_within_rate(80.0, 101.0, [100.0, 50.0]).is_err());
}

/// A burst, and then one recipient every `every` ms until `to`.
fn train(burst: u64, from: u64, to: u64, every: u64) -> Vec<(Duration, u64)> {
    let steady = (1..).map(|n| from + n * every).take_while(|at| *at <= to);
    [(ms(from), burst)]
        .into_iter()
        .chain(steady.map(|at| (ms(at), 1)))
        .collect()
}

#[test]
fn a_window_has_its_rate_its_bursts_and_what_a_cut_leaves() {
    let rates = [(secs(0), 100.0), (secs(10), 50.0)];
    assert_eq!(
        sends_within_rate(&train(10, 1_000, 3_000, 10), &rates, 10.0),
        Ok(())
    );
    assert!(sends_within_rate(&train(11, 1_000, 3_000, 10), &rates, 10.0).is_err());
    // Leases of the rate before the cut live for 2.22 s: 111 more at 50/s, and the burst of 10.
    assert_eq!(
        sends_within_rate(&train(0, 10_000, 12_300, 10), &rates, 10.0),
        Ok(())
    );
    assert!(sends_within_rate(&train(0, 10_000, 12_500, 10), &rates, 10.0).is_err());
    // Long after it the cut leaves nothing.
    assert_eq!(
        sends_within_rate(&train(10, 20_000, 22_000, 20), &rates, 10.0),
        Ok(())
    );
    assert!(sends_within_rate(&train(10, 20_000, 22_000, 19), &rates, 10.0).is_err());
}

#[test]
fn what_passes_is_looked_at_as_it_goes() {
    let mut passed = Passed::default();
    let mut step = |sent| passed.step(sent, 100.0, 10.0, ms(10));
    assert_eq!(step(10), Ok(()));
    for _ in 0..50 {
        assert_eq!(step(1), Ok(()));
    }
    assert!(step(2).is_err());
    // What was not sent is not saved up beyond the bursts.
    let mut passed = Passed::default();
    assert_eq!(passed.step(0, 100.0, 10.0, secs(60)), Ok(()));
    assert!(passed.step(11, 100.0, 10.0, Duration::ZERO).is_err());
}

#[test]
fn identities_hold_no_more_than_the_account() {
    assert_eq!(identities_within_account([60.0, 40.0], [100.0]), Ok(()));
    assert!(identities_within_account([60.0, 41.0], [100.0, 20.0]).is_err());
}

#[test]
fn epochs_and_versions_never_go_back() {
    assert_eq!(never_older([(1, 9), (1, 9), (2, 1), (2, 3)]), Ok(()));
    assert!(never_older([(2, 1), (1, 9)]).is_err());
    assert!(never_older([(2, 3), (2, 1)]).is_err());
}

#[test]
fn a_window_has_one_cut_and_a_rate_its_bounds() {
    assert_eq!(one_cut_per_window(&[secs(1), secs(2), secs(9)], secs(1)), Ok(()));
    assert_eq!(
        one_cut_per_window(&[secs(1), ms(1_999)], secs(1)),
        Err(Broken::Cuts(ms(999)))
    );
    assert_eq!(rate_within_bounds(0.0, 10.0, 100.0), Ok(()));
    assert_eq!(rate_within_bounds(10.0, 10.0, 100.0), Ok(()));
    assert!(rate_within_bounds(9.0, 10.0, 100.0).is_err());
    assert!(rate_within_bounds(101.0, 10.0, 100.0).is_err());
}

#[test]
fn a_broadcast_only_lowers_and_learning_stays_within_the_rate() {
    assert_eq!(push_only_lowers(10.0, 10.0), Ok(()));
    assert!(push_only_lowers(10.0, 10.1).is_err());
    assert_eq!(learning_within_rate(10.0, 10.0), Ok(()));
    assert!(learning_within_rate(10.1, 10.0).is_err());
}

#[test]
fn shares_are_max_min() {
    assert_eq!(
        shares_are_fair(120.0, &[1_000.0, 50.0, 10.0], &[60.0, 50.0, 10.0]),
        Ok(())
    );
    assert!(shares_are_fair(120.0, &[1_000.0, 50.0, 10.0], &[70.0, 40.0, 10.0]).is_err());
    assert!(
        shares_are_fair(120.0, &[1_000.0], &[100.0]).is_err(),
        "not work-conserving"
    );
}

#[test]
fn no_day_has_more_than_the_quota() {
    let sent = [(secs(0), 60), (secs(86_399), 40), (secs(86_400), 60)];
    assert_eq!(days_within_quota(&sent, 100), Ok(()));
    let sent = [(secs(1), 60), (secs(86_400), 41)];
    assert_eq!(
        days_within_quota(&sent, 100),
        Err(Broken::Daily {
            sent: 101,
            allowed: 100
        })
    );
}

#[test]
fn a_warm_up_keeps_to_its_caps() {
    assert_eq!(warm_up_within_cap(400, 2), Ok(()));
    assert!(warm_up_within_cap(401, 2).is_err());
    assert_eq!(warm_up_within_cap(u64::MAX, 90), Ok(()));
    assert_eq!(warm_up_grows_slowly(100, 200, false), Ok(()));
    for (before, after, was_paused) in [(200, 100, false), (100, 201, false), (100, 200, true)] {
        assert!(warm_up_grows_slowly(before, after, was_paused).is_err());
    }
}

#[test]
fn a_breaker_and_a_pause_hold() {
    assert_eq!(breaker_holds(Standing::HalfOpen, 20), Ok(()));
    assert!(breaker_holds(Standing::HalfOpen, 21).is_err());
    assert!(breaker_holds(Standing::Open, 1).is_err());
    assert_eq!(pause_holds(secs(10), ms(12_219)), Ok(()));
    assert!(pause_holds(secs(10), ms(12_220)).is_err());
    assert_eq!(pause_holds(secs(10), secs(9)), Ok(()));
}

#[test]
fn somebody_leads_again_soon() {
    assert_eq!(led_again(secs(10), secs(14)), Ok(()));
    assert!(led_again(secs(10), ms(14_001)).is_err());
}

#[test]
fn numbers_are_numbers() {
    assert_eq!(numbers_are_sound([0.0, 1.0]), Ok(()));
    for number in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(numbers_are_sound([1.0, number]).is_err());
    }
}
