//! Backpressure before Redis is full: bulk is refused first, everything later, both with a delay; what drains is taken again.

use std::time::Duration;

use paceline_store::LogBody;
use paceline_testkit::eventually;
use paceline_wire::status::{RpcError, reason};
use paceline_wire::v1;
use tonic::Code;

use crate::running::{LINKS, PATIENCE, Running, order};

fn bulk(number: u32) -> v1::EnqueueRequest {
    v1::EnqueueRequest {
        lane: v1::Lane::Bulk.into(),
        ..order(number)
    }
}

/// Waits until what is refused is as expected, by the gauge: 0 nothing, 1 bulk, 2 all.
async fn level(service: &Running, cause: &str, expected: f64) {
    let line = format!("ingest_pressure_level{{cause=\"{cause}\"");
    eventually("the level", PATIENCE, async || {
        let level = service.metric(&line).await;
        if level == expected { Ok(()) } else { Err(level) }
    })
    .await;
}

async fn refused(service: &Running, request: v1::EnqueueRequest, reason: &str) {
    let before = service.records().await;
    let status = service.enqueue(request).await.expect_err("refused");
    let error = RpcError::from(&status);
    assert_eq!(
        (error.code, error.reason.as_ref()),
        (Code::ResourceExhausted, reason),
        "{status}"
    );
    assert!(error.retry_delay.is_some(), "{status}");
    assert_eq!(service.records().await, before, "nothing was written");
}

/// The memory that Redis compares with its bound.
async fn used(service: &Running) -> f64 {
    let info = service.redis.command(&["INFO", "memory"]).await.bytes();
    let info = String::from_utf8_lossy(&info).into_owned();
    let field = |name: &str| -> f64 {
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.expect("in INFO").trim().parse().expect("a number")
    };
    field("used_memory:") - field("mem_not_counted_for_evict:")
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_watermarks_of_memory_bulk_is_refused_first_and_taken_again_after_the_drain() {
    let service = Running::with(LINKS).await;
    service.enqueue(order(0)).await.expect("far from full");
    // In place of filling it, the bound comes down on what is used: 80 % of it, then 95 %. Connections come and go, so the
    // marks are met with some room.
    let bound = |share: f64, used: f64| format!("{:.0}", used / share);
    let eighty = bound(0.80, used(&service).await);
    service.redis.configure("maxmemory", &eighty).await;
    level(&service, "memory", 1.0).await;
    refused(&service, bulk(1), reason::STORE_FULL).await;
    service.enqueue(order(2)).await.expect("transactional is taken");

    let ninety_five = bound(0.95, used(&service).await);
    service.redis.configure("maxmemory", &ninety_five).await;
    level(&service, "memory", 2.0).await;
    refused(&service, bulk(1), reason::STORE_FULL).await;
    refused(&service, order(3), reason::STORE_FULL).await;
    // A repeated call is no exception.
    refused(&service, order(2), reason::STORE_FULL).await;

    service
        .redis
        .configure("maxmemory", &bound(0.2, used(&service).await))
        .await;
    level(&service, "memory", 0.0).await;
    service.enqueue(bulk(1)).await.expect("there is room again");
    assert!(service.enqueue(order(2)).await.expect("there is room").duplicate);
    service.redis.configure("maxmemory", "0").await;
    level(&service, "memory", 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_bounds_of_the_backlog_bulk_is_refused_first_and_taken_again_after_the_drain() {
    let service = Running::with(&format!(
        "{LINKS}intake.backlog_max_bulk = 2\nintake.backlog_max = 4"
    ))
    .await;
    service.enqueue(order(0)).await.expect("the first");
    service
        .enqueue(bulk(1))
        .await
        .expect("the second, of another lane");
    level(&service, "backlog", 1.0).await;
    refused(&service, bulk(2), reason::BACKLOG_FULL).await;
    for number in 3..=4 {
        service
            .enqueue(order(number))
            .await
            .expect("transactional is taken");
    }
    level(&service, "backlog", 2.0).await;
    refused(&service, bulk(2), reason::BACKLOG_FULL).await;
    refused(&service, order(5), reason::BACKLOG_FULL).await;
    // What waits for its time is no backlog, and its record no more than its memory: only entries of streams count.
    for stream in ["transactional", "bulk"] {
        let key = format!("{{pl1:0}}:queued:{stream}:main:shop");
        service.redis.command(&["XTRIM", &key, "MAXLEN", "0"]).await;
    }
    level(&service, "backlog", 0.0).await;
    service.enqueue(bulk(2)).await.expect("drained");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_under_pressure_is_answered_for_each_message() {
    let service = Running::with(&format!(
        "{LINKS}intake.backlog_max_bulk = 1\nintake.backlog_max = 100"
    ))
    .await;
    service.enqueue(order(0)).await.expect("the first");
    level(&service, "backlog", 1.0).await;
    let requests = vec![bulk(1), order(2)];
    let mut client = service.ingest.clone();
    let answer = client.enqueue_batch(v1::EnqueueBatchRequest { requests });
    let results = answer.await.expect("an answer for each").into_inner().results;
    let [first, second] = <[v1::EnqueueResult; 2]>::try_from(results).expect("two");
    match first.result {
        Some(v1::enqueue_result::Result::Error(error)) => {
            assert_eq!(error.reason, reason::BACKLOG_FULL);
            assert!(error.retry_delay.is_some());
        }
        other => panic!("refused expected, not {other:?}"),
    }
    assert!(matches!(
        second.result,
        Some(v1::enqueue_result::Result::Response(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_log_waits_for_the_ledger_bulk_is_refused_and_taken_again_once_it_is_copied() {
    let service = Running::with(&format!(
        "{LINKS}address_key = \"0123456789abcdef0123456789abcdef\"\nredis.log = \"ledger\"\nintake.log_bytes_max = \"1MiB\""
    ))
    .await;
    service.enqueue(bulk(1)).await.expect("far from full");
    let key = "{pl1:0}:log";
    let entry = vec![b'x'; 1 << 20];
    let add: [&[u8]; 5] = [b"XADD", key.as_bytes(), b"*", b"e", &entry];
    service.redis.command(&add).await;
    level(&service, "log", 1.0).await;
    refused(&service, bulk(2), reason::LOG_FULL).await;
    service.enqueue(order(3)).await.expect("transactional is taken");

    let store = &service.store;
    let read = store.read_log(0, "copier", 100).await.expect("redis is there");
    let logged = |entry: &paceline_store::LogEntry| match &entry.body {
        LogBody::Logged(logged) => logged.messages.len(),
        LogBody::Newer => 0,
    };
    assert!(
        read.len() == 3 && logged(&read[0]) > 100 && logged(&read[2]) > 100,
        "what is accepted is logged with what the ledger must know: {read:?}"
    );
    let ids: Vec<String> = read.into_iter().map(|entry| entry.id).collect();
    store
        .log_copied(0, &ids, Duration::ZERO)
        .await
        .expect("redis is there");
    level(&service, "log", 0.0).await;
    service.enqueue(bulk(2)).await.expect("copied");
}
