//! Every fault at every step, in the order in which a world meets them.

use std::path::Path;
use std::time::Duration;

use paceline_testkit::link::Flow;
use paceline_testkit::proxy::Moment;

use crate::faults::{
    End, Fault, How, Ledger, Partition, Point, RedisFault, Replaced, Side, Trouble, Webhook, When,
};
use crate::site::Ground;
use crate::story::Step;
use crate::world::{Release, Role};

/// What each service does to Redis, with the number of such commands that pass before the fault.
const POINTS: &[(Role, &str, usize)] = &[
    (Role::Ingest, "enqueue", 3),
    (Role::Ingest, "cancel", 0),
    (Role::Renderer, "XREADGROUP", 6),
    (Role::Renderer, "XADD", 5),
    (Role::Renderer, "settle", 2),
    (Role::Renderer, "promote", 0),
    (Role::Sender, "XREADGROUP", 6),
    (Role::Sender, "claim", 2),
    (Role::Sender, "finish", 2),
    (Role::Coordinator, "throttle_commit", 2),
    (Role::Coordinator, "throttle_renew", 0),
    (Role::Feedback, "XREADGROUP", 6),
    (Role::Feedback, "log_copied", 4),
];

/// Longer than a lease of rate, shorter than a claim.
const STANDS: Duration = Duration::from_secs(3);

/// Longer than the templates' windows of doubt.
const PAST_THE_WINDOW_MS: u64 = 65_000;

fn end(role: Role, number: usize, how: How, when: When) -> Step {
    Step::one(Fault::End(End {
        role,
        number,
        how,
        when,
    }))
}

/// Ends at points, by each way of ending.
pub fn points(how: How) -> impl Iterator<Item = Step> {
    let moments = [Moment::Before, Moment::After];
    POINTS.iter().flat_map(move |&(role, what, skip)| {
        moments.map(|moment| end(role, 0, how, When::At(Point { what, skip, moment })))
    })
}

/// Ends at any time, and with requests at the provider or on their way.
pub fn ends() -> Vec<Step> {
    let mut steps = Vec::new();
    for role in Role::ALL {
        for how in [How::Kill, How::Drain, How::Freeze(STANDS)] {
            steps.push(end(role, 0, how, When::After(15)));
        }
    }
    for when in [When::Answering, When::Unwritten] {
        for how in [How::Kill, How::Freeze(STANDS)] {
            steps.push(end(Role::Sender, 0, how, when));
        }
    }
    // Evidence is written only of what its sender did not write itself.
    for moment in [Moment::Before, Moment::After] {
        let at = When::At(Point {
            what: "evidence",
            skip: 0,
            moment,
        });
        let Step(mut faults) = end(Role::Feedback, 0, How::Kill, at);
        faults.insert(0, Fault::Provider(Trouble::NeverAnswers));
        steps.push(Step(faults));
    }
    steps
}

/// The provider's bad days.
pub fn provider() -> impl Iterator<Item = Step> {
    Trouble::ALL
        .into_iter()
        .map(|trouble| Step::one(Fault::Provider(trouble)))
}

/// What may happen to Redis.
pub fn redis() -> impl Iterator<Item = Step> {
    RedisFault::ALL
        .into_iter()
        .map(|fault| Step::one(Fault::Redis(fault)))
}

/// Links that stop to carry.
pub fn partitions() -> impl Iterator<Item = Step> {
    let redis = Role::ALL.into_iter().map(|role| (role, Side::Redis));
    let others = [
        (Role::Sender, Side::Provider),
        (Role::Coordinator, Side::Callers),
        (Role::Ingest, Side::Callers),
        (Role::Feedback, Side::Callers),
    ];
    redis.chain(others).flat_map(|(role, side)| {
        [Flow::Nothing, Flow::OnlyThere]
            .map(|flow| Step::one(Fault::Partition(Partition { role, side, flow })))
    })
}

/// The ledger, and events of what the senders never heard of.
pub fn around() -> impl Iterator<Item = Step> {
    let webhooks = [
        Webhook::Lost,
        Webhook::Doubled,
        Webhook::Reordered,
        Webhook::Late(3_000),
        Webhook::Late(PAST_THE_WINDOW_MS),
        Webhook::Forged,
    ];
    let webhooks = webhooks.map(|webhook| {
        Step(vec![
            Fault::Webhook(webhook),
            Fault::Provider(Trouble::NeverAnswers),
        ])
    });
    let ledger = Ledger::ALL.map(|ledger| {
        Step(vec![
            Fault::Provider(Trouble::NeverAnswers),
            Fault::Ledger(ledger),
        ])
    });
    webhooks.into_iter().chain(ledger)
}

/// An upgrade, one process after another, and the way back: each service meets the others of both releases.
#[must_use]
pub fn upgrade(old: &Path) -> Vec<Step> {
    let ways = [Release::New, Release::Old(old.to_owned())];
    let steps = ways.into_iter().flat_map(|by| {
        let processes = Role::ALL
            .into_iter()
            .flat_map(|role| (0..role.count()).map(move |number| (role, number)));
        processes.map(move |(role, number)| {
            let by = by.clone();
            Step::one(Fault::Replaced(Replaced { role, number, by }))
        })
    });
    std::iter::once(Step::one(Fault::None)).chain(steps).collect()
}

/// All that there is on a ground.
#[must_use]
pub fn all(ground: Ground) -> Vec<Step> {
    let every = std::iter::once(Step::one(Fault::None))
        .chain(points(How::Kill))
        .chain(points(How::Freeze(STANDS)))
        .chain(points(How::Cut))
        .chain(ends())
        .chain(provider())
        .chain(redis())
        .chain(partitions())
        .chain(around());
    every.filter(|step| step.fits(ground)).collect()
}

/// What the short form kills, each right after its external effect.
const SHORT: [&str; 7] = [
    "enqueue",
    "XADD",
    "settle",
    "claim",
    "finish",
    "throttle_commit",
    "log_copied",
];

/// The short form: on each ground what that ground alone can show, and the kinds of faults that are over soon.
#[must_use]
pub fn short(ground: Ground) -> Vec<Step> {
    match ground {
        Ground::Fsync => on_a_single_redis(),
        Ground::ReplicatedPair | Ground::ReplicatedCluster => {
            vec![Step::one(Fault::Redis(RedisFault::Failover))]
        }
        _ => Vec::new(),
    }
}

fn on_a_single_redis() -> Vec<Step> {
    let mut steps: Vec<Step> = SHORT
        .into_iter()
        .filter_map(|what| {
            let &(role, what, skip) = POINTS.iter().find(|(_, named, _)| *named == what)?;
            let moment = Moment::After;
            Some(end(role, 0, How::Kill, When::At(Point { what, skip, moment })))
        })
        .collect();
    steps.push(end(Role::Sender, 0, How::Freeze(STANDS), When::Answering));
    steps.push(Step(vec![
        Fault::Webhook(Webhook::Doubled),
        Fault::Provider(Trouble::NeverAnswers),
    ]));
    steps.push(Step(vec![
        Fault::Provider(Trouble::NeverAnswers),
        Fault::Ledger(Ledger::AnswersLost),
    ]));
    steps.push(Step::one(Fault::Provider(Trouble::Truncates)));
    steps.push(Step::one(Fault::Redis(RedisFault::Kill)));
    steps.push(Step::one(Fault::Partition(Partition {
        role: Role::Sender,
        side: Side::Redis,
        flow: Flow::OnlyThere,
    })));
    steps
}

#[cfg(test)]
mod tests {
    use super::{SHORT, all, short};
    use crate::site::Ground;

    #[test]
    fn the_short_form_is_whole_and_part_of_the_long_one() {
        let names = |steps: Vec<super::Step>| steps.iter().map(super::Step::name).collect::<Vec<_>>();
        let all = names(all(Ground::Fsync));
        let short = names(short(Ground::Fsync));
        for what in SHORT {
            assert!(
                short.iter().any(|name| name.contains(&format!("after {what}"))),
                "{what}"
            );
        }
        assert!(short.iter().all(|name| all.contains(name)), "{short:?}");
    }

    #[test]
    fn each_row_has_a_name_of_its_own() {
        for ground in Ground::ALL {
            let mut names: Vec<_> = all(ground).iter().map(super::Step::name).collect();
            let count = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), count, "{ground}");
        }
    }
}
