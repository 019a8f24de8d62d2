//! `EnqueueStream`: answers by sequence, and a slow store that reaches the caller as flow control.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, stream};
use paceline_testkit::eventually;
use paceline_wire::status::{RpcError, reason};
use paceline_wire::v1;
use paceline_wire::v1::enqueue_result::Result as ItemResult;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::running::{PATIENCE, Running, order};

fn item(sequence: u64, request: Option<v1::EnqueueRequest>) -> v1::EnqueueStreamRequest {
    v1::EnqueueStreamRequest { sequence, request }
}

async fn collect(mut answers: Streaming<v1::EnqueueStreamResponse>) -> BTreeMap<u64, ItemResult> {
    let mut collected = BTreeMap::new();
    while let Some(answer) = answers.message().await.expect("a good stream") {
        let result = answer.result.and_then(|item| item.result).expect("an answer");
        assert!(
            collected.insert(answer.sequence, result).is_none(),
            "answered twice"
        );
    }
    collected
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_answered_under_its_sequence() {
    let service = Running::start().await;
    let requests = (0..1_000).map(|number| match number {
        500 => item(500, None),
        501 => item(501, Some(v1::EnqueueRequest::default())),
        number => item(number.into(), Some(order(number))),
    });
    let answers = service
        .ingest
        .clone()
        .enqueue_stream(stream::iter(requests.collect::<Vec<_>>()))
        .await;
    let answers = collect(answers.expect("open").into_inner()).await;
    assert_eq!(answers.len(), 1_000);
    for (sequence, result) in answers {
        match (sequence, result) {
            (500, ItemResult::Error(error)) => assert_eq!(error.field_violations[0].field, "request"),
            (501, ItemResult::Error(error)) => assert_eq!(error.reason, reason::FIELD_INVALID),
            (_, ItemResult::Response(response)) => assert!(!response.duplicate),
            (_, ItemResult::Error(error)) => panic!("{sequence}: {error:?}"),
        }
    }
    assert_eq!(service.records().await, 998);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_store_stops_the_caller_and_refuses_nothing() {
    const REQUESTS: u64 = 3_000;
    // Less room than one stream may have begun: it waits for room instead of being refused.
    let service = Running::with("intake.messages_max = 100").await;
    service
        .enqueue(order(1_000_000))
        .await
        .expect("the streams' groups are made");
    service.pause().await;
    let pulled = Arc::new(AtomicU64::new(0));
    let requests = stream::iter(0..REQUESTS).map({
        let pulled = Arc::clone(&pulled);
        move |sequence| {
            pulled.fetch_add(1, Ordering::SeqCst);
            let number = u32::try_from(sequence).expect("few");
            let filler = "x".repeat(8 << 10);
            let data = format!("{{\"order\": {number}, \"filler\": \"{filler}\"}}").into();
            item(
                sequence,
                Some(v1::EnqueueRequest {
                    data,
                    ..order(number)
                }),
            )
        }
    });
    let mut client = service.ingest.clone();
    let answers = tokio::spawn(async move {
        collect(client.enqueue_stream(requests).await.expect("open").into_inner()).await
    });
    let (mut last, mut looks) = (0, 0);
    let stopped = eventually("a caller that has stopped", PATIENCE, || {
        let now = pulled.load(Ordering::SeqCst);
        looks = if now == last && now > 0 { looks + 1 } else { 0 };
        last = now;
        // A hundred looks without a request: half a second.
        std::future::ready(if looks >= 100 { Ok(now) } else { Err(now) })
    });
    let stopped = stopped.await;
    assert!(
        stopped < 800,
        "the stream's windows and what was begun, not {stopped}"
    );
    service.resume().await;
    let answers = answers.await.expect("no panic");
    assert_eq!(answers.len() as u64, REQUESTS);
    for (sequence, result) in answers {
        assert!(
            matches!(result, ItemResult::Response(_)),
            "{sequence}: {result:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_answers_what_had_begun_and_says_that_it_drains() {
    let service = Running::start().await;
    let (sender, requests) = mpsc::channel(8);
    let answers = service
        .ingest
        .clone()
        .enqueue_stream(ReceiverStream::new(requests))
        .await;
    let mut answers = answers.expect("open").into_inner();
    sender.send(item(1, Some(order(1)))).await.expect("taken");
    assert_eq!(
        answers
            .message()
            .await
            .expect("good")
            .expect("an answer")
            .sequence,
        1
    );
    service.shutdown.trigger();
    let end = tokio::time::timeout(PATIENCE, answers.message());
    let status = end.await.expect("in time").expect_err("the end");
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert_eq!(RpcError::from(&status).reason, reason::DRAINING);
    service.ended().await.expect("drained");
}
