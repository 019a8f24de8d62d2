//! Mail while what is published is not here: it is refused for now, never for good.

use paceline_store::{Announced, Durability, LogUse, Store, StoreConfig};
use paceline_templates::{Template, read_folder};
use paceline_testkit::{TestRedis, eventually};
use paceline_wire::status::{RpcError, reason};
use paceline_wire::v1;
use tonic::Code;

use crate::running::{PATIENCE, Running, order, templates};

async fn store(redis: &TestRedis) -> Store {
    let config = StoreConfig {
        url: redis.url().to_owned(),
        tls: None,
        allow_plaintext_password: false,
        shards: 1,
        command_timeout: PATIENCE,
        durability: Durability::Fsync,
        replicas: 0,
        allow_unsafe: true,
        log: LogUse::default(),
        log_entries_max: 1_000,
    };
    Store::connect(&config).await.expect("a safe redis")
}

fn receipt() -> Template {
    let files = read_folder(&templates().path().join("receipt")).expect("a folder");
    Template::from_files(&files).unwrap_or_else(|error| panic!("{error}"))
}

/// Announces version 1 of the receipt.
async fn announce(store: &Store) {
    let receipt = receipt();
    let hash = receipt.hash().0;
    let put = store.put_bundle(&hash, receipt.bundle_bytes());
    put.await.expect("written");
    announce_as(store, 1, hash).await;
}

async fn announce_as(store: &Store, version: u32, hash: [u8; 32]) {
    let announced = Announced {
        name: "receipt".to_owned(),
        version,
        hash,
        authored: hash,
    };
    store
        .announce(&[announced], &[], u64::from(version))
        .await
        .expect("written");
}

async fn refused(service: &Running, request: v1::EnqueueRequest) -> RpcError {
    let refused = service.enqueue(request).await;
    RpcError::from(&refused.expect_err("refused"))
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nothing_was_seen_announced_ingest_is_not_ready_and_callers_come_again() {
    let service = Running::on_published(TestRedis::start().await).await;
    let told = service.readiness().await;
    assert!(told.contains("no published template can be used yet"), "{told}");
    let awaited = refused(&service, order(1)).await;
    assert_eq!(
        (awaited.code, awaited.reason.as_ref()),
        (Code::Unavailable, reason::TEMPLATE_AWAITED)
    );
    assert!(awaited.retry_delay.is_some());
    announce(&service.store).await;
    eventually("it is ready and takes mail", PATIENCE, async || {
        let told = service.readiness().await;
        match service.enqueue(order(1)).await {
            Ok(_) if told.contains("200 OK") => Ok(()),
            answer => Err(format!("{told} {answer:?}")),
        }
    })
    .await;
    let unknown = v1::EnqueueRequest {
        template: "nobody-s".to_owned(),
        ..order(2)
    };
    assert_eq!(refused(&service, unknown).await.code, Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_beside_a_redis_that_is_full_uses_what_stands_there() {
    let redis = TestRedis::start().await;
    let store = store(&redis).await;
    announce(&store).await;
    redis.configure("maxmemory", "1").await;
    let service = Running::on_published(redis).await;
    let told = service.readiness().await;
    assert!(told.contains("200 OK"), "{told}");
    assert_eq!(refused(&service, order(1)).await.reason, reason::STORE_FULL);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_does_not_stand_in_for_one_that_a_new_process_can_t_use() {
    let redis = TestRedis::start().await;
    let store = store(&redis).await;
    announce(&store).await;
    let put = store.put_bundle(&[7; 32], bytes::Bytes::from_static(b"of another release"));
    put.await.expect("written");
    announce_as(&store, 2, [7; 32]).await;
    let service = Running::on_published(redis).await;
    assert_eq!(refused(&service, order(1)).await.reason, reason::TEMPLATE_AWAITED);
    let pinned = v1::EnqueueRequest {
        template_version: "1".to_owned(),
        ..order(1)
    };
    service.enqueue(pinned).await.expect("it is there");
}
