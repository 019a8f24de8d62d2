//! A primary with a replica, watched by three sentinels.

use paceline_testkit::{Sentinels, TestRedis, eventually};

use super::REDIS_MAX;

/// Two servers, one of which is the primary.
#[derive(Debug)]
pub struct PairSite {
    servers: [TestRedis; 2],
    // Known after a crash, too.
    ports: [u16; 2],
    pub(super) sentinels: Sentinels,
    crashed: Option<usize>,
    frozen: Option<usize>,
}

impl PairSite {
    pub(super) async fn start(append_fsync: &str) -> Self {
        let settings = [("appendfsync", append_fsync)];
        let (primary, replica) = (
            TestRedis::on_loopback(&settings).await,
            TestRedis::on_loopback(&settings).await,
        );
        replica.replicate(&primary).await;
        let sentinels = Sentinels::start(&primary, &replica).await;
        Self {
            ports: [primary.port(), replica.port()],
            servers: [primary, replica],
            sentinels,
            crashed: None,
            frozen: None,
        }
    }

    /// Which of the two the sentinels name.
    pub async fn primary(&self) -> usize {
        let port = self.sentinels.primary().await;
        usize::from(self.ports[0] != port)
    }

    /// Crashes the primary; returns which one that was.
    pub async fn crash_primary(&mut self) -> usize {
        let primary = self.primary().await;
        self.servers[primary].crash().await;
        self.crashed = Some(primary);
        primary
    }

    /// Freezes the primary, as if its machine had lost the network; returns which one that was.
    pub async fn freeze_primary(&mut self) -> usize {
        let primary = self.primary().await;
        self.servers[primary].freeze();
        self.frozen = Some(primary);
        primary
    }

    /// Lets what is frozen go on.
    pub fn thaw(&mut self) {
        if let Some(server) = self.frozen.take() {
            self.servers[server].thaw();
        }
    }

    /// Cuts the replica off: what is written then is not on it.
    pub async fn freeze_replica(&mut self) -> usize {
        let replica = 1 - self.primary().await;
        self.servers[replica].freeze();
        self.frozen = Some(replica);
        replica
    }

    /// Waits until the sentinels name the other one.
    pub async fn fails_over_from(&self, old: usize) {
        eventually("the replica is the primary", REDIS_MAX, || async {
            let primary = self.primary().await;
            (primary != old).then_some(()).ok_or(primary)
        })
        .await;
    }

    /// Brings back what is away, and waits until the primary has its replica.
    pub async fn heal(&mut self) {
        self.thaw();
        if let Some(server) = self.crashed.take() {
            self.servers[server].start_again().await;
        }
        self.is_whole().await;
    }

    /// Waits until the primary has its replica.
    async fn is_whole(&self) {
        eventually("the primary has its replica", REDIS_MAX, || async {
            let primary = &self.servers[self.primary().await];
            let info = primary.command(&["INFO", "replication"]).await.bytes();
            let info = String::from_utf8_lossy(&info).into_owned();
            let whole = info.contains("role:master") && info.contains("state=online");
            whole.then_some(()).ok_or(info)
        })
        .await;
    }
}
