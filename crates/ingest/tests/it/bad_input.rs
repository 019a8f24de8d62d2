//! What can't be stored is refused with its field, and nothing is written. The fields one by one: `admission`'s unit tests.

use bytes::Bytes;
use paceline_wire::status::{RpcError, reason};
use paceline_wire::v1;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::running::{Running, order};

/// The error as a program reads it: code, reason, fields.
fn read(status: &Status) -> (Code, String, Vec<String>) {
    let error = RpcError::from(status);
    let fields = error
        .violations
        .into_iter()
        .map(|violation| violation.field)
        .collect();
    (error.code, error.reason.into_owned(), fields)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_names_its_fields_and_writes_nothing() {
    let service = Running::start().await;
    let bad = v1::EnqueueRequest {
        recipient: None,
        data: "{\"order\": \"seven\"}".into(),
        ..order(1)
    };
    let status = service.enqueue(bad).await.expect_err("two faults");
    let fields = vec!["recipient".to_owned(), "data.order".to_owned()];
    assert_eq!(
        read(&status),
        (Code::InvalidArgument, reason::FIELD_INVALID.to_owned(), fields)
    );

    let passed = v1::EnqueueRequest {
        send_at: Some(prost_types::Timestamp {
            seconds: 1_000_000_000,
            nanos: 0,
        }),
        ..order(1)
    };
    let status = service.enqueue(passed).await.expect_err("long ago");
    assert_eq!(read(&status).2, ["send_at"]);
    assert_eq!(service.records().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_over_the_limit_is_refused() {
    let service = Running::start().await;
    let huge = v1::EnqueueRequest {
        data: Bytes::from(vec![b' '; 9 << 20]),
        ..order(1)
    };
    let status = service.enqueue(huge).await.expect_err("over 8 MiB");
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    assert_eq!(service.records().await, 0);
    service
        .enqueue(order(1))
        .await
        .expect("the connection is none the worse");
}

/// A request whose tenant may be no UTF-8.
#[derive(Clone, PartialEq, prost::Message)]
struct Raw {
    #[prost(bytes = "vec", tag = "1")]
    tenant: Vec<u8>,
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_utf8_is_refused() {
    let service = Running::start().await;
    let mut client = Grpc::new(service.channel.clone());
    client.ready().await.expect("connected");
    let status = client
        .unary(
            Request::new(Raw {
                tenant: vec![0xff, 0xfe],
            }),
            PathAndQuery::from_static("/paceline.v1.IngestService/Enqueue"),
            ProstCodec::<Raw, v1::EnqueueResponse>::default(),
        )
        .await
        .expect_err("not UTF-8");
    assert!(status.message().contains("tenant"), "{status}");
    assert_eq!(service.records().await, 0);
}
