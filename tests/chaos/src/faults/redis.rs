//! What Redis may do: end, forget, refuse, be slow, fail over.

use std::time::Duration;

use anyhow::{Context as _, bail};

use super::lasts;
use crate::site::{Ground, Site};
use crate::world::World;

/// How long Redis refuses, or is slow, or is cut off.
const AWHILE: Duration = Duration::from_secs(2);
/// Pauses of a slow Redis, and what lies between two.
const PAUSE_MS: &str = "250";
const BETWEEN: Duration = Duration::from_millis(300);
const PAUSES: usize = 8;
/// What a Redis that syncs once a second may not have on its disk when the power fails.
const UNSYNCED: Duration = Duration::from_secs(1);

/// One kind of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisFault {
    /// SIGTERM, then a start on what is on the disk.
    Restart,
    /// SIGKILL, then a start on what is on the disk.
    Kill,
    /// The same, and the disk lacks the last second: what had not been synced.
    PowerFails,
    ScriptFlush,
    OutOfMemory,
    Slow,
    /// SIGSTOP, SIGCONT.
    Hangs,
    /// The primary is killed, its replica promoted; it comes back as a replica.
    Failover,
    /// The primary says nothing until its replica is promoted, and then finds that it is none any more.
    FrozenPrimary,
    /// The replica lags by a second when it is promoted.
    LaggingFailover,
    /// The replica says nothing for a while.
    ReplicaHangs,
}

impl RedisFault {
    pub const ALL: [Self; 11] = [
        Self::Restart,
        Self::Kill,
        Self::PowerFails,
        Self::ScriptFlush,
        Self::OutOfMemory,
        Self::Slow,
        Self::Hangs,
        Self::Failover,
        Self::FrozenPrimary,
        Self::LaggingFailover,
        Self::ReplicaHangs,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Kill => "SIGKILL",
            Self::PowerFails => "power failure, the last second not synced",
            Self::ScriptFlush => "SCRIPT FLUSH",
            Self::OutOfMemory => "OOM",
            Self::Slow => "slow",
            Self::Hangs => "hangs",
            Self::Failover => "failover",
            Self::FrozenPrimary => "failover from a frozen primary",
            Self::LaggingFailover => "failover to a replica that lags",
            Self::ReplicaHangs => "replica hangs",
        }
    }

    pub(super) const fn fits(self, ground: Ground) -> bool {
        let is_single = matches!(ground, Ground::Local | Ground::Fsync);
        let is_pair = matches!(ground, Ground::LocalPair | Ground::ReplicatedPair);
        match self {
            Self::Restart | Self::Kill | Self::OutOfMemory | Self::Hangs => is_single,
            // What `always` has answered is synced.
            Self::PowerFails => matches!(ground, Ground::Local),
            Self::ScriptFlush | Self::Slow => true,
            Self::Failover | Self::FrozenPrimary => !is_single,
            Self::LaggingFailover | Self::ReplicaHangs => is_pair,
        }
    }

    /// Whether a Redis that does not wait for its disk, or its replica, forgets by it what it has answered.
    #[must_use]
    pub const fn loses_writes(self) -> bool {
        matches!(
            self,
            Self::Kill | Self::PowerFails | Self::Failover | Self::FrozenPrimary | Self::LaggingFailover
        )
    }

    pub(super) async fn strike(self, world: &mut World) -> anyhow::Result<()> {
        match (self, &mut world.site) {
            (Self::ScriptFlush, site) => {
                for _ in 0..PAUSES {
                    site.everywhere(&["SCRIPT", "FLUSH", "SYNC"]).await?;
                    lasts(BETWEEN).await;
                }
            }
            (Self::Slow, site) => {
                for _ in 0..PAUSES {
                    site.everywhere(&["CLIENT", "PAUSE", PAUSE_MS, "ALL"]).await?;
                    lasts(BETWEEN).await;
                }
            }
            (Self::Restart, Site::Single(single)) => single.redis.stop().await,
            (Self::Kill, Site::Single(single)) => single.redis.crash().await,
            (Self::PowerFails, Site::Single(single)) => {
                let synced = single.written().await?;
                lasts(UNSYNCED).await;
                single.redis.crash().await;
                synced.cut()?;
            }
            (Self::OutOfMemory, Site::Single(single)) => {
                single.redis.configure("maxmemory", "1").await;
                lasts(AWHILE).await;
            }
            (Self::Hangs, Site::Single(single)) => {
                single.redis.freeze();
                lasts(AWHILE).await;
            }
            (_, Site::Pair(pair)) => self.strike_pair(pair).await,
            (_, Site::Cluster(cluster)) => self.strike_cluster(cluster).await?,
            (_, Site::Single(_)) => bail!("a single redis does not fail over"),
        }
        Ok(())
    }

    async fn strike_pair(self, pair: &mut crate::site::PairSite) {
        match self {
            Self::FrozenPrimary => {
                let old = pair.freeze_primary().await;
                pair.fails_over_from(old).await;
            }
            Self::LaggingFailover => {
                pair.freeze_replica().await;
                lasts(UNSYNCED).await;
                let old = pair.crash_primary().await;
                pair.thaw();
                pair.fails_over_from(old).await;
            }
            Self::ReplicaHangs => {
                pair.freeze_replica().await;
                lasts(AWHILE).await;
            }
            _ => {
                let old = pair.crash_primary().await;
                pair.fails_over_from(old).await;
            }
        }
    }

    async fn strike_cluster(self, cluster: &mut crate::site::ClusterSite) -> anyhow::Result<()> {
        let primaries = cluster.primary_numbers().await;
        let old = *primaries.first().context("a primary")?;
        if self == Self::FrozenPrimary {
            cluster.freeze(old);
        } else {
            cluster.crash(old).await;
        }
        cluster.fails_over_from(old).await;
        Ok(())
    }

    pub(super) async fn heal(self, world: &mut World) {
        match &mut world.site {
            Site::Single(single) => match self {
                Self::Restart | Self::Kill | Self::PowerFails => single.redis.start_again().await,
                Self::OutOfMemory => single.redis.configure("maxmemory", "0").await,
                Self::Hangs => single.redis.thaw(),
                _ => {}
            },
            Site::Pair(pair) => pair.heal().await,
            Site::Cluster(cluster) => cluster.heal().await,
        }
    }
}
