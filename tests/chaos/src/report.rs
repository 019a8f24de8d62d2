//! The figures of many stories: by fault and level for whoever watches, by part for the page, which keeps each part as it was last run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::bullmq::{Comparison, Trial};
use crate::document;
use crate::site::Ground;
use crate::story::Outcome;

/// What many rounds of one kind came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    pub rounds: usize,
    pub acknowledged: usize,
    pub lost: usize,
    pub twice: usize,
    pub in_doubt: usize,
    /// Calls that producers had no answer to while the fault was under way.
    pub unanswered: usize,
    /// Starts that were made anew, since a process had ended by itself before it was ready.
    pub starts_again: usize,
    /// Rounds with anything else that is wrong and that the level does not allow.
    pub wrong: usize,
    pub recovery_max: Duration,
}

impl Tally {
    fn add(&mut self, outcome: &Outcome) {
        *self += Self {
            rounds: 1,
            acknowledged: outcome.acknowledged,
            lost: outcome.lost(),
            twice: outcome.twice(),
            in_doubt: outcome.in_doubt,
            unanswered: outcome.unanswered,
            starts_again: outcome.starts_again,
            wrong: usize::from(!outcome.is_right()),
            recovery_max: outcome.recovery,
        };
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.twice += other.twice;
        self.in_doubt += other.in_doubt;
        self.unanswered += other.unanswered;
        self.starts_again += other.starts_again;
        self.wrong += other.wrong;
        self.recovery_max = self.recovery_max.max(other.recovery_max);
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

    /// Those of one ground, by fault.
    #[must_use]
    pub fn of(&self, ground: Ground) -> BTreeMap<String, Tally> {
        let of_it = self.0.iter().filter(|((_, of), _)| *of == ground);
        of_it.map(|((group, _), tally)| (group.clone(), *tally)).collect()
    }

    /// The sums of each ground, by its name.
    #[must_use]
    pub fn by_ground(&self) -> BTreeMap<String, Tally> {
        let mut sums = BTreeMap::<String, Tally>::new();
        for ((_, ground), tally) in &self.0 {
            *sums.entry(ground.name().to_owned()).or_default() += *tally;
        }
        sums
    }

    /// One row for each fault on each ground.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = format!(
            "| fault | level | rounds |{TALLIED}\n|---|---|---|{}\n",
            TALLIED_LINE
        );
        for ((group, ground), tally) in &self.0 {
            table += &format!("| {group} | {ground} | {} |{}\n", tally.rounds, tallied(tally));
        }
        table
    }
}

/// The columns of a tally behind its rounds.
pub(crate) const TALLIED: &str =
    " acknowledged | lost | twice | in doubt at the end | unanswered | starts made anew | longest recovery |";
pub(crate) const TALLIED_LINE: &str = "---|---|---|---|---|---|---|";

pub(crate) fn tallied(tally: &Tally) -> String {
    format!(
        " {} | {} | {} | {} | {} | {} | {:.1} s |",
        tally.acknowledged,
        tally.lost,
        tally.twice,
        tally.in_doubt,
        tally.unanswered,
        tally.starts_again,
        tally.recovery_max.as_secs_f64()
    )
}

/// What a part of the suite came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub took: Duration,
    pub machine: String,
    /// By fault; of the stories by chance by ground.
    pub rows: BTreeMap<String, Tally>,
    /// Of the stories by chance.
    pub seeds: Vec<u64>,
    pub failures: Vec<String>,
}

/// The same faults for BullMQ: each with the number of its runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    pub took: Duration,
    pub rows: Vec<(Trial, usize, Comparison)>,
    pub failures: Vec<String>,
}

/// Each part as it was last run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub grounds: BTreeMap<Ground, Part>,
    pub chance: Option<Part>,
    pub bullmq: Option<Peer>,
}

/// A report in its two files: what people read, and the figures that it is made of.
#[derive(Debug)]
pub struct Kept {
    pub report: Report,
    page: PathBuf,
    figures: PathBuf,
}

impl Kept {
    /// What is there already, or nothing yet.
    ///
    /// # Errors
    /// If the figures can't be read.
    pub fn open(page: &Path, figures: &Path) -> anyhow::Result<Self> {
        let report = match std::fs::read(figures) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is of another release: delete it", figures.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Report::default(),
            Err(error) => return Err(error).with_context(|| figures.display().to_string()),
        };
        Ok(Self {
            report,
            page: page.to_owned(),
            figures: figures.to_owned(),
        })
    }

    /// Takes something up; both files have it then.
    ///
    /// # Errors
    /// If they can't be written.
    pub fn put(&mut self, change: impl FnOnce(&mut Report)) -> anyhow::Result<()> {
        change(&mut self.report);
        let mut figures = serde_json::to_string_pretty(&self.report)?;
        figures.push('\n');
        for (path, text) in [
            (&self.figures, figures),
            (&self.page, document::page(&self.report)?),
        ] {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(path, text).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Kept, Part, Tally};
    use crate::site::Ground;

    fn part(rounds: usize) -> Part {
        let tally = Tally {
            rounds,
            ..Tally::default()
        };
        Part {
            rows: [("no fault".to_owned(), tally)].into(),
            ..Part::default()
        }
    }

    #[test]
    fn a_part_replaces_itself_and_leaves_the_others() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (page, figures) = (dir.path().join("page.md"), dir.path().join("sub/figures.json"));
        let mut kept = Kept::open(&page, &figures).expect("nothing yet");
        for (ground, rounds) in [(Ground::Fsync, 1), (Ground::Local, 2)] {
            kept.put(|report| drop(report.grounds.insert(ground, part(rounds))))
                .expect("written");
        }
        let mut again = Kept::open(&page, &figures).expect("readable");
        assert_eq!(again.report, kept.report);
        again
            .put(|report| drop(report.grounds.insert(Ground::Fsync, part(3))))
            .expect("written");
        let text = std::fs::read_to_string(&page).expect("a page");
        for row in ["| no fault | fsync | 3 |", "| no fault | local | 2 |"] {
            assert!(text.contains(row), "{row}:\n{text}");
        }
    }
}
