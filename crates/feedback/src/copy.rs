//! The copy of the shards' logs into the ledger.
//!
//! Each shard has a task that reads its log as one of the group's copiers, writes a part of it into the ledger in one transaction,
//! and acknowledges it only then. What it read and did not acknowledge is read again, by itself or by another process, and written
//! again: that changes nothing. While the ledger is away the log waits in Redis, and mail goes on.
//!
//! An entry of a newer release stays in the log, and all after it, until a process of that release copies it. What nobody can read
//! is counted and left out.

mod lag;
mod lost;
mod metrics;
mod part;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use paceline_kit::Shutdown;
use paceline_kit::clock::Clock;
use paceline_ledger::{ErrorClass, Ledger, LedgerError};
use paceline_store::{LogEntry, Store, StoreError};

use crate::config::CopySettings;
pub(crate) use lag::Lag;
pub(crate) use metrics::CopyMetrics;
use part::Part;

/// How long copied entries stay for watchers, who poll ten times a second.
const TAIL: Duration = Duration::from_secs(3);
/// Between two cuts of a log of which nothing is copied.
const CUT_EVERY: Duration = Duration::from_secs(1);
/// Between two tries to write, doubling.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A copier that did nothing for so long, and holds nothing, is gone.
const COPIERS_IDLE: Duration = Duration::from_secs(600);

/// Copies one shard's log.
pub(crate) struct Copier<C> {
    pub(crate) shard: u16,
    /// This process's name among the copiers; new for each start.
    pub(crate) name: Arc<str>,
    pub(crate) store: Store,
    pub(crate) ledger: Ledger,
    pub(crate) clock: C,
    pub(crate) settings: CopySettings,
    pub(crate) metrics: CopyMetrics,
    pub(crate) stop: Shutdown,
}

/// What a copier remembers between its rounds.
struct Round {
    reclaimed_at: Duration,
    cut_at: Duration,
    /// Where the next look at what others hold goes on.
    next: String,
}

/// What became of a part.
enum Written {
    Yes,
    /// It is more than the database takes at once, or some of it can't be written: each half by itself.
    Halves,
    Stopped,
}

impl<C: Clock> Copier<C> {
    /// Copies until `stop`; then the part that is under way is written if the ledger answers.
    pub(crate) async fn run(self) {
        let now = self.clock.boot();
        let mut round = Round {
            reclaimed_at: now,
            cut_at: now,
            next: "0-0".to_owned(),
        };
        let mut silent = false;
        while !self.stop.is_requested() {
            let copied = match silent {
                // What is delivered and can't be copied then waits for whoever reclaims it.
                true => self.store.log_is_kept(self.shard).await,
                false => Ok(()),
            };
            let copied = match copied {
                Ok(()) => self.once(&mut round).await,
                Err(error) => Err(error),
            };
            match copied {
                Ok(full) => {
                    silent = false;
                    if full {
                        continue;
                    }
                }
                Err(error) => self.tell_once(&error, &mut silent, "the log is not read"),
            }
            // Ends the pause at a stop.
            let _ = tokio::time::timeout(self.settings.batch_wait, self.stop.requested()).await;
        }
    }

    /// Copies what there is; true if there may be more at once.
    async fn once(&self, round: &mut Round) -> Result<bool, StoreError> {
        let now = self.clock.boot();
        let count = self.settings.batch_entries_max.get();
        if now.saturating_sub(round.reclaimed_at) >= self.settings.reclaim_after / 2 {
            self.reclaim(round, count).await?;
        }
        let entries = self.store.read_log(self.shard, &self.name, count).await?;
        let full = entries.len() as u64 >= count;
        if entries.is_empty() {
            if now.saturating_sub(round.cut_at) >= CUT_EVERY {
                round.cut_at = now;
                self.store.log_copied(self.shard, &[], TAIL).await?;
            }
        } else {
            self.copy(entries).await;
        }
        Ok(full)
    }

    /// Copies what copiers hold that are gone, a page at a time; the next one at once, so that what only a newer release can read
    /// does not hide what comes after it.
    async fn reclaim(&self, round: &mut Round, count: u64) -> Result<(), StoreError> {
        let (name, idle) = (&*self.name, self.settings.reclaim_after);
        let reclaimed = self
            .store
            .reclaim_log(self.shard, name, idle, &round.next, count)
            .await?;
        round.next = reclaimed.next;
        if round.next == "0-0" {
            round.reclaimed_at = self.clock.boot();
            self.store.remove_idle_copiers(self.shard, COPIERS_IDLE).await?;
        }
        self.copy(reclaimed.entries).await;
        Ok(())
    }

    async fn copy(&self, entries: Vec<LogEntry>) {
        let mut parts: VecDeque<Part> = Part::of(self.shard, entries, &self.metrics).into();
        while let Some(part) = parts.pop_front() {
            match self.write(&part).await {
                Written::Yes => self.acknowledge(&part).await,
                Written::Halves => {
                    let (first, second) = part.halves();
                    parts.push_front(second);
                    parts.push_front(first);
                }
                Written::Stopped => return,
            }
        }
    }

    /// Writes a part, however long it takes: the log waits meanwhile.
    async fn write(&self, part: &Part) -> Written {
        let mut pause = PAUSE_MIN;
        let mut away = false;
        loop {
            let error = match self.append(part).await {
                Ok(()) => return Written::Yes,
                Err(error) => error,
            };
            self.metrics.failed();
            let unfit = error.class() == ErrorClass::Unfit;
            if part.entries() > 1 && (unfit || matches!(error, LedgerError::Timeout)) {
                return Written::Halves;
            }
            if unfit {
                return self.write_moves(part, &error).await;
            }
            self.tell_once(&error, &mut away, "the ledger takes nothing, the log waits");
            if tokio::time::timeout(pause, self.stop.requested()).await.is_ok() {
                return Written::Stopped;
            }
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }

    async fn append(&self, part: &Part) -> Result<(), LedgerError> {
        self.ledger.keep(&part.kept).await?;
        let appended = self
            .ledger
            .append(&part.messages, &part.moves, &part.acts)
            .await?;
        self.metrics.copied(appended);
        if appended.conflicts > 0 {
            tracing::error!(
                shard = self.shard,
                conflicts = appended.conflicts,
                "revisions have two contents: redis has lost writes, both are kept"
            );
        }
        Ok(())
    }

    /// One entry that has a text which the database can't hold: its transitions are numbers.
    async fn write_moves(&self, part: &Part, error: &LedgerError) -> Written {
        tracing::error!(
            error = error as &dyn std::error::Error,
            shard = self.shard,
            entry = part.ids.first(),
            "an entry of the log can't be written whole: its transitions alone are"
        );
        self.metrics.corrupt(1);
        let moves = part.moves_alone();
        // Numbers are never unfit, so that this does not come here again.
        Box::pin(self.write(&moves)).await
    }

    /// The first of its kind is a warning.
    fn tell_once(&self, error: &(dyn std::error::Error + 'static), told: &mut bool, what: &str) {
        if *told {
            tracing::debug!(error, shard = self.shard, "{what}");
        } else {
            tracing::warn!(error, shard = self.shard, "{what}");
        }
        *told = true;
    }

    async fn acknowledge(&self, part: &Part) {
        if let Err(error) = self.store.log_copied(self.shard, &part.ids, TAIL).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                shard = self.shard,
                "copied entries are not acknowledged, they come again"
            );
        }
    }
}
