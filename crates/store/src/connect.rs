//! What is checked before Redis is trusted with mail, at the start and after each reconnection.
//!
//! A promoted replica brings its own settings (one that evicts was seen), so that a check at the start alone is none.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::{
    ClientLike, ClusterInterface, ConfigInterface, EventInterface, HashesInterface, ServerInterface,
};
use fred::types::InfoKind;
use fred::types::config::Server;
use tokio::sync::broadcast::error::RecvError;

use crate::keys::META;
use crate::link::Link;
use crate::{StoreConfig, StoreError};

/// `#!lua` with flags, functions and the streams' counters need it.
const VERSION_MIN: u32 = 7;
/// The format of all that is stored.
const FORMAT: &str = "1";

/// Until a check that got no answer is made again.
const RECHECK_PAUSE: Duration = Duration::from_secs(1);

/// Whether the Redis at the other end may be used. Clones share the finding.
#[derive(Clone)]
pub(crate) struct Guard {
    problem: Arc<Mutex<Option<StoreError>>>,
}

impl Guard {
    /// Checks now, and again after each reconnection for as long as the client lives.
    pub(crate) async fn new(link: &Link, config: &StoreConfig) -> Result<Self, StoreError> {
        let guard = Self {
            problem: Arc::default(),
        };
        let reconnections = link.client().reconnect_rx();
        check_nodes(link, config.allow_unsafe).await?;
        let (shared, link, allow_unsafe) = (guard.clone(), link.clone(), config.allow_unsafe);
        tokio::spawn(shared.watch(link, reconnections, allow_unsafe));
        Ok(guard)
    }

    /// # Errors
    /// The setting that makes this Redis unsafe.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        problem.clone().map_or(Ok(()), Err)
    }

    async fn watch(
        self,
        link: Link,
        mut reconnections: tokio::sync::broadcast::Receiver<Server>,
        allow_unsafe: bool,
    ) {
        let mut pause = Duration::MAX;
        loop {
            // After a check without an answer, the time is up before another reconnection may come.
            let event = tokio::time::timeout(pause, reconnections.recv()).await;
            if matches!(event, Ok(Err(RecvError::Closed))) {
                return;
            }
            pause = Duration::MAX;
            let problem = match check_nodes(&link, allow_unsafe).await {
                Ok(()) => None,
                Err(error @ StoreError::Misconfigured { .. }) => {
                    tracing::error!(%error, "redis is not safe any more, nothing is written to it");
                    Some(error)
                }
                Err(error) => {
                    tracing::warn!(%error, "could not check redis after reconnecting");
                    pause = RECHECK_PAUSE;
                    continue;
                }
            };
            *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
        }
    }
}

/// Checks every node that commands go to.
async fn check_nodes(link: &Link, allow_unsafe: bool) -> Result<(), StoreError> {
    let client = link.client();
    if !client.is_clustered() {
        return check_node(link, client, allow_unsafe).await;
    }
    let nodes = client
        .cached_cluster_state()
        .map(|state| state.unique_primary_nodes())
        .unwrap_or_default();
    for node in nodes {
        check_node(link, &client.with_cluster_node(node), allow_unsafe).await?;
    }
    Ok(())
}

async fn check_node<C>(link: &Link, node: &C, allow_unsafe: bool) -> Result<(), StoreError>
where
    C: ServerInterface + ConfigInterface + Sync,
{
    let info: String = link.ask(node.info(Some(InfoKind::Server))).await?;
    let version = info
        .lines()
        .find_map(|line| line.strip_prefix("redis_version:"))
        .unwrap_or_default();
    let major = version.split('.').next().and_then(|major| major.parse().ok());
    if major.is_none_or(|major: u32| major < VERSION_MIN) {
        return Err(StoreError::Misconfigured {
            setting: "redis_version",
            found: version.to_owned(),
            remedy: format!("redis {VERSION_MIN}.0 or later, or Valkey, is needed"),
        });
    }
    if allow_unsafe {
        return Ok(());
    }
    check_setting(link, node, "maxmemory-policy", "noeviction").await?;
    check_setting(link, node, "appendonly", "yes").await
}

async fn check_setting<C>(
    link: &Link,
    node: &C,
    setting: &'static str,
    wanted: &str,
) -> Result<(), StoreError>
where
    C: ConfigInterface + Sync,
{
    let answer: Result<HashMap<String, String>, Error> = link.ask(node.config_get(setting)).await;
    let found = match answer {
        Ok(mut values) => values.remove(setting).unwrap_or_else(|| "not known".to_owned()),
        // Managed services hide CONFIG; what can't be seen can't be trusted by default.
        Err(error) if error.details().starts_with("ERR unknown command") => "not readable".to_owned(),
        Err(error) => return Err(error.into()),
    };
    if found == wanted {
        return Ok(());
    }
    Err(StoreError::Misconfigured {
        setting,
        found,
        remedy: format!(
            "set it with `redis-cli config set {setting} {wanted}` and in redis.conf, \
             or start with redis.allow_unsafe = true on a machine whose mail may be lost"
        ),
    })
}

/// Stores the number of shards if none is stored, and refuses another: messages would be looked for where they are not.
pub(crate) async fn check_shards(link: &Link, shards: u16) -> Result<(), StoreError> {
    for (field, ours) in [("shards", shards.to_string().as_str()), ("format", FORMAT)] {
        let stored = stored_or_set(link.client(), link, field, ours).await?;
        if stored != ours {
            return Err(StoreError::Misconfigured {
                setting: if field == "shards" {
                    "redis.shards"
                } else {
                    "format"
                },
                found: ours.to_owned(),
                remedy: format!("this redis was set up with {field} = {stored}"),
            });
        }
    }
    Ok(())
}

/// Looks first: a full Redis refuses every plain write, and a sender must be able to start on one.
async fn stored_or_set(client: &Client, link: &Link, field: &str, ours: &str) -> Result<String, StoreError> {
    if let Some(stored) = link.ask(client.hget(META, field)).await? {
        return Ok(stored);
    }
    link.ask(client.hsetnx::<(), _, _, _>(META, field, ours)).await?;
    let stored: Option<String> = link.ask(client.hget(META, field)).await?;
    stored.ok_or_else(|| StoreError::bug("a setting that was just stored is not there"))
}
