//! Thousands of worlds, each from a seed: what must hold holds in all of them, and each tells the same story twice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use paceline_pacing::seeds::{Story, prove, run};

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
}
