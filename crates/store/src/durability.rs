//! When a write counts as kept, and what Redis must be like for that.
//!
//! A level is a property of the deployment; a call may ask for more. What each level needs of every node is judged here, from
//! what the nodes say of themselves, so that it can be tested without any.

use std::fmt;
use std::str::FromStr;

use crate::StoreError;

/// What an acknowledgement promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// Answered by the primary: a killed Redis may lose what its append-only file had not on disk, up to 2 s with `everysec`.
    Local,
    /// On the disk of a Redis that has no failover.
    Fsync,
    /// On the disk of the primary and of every replica that may be promoted.
    Replicated,
}

/// How a level is reached once a script is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The answer itself says it.
    Nothing,
    /// `WAIT` for this many replicas.
    Replicas(u32),
    /// `WAITAOF` for the primary and this many replicas (Redis 7.2, Valkey).
    Disks(u32),
}

/// How Redis is reached, which decides whether it may fail over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topology {
    Standalone,
    Sentinel,
    Cluster,
}

/// What one node says of itself. `None` for a setting that it does not show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeFacts {
    pub(crate) version: String,
    pub(crate) policy: Option<String>,
    pub(crate) append_only: Option<String>,
    pub(crate) append_fsync: Option<String>,
    pub(crate) no_fsync_on_rewrite: Option<String>,
}

/// A primary with its replicas that are online.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShardFacts {
    pub(crate) primary: NodeFacts,
    pub(crate) replicas: Vec<NodeFacts>,
    /// Replicas that the primary has and that did not answer us.
    pub(crate) silent: usize,
}

/// `#!lua` with flags, functions and the streams' counters need it.
const VERSION_MIN: (u32, u32) = (7, 0);
/// `WAITAOF` needs it.
const VERSION_WAITAOF: (u32, u32) = (7, 2);

/// How `level` is reached on these nodes.
///
/// # Errors
/// The setting that stands in the way.
pub(crate) fn judge(
    level: Durability,
    topology: Topology,
    replicas: u32,
    shards: &[ShardFacts],
) -> Result<Wait, StoreError> {
    let nodes = || shards.iter().flat_map(ShardFacts::nodes);
    nodes().try_for_each(NodeFacts::keeps_mail)?;
    match level {
        Durability::Local => return Ok(Wait::Nothing),
        Durability::Fsync if topology != Topology::Standalone => {
            return Err(misconfigured(
                "redis.durability",
                "fsync with a failover",
                "a promoted replica may not have what the primary had on disk: set it to replicated",
            ));
        }
        Durability::Fsync => {}
        Durability::Replicated if replicas == 0 => {
            return Err(misconfigured(
                "redis.replicas",
                "0",
                "level replicated waits for replicas: set it to how many each primary has",
            ));
        }
        Durability::Replicated => {
            if shards.iter().any(|shard| shard.silent > 0) {
                return Err(StoreError::unavailable(
                    "a replica does not answer, so that its settings are not known",
                ));
            }
            let most = shards.iter().map(|shard| shard.replicas.len()).max().unwrap_or(0);
            if most > replicas as usize {
                return Err(misconfigured(
                    "redis.replicas",
                    &replicas.to_string(),
                    &format!("a primary has {most}, and each that may be promoted must be waited for"),
                ));
            }
        }
    }
    let replicas = if level == Durability::Fsync { 0 } else { replicas };
    let Err(unsynced) = nodes().try_for_each(NodeFacts::syncs_before_it_answers) else {
        return Ok(if replicas == 0 {
            Wait::Nothing
        } else {
            Wait::Replicas(replicas)
        });
    };
    if nodes().all(|node| node.version() >= Some(VERSION_WAITAOF)) {
        return Ok(Wait::Disks(replicas));
    }
    Err(unsynced)
}

impl ShardFacts {
    fn nodes(&self) -> impl Iterator<Item = &NodeFacts> {
        std::iter::once(&self.primary).chain(&self.replicas)
    }
}

impl NodeFacts {
    /// # Errors
    /// If it is too old.
    pub(crate) fn is_new_enough(&self) -> Result<(), StoreError> {
        if self.version() >= Some(VERSION_MIN) {
            return Ok(());
        }
        Err(misconfigured(
            "redis_version",
            &self.version,
            "redis 7.0 or later, or Valkey, is needed",
        ))
    }

    fn version(&self) -> Option<(u32, u32)> {
        let mut numbers = self.version.split('.').map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    }

    fn keeps_mail(&self) -> Result<(), StoreError> {
        self.is_new_enough()?;
        is_set("maxmemory-policy", self.policy.as_deref(), "noeviction")?;
        is_set("appendonly", self.append_only.as_deref(), "yes")
    }

    fn syncs_before_it_answers(&self) -> Result<(), StoreError> {
        is_set("appendfsync", self.append_fsync.as_deref(), "always")?;
        is_set(
            "no-appendfsync-on-rewrite",
            self.no_fsync_on_rewrite.as_deref(),
            "no",
        )
    }
}

/// Managed services hide settings; what can't be seen can't be trusted by default.
fn is_set(setting: &'static str, found: Option<&str>, wanted: &str) -> Result<(), StoreError> {
    if found == Some(wanted) {
        return Ok(());
    }
    Err(StoreError::Misconfigured {
        setting,
        found: found.unwrap_or("not readable").to_owned(),
        remedy: format!(
            "set it with `redis-cli config set {setting} {wanted}` and in redis.conf of every node, \
             or start with redis.allow_unsafe = true on a machine whose mail may be lost"
        ),
    })
}

fn misconfigured(setting: &'static str, found: &str, remedy: &str) -> StoreError {
    StoreError::Misconfigured {
        setting,
        found: found.to_owned(),
        remedy: remedy.to_owned(),
    }
}

impl Durability {
    pub const ALL: [Self; 3] = [Self::Local, Self::Fsync, Self::Replicated];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Fsync => "fsync",
            Self::Replicated => "replicated",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No level has that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is none of local, fsync, replicated")]
pub struct UnknownDurability;

impl FromStr for Durability {
    type Err = UnknownDurability;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|level| level.as_str() == name)
            .ok_or(UnknownDurability)
    }
}

#[cfg(test)]
mod tests {
    use super::{Durability, NodeFacts, ShardFacts, Topology, Wait, judge};

    fn node(version: &str, append_fsync: &str) -> NodeFacts {
        let said = |value: &str| Some(value.to_owned());
        NodeFacts {
            version: version.to_owned(),
            policy: said("noeviction"),
            append_only: said("yes"),
            append_fsync: said(append_fsync),
            no_fsync_on_rewrite: said("no"),
        }
    }

    fn shard(primary: NodeFacts, replicas: &[NodeFacts]) -> Vec<ShardFacts> {
        vec![ShardFacts {
            primary,
            replicas: replicas.to_vec(),
            silent: 0,
        }]
    }

    /// The setting that is named.
    fn refused(level: Durability, topology: Topology, replicas: u32, shards: &[ShardFacts]) -> String {
        let error = judge(level, topology, replicas, shards).expect_err("refused");
        error.to_string().split(' ').next().unwrap_or_default().to_owned()
    }

    #[test]
    fn each_level_knows_how_it_is_reached() {
        use Durability::{Fsync, Local, Replicated};
        use Topology::{Cluster, Sentinel, Standalone};
        let (old, always) = (node("7.0.15", "everysec"), node("7.0.15", "always"));
        let new = node("7.2.4", "everysec");
        let check = |level, topology, shards: &[ShardFacts], wait| {
            assert_eq!(judge(level, topology, 1, shards).expect("reached"), wait);
        };
        check(Local, Cluster, &shard(old.clone(), &[old]), Wait::Nothing);
        check(Fsync, Standalone, &shard(always.clone(), &[]), Wait::Nothing);
        check(Fsync, Standalone, &shard(new.clone(), &[]), Wait::Disks(0));
        check(
            Replicated,
            Sentinel,
            &shard(always.clone(), std::slice::from_ref(&always)),
            Wait::Replicas(1),
        );
        check(
            Replicated,
            Cluster,
            &shard(node("7.2.4", "always"), &[new]),
            Wait::Disks(1),
        );
        // A replica that is away is missed by each wait, not by the check.
        check(Replicated, Cluster, &shard(always, &[]), Wait::Replicas(1));
    }

    #[test]
    fn what_could_lose_mail_is_named() {
        use Durability::{Fsync, Local, Replicated};
        use Topology::{Cluster, Sentinel, Standalone};
        let (old, always) = (node("7.0.15", "everysec"), node("7.0.15", "always"));
        let evicts = NodeFacts {
            policy: Some("allkeys-lru".to_owned()),
            ..always.clone()
        };
        let hidden = NodeFacts {
            append_only: None,
            ..always.clone()
        };
        let rewrites = NodeFacts {
            no_fsync_on_rewrite: Some("yes".to_owned()),
            ..always.clone()
        };
        let check = |level, topology, replicas, shards: &[ShardFacts], setting: &str| {
            assert_eq!(refused(level, topology, replicas, shards), setting);
        };
        let alone = |node: &NodeFacts| shard(node.clone(), &[]);
        check(
            Local,
            Standalone,
            0,
            &alone(&node("6.2.14", "always")),
            "redis_version",
        );
        check(Local, Standalone, 0, &alone(&evicts), "maxmemory-policy");
        check(Local, Standalone, 0, &alone(&hidden), "appendonly");
        check(
            Local,
            Sentinel,
            0,
            &shard(always.clone(), &[evicts]),
            "maxmemory-policy",
        );
        check(Fsync, Standalone, 0, &alone(&old), "appendfsync");
        check(
            Fsync,
            Standalone,
            0,
            &alone(&rewrites),
            "no-appendfsync-on-rewrite",
        );
        check(Fsync, Sentinel, 0, &alone(&always), "redis.durability");
        check(Fsync, Cluster, 0, &alone(&always), "redis.durability");
        check(Replicated, Cluster, 0, &alone(&always), "redis.replicas");
        let two = [always.clone(), always.clone()];
        check(
            Replicated,
            Cluster,
            1,
            &shard(always.clone(), &two),
            "redis.replicas",
        );
        check(Replicated, Cluster, 1, &shard(always, &[old]), "appendfsync");
    }

    #[test]
    fn levels_have_names_and_an_order() {
        for level in Durability::ALL {
            assert_eq!(level.as_str().parse(), Ok(level));
        }
        assert!("none".parse::<Durability>().is_err());
        assert!(Durability::Local < Durability::Fsync && Durability::Fsync < Durability::Replicated);
    }
}
