//! The whole control of a key on a virtual clock: the controller, the books and the senders' leases, over a network that loses and
//! delays, leaders that die and go on from the saved state, senders that crash, leave or are cut off, and a provider with a limit
//! that moves, outages and a daily quota.
//!
//! After each step the invariants of `controller::invariants` are looked at; at the end the journal replays to the same state.

mod provider;
mod sender;
mod world;

use paceline_domain::controller::quota::DailySend;
use paceline_domain::controller::warm_up::Overflow;
use proptest::prelude::*;

use world::World;

const FAULTS_MS: u64 = 90_000;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn whatever_fails_the_promises_hold(seed: u64, senders in 1_usize..6) {
        let mut world = World::new(seed, senders, DailySend::Unlimited);
        world.run(FAULTS_MS, true).map_err(TestCaseError::fail)?;
        world.check_replay().map_err(TestCaseError::fail)?;
    }

    #[test]
    fn a_daily_quota_is_never_exceeded(seed: u64, senders in 1_usize..6, quota in 50_u64..6_000) {
        let mut world = World::new(seed, senders, DailySend::Limited(quota));
        world.run(FAULTS_MS, true).map_err(TestCaseError::fail)?;
        prop_assert!(world.sent() <= quota * 98 / 100, "{} of {quota}", world.sent());
        world.check_replay().map_err(TestCaseError::fail)?;
    }

    #[test]
    fn a_warm_up_s_day_is_never_exceeded(seed: u64, senders in 1_usize..6) {
        let mut world = World::new(seed, senders, DailySend::Unlimited);
        world.warm_up(Overflow::Defer);
        world.run(FAULTS_MS, true).map_err(TestCaseError::fail)?;
        // A tenth at once; one more would be after 216 s.
        prop_assert!((1..=10).contains(&world.sent()), "{}", world.sent());
    }
}

/// A burst was saved up and sent under a rate that left the books while the window still lasted.
#[test]
fn a_burst_is_measured_by_the_rate_that_it_was_saved_under() {
    for (seed, senders) in [(14_954_432_123_426_285_141, 5), (16_908_786_300_659_912_922, 3)] {
        let mut world = World::new(seed, senders, DailySend::Unlimited);
        world.run(FAULTS_MS, true).expect("holds");
    }
}

/// Answers that took a grant back were lost, and its sender, without a rate, spoke of it again and again.
#[test]
fn what_is_taken_back_is_free_once() {
    let mut world = World::new(12_909_165_874_135_273_935, 2, DailySend::Unlimited);
    world.warm_up(Overflow::Defer);
    world.run(FAULTS_MS, true).expect("holds");
    assert!(world.sent() <= 10, "{}", world.sent());
}

#[test]
fn an_outage_stops_all_and_twenty_probes_bring_it_back() {
    let mut world = World::new(7, 4, DailySend::Unlimited);
    world.run(10_000, false).expect("holds");
    world.provider.down = true;
    world.run(40_000, false).expect("holds");
    let during = world.sent();
    world.run(20_000, false).expect("holds");
    assert!(world.sent() - during <= 40, "{}", world.sent() - during);
    world.provider.down = false;
    world.run(120_000, false).expect("holds");
    let before = world.sent();
    world.run(10_000, false).expect("holds");
    assert!(world.sent() - before > 500, "{}", world.sent() - before);
    assert!(world.half_opened >= 2, "{}", world.half_opened);
}

#[test]
fn without_faults_the_provider_s_limit_is_used_and_little_is_throttled() {
    let mut world = World::new(11, 5, DailySend::Unlimited);
    world.provider.limit = 300.0;
    world.run(60_000, false).expect("holds");
    let (sent, throttled) = (world.sent(), world.provider.throttled);
    world.run(60_000, false).expect("holds");
    let (sent, throttled) = (world.sent() - sent, world.provider.throttled - throttled);
    let used = (sent - throttled) as f64 / (300.0 * 60.0);
    assert!(used >= 0.95, "{used}");
    assert!(throttled as f64 <= 0.02 * sent as f64, "{throttled} of {sent}");
}

#[test]
fn a_halved_limit_is_kept_to_within_three_seconds() {
    let mut world = World::new(3, 5, DailySend::Unlimited);
    world.provider.limit = 400.0;
    world.run(60_000, false).expect("holds");
    world.provider.limit = 200.0;
    world.run(3_000, false).expect("holds");
    let sent = world.sent();
    world.run(3_000, false).expect("holds");
    let rate = (world.sent() - sent) as f64 / 3.0;
    assert!(rate <= 1.1 * 200.0, "{rate}");
}

#[test]
fn a_seed_always_tells_the_same_story() {
    let story = || {
        let mut world = World::new(42, 4, DailySend::Limited(3_000));
        world.run(30_000, true).expect("holds");
        world.journal
    };
    let first = story();
    assert!(first.len() > 500, "something happens: {} entries", first.len());
    assert_eq!(first, story());
}
