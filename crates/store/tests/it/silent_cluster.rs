//! A Cluster that says nothing for longer than it takes to connect anew: the store goes on once it is back.

use std::time::Duration;

use futures_util::future::join_all;
use paceline_store::{Store, StoreConfig, StoreError};
use paceline_testkit::resp::Reply;
use paceline_testkit::{RedisCluster, eventually};

use crate::SHARDS;
use crate::connect::is_refused;
use crate::support::{config, id};
use crate::three_nodes::{Servers, through_a_proxy};

/// Several attempts to connect anew fail in it: each waits for a command's answer.
const SILENCE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);
/// Calls that are under way at a time: some are written and some are queued when the connections are made anew.
const CALLERS: u8 = 100;
/// More than that none of a store's clients may leave open once all is well: those of a client that was replaced are closed.
const CLIENTS_MAX: usize = 3 * 4;

/// To the one node that was gone, once it is back: of the clients for commands, reads and hints, and of those whose place they take.
const MADE_MAX: u64 = 2 * 3;

/// The clients of all nodes, without the one that asks.
async fn clients(cluster: &RedisCluster) -> usize {
    let lists = cluster.on_every_node(&["CLIENT", "LIST", "TYPE", "NORMAL"]).await;
    let lines = |list: Reply| String::from_utf8_lossy(&list.bytes()).lines().count() - 1;
    lists.into_iter().map(lines).sum()
}

fn hasty(url: &str) -> StoreConfig {
    StoreConfig {
        command_timeout: Duration::from_millis(300),
        ..config(url, SHARDS)
    }
}

/// Many calls at a time, each as often as it fails, until the silence has lasted.
async fn call_into_the_silence(store: &Store) {
    let began = tokio::time::Instant::now();
    let calls = (1..=CALLERS).map(|number| async move {
        while began.elapsed() < SILENCE {
            // Some reach a node that answers.
            let _ = store.get(id(number)).await;
        }
    });
    join_all(calls).await;
}

/// Every shard answers, one call after the other, and what was replaced is closed.
async fn goes_on(store: &Store, cluster: &RedisCluster) {
    eventually("the store goes on", PATIENCE, || async {
        for number in 1..=CALLERS {
            store.get(id(number)).await?;
        }
        Ok::<(), StoreError>(())
    })
    .await;
    eventually("no connection is left behind", PATIENCE, || async {
        let open = clients(cluster).await;
        (open <= CLIENTS_MAX).then_some(()).ok_or(open)
    })
    .await;
}

#[tokio::test]
async fn a_cluster_that_was_silent_while_it_was_connected_to_anew_is_used_again() {
    let cluster = RedisCluster::start().await;
    let store = Store::connect(&hasty(cluster.url())).await.expect("safe");
    store.get(id(1)).await.expect("it answers");
    cluster.freeze();
    call_into_the_silence(&store).await;
    cluster.thaw();
    goes_on(&store, &cluster).await;
}

/// As in a failover: two nodes answer, and the third is named by them and gone.
#[tokio::test]
async fn a_cluster_of_which_one_node_was_gone_is_used_again() {
    let redis = Servers::start().await;
    let (proxy, _) = through_a_proxy(&redis).await;
    let store = Store::connect(&hasty(redis.url())).await.expect("safe");
    store.get(id(1)).await.expect("it answers");
    proxy.silence();
    proxy.refuse();
    call_into_the_silence(&store).await;
    let before = proxy.connections();
    proxy.redirect(redis.nodes()[2].address().clone());
    goes_on(&store, &redis).await;
    let made = proxy.connections() - before;
    assert!(made <= MADE_MAX, "{made}");
}

#[tokio::test]
async fn what_takes_a_client_s_place_is_checked_as_at_the_start() {
    let redis = Servers::start().await;
    let (proxy, _) = through_a_proxy(&redis).await;
    let store = Store::connect(&hasty(redis.url())).await.expect("safe");
    proxy.silence();
    proxy.refuse();
    redis.configure("maxmemory-policy", "allkeys-lru").await;
    call_into_the_silence(&store).await;
    proxy.redirect(redis.nodes()[2].address().clone());
    is_refused(&store).await;
}
