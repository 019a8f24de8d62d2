//! What stands around the way of mail: the ledger, and the provider's events.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use paceline_local::events::{EventAction, EventFault};
use paceline_testkit::link::Flow;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::lasts;
use crate::site::Ground;
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

/// Holds SQLite's lock until its input ends. Python is there for other tests, too, and has SQLite.
const LOCKS: &str = "
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
database.execute('BEGIN EXCLUSIVE')
print('locked', flush=True)
sys.stdin.read()
database.execute('ROLLBACK')
";

/// What happens to PostgreSQL, or to the link that leads to it, or to SQLite's file.
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
    /// Somebody else holds the lock of an SQLite file.
    Locked,
}

impl Ledger {
    pub const ALL: [Self; 5] = [
        Self::Killed,
        Self::Slow,
        Self::Silent,
        Self::AnswersLost,
        Self::Locked,
    ];

    /// Which database it may happen to.
    pub(super) const fn fits(self, ground: Ground) -> bool {
        ground.has_postgres() != matches!(self, Self::Locked)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed, and away for 2 s",
            Self::Slow => "slow",
            Self::Silent => "silent for longer than its timeout",
            Self::AnswersLost => "its answers lost for longer than its timeout",
            Self::Locked => "SQLite's file locked for longer than its timeout",
        }
    }

    pub(super) async fn strike(self, world: &mut World) -> anyhow::Result<()> {
        let (postgres, link) = match &mut world.database {
            Database::Sqlite(url) if self == Self::Locked => return locks(url).await,
            Database::Postgres(postgres, link) if self != Self::Locked => (postgres, link),
            database => bail!("{} does not fit {database:?}", self.name()),
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
            Self::Silent | Self::AnswersLost | Self::Locked => {
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

/// Holds the lock of the file for a while.
async fn locks(url: &str) -> anyhow::Result<()> {
    let file = url.strip_prefix("sqlite:").context("a URL of SQLite")?;
    let mut holder = Command::new("python3")
        .args(["-c", LOCKS, file])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("can't start python3")?;
    let output = BufReader::new(holder.stdout.take().context("stdout was asked for")?);
    let said = output.lines().next_line().await?;
    ensure!(
        said.as_deref() == Some("locked"),
        "the file can't be locked: {said:?}"
    );
    lasts(UNHEARD).await;
    drop(holder.stdin.take());
    let status = holder.wait().await?;
    ensure!(status.success(), "the lock's holder ended with {status}");
    Ok(())
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
