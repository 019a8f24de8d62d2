//! Backpressure before Redis is full: new messages are refused while there is still room for those that are under way.
//!
//! Once a second one task looks at the memory of the fullest node, at the backlog, and at the logs where the ledger keeps them; calls
//! only read what it found. Bulk is refused at the lower bounds, everything at the upper ones; for the logs' sake bulk alone. While Redis does not answer, the last finding stands: calls
//! then fail by themselves. A repeated call of a stored message is refused like a new one: to be sure of its answer would
//! cost Redis as much as the write, and the caller loses nothing by coming later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use paceline_domain::lane::Lane;
use paceline_kit::Shutdown;
use paceline_store::{LogMode, Store, StoreError};
use paceline_wire::status::RpcError;

use crate::config::IntakeSettings;
use crate::error;
use crate::metrics::Metrics;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// What is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    #[default]
    Nothing,
    Bulk,
    All,
}

impl Level {
    /// The level of a value that is refused from these bounds on.
    fn of<T: PartialOrd>(value: T, bulk: T, all: T) -> Self {
        if value >= all {
            Self::All
        } else if value >= bulk {
            Self::Bulk
        } else {
            Self::Nothing
        }
    }

    fn refuses(level: u8, lane: Lane) -> bool {
        let least = match lane {
            Lane::Bulk => Self::Bulk,
            Lane::Transactional => Self::All,
        };
        level >= least as u8
    }
}

/// What is refused now. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Pressure(Arc<Levels>);

#[derive(Default)]
struct Levels {
    memory: AtomicU8,
    backlog: AtomicU8,
    log: AtomicU8,
}

/// What is refused, by its cause.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    pub(crate) memory: Level,
    pub(crate) backlog: Level,
    pub(crate) log: Level,
}

impl Pressure {
    /// # Errors
    /// If no new message of this lane is taken now.
    pub(crate) fn check(&self, lane: Lane) -> Result<(), RpcError> {
        if Level::refuses(self.0.memory.load(Ordering::Relaxed), lane) {
            return Err(error::nearly_full());
        }
        if Level::refuses(self.0.backlog.load(Ordering::Relaxed), lane) {
            return Err(error::backlogged());
        }
        if Level::refuses(self.0.log.load(Ordering::Relaxed), lane) {
            return Err(error::log_full());
        }
        Ok(())
    }

    /// Takes in what was found; true if it is news.
    fn set(&self, found: Found) -> bool {
        let Found { memory, backlog, log } = found;
        let news = [
            (&self.0.memory, memory),
            (&self.0.backlog, backlog),
            (&self.0.log, log),
        ]
        .map(|(known, level)| known.swap(level as u8, Ordering::Relaxed) != level as u8);
        news.contains(&true)
    }
}

/// Looks at Redis for a [`Pressure`].
pub(crate) struct Poll {
    pub(crate) store: Store,
    pub(crate) settings: IntakeSettings,
    pub(crate) pressure: Pressure,
    pub(crate) metrics: Metrics,
}

impl Poll {
    /// Looks once a second until `stop`.
    pub(crate) async fn run(self, stop: Shutdown) {
        while tokio::time::timeout(EVERY, stop.requested()).await.is_err() {
            self.once().await;
        }
    }

    /// Looks now.
    pub(crate) async fn once(&self) {
        let (used, waiting, log_bytes) = match self.read().await {
            Ok(found) => found,
            Err(failure) => {
                tracing::debug!(error = &failure as &dyn std::error::Error, "pressure not known");
                return;
            }
        };
        let IntakeSettings {
            memory_watermark_bulk,
            memory_watermark,
            backlog_max_bulk,
            backlog_max,
            log_bytes_max,
            ..
        } = self.settings;
        let memory = used.map_or(Level::Nothing, |used| {
            Level::of(used, memory_watermark_bulk, memory_watermark)
        });
        let backlog = Level::of(waiting, backlog_max_bulk, backlog_max);
        // What is under way must come to rest however long its log is: there is no upper bound but the memory's.
        let log = Level::of(log_bytes, log_bytes_max.as_u64(), u64::MAX);
        let found = Found { memory, backlog, log };
        self.metrics.pressure(found);
        if self.pressure.set(found) {
            tracing::warn!(
                refused_for_memory = ?memory,
                refused_for_backlog = ?backlog,
                refused_for_log = ?log,
                log_bytes,
                memory_used = used,
                messages_waiting = waiting,
                "what is taken in has changed"
            );
        }
    }

    async fn read(&self) -> Result<(Option<f64>, u64, u64), StoreError> {
        Ok((
            self.store.memory_used().await?,
            self.store.entries_waiting().await?,
            self.log_bytes().await?,
        ))
    }

    /// Bytes of all logs that wait for the ledger; none where it keeps none.
    async fn log_bytes(&self) -> Result<u64, StoreError> {
        let mut bytes = 0;
        if self.store.log_mode() == LogMode::Ledger {
            for shard in 0..self.store.shards() {
                bytes += self.store.log_backlog(shard).await?.bytes;
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use paceline_domain::lane::Lane;
    use paceline_wire::status::reason;

    use super::{Found, Level, Pressure};

    #[test]
    fn bounds_belong_to_what_is_refused() {
        for (value, expected) in [
            (0, Level::Nothing),
            (74, Level::Nothing),
            (75, Level::Bulk),
            (84, Level::Bulk),
            (85, Level::All),
            (200, Level::All),
        ] {
            assert_eq!(Level::of(value, 75, 85), expected, "{value}");
        }
    }

    #[test]
    fn bulk_is_refused_first_and_each_cause_by_its_name() {
        let refusal = |memory, backlog, lane| {
            let pressure = Pressure::default();
            let log = Level::Nothing;
            pressure.set(Found { memory, backlog, log });
            pressure.check(lane).err().map(|error| {
                assert!(error.retry_delay.is_some());
                error.reason.into_owned()
            })
        };
        let of = |reason: &str| Some(reason.to_owned());
        for (memory, backlog, bulk, transactional) in [
            (Level::Nothing, Level::Nothing, None, None),
            (Level::Bulk, Level::Nothing, of(reason::STORE_FULL), None),
            (Level::Nothing, Level::Bulk, of(reason::BACKLOG_FULL), None),
            (
                Level::Bulk,
                Level::All,
                of(reason::STORE_FULL),
                of(reason::BACKLOG_FULL),
            ),
            (
                Level::All,
                Level::All,
                of(reason::STORE_FULL),
                of(reason::STORE_FULL),
            ),
        ] {
            assert_eq!(refusal(memory, backlog, Lane::Bulk), bulk);
            assert_eq!(refusal(memory, backlog, Lane::Transactional), transactional);
        }
    }

    #[test]
    fn a_log_that_waits_for_the_ledger_refuses_bulk_alone() {
        let pressure = Pressure::default();
        let log = Level::of(u64::MAX - 1, 1, u64::MAX);
        assert!(
            pressure.set(Found {
                log,
                ..Found::default()
            }),
            "it is news"
        );
        let error = pressure.check(Lane::Bulk).expect_err("refused");
        assert_eq!(error.reason, reason::LOG_FULL);
        assert!(error.retry_delay.is_some());
        assert!(pressure.check(Lane::Transactional).is_ok());
    }
}
