//! Subscribers miss nothing, whatever becomes of them, and learn of nobody else's mail.

use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::lane::Lane;
use paceline_domain::time::Millis;
use paceline_ledger::{Ledger, NewEvent};
use paceline_wire::v1;
use paceline_wire::v1::events_service_client::EventsServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

use crate::support::Feedback;

const SOON: Duration = Duration::from_secs(20);

fn event(number: u16, tenant: &str, kind: &str) -> NewEvent {
    NewEvent {
        id: format!("{tenant}-{number}"),
        message_id: MessageId([1; 16]),
        accepted_at: Millis(1_800_000_000_000),
        attempt: 1,
        tenant: tenant.to_owned(),
        template: "welcome".to_owned(),
        lane: Lane::Transactional,
        kind: kind.to_owned(),
        at: Millis(1_800_000_000_000 + u64::from(number)),
        received_at: Millis(1_800_000_001_000),
        detail: "{}".to_owned(),
    }
}

async fn record(ledger: &Ledger, events: Vec<NewEvent>) {
    ledger.record_events(events).await.expect("the ledger is there");
}

async fn client(feedback: &Feedback) -> EventsServiceClient<Channel> {
    let address = format!("http://{}", feedback.process.grpc());
    EventsServiceClient::connect(address).await.expect("it answers")
}

async fn subscribe(
    feedback: &Feedback,
    cursor: Option<u64>,
    kinds: &[&str],
) -> Streaming<v1::SubscribeResponse> {
    let request = v1::SubscribeRequest {
        tenant: "acme".to_owned(),
        cursor,
        kinds: kinds.iter().map(|&kind| kind.to_owned()).collect(),
    };
    client(feedback)
        .await
        .subscribe(request)
        .await
        .expect("subscribed")
        .into_inner()
}

async fn next(stream: &mut Streaming<v1::SubscribeResponse>) -> v1::SubscribeResponse {
    let answer = tokio::time::timeout(SOON, stream.message())
        .await
        .expect("in time");
    answer.expect("an answer").expect("no end")
}

/// Reads until so many events have come: their ids, and the cursor of the last answer.
async fn read(stream: &mut Streaming<v1::SubscribeResponse>, count: usize) -> (Vec<String>, u64) {
    let mut ids = Vec::new();
    loop {
        let answer = next(stream).await;
        ids.extend(answer.events.into_iter().map(|event| event.id));
        if ids.len() >= count {
            return (ids, answer.cursor);
        }
    }
}

#[tokio::test]
async fn a_subscriber_that_comes_back_with_its_cursor_misses_nothing() {
    let feedback = Feedback::start("").await;
    let ledger = feedback.ledger().await;
    record(
        &ledger,
        (0..250)
            .map(|number| event(number, "acme", "delivered"))
            .collect(),
    )
    .await;
    let mut stream = subscribe(&feedback, Some(0), &[]).await;
    let (mut ids, cursor) = read(&mut stream, 100).await;
    assert_eq!(ids.len(), 100);
    // It dies in mid-stream; more comes meanwhile.
    drop(stream);
    record(
        &ledger,
        (250..300).map(|number| event(number, "acme", "opened")).collect(),
    )
    .await;
    let mut stream = subscribe(&feedback, Some(cursor), &[]).await;
    let (more, _) = read(&mut stream, 200).await;
    ids.extend(more);
    let expected: Vec<String> = (0..300).map(|number| format!("acme-{number}")).collect();
    assert_eq!(ids, expected);
    record(&ledger, vec![event(300, "acme", "complained")]).await;
    assert_eq!(read(&mut stream, 1).await.0, ["acme-300"], "as it comes");
}

#[tokio::test]
async fn a_subscriber_learns_of_its_tenant_and_its_kinds_alone() {
    let feedback = Feedback::start("").await;
    let ledger = feedback.ledger().await;
    record(&ledger, vec![event(0, "acme", "delivered")]).await;
    let mut from_now = subscribe(&feedback, None, &[]).await;
    let mut bounces = subscribe(&feedback, Some(0), &["bounced_hard"]).await;
    // Both have begun once the next event is there.
    let others = vec![
        event(1, "other", "bounced_hard"),
        event(2, "acme", "bounced_hard"),
    ];
    tokio::time::timeout(SOON, async {
        record(&ledger, others).await;
    })
    .await
    .expect("in time");
    assert_eq!(read(&mut bounces, 1).await.0, ["acme-2"]);
    assert_eq!(read(&mut from_now, 1).await.0, ["acme-2"]);
}

#[tokio::test]
async fn what_is_no_subscription_is_refused_by_the_field() {
    let feedback = Feedback::start("").await;
    let mut client = client(&feedback).await;
    for (request, field) in [
        (v1::SubscribeRequest::default(), "tenant"),
        (
            v1::SubscribeRequest {
                tenant: "acme".to_owned(),
                cursor: Some(u64::MAX),
                kinds: Vec::new(),
            },
            "cursor",
        ),
        (
            v1::SubscribeRequest {
                tenant: "acme".to_owned(),
                cursor: None,
                kinds: vec!["delivered".to_owned(); 33],
            },
            "kinds",
        ),
    ] {
        let refused = client.subscribe(request).await.expect_err(field);
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(field), "{refused}");
    }
}

#[tokio::test]
async fn a_drain_does_not_wait_for_subscribers() {
    let mut feedback = Feedback::start("").await;
    let mut stream = subscribe(&feedback, Some(0), &[]).await;
    feedback.process.term().expect("it runs");
    let end = tokio::time::timeout(SOON, stream.message())
        .await
        .expect("in time");
    assert!(!matches!(end, Ok(Some(_))), "{end:?}");
    let status = feedback.process.wait(SOON).await.expect("it ends");
    assert!(status.success());
}
