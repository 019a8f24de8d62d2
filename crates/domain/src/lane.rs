//! The two lanes of traffic.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which of two lanes a message travels in. Transactional mail is read first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    Transactional,
    Bulk,
}

impl Lane {
    pub const ALL: [Self; 2] = [Self::Transactional, Self::Bulk];

    /// The name in keys, metrics and configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transactional => "transactional",
            Self::Bulk => "bulk",
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no lane.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("lane is neither \"transactional\" nor \"bulk\"")]
pub struct UnknownLane;

impl FromStr for Lane {
    type Err = UnknownLane;

    fn from_str(name: &str) -> Result<Self, UnknownLane> {
        Self::ALL
            .into_iter()
            .find(|lane| lane.as_str() == name)
            .ok_or(UnknownLane)
    }
}
