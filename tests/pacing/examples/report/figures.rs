//! What is measured, of runs without faults but those named. Rates are in recipients per second.

use std::time::Duration;

use paceline_domain::aimd::{Limits, Mode};
use paceline_domain::controller::quota::DailySend;
use paceline_domain::controller::{Settings, bounces};
use paceline_domain::lease::Reserve;
use paceline_pacing::provider::{self, Limit};
use paceline_pacing::world::{Design, Plan, STEP_MS, World};

pub(crate) const SENDERS: usize = 20;
pub(crate) const LIMIT: f64 = 1_000.0;
/// When things change, after all have found the limit.
pub(crate) const CHANGE_MS: u64 = 90_000;
const SECOND: usize = 1_000 / STEP_MS as usize;

/// A steady minute.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Steady {
    pub(crate) utilisation: f64,
    pub(crate) throttled: f64,
    /// The most that was offered in a second, as a part of the limit.
    pub(crate) peak: f64,
    /// The same against the rate in force; none without a coordinator.
    pub(crate) peak_of_rate: Option<f64>,
    pub(crate) jain: f64,
}

/// A provider of the report's limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taker {
    pub(crate) burst_secs: f64,
    /// The share of calls that it throttles for no reason.
    pub(crate) throttles: f64,
}

/// One that refuses nothing below its limit, with a bucket of a second.
pub(crate) const PLAIN: Taker = Taker {
    burst_secs: 1.0,
    throttles: 0.0,
};

pub(crate) fn plan(design: Design, burst_secs: f64) -> Plan {
    // Without a coordinator each sender starts with its part.
    let start = if design == Design::Coordinated {
        500.0
    } else {
        500.0 / SENDERS as f64
    };
    Plan {
        design,
        settings: Settings {
            limits: Limits {
                mode: Mode::Adaptive,
                start,
                floor: 10.0,
                ceiling: 5_000.0,
                max_send_rate: None,
                cut_on_errors: true,
                feedback: Duration::ZERO,
            },
            daily: DailySend::Unlimited,
            resume: bounces::Resume::ByHand,
            breaker: false,
            route_back_after: Duration::from_secs(60),
        },
        provider: provider::Settings {
            limit: Limit::Steady(LIMIT),
            burst_secs,
            noise: 0.0,
            throttles: 0.0,
            latency: (50, 250),
        },
        wants: vec![2.0 * LIMIT / SENDERS as f64; SENDERS],
        identities: 1,
        reserve: Reserve::default(),
        account: None,
        bad_network: false,
        broadcasts: true,
        warm_up: false,
        losses: false,
        fault_pause: 1,
    }
}

fn run(world: &mut World, ms: u64) {
    world.run(ms).expect("the invariants hold");
}

pub(crate) fn settled(design: Design, taker: Taker, seed: u64) -> World {
    let mut plan = plan(design, taker.burst_secs);
    plan.provider.throttles = taker.throttles;
    let mut world = World::new(seed, plan);
    run(&mut world, CHANGE_MS);
    world
}

pub(crate) fn steady(design: Design, taker: Taker, seed: u64) -> Steady {
    let mut world = settled(design, taker, seed);
    let provider = (
        world.provider.accepted,
        world.provider.throttled,
        world.provider.offered,
    );
    let before: Vec<u64> = world.senders.iter().map(|sender| sender.sent).collect();
    let mut rate_max = 0.0_f64;
    for _ in 0..60_000 / STEP_MS {
        run(&mut world, STEP_MS);
        rate_max = world.checks.keys[0]
            .rates
            .last()
            .map_or(rate_max, |(_, rate)| rate_max.max(*rate));
    }
    let offered = world.provider.offered - provider.2;
    let sent: Vec<f64> = world
        .senders
        .iter()
        .zip(before)
        .map(|(it, before)| (it.sent - before) as f64)
        .collect();
    let (sum, squares) = (
        sent.iter().sum::<f64>(),
        sent.iter().map(|it| it * it).sum::<f64>(),
    );
    let peak = peak(&world, CHANGE_MS);
    Steady {
        utilisation: (world.provider.accepted - provider.0) as f64 / (LIMIT * 60.0),
        throttled: (world.provider.throttled - provider.1) as f64 / offered.max(1) as f64,
        peak: peak / LIMIT,
        peak_of_rate: (design == Design::Coordinated).then(|| peak / rate_max),
        jain: sum * sum / (sent.len() as f64 * squares.max(1.0)),
    }
}

/// The most that was offered in any second since `from`.
fn peak(world: &World, from: u64) -> f64 {
    let first = (from / STEP_MS) as usize;
    let sums = world.sends[first..]
        .windows(SECOND)
        .map(|it| it.iter().map(|(n, _)| u64::from(*n)).sum::<u64>());
    sums.max().unwrap_or(0) as f64
}

/// Seconds from a fall of the limit to `part` of it until each second of the next three offers at most a tenth more than that.
pub(crate) fn converges(design: Design, part: f64, broadcasts: bool, seed: u64) -> f64 {
    let mut world = World::new(
        seed,
        Plan {
            broadcasts,
            ..plan(design, 1.0)
        },
    );
    run(&mut world, CHANGE_MS);
    world.provider.settings.limit = Limit::Steady(part * LIMIT);
    run(&mut world, 60_000);
    let sends = &world.sends[(CHANGE_MS / STEP_MS) as usize..];
    let seconds: Vec<u64> = sends
        .windows(SECOND)
        .map(|it| it.iter().map(|(n, _)| u64::from(*n)).sum())
        .collect();
    let allowed = 1.1 * part * LIMIT;
    let holds = |from: &usize| {
        seconds[*from..*from + 2 * SECOND]
            .iter()
            .all(|n| *n as f64 <= allowed)
    };
    let first = (0..seconds.len() - 2 * SECOND).find(holds);
    first.map_or(f64::INFINITY, |step| step as f64 * STEP_MS as f64 / 1_000.0)
}

/// The longest that senders together hold more than the rate in force, in seconds, while the limit falls to a tenth.
pub(crate) fn lag(broadcasts: bool, seed: u64) -> f64 {
    let mut world = World::new(
        seed,
        Plan {
            broadcasts,
            ..plan(Design::Coordinated, 1.0)
        },
    );
    run(&mut world, CHANGE_MS);
    world.provider.settings.limit = Limit::Steady(0.1 * LIMIT);
    let (mut since, mut longest) = (world.now, 0);
    let mut last = f64::INFINITY;
    for _ in 0..20_000 / STEP_MS {
        run(&mut world, STEP_MS);
        let rate = world.checks.keys[0].rates.last().map_or(0.0, |(_, rate)| *rate);
        let held: f64 = world.senders.iter().map(|sender| sender.held(world.now)).sum();
        // Each cut has its own time.
        if held <= rate + 1e-6 || rate < last {
            since = world.now;
        }
        last = rate;
        longest = longest.max(world.now - since);
    }
    longest as f64 / 1_000.0
}

/// Seconds from a change of the senders until each holds its share to a tenth: five join, then five leave.
pub(crate) fn rebalances(seed: u64) -> [f64; 2] {
    let mut world = World::new(seed, plan(Design::Coordinated, 1.0));
    // A fixed rate, so that a share is a fixed number.
    world.plan.settings.limits.mode = Mode::Static;
    world.plan.settings.limits.start = LIMIT;
    run(&mut world, 30_000);
    for _ in 0..5 {
        let sender = world.join(0, 2.0 * LIMIT / SENDERS as f64);
        world.senders.push(sender);
    }
    let joined = until(&mut world, |world| is_shared(world, SENDERS + 5));
    run(&mut world, 10_000);
    for index in SENDERS..SENDERS + 5 {
        world.replace(index, true);
        world.senders[index].next_ask = u64::MAX;
    }
    [joined, until(&mut world, |world| is_shared(world, SENDERS))]
}

fn is_shared(world: &World, senders: usize) -> bool {
    let share = LIMIT / senders as f64;
    world.senders[..senders]
        .iter()
        .all(|it| (it.held(world.now) - share).abs() <= 0.1 * share)
}

/// Seconds from the leader's death until another's lease is taken, and without any send.
pub(crate) fn fails_over(seed: u64) -> [f64; 2] {
    let mut world = settled(Design::Coordinated, PLAIN, seed);
    let epoch = world
        .senders
        .iter()
        .map(|it| it.accepted_lease.0)
        .max()
        .unwrap_or(0);
    let leader = world.leader().expect("somebody leads");
    world.coordinators[leader].lead = None;
    world.coordinators[leader].dead_until = u64::MAX;
    let again = until(&mut world, |world| {
        world
            .senders
            .iter()
            .any(|it| it.accepted_lease.0 > epoch && it.held(world.now) > 0.0)
    });
    run(&mut world, 10_000);
    let first = (CHANGE_MS / STEP_MS) as usize;
    let silent = world.sends[first..]
        .split(|(n, _)| *n > 0)
        .map(<[_]>::len)
        .max()
        .unwrap_or(0);
    [again, silent as f64 * STEP_MS as f64 / 1_000.0]
}

fn until(world: &mut World, holds: impl Fn(&World) -> bool) -> f64 {
    let from = world.now;
    while !holds(world) && world.now < from + 60_000 {
        run(world, STEP_MS);
    }
    (world.now - from) as f64 / 1_000.0
}
