//! The figures of many stories, by fault and level.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::site::Ground;
use crate::story::Outcome;

/// What many rounds of one kind came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub rounds: usize,
    pub acknowledged: usize,
    pub lost: usize,
    pub twice: usize,
    pub in_doubt: usize,
    /// Rounds with anything else that is wrong and that the level does not allow.
    pub wrong: usize,
    pub recovery_max: Duration,
}

impl Tally {
    fn add(&mut self, outcome: &Outcome) {
        self.rounds += 1;
        self.acknowledged += outcome.acknowledged;
        self.lost += outcome.lost();
        self.twice += outcome.twice();
        self.in_doubt += outcome.in_doubt;
        self.wrong += usize::from(!outcome.is_right());
        self.recovery_max = self.recovery_max.max(outcome.recovery);
    }
}

/// Tallies by fault and ground.
#[derive(Clone, Debug, Default)]
pub struct Figures(pub BTreeMap<(String, Ground), Tally>);

impl Figures {
    pub fn add(&mut self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            let key = (outcome.group.clone(), outcome.ground);
            self.0.entry(key).or_default().add(outcome);
        }
    }

    /// One row for each fault on each ground.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = String::from(
            "| fault | level | rounds | acknowledged | lost | twice | in doubt at the end | longest recovery |\n\
             |---|---|---|---|---|---|---|---|\n",
        );
        for ((group, ground), tally) in &self.0 {
            table += &format!(
                "| {group} | {ground} | {} | {} | {} | {} | {} | {:.1} s |\n",
                tally.rounds,
                tally.acknowledged,
                tally.lost,
                tally.twice,
                tally.in_doubt,
                tally.recovery_max.as_secs_f64()
            );
        }
        table
    }
}
