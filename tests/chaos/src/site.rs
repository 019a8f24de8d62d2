//! Where a world runs: which Redis, and how durable its writes are said to be.

mod cluster;
mod pair;
mod single;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use paceline_local::private_redis::Address;
use paceline_testkit::resp::{self, Reply};

use serde::{Deserialize, Serialize};

pub use cluster::ClusterSite;
pub use pair::PairSite;
pub use single::SingleSite;

/// How long a Redis may take for what is asked of it.
pub(crate) const REDIS_MAX: Duration = Duration::from_secs(60);

/// What is promised, and by which Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ground {
    /// One Redis, `everysec`.
    Local,
    /// One Redis, `always`.
    Fsync,
    /// A primary and a replica behind sentinels, `everysec`.
    LocalPair,
    /// The same, `always` on both.
    ReplicatedPair,
    /// Three primaries with a replica each, `always`.
    ReplicatedCluster,
}

impl Ground {
    pub const ALL: [Self; 5] = [
        Self::Fsync,
        Self::Local,
        Self::ReplicatedPair,
        Self::LocalPair,
        Self::ReplicatedCluster,
    ];

    /// The level as settings have it.
    #[must_use]
    pub const fn durability(self) -> &'static str {
        match self {
            Self::Local | Self::LocalPair => "local",
            Self::Fsync => "fsync",
            Self::ReplicatedPair | Self::ReplicatedCluster => "replicated",
        }
    }

    /// Whether no acknowledged message may be lost or doubled whatever happens to Redis.
    #[must_use]
    pub const fn keeps_all(self) -> bool {
        !matches!(self, Self::Local | Self::LocalPair)
    }

    /// The name that people read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Fsync => "fsync",
            Self::LocalPair => "local, Sentinel",
            Self::ReplicatedPair => "replicated, Sentinel",
            Self::ReplicatedCluster => "replicated, Cluster",
        }
    }

    /// Whether the ledger is a PostgreSQL, as in production, or an SQLite file.
    #[must_use]
    pub const fn has_postgres(self) -> bool {
        !matches!(self, Self::Local | Self::LocalPair)
    }

    const fn append_fsync(self) -> &'static str {
        if self.keeps_all() { "always" } else { "everysec" }
    }
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The Redis of a world; it goes with the value.
#[derive(Debug)]
pub enum Site {
    Single(SingleSite),
    Pair(Box<PairSite>),
    Cluster(ClusterSite),
}

impl Site {
    pub async fn start(ground: Ground) -> Self {
        match ground {
            Ground::Local | Ground::Fsync => Self::Single(SingleSite::start(ground.append_fsync()).await),
            Ground::LocalPair | Ground::ReplicatedPair => {
                Self::Pair(Box::new(PairSite::start(ground.append_fsync()).await))
            }
            Ground::ReplicatedCluster => Self::Cluster(ClusterSite::start().await),
        }
    }

    /// By which services reach it, if nothing lies between.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Single(single) => single.redis.url().to_owned(),
            Self::Pair(pair) => pair.sentinels.url(),
            Self::Cluster(cluster) => cluster.url(),
        }
    }

    /// The settings of the section `[redis]` beside the URL.
    #[must_use]
    pub fn settings(&self, ground: Ground) -> String {
        let (shards, replicas) = match (self, ground) {
            (Self::Cluster(_), _) => (16, 1),
            (_, Ground::ReplicatedPair) => (1, 1),
            _ => (1, 0),
        };
        format!(
            "durability = \"{}\"\nshards = {shards}\nreplicas = {replicas}\ncommand_timeout = \"500ms\"\nlog = \"ledger\"\n",
            ground.durability()
        )
    }

    /// The servers that answer for keys now.
    async fn primaries(&self) -> Vec<Address> {
        match self {
            Self::Single(single) => vec![single.redis.server().address().clone()],
            Self::Pair(pair) => vec![Address::Loopback(pair.sentinels.primary().await)],
            Self::Cluster(cluster) => cluster.primaries().await,
        }
    }

    /// One command at every primary, in any order.
    ///
    /// # Errors
    /// If one can't be reached, or answers an error.
    pub async fn everywhere(&self, words: &[&str]) -> anyhow::Result<Vec<Reply>> {
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        let mut replies = Vec::new();
        for address in self.primaries().await {
            let reply = resp::command(&address, &words).await?;
            if let Reply::Error(error) = &reply {
                anyhow::bail!("redis: {error}");
            }
            replies.push(reply);
        }
        Ok(replies)
    }

    /// Which places name which messages: the sorted sets of waiting ids, and the requests.
    ///
    /// # Errors
    /// If Redis can't be asked.
    pub async fn places(&self) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
        let mut places = BTreeMap::new();
        for address in self.primaries().await {
            crate::places::read(&address, &mut places).await?;
        }
        Ok(places)
    }
}
