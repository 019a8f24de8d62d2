//! The same message again: found, never stored twice, and never another one without a word.

use paceline_testkit::eventually;
use paceline_wire::status::{RpcError, reason};
use paceline_wire::v1;
use paceline_wire::v1::ingest_service_client::IngestServiceClient;
use paceline_wire::v1::{MessageState, StoredRequest};
use prost::Message as _;
use tonic::{Code, Request, Status};

use crate::running::{PATIENCE, Running, in_hours, order};

/// The conflict's reason and the fields that it names.
fn conflict(refused: Result<v1::EnqueueResponse, Status>) -> (String, Vec<String>) {
    let status = refused.expect_err("a conflict");
    assert_eq!(status.code(), Code::AlreadyExists, "{status}");
    let error = RpcError::from(&status);
    let fields = error
        .violations
        .into_iter()
        .map(|violation| violation.field)
        .collect();
    (error.reason.into_owned(), fields)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_content_is_the_same_message() {
    let service = Running::start().await;
    let first = service.enqueue(order(1)).await.expect("stored");
    assert!(!first.duplicate && first.accepted_at.is_some());
    assert_eq!(first.state(), MessageState::Queued);

    let spelt_otherwise = v1::EnqueueRequest {
        data: "{ \"order\" : 1.0 }".into(),
        ..order(1)
    };
    let second = service.enqueue(spelt_otherwise).await.expect("a duplicate");
    assert!(second.duplicate && !second.resubmitted);
    assert_eq!(second.message_id, first.message_id);
    assert_eq!(second.accepted_at, first.accepted_at);

    let other = service.enqueue(order(2)).await.expect("stored");
    assert!(!other.duplicate && other.message_id != first.message_id);
    assert_eq!(service.records().await, 2);
    assert_eq!(service.metric("email_idempotency_skip_count_total").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_callers_at_once_one_creates_the_message() {
    let service = Running::start().await;
    let calls = (0..60).map(|_| {
        // Connections of their own, so that nothing but the store puts them in order.
        let channel = paceline_kit::grpc::channel(&format!("http://{}", service.bound.grpc)).expect("a URI");
        tokio::spawn(async move { IngestServiceClient::new(channel).enqueue(order(1)).await })
    });
    let mut created = 0;
    for call in calls.collect::<Vec<_>>() {
        let answer = call.await.expect("no panic").expect("stored").into_inner();
        created += u32::from(!answer.duplicate);
    }
    assert_eq!(created, 1);
    assert_eq!(service.records().await, 1);
    let queued = service
        .redis
        .command(&["XLEN", "{pl1:0}:queued:transactional:main:shop"])
        .await;
    assert_eq!(queued.integer(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_send_at_is_refused_by_name() {
    let service = Running::start().await;
    let at = |send_at| v1::EnqueueRequest { send_at, ..order(1) };
    let tomorrow = in_hours(24);
    let first = service.enqueue(at(tomorrow)).await.expect("scheduled");
    assert_eq!(first.state(), MessageState::Scheduled);
    assert!(service.enqueue(at(tomorrow)).await.expect("the same").duplicate);
    for other in [None, in_hours(48)] {
        let (reason, fields) = conflict(service.enqueue(at(other)).await);
        assert_eq!(
            (reason.as_str(), fields),
            (reason::SEND_AT_CONFLICT, vec!["send_at".to_owned()])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_stands_for_one_content() {
    let service = Running::start().await;
    let keyed = |request: v1::EnqueueRequest| v1::EnqueueRequest {
        idempotency_key: "order-1".to_owned(),
        user_id: "ada".to_owned(),
        ..request
    };
    let first = service.enqueue(keyed(order(1))).await.expect("stored");
    let again = service.enqueue(keyed(order(1))).await.expect("the same");
    assert!(again.duplicate);
    assert_eq!(again.message_id, first.message_id);

    let mut other = keyed(order(2));
    other.recipient.as_mut().expect("there").address = "s3cret@example.org".to_owned();
    let status = service.enqueue(other.clone()).await;
    assert!(!format!("{status:?}").contains("s3cret"));
    let (reason, fields) = conflict(status);
    assert_eq!(
        (reason.as_str(), fields),
        (
            reason::KEY_CONFLICT,
            vec!["recipient".to_owned(), "data.order".to_owned()]
        )
    );
    assert_eq!(service.records().await, 1);

    cancel(&service, &first.message_id).await;
    let (reason, _) = conflict(
        service
            .enqueue(v1::EnqueueRequest {
                resubmit: true,
                ..other
            })
            .await,
    );
    assert_eq!(reason, reason::KEY_CONFLICT);
}

async fn cancel(service: &Running, message_id: &str) {
    let request = v1::CancelRequest {
        tenant: "shop".to_owned(),
        message_id: message_id.to_owned(),
    };
    service.messages.clone().cancel(request).await.expect("cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_unsent_is_taken_up_again_only_by_resubmit() {
    let service = Running::start().await;
    let first = service.enqueue(order(1)).await.expect("stored");
    let resubmit = || v1::EnqueueRequest {
        resubmit: true,
        ..order(1)
    };
    assert!(!service.enqueue(resubmit()).await.expect("on its way").resubmitted);
    cancel(&service, &first.message_id).await;

    let told = service.enqueue(order(1)).await.expect("a duplicate");
    assert!(told.duplicate && !told.resubmitted);
    assert_eq!(
        (told.state(), told.reason.as_str()),
        (MessageState::Cancelled, "cancelled_by_caller")
    );

    let again = service.enqueue(resubmit()).await.expect("taken up");
    assert!(again.duplicate && again.resubmitted);
    assert_eq!(again.state(), MessageState::Queued);
    assert_eq!(again.accepted_at, first.accepted_at);
    assert_eq!(service.records().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_caller_s_trace_travels_with_the_request() {
    let service = Running::start().await;
    let mut request = Request::new(order(1));
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace_id}-00f067aa0ba902b7-01");
    request
        .metadata_mut()
        .insert("traceparent", parent.parse().expect("ASCII"));
    let id = service
        .ingest
        .clone()
        .enqueue(request)
        .await
        .expect("stored")
        .into_inner()
        .message_id;
    let id = id.parse().expect("an id");
    let stored = service
        .store
        .requests(0, &[id])
        .await
        .expect("redis is there")
        .remove(0);
    let stored = StoredRequest::decode(stored.expect("there")).expect("our own");
    assert!(
        stored.traceparent.contains(trace_id) && stored.traceparent != parent,
        "{}",
        stored.traceparent
    );
    let bundle = stored.bundle_hash.as_ref().try_into().expect("32 bytes");
    let bundle = service.store.get_bundle(bundle).await.expect("redis is there");
    assert!(bundle.is_some(), "a pinned bundle can be loaded");
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_are_counted() {
    let service = Running::start().await;
    service.enqueue(order(1)).await.expect("stored");
    service.enqueue(order(1)).await.expect("a duplicate");
    let _ = service
        .enqueue(v1::EnqueueRequest::default())
        .await
        .expect_err("invalid");
    eventually("the counters", PATIENCE, async || {
        let counted = [
            service
                .metric("email_enqueue_rate_total{lane=\"transactional\",outcome=\"new\"}")
                .await,
            service
                .metric("email_enqueue_rate_total{lane=\"transactional\",outcome=\"duplicate\"}")
                .await,
            service
                .metric("email_enqueue_rate_total{lane=\"unknown\",outcome=\"invalid\"}")
                .await,
        ];
        if counted == [1.0, 1.0, 1.0] {
            Ok(())
        } else {
            Err(counted)
        }
    })
    .await;
}
