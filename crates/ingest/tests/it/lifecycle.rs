//! Start, health and drain.

use paceline_testkit::eventually;
use paceline_wire::status::{RpcError, reason};
use paceline_wire::v1;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::running::{PATIENCE, Running, http_get, order};

async fn status(service: &Running) -> ServingStatus {
    let request = HealthCheckRequest::default();
    let response = HealthClient::new(service.channel.clone())
        .check(request)
        .await
        .expect("health answers");
    response.into_inner().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn health_follows_the_store() {
    let service = Running::start().await;
    let until = async |expected: ServingStatus, line: &str| {
        eventually("health", PATIENCE, async || {
            let (status, ready) = (
                status(&service).await,
                http_get(service.bound.admin, "/readyz").await,
            );
            if status == expected && ready.contains(line) {
                Ok(())
            } else {
                Err((status, ready))
            }
        })
        .await;
    };
    until(ServingStatus::Serving, "200 OK").await;
    service.redis.configure("appendonly", "no").await;
    service.redis.command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    until(ServingStatus::NotServing, "503").await;
    service.redis.configure("appendonly", "yes").await;
    service.redis.command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    until(ServingStatus::Serving, "200 OK").await;
    service.enqueue(order(1)).await.expect("stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_what_is_served() {
    let service = Running::start().await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(service.channel.clone());
    let answers = client
        .server_reflection_info(tokio_stream::once(request))
        .await
        .expect("open");
    let answer = answers
        .into_inner()
        .next()
        .await
        .expect("one")
        .expect("good")
        .message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else {
        panic!("{answer:?}")
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "grpc.health.v1.Health",
            "paceline.v1.DeadLettersService",
            "paceline.v1.DoubtService",
            "paceline.v1.IdsService",
            "paceline.v1.IngestService",
            "paceline.v1.MessagesService",
            "paceline.v1.StopsService"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_finishes_the_calls_under_way() {
    let service = Running::start().await;
    service
        .enqueue(order(0))
        .await
        .expect("the stream's group is made");
    service.pause().await;
    let mut client = service.ingest.clone();
    let call = tokio::spawn(async move { client.enqueue(order(1)).await });
    eventually("a script under way", PATIENCE, async || {
        (service.metric("ingest_waiting_messages").await == 1.0).then_some(())
    })
    .await;
    service.shutdown.trigger();
    eventually("health that says so", PATIENCE, async || {
        http_get(service.bound.admin, "/readyz")
            .await
            .contains("draining")
            .then_some(())
    })
    .await;
    service.resume().await;
    call.await.expect("no panic").expect("stored");
    assert_eq!(service.records().await, 2);
    service.ended().await.expect("drained");
}

/// A stream of reflection that has had its first answer, and the sender that keeps it open.
async fn reflecting(
    service: &Running,
) -> (
    mpsc::Sender<ServerReflectionRequest>,
    tonic::Streaming<ServerReflectionResponse>,
) {
    let (keeps_open, requests) = mpsc::channel(1);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    keeps_open.send(request).await.expect("room for one");
    let mut client = ServerReflectionClient::new(service.channel.clone());
    let answers = client.server_reflection_info(ReceiverStream::new(requests)).await;
    let mut answers = answers.expect("open").into_inner();
    answers.message().await.expect("good").expect("one");
    (keeps_open, answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_nobody_ends_do_not_hold_up_a_drain() {
    let service = Running::with("drain_max = \"1h\"").await;
    let (_keeps_open, mut answers) = reflecting(&service).await;
    let id = service.enqueue(order(1)).await.expect("stored").message_id;
    let watch = v1::WatchRequest {
        tenant: "shop".to_owned(),
        message_id: id,
    };
    let mut watched = service
        .messages
        .clone()
        .watch(watch)
        .await
        .expect("open")
        .into_inner();
    watched.message().await.expect("good").expect("as it stands");

    service.shutdown.trigger();
    let end = tokio::time::timeout(PATIENCE, watched.message()).await;
    let status = end.expect("in time").expect_err("the end");
    assert_eq!(RpcError::from(&status).reason, reason::DRAINING);
    let end = tokio::time::timeout(PATIENCE, answers.message()).await;
    assert!(end.expect("in time").expect("a good end").is_none());
    let drained = tokio::time::timeout(PATIENCE, service.ended()).await;
    drained.expect("in time").expect("drained");
}
