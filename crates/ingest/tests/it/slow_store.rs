//! A store that hangs or is gone: nothing is acknowledged that is not stored, and nothing stored for who has gone.

use std::time::Duration;

use paceline_kit::grpc;
use paceline_testkit::eventually;
use paceline_wire::status::{RpcError, reason};
use paceline_wire::v1::ingest_service_client::IngestServiceClient;
use tonic::{Code, Request};

use crate::running::{PATIENCE, Running, order};

/// Both flights of the shard hang; what comes now waits.
async fn two_under_way(service: &Running) -> Vec<tokio::task::JoinHandle<bool>> {
    service
        .enqueue(order(0))
        .await
        .expect("the stream's group is made");
    let batches = service.metric("ingest_batch_messages_count").await;
    service.pause().await;
    let mut calls = Vec::new();
    for number in 1..=2 {
        let mut client = service.ingest.clone();
        calls.push(tokio::spawn(async move {
            client.enqueue(order(number)).await.is_ok()
        }));
        eventually("a script under way", PATIENCE, async || {
            let now = service.metric("ingest_batch_messages_count").await;
            (now >= batches + f64::from(number)).then_some(())
        })
        .await;
    }
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_deadline_is_over_writes_nothing() {
    let service = Running::start().await;
    let calls = two_under_way(&service).await;
    let mut hasty = Request::new(order(3));
    hasty.set_timeout(Duration::from_millis(200));
    let status = service.ingest.clone().enqueue(hasty).await.expect_err("too slow");
    // Which of the two it is depends on whose clock is first: ours, or the client library's.
    assert!(
        matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{status}"
    );
    service.resume().await;
    for call in calls {
        assert!(call.await.expect("no panic"));
    }
    eventually("the hasty call left out", PATIENCE, async || {
        (service.metric("ingest_abandoned_messages_total").await == 1.0).then_some(())
    })
    .await;
    assert_eq!(service.records().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_hangs_up_before_its_batch_costs_nothing() {
    let service = Running::start().await;
    let calls = two_under_way(&service).await;
    // A connection of its own, since a client's drop ends it at once.
    let channel = grpc::channel(&format!("http://{}", service.bound.grpc)).expect("a URI");
    let gone = tokio::spawn(async move { IngestServiceClient::new(channel).enqueue(order(3)).await });
    eventually("the call has arrived", PATIENCE, async || {
        (service.metric("ingest_waiting_messages").await == 3.0).then_some(())
    })
    .await;
    gone.abort();
    eventually("the call is gone", PATIENCE, async || {
        gone.is_finished().then_some(())
    })
    .await;
    service.resume().await;
    for call in calls {
        assert!(call.await.expect("no panic"));
    }
    eventually("the call left out", PATIENCE, async || {
        (service.metric("ingest_abandoned_messages_total").await == 1.0).then_some(())
    })
    .await;
    assert_eq!(service.records().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_refuses_with_a_delay_and_stores_nothing() {
    let service = Running::start().await;
    service.enqueue(order(0)).await.expect("stored");
    service.redis.configure("maxmemory", "1").await;
    let status = service.enqueue(order(1)).await.expect_err("full");
    let error = RpcError::from(&status);
    assert_eq!(
        (error.code, error.reason.as_ref()),
        (Code::ResourceExhausted, reason::STORE_FULL),
        "{status}"
    );
    assert!(error.retry_delay.is_some());
    service.redis.configure("maxmemory", "0").await;
    service.enqueue(order(1)).await.expect("there is room again");
    assert_eq!(service.records().await, 2);
}
