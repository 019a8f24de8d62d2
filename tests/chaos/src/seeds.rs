//! Stories by chance: the same seed tells the same story, as far as the machine's own timing lets it.

use std::time::Duration;

use crate::catalogue;
use crate::chance::Chance;
use crate::faults::{End, Fault, How, When};
use crate::site::Ground;
use crate::story::Step;

/// The grounds as often as they are to come.
const GROUNDS: [Ground; 6] = [
    Ground::Fsync,
    Ground::Fsync,
    Ground::Local,
    Ground::ReplicatedPair,
    Ground::LocalPair,
    Ground::ReplicatedCluster,
];

/// Where it happens and what.
#[must_use]
pub fn story(seed: u64) -> (Ground, Vec<Step>) {
    let mut chance = Chance(seed);
    let ground = *chance.pick(&GROUNDS);
    let all = catalogue::all(ground);
    let count = 3 + chance.below(4);
    let steps = (0..count).map(|_| step(&mut chance, &all)).collect();
    (ground, steps)
}

/// One or two of the catalogue's, at times of chance.
fn step(chance: &mut Chance, all: &[Step]) -> Step {
    let mut faults = Vec::new();
    for _ in 0..1 + chance.below(2) {
        for fault in &chance.pick(all).0 {
            faults.push(at_any_time(fault.clone(), chance));
        }
    }
    // Where a Redis is away, no point is met: points come first, Redis last.
    faults.sort_by_key(|fault| match fault {
        Fault::End(End {
            when: When::At(_), ..
        }) => 0,
        Fault::Redis(_) => 2,
        _ => 1,
    });
    keep_one_of_a_kind(&mut faults);
    Step(faults)
}

fn at_any_time(fault: Fault, chance: &mut Chance) -> Fault {
    let Fault::End(mut end) = fault else {
        return fault;
    };
    end.number = chance.below(end.role.count());
    end.when = match end.when {
        When::After(_) => When::After(chance.below(60) as u64),
        When::At(mut point) => {
            point.skip = chance.below(4);
            When::At(point)
        }
        other => other,
    };
    if let How::Freeze(_) = end.how {
        end.how = How::Freeze(Duration::from_millis(100 + 50 * chance.below(100) as u64));
    }
    Fault::End(end)
}

/// A process that has ended can't end again, and one Redis has one trouble at a time.
fn keep_one_of_a_kind(faults: &mut Vec<Fault>) {
    let kind = |fault: &Fault| match fault {
        Fault::None => 0,
        Fault::End(_) => 1,
        Fault::Provider(_) => 2,
        Fault::Redis(_) | Fault::Partition(_) => 3,
        Fault::Ledger(_) => 4,
        Fault::Webhook(_) => 5,
        Fault::Replaced(_) => 6,
    };
    let mut seen = Vec::new();
    faults.retain(|fault| {
        let is_new = !seen.contains(&kind(fault));
        seen.push(kind(fault));
        is_new
    });
}

#[cfg(test)]
mod tests {
    use super::story;

    #[test]
    fn a_seed_tells_one_story_and_another_seed_another() {
        let told = |seed| format!("{:?}", story(seed));
        assert_eq!(told(1), told(1));
        assert!((2..20).all(|seed| told(seed) != told(1)));
    }

    #[test]
    fn what_does_not_fit_a_ground_is_not_told_there() {
        for seed in 0..1_000 {
            let (ground, steps) = story(seed);
            assert!(steps.iter().all(|step| step.fits(ground)), "{seed}");
        }
    }
}
