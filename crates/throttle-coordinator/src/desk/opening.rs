//! A key begins under a new leader: with what the leaders before have left, or with what this process remembers of it.

use std::time::Duration;

use paceline_domain::aimd::Saved;
use paceline_domain::controller::journal::{Entry, FORMAT, Replay};
use paceline_domain::controller::{Controller, Settings};
use paceline_domain::lease::{Books, Reserve};
use paceline_store::throttle::{Adopted, Part, PartBody};

use super::table;

/// A controller as this process has last known it, and the epoch and rev of its last write.
#[derive(Clone)]
pub(super) struct Remembered {
    pub(super) controller: Controller,
    pub(super) written: (u64, u64),
}

/// When a key is opened: now, after it was adopted, on the boot-time clock, and what is to be added to that clock for the time since
/// the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    pub(super) now: Duration,
    pub(super) boot_at: Duration,
    /// What is kept back for safe rates.
    pub(super) reserve: Reserve,
}

impl Opening {
    /// The state to go on from.
    ///
    /// # Errors
    /// What can't be read.
    pub(super) fn controller(
        self,
        settings: Settings,
        adopted: &Adopted,
        journal: &[Part],
        remembered: Option<&Remembered>,
    ) -> Result<Controller, String> {
        let now = self.boot_at + self.now;
        let saved = adopted.saved.map(|(rate, version)| Saved { rate, version });
        if let Some(remembered) = remembered.filter(|_| adopted.lost) {
            // Redis has forgotten more than this process.
            let known = remembered.controller.clone();
            let known = match saved {
                Some(saved) if saved.version > known.version() => known.caught_up(saved),
                _ => known,
            };
            return Ok(known.reopened(settings, now));
        }
        let Some(kept) = replayed(journal)? else {
            return Ok(Controller::new(settings, saved, now));
        };
        let kept = match saved {
            // A coordinator of before journals has led since; or this one does not decide as the one before did.
            Some(saved) if !adopted.whole || saved.version != kept.version() => kept.caught_up(saved),
            _ => kept,
        };
        Ok(kept.reopened(settings, now))
    }

    /// The books: the leader's before, or empty ones that learn. They learn from the adoption on, not from the lead's beginning: until
    /// then the leader before, who may not know yet that it is none, could grant of this key and write it.
    pub(super) fn books(self, rate: f64, table: Option<&[table::Entry]>) -> Books {
        let books = match table {
            Some(table) => {
                let lines = table.iter().map(|(holder, line, _)| (*holder, *line));
                Books::reopened(rate, lines, self.now)
            }
            None => Books::new(rate, self.now),
        };
        books.keeping(self.reserve)
    }
}

/// The state at the end of a journal, if there is one.
fn replayed(journal: &[Part]) -> Result<Option<Controller>, String> {
    let mut replay = Replay::default();
    for part in journal {
        let Part { rev, format, .. } = part;
        if *format > FORMAT {
            return Err(format!(
                "rev {rev} of its journal has format {format}, this coordinator reads up to {FORMAT}"
            ));
        }
        let wrong =
            |error: &dyn std::fmt::Display| format!("rev {rev} of its journal can't be read: {error}");
        let entries: Vec<Entry> = match &part.body {
            PartBody::Events(text) => serde_json::from_str(text).map_err(|error| wrong(&error))?,
            PartBody::Opened(text) => vec![serde_json::from_str(text).map_err(|error| wrong(&error))?],
        };
        for entry in &entries {
            replay.take(entry).map_err(|error| wrong(&error))?;
        }
    }
    Ok(replay.state().ok())
}
