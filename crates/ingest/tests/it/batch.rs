//! `EnqueueBatch`: an answer for each request, in order.

use paceline_wire::status::{RpcError, reason};
use paceline_wire::v1;
use paceline_wire::v1::enqueue_result::Result as ItemResult;
use tonic::Code;

use crate::running::{Running, in_hours, order};

async fn send(
    service: &Running,
    requests: Vec<v1::EnqueueRequest>,
) -> Result<Vec<ItemResult>, tonic::Status> {
    let request = v1::EnqueueBatchRequest { requests };
    let response = service.ingest.clone().enqueue_batch(request).await?.into_inner();
    let results = response.results.into_iter();
    Ok(results.map(|item| item.result.expect("an answer")).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_stand_in_the_order_of_the_requests() {
    let service = Running::start().await;
    let mut requests: Vec<_> = (0..500).map(order).collect();
    for bad in [0, 77, 499] {
        requests[bad].user_id = String::new();
    }
    requests[300] = order(10);
    requests[400] = order(20);
    requests[400].send_at = in_hours(24);
    let results = send(&service, requests).await.expect("a batch");
    assert_eq!(results.len(), 500);
    for (index, result) in results.iter().enumerate() {
        match (index, result) {
            (0 | 77 | 499, ItemResult::Error(error)) => {
                assert_eq!((error.code, error.reason.as_str()), (3, reason::FIELD_INVALID));
                assert_eq!(error.field_violations[0].field, "user_id");
            }
            (300, ItemResult::Response(response)) => {
                let ItemResult::Response(first) = &results[10] else {
                    panic!("{:?}", results[10])
                };
                assert!(response.duplicate && !first.duplicate);
                assert_eq!(response.message_id, first.message_id);
            }
            (400, ItemResult::Error(error)) => {
                assert_eq!((error.code, error.reason.as_str()), (6, reason::SEND_AT_CONFLICT));
            }
            (_, ItemResult::Response(response)) => assert!(!response.duplicate, "{index}"),
            (_, ItemResult::Error(error)) => panic!("{index}: {error:?}"),
        }
    }
    assert_eq!(service.records().await, 495);
    assert!(
        service.metric("ingest_batch_messages_count").await < 100.0,
        "they went together"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_one_to_five_hundred() {
    let service = Running::start().await;
    for count in [0, 501] {
        let status = send(&service, (0..count).map(order).collect())
            .await
            .expect_err("refused");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(RpcError::from(&status).violations[0].field, "requests");
    }
    assert_eq!(service.records().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_room_is_refused_alone() {
    let service = Running::with("intake.messages_max = 10").await;
    let results = send(&service, (0..100).map(order).collect())
        .await
        .expect("a batch");
    let refused = results.iter().filter_map(|result| match result {
        ItemResult::Error(error) => Some(error),
        ItemResult::Response(_) => None,
    });
    let mut count = 0;
    for error in refused {
        assert_eq!((error.code, error.reason.as_str()), (8, reason::OVERLOADED));
        assert!(error.retry_delay.is_some());
        count += 1;
    }
    assert!(count > 0, "more than the room");
    assert_eq!(service.records().await, 100 - count);
}
