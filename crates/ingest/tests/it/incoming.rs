//! What is over the listener's bounds is refused at once, and taken again when there is room.

use std::time::Duration;

use paceline_kit::grpc;
use paceline_testkit::eventually;
use paceline_wire::status::{RpcError, reason};
use paceline_wire::v1;
use paceline_wire::v1::ingest_service_client::IngestServiceClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::running::{Running, order};

const PATIENCE: Duration = Duration::from_secs(20);

/// A client with a connection of its own.
fn another(service: &Running) -> IngestServiceClient<Channel> {
    let channel = grpc::channel(&format!("http://{}", service.bound.grpc)).expect("a URI");
    IngestServiceClient::new(channel)
}

/// Opens a stream of which one request was answered; it stays open as long as what is returned.
async fn open_stream(
    service: &Running,
    request: v1::EnqueueRequest,
) -> (
    mpsc::Sender<v1::EnqueueStreamRequest>,
    tonic::Streaming<v1::EnqueueStreamResponse>,
) {
    let (requests, received) = mpsc::channel(1);
    let request = v1::EnqueueStreamRequest {
        sequence: 1,
        request: Some(request),
    };
    requests.send(request).await.expect("room");
    let stream = futures_util::stream::unfold(received, async |mut received| {
        let next = received.recv().await?;
        Some((next, received))
    });
    let answers = service.ingest.clone().enqueue_stream(Box::pin(stream)).await;
    let mut answers = answers.expect("taken").into_inner();
    answers.message().await.expect("open").expect("an answer");
    (requests, answers)
}

#[tokio::test]
async fn a_connection_too_many_is_closed_and_one_less_makes_room() {
    let service = Running::with("incoming.connections_max = 2").await;
    service.enqueue(order(1)).await.expect("the first connection");
    let mut second = another(&service);
    second.enqueue(order(2)).await.expect("the second");
    let mut third = TcpStream::connect(service.bound.grpc).await.expect("accepted");
    let mut said = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(5), third.read_to_end(&mut said)).await;
    end.expect("at once, not after a silence").expect("closed");
    assert!(said.is_empty(), "nobody serves it");
    let refused = another(&service).enqueue(order(3)).await.expect_err("closed");
    // The client's own words for a connection that ends under its first call.
    assert!(
        matches!(refused.code(), Code::Unavailable | Code::Cancelled),
        "{refused}"
    );
    let counted = service
        .metric("grpc_incoming_refused_total{what=\"connections\"}")
        .await;
    assert!(counted >= 2.0, "{counted}");
    assert!((service.metric("grpc_incoming_held{what=\"connections\"}").await - 2.0).abs() < 0.1);

    drop(second);
    eventually("room again", PATIENCE, || async {
        another(&service).enqueue(order(3)).await
    })
    .await;
    service.enqueue(order(4)).await.expect("the first is as it was");
}

#[tokio::test]
async fn a_call_too_many_is_refused_with_a_delay_and_health_still_answers() {
    let service = Running::with("incoming.calls_max = 2").await;
    let first = open_stream(&service, order(1)).await;
    let second = open_stream(&service, order(2)).await;
    let refused = service.enqueue(order(3)).await.expect_err("the third call");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let refused = RpcError::from(&refused);
    assert_eq!(refused.reason, reason::OVERLOADED);
    assert!(refused.retry_delay.is_some());
    assert_eq!(service.records().await, 2, "nothing was written");
    let mut health = HealthClient::new(service.channel.clone());
    health
        .check(HealthCheckRequest::default())
        .await
        .expect("health does not count");
    assert!(
        service
            .metric("grpc_incoming_refused_total{what=\"calls\"}")
            .await
            >= 1.0
    );

    drop(second);
    eventually("room again", PATIENCE, || service.enqueue(order(3))).await;
    drop(first);
    eventually("no call is open", PATIENCE, || async {
        let held = service.metric("grpc_incoming_held{what=\"calls\"}").await;
        (held < 0.5).then_some(()).ok_or(held)
    })
    .await;
    assert!(service.metric("grpc_incoming_held{what=\"bytes\"}").await < 0.5);
}

#[tokio::test]
async fn bytes_too_many_are_refused_with_a_delay_until_a_stream_lets_go_of_its_largest_message() {
    let service = Running::with("incoming.bytes_max = \"9MiB\"").await;
    let large = || v1::EnqueueRequest {
        data: vec![b' '; 5 << 20].into(),
        ..order(1)
    };
    let stream = open_stream(&service, large()).await;
    let refused = service.enqueue(large()).await.expect_err("10 of 9 MiB");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(RpcError::from(&refused).retry_delay.is_some());
    service.enqueue(order(2)).await.expect("a small one has room");
    let counted = service
        .metric("grpc_incoming_refused_total{what=\"requests\"}")
        .await;
    assert!((counted - 1.0).abs() < 0.1, "{counted}");

    drop(stream);
    // Received as a whole, and refused for what it is.
    eventually("room again", PATIENCE, || async {
        let answer = service.enqueue(large()).await.expect_err("too much data");
        (answer.code() == Code::InvalidArgument)
            .then_some(())
            .ok_or(answer)
    })
    .await;
}

#[tokio::test]
async fn a_call_to_health_is_small_and_has_a_bound() {
    let service = Running::with("").await;
    let health = || {
        let channel = grpc::channel(&format!("http://{}", service.bound.grpc)).expect("a URI");
        HealthClient::new(channel)
    };
    let service_name = "x".repeat(100 << 10);
    let large = health()
        .check(HealthCheckRequest {
            service: service_name,
        })
        .await;
    assert_eq!(large.expect_err("too large").code(), Code::OutOfRange);

    let mut clients: Vec<_> = (0..16).map(|_| health()).collect();
    let mut watches = Vec::new();
    for number in 0..1_024 {
        let client = &mut clients[number % 16];
        watches.push(client.watch(HealthCheckRequest::default()).await.expect("room"));
    }
    let refused = clients[0].check(HealthCheckRequest::default()).await;
    assert_eq!(refused.expect_err("full").code(), Code::ResourceExhausted);
    service
        .enqueue(order(1))
        .await
        .expect("other calls have room of their own");
    drop(watches);
    eventually("there is room", PATIENCE, || async {
        health().check(HealthCheckRequest::default()).await
    })
    .await;
}

/// Waits for the end of a connection that the server closes.
async fn closed(mut peer: TcpStream) {
    let mut said = Vec::new();
    let end = tokio::time::timeout(PATIENCE, peer.read_to_end(&mut said)).await;
    end.expect("within the bound").expect("closed");
}

#[tokio::test]
async fn a_peer_that_makes_no_call_loses_its_connection_and_one_that_did_keeps_it() {
    let service = Running::with("incoming.connections_max = 4").await;
    let connections = async |expected: f64| {
        eventually("so many connections", PATIENCE, || async {
            let held = service.metric("grpc_incoming_held{what=\"connections\"}").await;
            ((held - expected).abs() < 0.1).then_some(()).ok_or(held)
        })
        .await;
    };
    service.enqueue(order(1)).await.expect("it makes a call");
    let silent = TcpStream::connect(service.bound.grpc).await.expect("accepted");
    let mut half = TcpStream::connect(service.bound.grpc).await.expect("accepted");
    half.write_all(b"PRI * HTTP/2.0\r\n\r\nS").await.expect("room");
    let channel = grpc::channel(&format!("http://{}", service.bound.grpc)).expect("a URI");
    let mut health = HealthClient::new(channel);
    let watch = health.watch(HealthCheckRequest::default()).await;
    let mut watch = watch.expect("open to all").into_inner();
    connections(4.0).await;

    closed(silent).await;
    closed(half).await;
    let ended = tokio::time::timeout(PATIENCE, async {
        while let Ok(Some(_)) = watch.message().await {}
    });
    ended.await.expect("within the bound");
    connections(1.0).await;
    service.enqueue(order(2)).await.expect("by the one that is left");
    connections(1.0).await;
}
