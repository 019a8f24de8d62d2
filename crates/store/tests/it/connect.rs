//! What Redis must be like, and how a connection comes back.

use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_store::{Durability, Enqueued, ErrorClass, Store, StoreConfig, StoreError};
use paceline_testkit::eventually;
use paceline_testkit::proxy::Moment;
use paceline_testkit::resp::{self, Reply};

use crate::support::{config, id, message};
use crate::{SHARD, SHARDS, Servers, through_a_proxy};

const PATIENCE: Duration = Duration::from_secs(20);

async fn refusal(redis: &Servers, shards: u16) -> String {
    let error = Store::connect(&config(redis.url(), shards))
        .await
        .expect_err("refused");
    assert_eq!(error.class(), ErrorClass::Misconfigured);
    error.to_string()
}

/// Asks one node alone: of several, the last, which holds the tests' shard.
async fn ask_one(redis: &Servers, words: &[&str]) -> Reply {
    let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
    let node = redis.nodes().last().expect("at least one");
    resp::command(node.address(), &words).await.expect("there")
}

async fn configure_one(redis: &Servers, name: &str, value: &str) {
    let reply = ask_one(redis, &["CONFIG", "SET", name, value]).await;
    assert_eq!(reply, Reply::Bytes("OK".into()), "{name} {value}");
}

#[tokio::test]
async fn a_redis_that_could_lose_mail_is_refused_by_the_settings_name() {
    let redis = Servers::start().await;
    configure_one(&redis, "maxmemory-policy", "allkeys-lru").await;
    assert!(
        refusal(&redis, SHARDS)
            .await
            .contains("maxmemory-policy is allkeys-lru")
    );
    configure_one(&redis, "maxmemory-policy", "noeviction").await;
    configure_one(&redis, "appendonly", "no").await;
    assert!(
        refusal(&redis, SHARDS)
            .await
            .contains("config set appendonly yes")
    );
    let unsafe_config = StoreConfig {
        allow_unsafe: true,
        ..config(redis.url(), SHARDS)
    };
    for durability in [Durability::Local, Durability::Fsync] {
        let config = StoreConfig {
            durability,
            ..unsafe_config.clone()
        };
        Store::connect(&config).await.expect("accepted for development");
    }
}

#[tokio::test]
async fn another_number_of_shards_is_refused() {
    let redis = Servers::start().await;
    Store::connect(&config(redis.url(), 4))
        .await
        .expect("the first sets it");
    Store::connect(&config(redis.url(), 4)).await.expect("the same");
    assert!(refusal(&redis, 8).await.contains("shards = 4"));
}

/// Waits until a setting of Redis is what writes fail for.
pub(crate) async fn is_refused(store: &Store) {
    eventually("the setting's name", PATIENCE, || async {
        match store.cancel(id(1)).await {
            Err(StoreError::Misconfigured { setting, .. }) => Ok(setting),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_becomes_unsafe_is_refused_after_the_reconnection() {
    let redis = Servers::start().await;
    let store = Store::connect(&config(redis.url(), SHARDS)).await.expect("safe");
    configure_one(&redis, "maxmemory-policy", "allkeys-lru").await;
    redis.on_every_node(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    is_refused(&store).await;
    configure_one(&redis, "maxmemory-policy", "noeviction").await;
    redis.on_every_node(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    eventually("use again", PATIENCE, || async { store.cancel(id(1)).await }).await;
}

#[tokio::test]
async fn a_redis_that_can_t_be_looked_at_any_more_is_refused_after_the_reconnection() {
    let redis = Servers::start().await;
    let store = Store::connect(&config(redis.url(), SHARDS)).await.expect("safe");
    redis
        .on_every_node(&["ACL", "SETUSER", "default", "-config"])
        .await;
    redis.on_every_node(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    is_refused(&store).await;
    redis
        .on_every_node(&["ACL", "SETUSER", "default", "+config"])
        .await;
    eventually("use again", PATIENCE, || async { store.cancel(id(1)).await }).await;
}

#[tokio::test]
async fn a_silent_peer_is_left_for_a_new_connection() {
    let redis = Servers::start().await;
    let (proxy, url) = through_a_proxy(&redis).await;
    let short = StoreConfig {
        command_timeout: Duration::from_millis(300),
        ..config(&url, SHARDS)
    };
    let store = Store::connect(&short).await.expect("there");
    store.get(id(1)).await.expect("there");
    // Again and again, not only the first time.
    for _ in 0..3 {
        let before = proxy.connections();
        proxy.silence();
        let error = store.get(id(1)).await.expect_err("silence");
        assert_eq!(error.class(), ErrorClass::Unavailable);
        eventually("an answer over a new connection", PATIENCE, || async {
            // Of a Cluster's nodes, another one answers all the time.
            let _ = store.get(MessageId([0; 16])).await;
            store.get(id(1)).await
        })
        .await;
        assert!(proxy.connections() > before);
        assert!(store.connected());
    }
    // Of the new connection, too, it is known what Redis must be like.
    configure_one(&redis, "maxmemory-policy", "allkeys-lru").await;
    redis.on_every_node(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    is_refused(&store).await;
}

#[tokio::test]
async fn a_command_is_never_sent_twice_behind_our_back() {
    let redis = Servers::start().await;
    let (proxy, url) = through_a_proxy(&redis).await;
    let store = Store::connect(&config(&url, SHARDS)).await.expect("there");
    store.enqueue(SHARD, vec![message(1)]).await.expect("there");
    proxy.cut("EVALSHA", 0, Moment::After);
    let error = store.enqueue(SHARD, vec![message(2)]).await.expect_err("cut");
    assert_eq!(error.class(), ErrorClass::Unavailable);
    let calls = ask_one(&redis, &["INFO", "commandstats"]).await.bytes();
    let calls = String::from_utf8_lossy(&calls).into_owned();
    let line = calls
        .lines()
        .find(|line| line.starts_with("cmdstat_evalsha:"))
        .expect("called");
    // The first was not known yet, the second was done once.
    assert!(line.contains("calls=2,"), "{line}");
    let again = eventually("reconnected", PATIENCE, || async {
        store.enqueue(SHARD, vec![message(2)]).await
    })
    .await;
    assert!(matches!(again[0], Enqueued::Duplicate(_)));
}
