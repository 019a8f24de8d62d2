//! What random workers do, and how often.

use std::time::Duration;

use paceline_domain::machine::Outcome;
use paceline_domain::reason::Reason;
use paceline_store::{Stage, Verdict};
use proptest::prelude::*;

use super::{MESSAGES, TTL, WORKERS};

#[derive(Clone, Debug)]
pub(super) enum Operation {
    Enqueue(Vec<(u8, bool, u64)>),
    Advance(u64),
    ReadQueued(usize),
    HandOff {
        worker: usize,
        dies_between: bool,
    },
    Bury(usize),
    Postpone(usize),
    ReadReady(usize),
    TakeOver {
        worker: usize,
        stage: Stage,
    },
    Claim {
        worker: usize,
        verdict: Verdict,
    },
    Pump(usize),
    Report {
        worker: usize,
        outcome: u8,
        again: bool,
        forged: bool,
    },
    Promote(Vec<u8>),
    Lapse(Vec<(u8, bool)>),
    Resolve(Vec<(u8, bool)>),
    Evidence(Vec<(u8, Option<u32>)>),
    Cancel(u8),
    /// A stop meets what a worker has in its hands.
    Stop {
        worker: usize,
        stage: Stage,
        cancel: bool,
    },
    Release(Vec<u8>),
    Redrive(u8),
    Discard(u8),
    Erase(u8),
    /// Redis will fall back to this.
    Snapshot,
    /// Redis loses what came since the snapshot, or all.
    FallBack,
    /// A worker stands by its claims.
    Assert(usize),
}

pub(super) fn operation() -> impl Strategy<Value = Operation> {
    use Operation as O;
    let one = || 1..=MESSAGES;
    let worker = || 0..WORKERS;
    let rarely = || prop::bool::weighted(0.2);
    let verdict = prop_oneof![
        8 => Just(Verdict::Send),
        1 => Just(Verdict::Suppressed(Reason::HardBounced)),
        1 => Just(Verdict::NotAllowedHere),
    ];
    let some = || prop_oneof![Just((1..=MESSAGES).collect()), prop::collection::vec(one(), 1..4)];
    let claimed = || prop::collection::vec((one(), rarely()), 3..6);
    let send_in = prop_oneof![4 => Just(0), 1 => Just(30)];
    let evidence = (
        one(),
        prop_oneof![Just(None), (1_u32..3).prop_map(Some), (1_u32..3).prop_map(Some)],
    );
    let stage = || prop_oneof![Just(Stage::Queued), Just(Stage::Ready)];
    let seconds = prop_oneof![2 => Just(1_u64), 2 => Just(30), 4 => Just(61), 3 => Just(901)];
    let report = (worker(), 0_u8..12, rarely(), rarely());
    prop_oneof![
        4 => prop::collection::vec((one(), any::<bool>(), send_in), 1..4).prop_map(O::Enqueue),
        5 => seconds.prop_map(O::Advance),
        2 => worker().prop_map(O::ReadQueued),
        2 => (worker(), rarely()).prop_map(|(worker, dies_between)| O::HandOff { worker, dies_between }),
        1 => worker().prop_map(O::Bury),
        1 => worker().prop_map(O::Postpone),
        2 => worker().prop_map(O::ReadReady),
        2 => (worker(), stage()).prop_map(|(worker, stage)| O::TakeOver { worker, stage }),
        2 => (worker(), verdict).prop_map(|(worker, verdict)| O::Claim { worker, verdict }),
        6 => worker().prop_map(O::Pump),
        5 => report.prop_map(|(worker, outcome, again, forged)| O::Report { worker, outcome, again, forged }),
        4 => some().prop_map(O::Promote),
        4 => claimed().prop_map(O::Lapse),
        5 => claimed().prop_map(O::Resolve),
        2 => prop::collection::vec(evidence, 1..3).prop_map(O::Evidence),
        1 => one().prop_map(O::Cancel),
        2 => (worker(), stage(), rarely()).prop_map(|(worker, stage, cancel)| O::Stop { worker, stage, cancel }),
        3 => some().prop_map(O::Release),
        3 => one().prop_map(O::Redrive),
        1 => one().prop_map(O::Discard),
        1 => one().prop_map(O::Erase),
        3 => Just(O::Snapshot),
        1 => Just(O::FallBack),
        3 => worker().prop_map(O::Assert),
    ]
}

/// Positive ones are rare: they end the message.
pub(super) fn outcome_of(number: u8) -> Outcome {
    let delay = Duration::from_secs(20);
    match number {
        0 => Outcome::Accepted {
            provider_id: "p-1".to_owned(),
        },
        1 => Outcome::Refused {
            reason: Reason::MessageRefused,
        },
        2..=5 => Outcome::Failed {
            reason: Reason::ProviderUnavailable,
            delay,
        },
        6 => Outcome::Deferred {
            reason: Reason::Throttled,
            delay: TTL * 2,
        },
        7 => Outcome::Deferred {
            reason: Reason::Throttled,
            delay,
        },
        _ => Outcome::Unknown {
            reason: Reason::Timeout,
        },
    }
}
