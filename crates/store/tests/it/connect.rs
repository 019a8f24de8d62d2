//! What Redis must be like, and how a connection comes back.

use std::time::Duration;

use paceline_store::{Enqueued, ErrorClass, Store, StoreConfig, StoreError};
use paceline_testkit::proxy::Moment;
use paceline_testkit::{Proxy, TestRedis, eventually};

use crate::support::{config, id, message};

const PATIENCE: Duration = Duration::from_secs(20);

async fn refusal(redis: &TestRedis, shards: u16) -> String {
    let error = Store::connect(&config(redis.url(), shards))
        .await
        .expect_err("refused");
    assert_eq!(error.class(), ErrorClass::Misconfigured);
    error.to_string()
}

#[tokio::test]
async fn a_redis_that_could_lose_mail_is_refused_by_the_settings_name() {
    let redis = TestRedis::with(&[("maxmemory-policy", "allkeys-lru")]).await;
    assert!(
        refusal(&redis, 1)
            .await
            .contains("maxmemory-policy is allkeys-lru")
    );
    redis.configure("maxmemory-policy", "noeviction").await;
    redis.configure("appendonly", "no").await;
    assert!(refusal(&redis, 1).await.contains("config set appendonly yes"));
    let unsafe_config = StoreConfig {
        allow_unsafe: true,
        ..config(redis.url(), 1)
    };
    Store::connect(&unsafe_config)
        .await
        .expect("accepted for development");
}

#[tokio::test]
async fn another_number_of_shards_is_refused() {
    let redis = TestRedis::start().await;
    Store::connect(&config(redis.url(), 4))
        .await
        .expect("the first sets it");
    Store::connect(&config(redis.url(), 4)).await.expect("the same");
    assert!(refusal(&redis, 8).await.contains("shards = 4"));
}

#[tokio::test]
async fn loopback_and_sockets_both_work_and_no_server_is_an_error_at_once() {
    let redis = TestRedis::on_loopback(&[]).await;
    let store = Store::connect(&config(redis.url(), 1)).await.expect("there");
    store.ping().await.expect("there");
    assert!(store.connected());
    store.close().await;
    drop(redis);
    let absent = Store::connect(&config("redis+unix:///nowhere/redis.sock", 1)).await;
    assert_eq!(absent.expect_err("nobody").class(), ErrorClass::Unavailable);
}

#[tokio::test]
async fn a_redis_that_becomes_unsafe_is_refused_after_the_reconnection() {
    let redis = TestRedis::start().await;
    let store = Store::connect(&config(redis.url(), 1)).await.expect("safe");
    redis.configure("maxmemory-policy", "allkeys-lru").await;
    redis.command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    eventually("the setting's name", PATIENCE, || async {
        match store.cancel(id(1)).await {
            Err(StoreError::Misconfigured { setting, .. }) => Ok(setting),
            other => Err(other),
        }
    })
    .await;
    redis.configure("maxmemory-policy", "noeviction").await;
    redis.command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    eventually("use again", PATIENCE, || async { store.cancel(id(1)).await }).await;
}

#[tokio::test]
async fn a_silent_peer_is_left_for_a_new_connection() {
    let redis = TestRedis::start().await;
    let proxy = Proxy::start(redis.server().address().clone()).await;
    let short = StoreConfig {
        command_timeout: Duration::from_millis(300),
        ..config(&proxy.url(), 1)
    };
    let store = Store::connect(&short).await.expect("there");
    store.ping().await.expect("there");
    let before = proxy.connections();
    proxy.silence();
    let error = store.ping().await.expect_err("silence");
    assert_eq!(error.class(), ErrorClass::Unavailable);
    eventually("an answer over a new connection", PATIENCE, || async {
        store.ping().await
    })
    .await;
    assert!(proxy.connections() > before);
}

#[tokio::test]
async fn a_command_is_never_sent_twice_behind_our_back() {
    let redis = TestRedis::start().await;
    let proxy = Proxy::start(redis.server().address().clone()).await;
    let store = Store::connect(&config(&proxy.url(), 1)).await.expect("there");
    store.enqueue(0, vec![message(1)]).await.expect("there");
    proxy.cut("EVALSHA", 0, Moment::After);
    let error = store.enqueue(0, vec![message(2)]).await.expect_err("cut");
    assert_eq!(error.class(), ErrorClass::Unavailable);
    let calls = redis.command(&["INFO", "commandstats"]).await.bytes();
    let calls = String::from_utf8_lossy(&calls).into_owned();
    let line = calls
        .lines()
        .find(|line| line.starts_with("cmdstat_evalsha:"))
        .expect("called");
    // The first was not known yet, the second was done once.
    assert!(line.contains("calls=2,"), "{line}");
    let again = eventually("reconnected", PATIENCE, || async {
        store.enqueue(0, vec![message(2)]).await
    })
    .await;
    assert!(matches!(again[0], Enqueued::Duplicate(_)));
}

#[tokio::test]
async fn a_socket_is_found_by_its_path_as_it_is() {
    let redis = TestRedis::start().await;
    let socket = redis.url().trim_start_matches("redis+unix://");
    let dir = std::env::temp_dir().join(format!("paceline socket {}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let link = dir.join("redis.sock");
    std::os::unix::fs::symlink(socket, &link).expect("a link");
    let connected = Store::connect(&config(&format!("redis+unix://{}", link.display()), 1)).await;
    std::fs::remove_dir_all(&dir).expect("removed");
    connected.expect("a path with spaces is a path");
}
