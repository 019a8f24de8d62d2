//! What may go wrong, each with a name. A fault is armed before mail flows, struck while it flows, and healed; only then the time to
//! recover begins.
//!
//! Several faults may be under way at one time: they are healed in the reverse order, so that what a process needs is there again
//! before it starts.

mod around;
mod ends;
mod network;
mod provider;
mod redis;
mod replaced;

use std::time::Duration;

pub use around::{Ledger, Webhook};
pub use ends::{End, How, Point, When};
pub use network::{Partition, Side};
pub use provider::Trouble;
pub use redis::RedisFault;
pub use replaced::Replaced;

use crate::site::Ground;
use crate::world::World;

/// One fault.
#[derive(Clone, Debug)]
pub enum Fault {
    /// A good day.
    None,
    /// A process ends, or stands still.
    End(End),
    Provider(Trouble),
    Redis(RedisFault),
    Partition(Partition),
    Ledger(Ledger),
    Webhook(Webhook),
    /// None, but an upgrade.
    Replaced(Replaced),
}

impl Fault {
    /// The row of the report that it belongs to.
    #[must_use]
    pub fn group(&self) -> String {
        match self {
            Self::None => "no fault".to_owned(),
            Self::End(end) => end.group(),
            Self::Provider(trouble) => format!("provider: {}", trouble.name()),
            Self::Redis(fault) => format!("Redis: {}", fault.name()),
            Self::Partition(partition) => partition.group(),
            Self::Ledger(ledger) => format!("ledger: {}", ledger.name()),
            Self::Webhook(webhook) => format!("webhooks: {}", webhook.name()),
            Self::Replaced(replaced) => replaced.group(),
        }
    }

    /// Which one exactly.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::End(end) => end.name(),
            Self::Partition(partition) => partition.name(),
            Self::Replaced(replaced) => replaced.name(),
            other => other.group(),
        }
    }

    /// Whether there is anything of that kind on that ground.
    #[must_use]
    pub fn fits(&self, ground: Ground) -> bool {
        match self {
            Self::Redis(fault) => fault.fits(ground),
            Self::End(end) => end.fits(ground),
            Self::Partition(partition) => partition.fits(ground),
            Self::Ledger(ledger) => ledger.fits(ground),
            _ => true,
        }
    }

    /// # Errors
    /// If the world does not let it.
    pub async fn arm(&self, world: &mut World) -> anyhow::Result<()> {
        match self {
            Self::End(end) => end.arm(world),
            Self::Webhook(webhook) => webhook.arm(world),
            Self::Provider(trouble) => {
                trouble.arm(world);
                Ok(())
            }
            Self::None | Self::Redis(_) | Self::Partition(_) | Self::Ledger(_) | Self::Replaced(_) => Ok(()),
        }
    }

    /// False if the point at which it was to happen is never met.
    ///
    /// # Errors
    /// If the world does not let it.
    pub async fn strike(&self, world: &mut World) -> anyhow::Result<bool> {
        match self {
            Self::End(end) => return end.strike(world).await,
            Self::Provider(trouble) => trouble.strike(world).await,
            Self::Redis(fault) => fault.strike(world).await?,
            Self::Partition(partition) => partition.strike(world).await?,
            Self::Ledger(ledger) => ledger.strike(world).await?,
            Self::Replaced(replaced) => replaced.strike(world).await?,
            Self::None | Self::Webhook(_) => {}
        }
        Ok(true)
    }

    /// # Errors
    /// If what is needed does not come back.
    pub async fn heal(&self, world: &mut World) -> anyhow::Result<()> {
        match self {
            Self::End(end) => end.heal(world).await,
            Self::Partition(partition) => partition.heal(world),
            Self::Provider(trouble) => {
                trouble.heal(world);
                Ok(())
            }
            Self::Redis(fault) => {
                fault.heal(world).await;
                Ok(())
            }
            Self::Ledger(ledger) => {
                ledger.heal(world).await;
                Ok(())
            }
            Self::Webhook(_) | Self::Replaced(_) | Self::None => Ok(()),
        }
    }
}

/// For how long a fault goes on.
pub(crate) async fn lasts(duration: Duration) {
    tokio::time::sleep(duration).await;
}
