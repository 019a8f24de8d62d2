//! What becomes of the log of transitions: one rule for every process on a Redis, stored there.

use std::fmt;
use std::str::FromStr;

use fred::interfaces::HashesInterface;

use crate::keys::META;
use crate::link::Link;
use crate::{StoreConfig, StoreError, connect};

const FIELD: &str = "log";

/// How long the logs keep their entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogMode {
    /// A bounded number of them, for watchers: nobody copies them.
    #[default]
    Ring,
    /// Until the group `ledger` has acknowledged them.
    Ledger,
}

/// What a process does with the logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogUse {
    /// The same for every process.
    pub mode: LogMode,
    /// Changes the stored mode where it is another one. Processes that still run keep the old one until they are restarted.
    pub change: bool,
}

impl LogMode {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Ledger => "ledger",
        }
    }
}

impl fmt::Display for LogMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no mode's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be \"ring\" or \"ledger\"")]
pub struct UnknownLogMode;

impl FromStr for LogMode {
    type Err = UnknownLogMode;

    fn from_str(name: &str) -> Result<Self, UnknownLogMode> {
        [Self::Ring, Self::Ledger]
            .into_iter()
            .find(|mode| mode.as_str() == name)
            .ok_or(UnknownLogMode)
    }
}

/// Stores the mode if none is stored, and refuses another: a process that trims would cut off what the ledger has not read.
pub(crate) async fn check(link: &Link, config: &StoreConfig) -> Result<(), StoreError> {
    let LogUse { mode, change } = config.log;
    let stored = connect::stored_or_set(&link.client(), link, FIELD, mode.as_str()).await?;
    if stored == mode.as_str() {
        return Ok(());
    }
    if change {
        let client = link.client();
        let set = client.hset::<(), _, _>(META, (FIELD, mode.as_str()));
        link.ask(set).await?;
        tracing::warn!(
            was = stored,
            now = mode.as_str(),
            "redis.log is changed for every service: restart those that run"
        );
        return Ok(());
    }
    Err(StoreError::Misconfigured {
        setting: "redis.log",
        found: mode.as_str().to_owned(),
        remedy: format!(
            "this redis was set up with log = {stored}; redis.log_change = true changes it, for all services"
        ),
    })
}
