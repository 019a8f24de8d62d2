//! When a write counts as kept. On single servers with replicas of their own; the levels of a Cluster are judged by unit tests.

use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_store::{Durability, Enqueued, ErrorClass, Store, StoreConfig, StoreError};
use paceline_testkit::resp::Reply;
use paceline_testkit::{Proxy, TestRedis, eventually};

use crate::support::{config, id, message, record_key};
use crate::{SHARD, SHARDS};

const PATIENCE: Duration = Duration::from_secs(20);

fn at(url: &str, durability: Durability, replicas: u32) -> StoreConfig {
    StoreConfig {
        durability,
        replicas,
        ..config(url, SHARDS)
    }
}

async fn synced() -> TestRedis {
    TestRedis::on_loopback(&[("appendfsync", "always")]).await
}

async fn has(redis: &TestRedis, id: MessageId) -> bool {
    redis.command(&["EXISTS", &record_key(id)]).await == Reply::Integer(1)
}

fn setting(error: &StoreError) -> &'static str {
    match error {
        StoreError::Misconfigured { setting, .. } => setting,
        other => panic!("a setting expected, not {other}"),
    }
}

#[tokio::test]
async fn what_is_answered_stands_on_the_replica() {
    let (primary, replica) = (synced().await, synced().await);
    replica.replicate(&primary).await;
    let store = Store::connect(&at(primary.url(), Durability::Replicated, 1))
        .await
        .expect("safe");
    for number in 0..50 {
        let answer = store.enqueue(SHARD, vec![message(number)]).await.expect("kept");
        assert!(matches!(answer[0], Enqueued::New(_)));
        assert!(has(&replica, id(number)).await, "{number}");
    }
}

#[tokio::test]
async fn without_the_replica_nothing_is_acknowledged_and_the_retry_is_a_duplicate() {
    let (primary, replica) = (synced().await, synced().await);
    replica.replicate(&primary).await;
    let store = Store::connect(&at(primary.url(), Durability::Replicated, 1))
        .await
        .expect("safe");
    replica.promote().await;
    for _ in 0..2 {
        // A duplicate waits as well: the first call was not told that it is kept.
        let error = store.enqueue(SHARD, vec![message(1)]).await.expect_err("alone");
        assert!(
            matches!(
                error,
                StoreError::NotDurable {
                    replicas: 0,
                    wanted: 1
                }
            ),
            "{error}"
        );
        assert_eq!(error.class(), ErrorClass::Unavailable);
    }
    replica.replicate(&primary).await;
    let answer = eventually("the level is reached again", PATIENCE, || async {
        store.enqueue(SHARD, vec![message(1)]).await
    })
    .await;
    assert!(matches!(answer[0], Enqueued::Duplicate(_)), "{answer:?}");
    assert!(has(&replica, id(1)).await);
}

#[tokio::test]
async fn a_write_that_its_primary_took_along_is_made_again_on_the_next_one() {
    let (primary, next, its_own) = (synced().await, synced().await, synced().await);
    next.replicate(&primary).await;
    its_own.replicate(&next).await;
    let proxy = Proxy::start(primary.server().address().clone()).await;
    let store = Store::connect(&at(&proxy.url(), Durability::Replicated, 1))
        .await
        .expect("safe");
    // The next primary has nothing of what is written from here on, and a replica that answers every wait.
    next.promote().await;
    proxy.redirect(next.server().address().clone());
    let call = tokio::spawn(async move {
        eventually("the message is kept", PATIENCE, || async {
            store.enqueue(SHARD, vec![message(1)]).await
        })
        .await
    });
    eventually("the first primary has it", PATIENCE, || async {
        has(&primary, id(1)).await.then_some(()).ok_or("not yet")
    })
    .await;
    assert!(!has(&next, id(1)).await);
    assert!(!call.is_finished(), "nothing may be acknowledged yet");
    primary.kill().await;
    let answer = call.await.expect("no panic");
    assert!(!answer.is_empty());
    assert!(has(&next, id(1)).await && has(&its_own, id(1)).await);
}

#[tokio::test]
async fn a_disk_is_waited_for_where_the_server_can_be_asked() {
    let redis = TestRedis::valkey(&[("appendfsync", "everysec")]).await;
    let store = Store::connect(&at(redis.url(), Durability::Fsync, 0))
        .await
        .expect("safe");
    let answer = store.enqueue(SHARD, vec![message(1)]).await.expect("kept");
    assert!(matches!(answer[0], Enqueued::New(_)));
    let stats = redis.command(&["INFO", "commandstats"]).await.bytes();
    let stats = String::from_utf8_lossy(&stats).into_owned();
    assert!(stats.contains("cmdstat_waitaof:calls=1,"), "{stats}");

    let replica = TestRedis::valkey(&[("appendfsync", "everysec")]).await;
    replica.replicate(&redis).await;
    let store = Store::connect(&at(redis.url(), Durability::Replicated, 1))
        .await
        .expect("safe");
    // A replica that is new rewrites its file first.
    eventually("the replica's disk has it", PATIENCE, || async {
        store.enqueue(SHARD, vec![message(2)]).await
    })
    .await;
    assert!(has(&replica, id(2)).await);
}

#[tokio::test]
async fn a_level_that_the_servers_do_not_reach_is_refused_by_the_settings_name() {
    let redis = TestRedis::on_loopback(&[("appendfsync", "everysec")]).await;
    let refusal = |durability, replicas| {
        let config = at(redis.url(), durability, replicas);
        async move { Store::connect(&config).await.expect_err("refused") }
    };
    let alone = refusal(Durability::Fsync, 0).await;
    assert_eq!(setting(&alone), "appendfsync");
    assert_eq!(
        setting(&refusal(Durability::Replicated, 0).await),
        "redis.replicas"
    );

    let store = Store::connect(&config(redis.url(), SHARDS)).await.expect("safe");
    assert!(store.reaches(Durability::Local) && !store.reaches(Durability::Fsync));
    let mut asked = message(1);
    asked.durability = Durability::Fsync;
    let error = store.enqueue(SHARD, vec![asked]).await.expect_err("refused");
    assert_eq!(setting(&error), "appendfsync");
    assert!(!has(&redis, id(1)).await);

    let unsafe_replica = TestRedis::on_loopback(&[("maxmemory-policy", "allkeys-lru")]).await;
    unsafe_replica.replicate(&redis).await;
    let error = refusal(Durability::Local, 0).await;
    assert_eq!(setting(&error), "maxmemory-policy");
}
