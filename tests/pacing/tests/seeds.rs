//! Thousands of worlds, each from a seed: what must hold holds in all of them, and each tells the same story twice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use paceline_domain::aimd::{Limits, Mode};
use paceline_domain::controller::Settings;
use paceline_domain::controller::quota::DailySend;
use paceline_domain::lease::Reserve;
use paceline_pacing::provider::{self, Limit};
use paceline_pacing::seeds::{Story, plan, prove, run};
use paceline_pacing::world::World;

/// As many in an ordinary run of the tests.
const SEEDS: u64 = 2_000;

#[expect(clippy::disallowed_methods, reason = "how a person says which seeds to run")]
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

#[test]
fn whatever_fails_the_invariants_hold() {
    if let Some(seed) = number("PACING_SEED") {
        let story = prove(seed).expect("holds");
        println!("seed {seed}: {} sent, {} cuts", story.sent, story.cuts);
        return;
    }
    let seeds = number("PACING_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let broken: Vec<String> = thread::scope(|scope| {
        let work = || {
            let mut broken = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds || broken.len() >= 3 {
                    return broken;
                }
                if let Err(why) = prove(seed) {
                    broken.push(format!(
                        "seed {seed}: {why}\n  replay: make pacing-seed SEED={seed}"
                    ));
                }
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("no panic"))
            .collect()
    });
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_worlds_are_not_idle() {
    let stories: Vec<_> = (0..40).map(|seed| run(seed).expect("holds")).collect();
    let all = |of: fn(&Story) -> u64| stories.iter().map(of).sum::<u64>();
    assert!(all(|it| it.sent) > 40_000, "{}", all(|it| it.sent));
    assert!(all(|it| it.cuts as u64) > 20, "{}", all(|it| it.cuts as u64));
    assert!(all(|it| it.sent_safe) > 100, "{}", all(|it| it.sent_safe));
}

/// Each of three identities leases less than the account then allows, and keeps half of that back.
#[test]
fn an_account_that_allows_less_ends_what_the_lapsed_go_on_with() {
    let mut plan = plan(1);
    plan.settings.limits = Limits {
        mode: Mode::Static,
        start: 100.0,
        max_send_rate: None,
        ..plan.settings.limits
    };
    plan.settings.daily = DailySend::Unlimited;
    plan.provider.limit = Limit::Steady(2_000.0);
    plan.wants = vec![200.0; 6];
    plan.warm_up = false;
    plan.reserve = Reserve {
        share: 0.5,
        senders: 2,
    };
    (plan.identities, plan.account) = (3, Some(300.0));
    let mut world = World::new(1, plan);
    world.run(8_000).expect("holds");
    for sender in &mut world.senders {
        (sender.mute_until, sender.deaf_until) = (60_000, 60_000);
    }
    world.run(4_000).expect("holds");
    let all_safe: f64 = (0..3).map(|identity| world.held(identity)).sum();
    assert!(all_safe > 120.0 && world.sent_safe > 100, "{all_safe}");
    world.plan.account = Some(120.0);
    world.run(10_000).expect("holds");
    let all: f64 = (0..3).map(|identity| world.held(identity)).sum();
    assert!(all <= 120.0, "{all}");
}

/// What was taken of a limit of 1,000/s, and what was refused of all calls, in the minute after the first 90 s.
fn over_a_minute(seed: u64, throttles: f64) -> (f64, f64) {
    let mut plan = plan(seed);
    plan.settings = Settings {
        limits: Limits {
            start: 500.0,
            ceiling: 5_000.0,
            max_send_rate: None,
            ..plan.settings.limits
        },
        daily: DailySend::Unlimited,
        ..plan.settings
    };
    plan.provider = provider::Settings {
        limit: Limit::Steady(1_000.0),
        burst_secs: 1.0,
        noise: 0.0,
        throttles,
        latency: (50, 250),
    };
    plan.wants = vec![250.0; 8];
    plan.warm_up = false;
    plan.reserve = Reserve::default();
    (plan.identities, plan.account) = (1, None);
    let mut world = World::new(seed, plan);
    world.run(90_000).expect("holds");
    let before = (
        world.provider.accepted,
        world.provider.throttled,
        world.provider.offered,
    );
    world.run(60_000).expect("holds");
    let taken = (world.provider.accepted - before.0) as f64 / 60_000.0;
    let refused = (world.provider.throttled - before.1) as f64;
    (taken, refused / (world.provider.offered - before.2) as f64)
}

#[test]
fn whatever_a_provider_refuses_by_chance_its_limit_is_found() {
    for seed in 0..4 {
        let (taken, refused) = over_a_minute(seed, 0.01);
        assert!(taken >= 0.95, "{taken} of what the limit leaves was taken");
        assert!(refused <= 0.025, "{refused} of all calls were refused");
        let (_, refused) = over_a_minute(seed, 0.0);
        assert!(
            refused <= 0.005,
            "what is refused of a limit alone is taken for noise: {refused}"
        );
    }
}
