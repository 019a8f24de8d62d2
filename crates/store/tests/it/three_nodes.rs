//! Three nodes with 16 shards. A Cluster takes seconds to form, so that the tests share one, one after the other: each waits
//! for its turn and finds it empty and as it was set up. It goes with the last test that holds it or waits for it.

use std::ops::Deref;
use std::sync::{Arc, Weak};

use paceline_testkit::{Proxy, RedisCluster};
use tokio::sync::{Mutex, OwnedMutexGuard};

pub(crate) const SHARDS: u16 = 16;
/// The shard of the tests' messages, and the hash tag of its keys: a shard of the last node, while a client asks the first.
pub(crate) const SHARD: u16 = 11;
pub(crate) const TAG: &str = "{pl1:11.13}";
const NODE: usize = 2;

/// What tests change, and how the nodes are set up.
const SETTINGS: [(&str, &str); 4] = [
    ("maxmemory", "0"),
    ("maxmemory-policy", "noeviction"),
    ("appendonly", "yes"),
    ("min-replicas-to-write", "0"),
];

static SHARED: Mutex<Weak<Mutex<RedisCluster>>> = Mutex::const_new(Weak::new());

/// The Cluster, for as long as it is this test's turn.
pub(crate) struct Servers(OwnedMutexGuard<RedisCluster>);

impl Servers {
    pub(crate) async fn start() -> Self {
        let cluster = shared().await.lock_owned().await;
        for (name, value) in SETTINGS {
            cluster.configure(name, value).await;
        }
        cluster.announce(NODE, None).await;
        let allow = ["ACL", "SETUSER", "default", "+@all"];
        cluster.on_every_node(&allow).await;
        for forget in [["FLUSHALL", "SYNC"], ["SCRIPT", "FLUSH"], ["CONFIG", "RESETSTAT"]] {
            cluster.on_every_node(&forget).await;
        }
        Self(cluster)
    }
}

impl Deref for Servers {
    type Target = RedisCluster;

    fn deref(&self) -> &RedisCluster {
        &self.0
    }
}

async fn shared() -> Arc<Mutex<RedisCluster>> {
    let mut shared = SHARED.lock().await;
    if let Some(cluster) = shared.upgrade() {
        return cluster;
    }
    let cluster = Arc::new(Mutex::new(RedisCluster::start().await));
    *shared = Arc::downgrade(&cluster);
    cluster
}

/// A proxy before the node that holds [`SHARD`], and the URL for a store that goes through it: the Cluster names the proxy in
/// the node's place.
pub(crate) async fn through_a_proxy(redis: &Servers) -> (Proxy, String) {
    let proxy = Proxy::start(redis.nodes()[NODE].address().clone()).await;
    redis.announce(NODE, Some(proxy.port())).await;
    let url = proxy.url().replace("redis://", "redis-cluster://");
    (proxy, url)
}
