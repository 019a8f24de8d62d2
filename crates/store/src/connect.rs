//! What is checked before Redis is trusted with mail, at the start and after each reconnection.
//!
//! A promoted replica brings its own settings (one that evicts was seen), so that a check at the start alone is none.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::{
    ClientLike, ClusterInterface, ConfigInterface, EventInterface, HashesInterface, ServerInterface,
};
use fred::types::InfoKind;
use fred::types::config::Server;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use crate::connections::{ConnectionUse, Connections};
use crate::durability::{Durability, NodeFacts, ShardFacts, Wait, judge};
use crate::keys::META;
use crate::link::{CLOSE_MAX, Link};
use crate::tasks::Tasks;
use crate::{ErrorClass, StoreConfig, StoreError, address};

/// The format of all that is stored.
const FORMAT: &str = "1";

/// Until a check that got no answer is made again.
const RECHECK_PAUSE: Duration = Duration::from_secs(1);

/// Whether the Redis at the other end may be used, and how each durability is reached on it. Clones share the finding.
#[derive(Clone)]
pub(crate) struct Guard {
    level: Durability,
    found: Arc<RwLock<Levels>>,
}

/// How each level of [`Durability::ALL`] is reached, or what stands in its way.
type Levels = [Result<Wait, StoreError>; Durability::ALL.len()];

impl Guard {
    /// Checks now, and again after each reconnection for as long as the client lives.
    pub(crate) async fn new(link: &Link, config: &StoreConfig, tasks: &Tasks) -> Result<Self, StoreError> {
        let mut clients = link.clients();
        let reconnections = clients.borrow_and_update().reconnect_rx();
        let guard = Self {
            level: config.durability,
            found: Arc::new(RwLock::new(levels(link, config).await?)),
        };
        guard.check()?;
        let watching = guard
            .clone()
            .watch(link.clone(), clients, reconnections, config.clone());
        tasks.spawn("guard", watching);
        Ok(guard)
    }

    /// # Errors
    /// The setting that makes this Redis unsafe.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        self.wait(self.level).map(|_| ())
    }

    pub(crate) const fn level(&self) -> Durability {
        self.level
    }

    /// How a write reaches the deployment's level, or the one that is asked for if it is more.
    ///
    /// # Errors
    /// The setting that stands in the way.
    pub(crate) fn wait(&self, asked: Durability) -> Result<Wait, StoreError> {
        let level = asked.max(self.level);
        self.found.read().unwrap_or_else(PoisonError::into_inner)[level as usize].clone()
    }

    async fn watch(
        self,
        link: Link,
        mut clients: watch::Receiver<Client>,
        mut reconnections: broadcast::Receiver<Server>,
        config: StoreConfig,
    ) {
        let mut pause = Duration::MAX;
        loop {
            tokio::select! {
                biased;
                // Before the end of the one that is replaced.
                Ok(()) = clients.changed() => reconnections = clients.borrow_and_update().reconnect_rx(),
                event = reconnections.recv() => if matches!(event, Err(RecvError::Closed)) {
                    if clients.has_changed().unwrap_or(false) {
                        continue;
                    }
                    return;
                },
                // After a check without an answer, the time is up before another reconnection may come.
                () = tokio::time::sleep(pause) => {}
            }
            pause = Duration::MAX;
            match levels(&link, &config).await {
                Ok(levels) => *self.found.write().unwrap_or_else(PoisonError::into_inner) = levels,
                Err(error) => {
                    tracing::warn!(%error, "could not check redis after reconnecting");
                    if error.class() == ErrorClass::Misconfigured {
                        // What can't be looked at any more is no safer than it was before the start.
                        let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
                        *found = Durability::ALL.map(|_| Err(error.clone()));
                    }
                    pause = RECHECK_PAUSE;
                    continue;
                }
            }
            if let Err(error @ StoreError::Unavailable { .. }) = self.check() {
                tracing::warn!(%error, "redis can't be trusted yet");
                pause = RECHECK_PAUSE;
            } else if let Err(error) = self.check() {
                tracing::error!(%error, "redis is not safe any more, nothing is written to it");
            }
        }
    }
}

/// Asks every node, replicas too, and judges what they say.
///
/// # Errors
/// If a node does not answer or is too old.
async fn levels(link: &Link, config: &StoreConfig) -> Result<Levels, StoreError> {
    let shards = shards(link, config).await?;
    let topology = link.topology();
    Ok(Durability::ALL.map(|level| {
        let judged = judge(level, topology, config.replicas, &shards);
        if config.allow_unsafe && level <= config.durability {
            return Ok(judged.unwrap_or(Wait::Nothing));
        }
        judged
    }))
}

async fn shards(link: &Link, config: &StoreConfig) -> Result<Vec<ShardFacts>, StoreError> {
    let client = link.client();
    // What a Cluster or sentinels name is known only now.
    for node in client.active_connections() {
        address::check_password(config, &node)?;
    }
    if !client.is_clustered() {
        return Ok(vec![shard(link, &client, config).await?]);
    }
    let nodes = client
        .cached_cluster_state()
        .map(|state| state.unique_primary_nodes())
        .unwrap_or_default();
    let mut shards = Vec::with_capacity(nodes.len());
    for node in nodes {
        shards.push(shard(link, &client.with_cluster_node(node), config).await?);
    }
    Ok(shards)
}

async fn shard<C>(link: &Link, primary: &C, config: &StoreConfig) -> Result<ShardFacts, StoreError>
where
    C: ServerInterface + ConfigInterface + Sync,
{
    let mut shard = ShardFacts {
        primary: facts(link, primary).await?,
        ..ShardFacts::default()
    };
    shard.primary.is_new_enough()?;
    let info: String = link.ask(primary.info(Some(InfoKind::Replication))).await?;
    for replica in info.lines().filter_map(replica) {
        match replica_facts(link.connections(), &replica, config).await {
            Ok(facts) => shard.replicas.push(facts),
            Err(error) => {
                tracing::warn!(%error, "a replica of redis does not answer, its settings are not known");
                shard.silent += 1;
            }
        }
    }
    Ok(shard)
}

async fn replica_facts(
    connections: &Connections,
    replica: &Server,
    config: &StoreConfig,
) -> Result<NodeFacts, StoreError> {
    let link = Link::open(config, Some(replica), connections, ConnectionUse::Checks).await?;
    let facts = facts(&link, &link.client()).await;
    link.close(CLOSE_MAX).await;
    facts
}

/// The address in a line like `slave0:ip=127.0.0.1,port=6380,state=online,offset=14,lag=1`.
fn replica(line: &str) -> Option<Server> {
    let (name, fields) = line.trim().split_once(':')?;
    let number = name.strip_prefix("slave")?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let field = |name: &str| {
        let mut fields = fields.split(',').filter_map(|field| field.split_once('='));
        fields.find(|(key, _)| *key == name).map(|(_, value)| value)
    };
    if field("state") != Some("online") {
        return None;
    }
    Some(Server::new(field("ip")?, field("port")?.parse().ok()?))
}

async fn facts<C>(link: &Link, node: &C) -> Result<NodeFacts, StoreError>
where
    C: ServerInterface + ConfigInterface + Sync,
{
    let info: String = link.ask(node.info(Some(InfoKind::Server))).await?;
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
    Ok(NodeFacts {
        version: version.unwrap_or_default().trim().to_owned(),
        policy: setting(link, node, "maxmemory-policy").await?,
        append_only: setting(link, node, "appendonly").await?,
        append_fsync: setting(link, node, "appendfsync").await?,
        no_fsync_on_rewrite: setting(link, node, "no-appendfsync-on-rewrite").await?,
    })
}

async fn setting<C>(link: &Link, node: &C, name: &'static str) -> Result<Option<String>, StoreError>
where
    C: ConfigInterface + Sync,
{
    let answer: Result<HashMap<String, String>, Error> = link.ask(node.config_get(name)).await;
    match answer {
        Ok(mut values) => Ok(values.remove(name)),
        Err(error) if error.details().starts_with("ERR unknown command") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Stores the number of shards if none is stored, and refuses another: messages would be looked for where they are not.
pub(crate) async fn check_shards(link: &Link, shards: u16) -> Result<(), StoreError> {
    check_stored(link, "shards", &shards.to_string(), "redis.shards").await?;
    check_stored(link, "format", FORMAT, "format").await
}

/// Holds a setting that all processes share against the one of the first process.
pub(crate) async fn check_stored(
    link: &Link,
    field: &str,
    ours: &str,
    setting: &'static str,
) -> Result<(), StoreError> {
    let stored = stored_or_set(&link.client(), link, field, ours).await?;
    if stored == ours {
        return Ok(());
    }
    Err(StoreError::Misconfigured {
        setting,
        found: ours.to_owned(),
        remedy: format!("this redis was set up with {field} = {stored}"),
    })
}

/// Whether any process has set a setting that all share.
pub(crate) async fn has_stored(link: &Link, field: &str) -> Result<bool, StoreError> {
    let stored: Option<String> = link.ask(link.client().hget(META, field)).await?;
    Ok(stored.is_some())
}

/// Looks first: a full Redis refuses every plain write, and a sender must be able to start on one.
pub(crate) async fn stored_or_set(
    client: &Client,
    link: &Link,
    field: &str,
    ours: &str,
) -> Result<String, StoreError> {
    if let Some(stored) = link.ask(client.hget(META, field)).await? {
        return Ok(stored);
    }
    link.ask(client.hsetnx::<(), _, _, _>(META, field, ours)).await?;
    let stored: Option<String> = link.ask(client.hget(META, field)).await?;
    stored.ok_or_else(|| StoreError::bug("a setting that was just stored is not there"))
}

#[cfg(test)]
mod tests {
    use fred::types::config::Server;

    use super::replica;

    #[test]
    fn replicas_that_are_online_are_found() {
        let line = "slave0:ip=10.0.0.7,port=6380,state=online,offset=14,lag=1\r";
        assert_eq!(replica(line), Some(Server::new("10.0.0.7", 6380)));
        for other in [
            "slave1:ip=10.0.0.7,port=6380,state=wait_bgsave,offset=0,lag=0",
            "slave_repl_offset:14",
            "slave_read_only:1",
            "role:master",
            "",
        ] {
            assert_eq!(replica(other), None, "{other}");
        }
    }
}
