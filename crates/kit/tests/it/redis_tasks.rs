//! A service whose connection to Redis has lost one of its own tasks stops, with an error.

use std::time::Duration;

use paceline_kit::redis;
use paceline_kit::supervisor::TaskError;
use paceline_kit::{Shutdown, Supervisor};
use paceline_store::{Durability, StoreConfig};
use paceline_testkit::TestRedis;

const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn config(server: &TestRedis) -> StoreConfig {
    StoreConfig {
        url: server.url().to_owned(),
        tls: None,
        allow_plaintext_password: false,
        shards: 1,
        command_timeout: Duration::from_secs(2),
        durability: Durability::Local,
        replicas: 0,
        allow_unsafe: false,
        log: paceline_store::LogUse::default(),
        log_entries_max: 1_000,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_store_has_lost_a_task_stops_with_an_error() {
    let server = TestRedis::start().await;
    let shutdown = Shutdown::new();
    let supervisor = Supervisor::new(&shutdown);
    let store = redis::connect(&config(&server), &supervisor)
        .await
        .expect("a safe redis");
    store.ping().await.expect("it answers");
    assert!(!shutdown.is_requested());
    store.break_task();
    let stops = tokio::time::timeout(PATIENCE, shutdown.requested()).await;
    stops.expect("the service stops");
    assert_eq!(supervisor.outcome(), Err(TaskError::Ended("store")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_store_after_the_shutdown_is_no_error() {
    let server = TestRedis::start().await;
    let shutdown = Shutdown::new();
    let supervisor = Supervisor::new(&shutdown);
    let store = redis::connect(&config(&server), &supervisor)
        .await
        .expect("a safe redis");
    shutdown.trigger();
    store.close().await;
    assert_eq!(supervisor.outcome(), Ok(()));
}
