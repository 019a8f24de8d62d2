//! What stands around the way of mail: the ledger, and the provider's events.

use std::time::Duration;

use anyhow::{bail, ensure};
use paceline_local::events::{EventAction, EventFault};
use paceline_testkit::link::Flow;

use super::lasts;
use crate::world::{Database, World};

const DOWN: Duration = Duration::from_secs(2);
/// Longer than feedback waits for an answer (2 s).
const UNHEARD: Duration = Duration::from_millis(3_500);
/// Pauses of a slow one, and what lies between two.
const PAUSE: Duration = Duration::from_millis(300);
const BETWEEN: Duration = Duration::from_millis(50);
const PAUSES: usize = 10;
/// Events that a fault meets.
const EVENTS: u64 = 12;

/// What happens to PostgreSQL, or to the link that leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ledger {
    /// SIGKILL, and it is away for a while.
    Killed,
    /// It answers late, again and again.
    Slow,
    /// Nothing comes there, nothing comes back.
    Silent,
    /// What it is told it does, and nobody hears of it.
    AnswersLost,
}

impl Ledger {
    pub const ALL: [Self; 4] = [Self::Killed, Self::Slow, Self::Silent, Self::AnswersLost];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed, and away for 2 s",
            Self::Slow => "slow",
            Self::Silent => "silent for longer than its timeout",
            Self::AnswersLost => "its answers lost for longer than its timeout",
        }
    }

    pub(super) async fn strike(self, world: &mut World) -> anyhow::Result<()> {
        let Database::Postgres(postgres, link) = &mut world.database else {
            bail!("there is no PostgreSQL");
        };
        match self {
            Self::Killed => {
                postgres.kill().await;
                lasts(DOWN).await;
            }
            Self::Slow => {
                for _ in 0..PAUSES {
                    link.carry(Flow::Nothing);
                    lasts(PAUSE).await;
                    link.carry(Flow::Both);
                    lasts(BETWEEN).await;
                }
            }
            Self::Silent | Self::AnswersLost => {
                link.carry(if self == Self::Silent {
                    Flow::Nothing
                } else {
                    Flow::OnlyThere
                });
                lasts(UNHEARD).await;
            }
        }
        Ok(())
    }

    pub(super) async fn heal(self, world: &mut World) {
        if let Database::Postgres(postgres, link) = &mut world.database {
            link.carry(Flow::Both);
            if self == Self::Killed {
                postgres.resume().await;
            }
        }
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
