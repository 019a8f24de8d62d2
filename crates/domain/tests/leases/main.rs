//! The real books and the real senders' leases on a virtual clock, over a network that loses, doubles and delays, with clocks
//! that drift, leaders that die, senders that crash or leave, and a rate that is cut and raised.
//!
//! What must hold at every instant: what the senders may spend is at most what the books say, and at most the largest rate
//! that was in force within the time of a lease.

mod world;

use proptest::prelude::*;

use world::World;

/// Virtual time with faults, and then without: a lease's time in the books and some refreshes.
const FAULTS_MS: u64 = 25_000;
const CALM_MS: u64 = 6_000;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn senders_never_hold_more_than_the_books_say_and_the_rate_allows(seed: u64, senders in 1_usize..9) {
        let mut world = World::new(seed, senders);
        world.run(FAULTS_MS, true).map_err(TestCaseError::fail)?;
        world.run(CALM_MS, false).map_err(TestCaseError::fail)?;
        world.check_shares().map_err(TestCaseError::fail)?;
    }
}

#[test]
fn a_seed_always_tells_the_same_story() {
    let story = || {
        let mut world = World::new(42, 5);
        world.run(FAULTS_MS, true).expect("holds");
        world.journal
    };
    let first = story();
    assert!(first.len() > 500, "something happens: {} events", first.len());
    assert_eq!(first, story());
}
