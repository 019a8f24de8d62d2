//! What stands around the way of mail: the ledger, and the provider's events.

use std::time::Duration;

use anyhow::ensure;
use paceline_local::events::{EventAction, EventFault};

use super::lasts;
use crate::world::World;

const DOWN: Duration = Duration::from_secs(2);
/// Events that a fault meets.
const EVENTS: u64 = 12;

/// What happens to PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ledger {
    /// SIGKILL, and it is away for a while.
    Killed,
}

impl Ledger {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed, and away for 2 s",
        }
    }

    pub(super) async fn strike(self, world: &mut World) {
        world.postgres.kill().await;
        lasts(DOWN).await;
    }

    pub(super) async fn heal(self, world: &mut World) {
        world.postgres.resume().await;
    }
}

/// What happens to the provider's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Webhook {
    Lost,
    Doubled,
    Reordered,
    /// By so many milliseconds.
    Late(u64),
    Forged,
}

impl Webhook {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Doubled => "doubled",
            Self::Reordered => "reordered",
            Self::Late(..60_000) => "late",
            Self::Late(_) => "later than the window of doubt",
            Self::Forged => "forged",
        }
    }

    pub(super) fn arm(self, world: &World) -> anyhow::Result<()> {
        let action = match self {
            Self::Lost => EventAction::Lose,
            Self::Doubled => EventAction::Double,
            Self::Reordered => EventAction::Swap,
            Self::Late(ms) => EventAction::Delay(ms),
            Self::Forged => EventAction::Forge,
        };
        let fault = EventFault {
            events: Some(EVENTS),
            kind: None,
            action,
        };
        ensure!(world.provider.add_event_fault(fault), "too many faults of events");
        Ok(())
    }
}
