//! A Cluster that says nothing for longer than it takes to connect anew: the store goes on once it is back.

use std::time::Duration;

use paceline_store::{Store, StoreConfig};
use paceline_testkit::{RedisCluster, eventually};

use crate::SHARDS;
use crate::support::{config, id};

/// Several attempts to connect anew fail in it: each waits for a command's answer.
const SILENCE: Duration = Duration::from_secs(8);
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_cluster_that_was_silent_while_it_was_connected_to_anew_is_used_again() {
    let cluster = RedisCluster::start().await;
    let hasty = StoreConfig {
        command_timeout: Duration::from_millis(300),
        ..config(cluster.url(), SHARDS)
    };
    let store = Store::connect(&hasty).await.expect("safe");
    store.get(id(1)).await.expect("it answers");
    cluster.freeze();
    let began = tokio::time::Instant::now();
    eventually("the silence is long", PATIENCE, || async {
        let answer = store.get(id(1)).await;
        assert!(answer.is_err(), "{answer:?}");
        let silent = began.elapsed();
        if silent >= SILENCE { Ok(()) } else { Err(silent) }
    })
    .await;
    cluster.thaw();
    eventually("the store goes on", PATIENCE, || store.get(id(1))).await;
}
