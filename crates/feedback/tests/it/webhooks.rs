//! What providers' calls do to a real Redis and a ledger, through the service as it runs in production.

pub(crate) mod bench;

use std::time::Duration;

use axum::http::StatusCode;
use paceline_domain::id::MessageId;
use paceline_domain::record::{Record, State};
use paceline_testkit::eventually;
use serde_json::{Value, json};

use bench::{Bench, SIGNING_KEY};

const SOON: Duration = Duration::from_secs(20);

pub(crate) fn tags(record: &Record, id: MessageId) -> Value {
    json!({
        "paceline_id": [id.to_string()], "paceline_accepted": [record.accepted_at.0.to_string()],
        "paceline_attempt": [record.attempt.to_string()], "paceline_tenant": ["acme"],
    })
}

pub(crate) fn ses(kind: &str, part: &str, content: Value, tags: Value) -> String {
    let mut event = json!({
        "eventType": kind,
        "mail": {"timestamp": "2026-01-02T03:04:05.678Z", "messageId": "0102-known", "tags": tags},
    });
    event[part] = content;
    event.to_string()
}

fn send(record: &Record, id: MessageId) -> String {
    ses("Send", "send", json!({}), tags(record, id))
}

fn bounce(tags: Value) -> String {
    let content = json!({
        "bounceType": "Permanent", "bounceSubType": "General", "feedbackId": "f-1", "timestamp": "2026-01-02T03:04:06.000Z",
        "bouncedRecipients": [{"emailAddress": "bounce@simulator.amazonses.com", "status": "5.1.1"}],
    });
    ses("Bounce", "bounce", content, tags)
}

#[tokio::test]
async fn a_send_event_settles_doubt_and_comes_again_without_effect() {
    let bench = Bench::start().await;
    let (id, doubted) = bench.in_doubt(1).await;
    let message = bench
        .topic
        .notification("sns-1", &send(&doubted, id), &bench.certificate_url());
    assert_eq!(bench.sns(&message).await, StatusCode::OK);
    let record = bench.get(id).await;
    assert_eq!(
        (record.state, record.provider_id.as_str()),
        (State::Accepted, "0102-known")
    );
    for again in ["sns-1", "sns-2"] {
        let message = bench
            .topic
            .notification(again, &send(&doubted, id), &bench.certificate_url());
        assert_eq!(bench.sns(&message).await, StatusCode::OK);
    }
    assert_eq!(bench.get(id).await, record);
    assert_eq!(bench.events("acme").await, ["sent"]);
}

#[tokio::test]
async fn a_bounce_and_a_rejection_speak_for_their_own_attempt_alone() {
    let bench = Bench::start().await;
    let (id, doubted) = bench.in_doubt(1).await;
    let mut earlier = tags(&doubted, id);
    earlier["paceline_attempt"] = json!(["0"]);
    let reject = ses(
        "Reject",
        "reject",
        json!({"reason": "Bad content"}),
        earlier.clone(),
    );
    for event in [bounce(earlier), reject] {
        let message = bench
            .topic
            .notification("sns-1", &event, &bench.certificate_url());
        assert_eq!(bench.sns(&message).await, StatusCode::OK);
    }
    assert_eq!(
        bench.get(id).await,
        doubted,
        "nothing is known of the newest attempt"
    );
    let reject = ses(
        "Reject",
        "reject",
        json!({"reason": "Bad content"}),
        tags(&doubted, id),
    );
    let message = bench
        .topic
        .notification("sns-2", &reject, &bench.certificate_url());
    assert_eq!(bench.sns(&message).await, StatusCode::OK);
    assert_eq!(bench.get(id).await.state, State::Deferred);
}

#[tokio::test]
async fn an_event_of_another_acceptance_counts_where_the_message_may_have_been_sent() {
    let bench = Bench::start().await;
    let (id, doubted) = bench.in_doubt(1).await;
    let mut other = doubted.clone();
    other.accepted_at.0 -= 60_000;
    let message = bench
        .topic
        .notification("sns-1", &send(&other, id), &bench.certificate_url());
    assert_eq!(bench.sns(&message).await, StatusCode::OK);
    assert_eq!(bench.get(id).await.state, State::Accepted);
    let (id, queued) = bench.queued(2).await;
    let mut other = queued.clone();
    other.accepted_at.0 -= 60_000;
    let message = bench
        .topic
        .notification("sns-2", &send(&other, id), &bench.certificate_url());
    assert_eq!(bench.sns(&message).await, StatusCode::OK);
    assert_eq!(
        bench.get(id).await,
        queued,
        "it was never sent in this acceptance"
    );
}

#[tokio::test]
async fn what_is_forged_or_for_others_changes_nothing() {
    let bench = Bench::start().await;
    let (id, doubted) = bench.in_doubt(1).await;
    let event = send(&doubted, id);
    let mut forged = bench
        .topic
        .notification("sns-1", "another", &bench.certificate_url());
    forged["Message"] = event.clone().into();
    assert_eq!(bench.sns(&forged).await, StatusCode::FORBIDDEN);
    let elsewhere = paceline_local::sns::Topic::new("arn:aws:sns:eu-west-1:999999999999:ses-events");
    let foreign = elsewhere.notification("sns-1", &event, &bench.certificate_url());
    assert_eq!(bench.sns(&foreign).await, StatusCode::FORBIDDEN);
    assert_eq!(
        bench.sns(&json!({"Type": "Notification"})).await,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(bench.get(id).await, doubted);
    assert!(bench.events("acme").await.is_empty());
}

#[tokio::test]
async fn a_subscription_is_confirmed_at_sns_alone() {
    let bench = Bench::start().await;
    let url = format!("http://{}/confirm", bench.stand_in);
    let question = bench.topic.confirmation("sns-1", &url, &bench.certificate_url());
    assert_eq!(bench.sns(&question).await, StatusCode::OK);
    assert_eq!(bench.confirmations(), 1);
    let inside = bench
        .topic
        .confirmation("sns-2", "http://169.254.169.254/", &bench.certificate_url());
    assert_eq!(bench.sns(&inside).await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_can_t_be_stored_comes_again() {
    let bench = Bench::start().await;
    let (id, doubted) = bench.in_doubt(1).await;
    let message = bench
        .topic
        .notification("sns-1", &send(&doubted, id), &bench.certificate_url());
    let token = "t".repeat(50);
    let webhook = bench.mailgun(&doubted, id, "m-1", &token);
    bench.feedback.redis.freeze();
    let (sns, mailgun) = tokio::join!(bench.sns(&message), bench.post("/mailgun", &webhook));
    assert_eq!(
        (sns, mailgun),
        (StatusCode::SERVICE_UNAVAILABLE, StatusCode::SERVICE_UNAVAILABLE)
    );
    bench.feedback.redis.thaw();
    eventually("the event is taken", SOON, || async {
        match bench.sns(&message).await {
            StatusCode::OK => Ok(()),
            status => Err(status),
        }
    })
    .await;
    assert_eq!(bench.get(id).await.state, State::Accepted);
    assert_eq!(
        bench.post("/mailgun", &webhook).await,
        StatusCode::OK,
        "its token was not used up"
    );
}

#[tokio::test]
async fn mailgun_s_events_settle_doubt_and_a_token_is_good_once() {
    let bench = Bench::start().await;
    let (id, doubted) = bench.in_doubt(1).await;
    let token = "a".repeat(50);
    let webhook = bench.mailgun(&doubted, id, "m-1", &token);
    let mut forged = webhook.clone();
    forged["signature"]["signature"] = "00".repeat(32).into();
    assert_eq!(bench.post("/mailgun", &forged).await, StatusCode::FORBIDDEN);
    assert_eq!(bench.get(id).await, doubted);
    assert_eq!(bench.post("/mailgun", &webhook).await, StatusCode::OK);
    assert_eq!(bench.get(id).await.state, State::Accepted);
    // The same signature under another event: answered, and not believed.
    let mut replayed = webhook.clone();
    replayed["event-data"]["id"] = "m-2".into();
    replayed["event-data"]["event"] = "complained".into();
    assert_eq!(bench.post("/mailgun", &replayed).await, StatusCode::OK);
    assert_eq!(bench.events("acme").await, ["delivered"]);
    assert_eq!(
        bench.post("/mailgun", &json!({"signature": {}})).await,
        StatusCode::NOT_ACCEPTABLE
    );
    assert!(SIGNING_KEY.len() >= 16);
}

#[tokio::test]
async fn kinds_of_a_later_day_and_late_events_are_kept() {
    let bench = Bench::start().await;
    let (id, doubted) = bench.in_doubt(1).await;
    let open = json!({"timestamp": "2026-01-02T04:00:00.000Z", "userAgent": "Mozilla/5.0"});
    let events = [
        ses("Telepathy", "telepathy", json!({}), tags(&doubted, id)),
        ses("Open", "open", open, tags(&doubted, id)),
        send(&doubted, id),
    ];
    for event in events {
        let message = bench.topic.notification("sns", &event, &bench.certificate_url());
        assert_eq!(bench.sns(&message).await, StatusCode::OK);
    }
    assert_eq!(bench.events("acme").await, ["other", "machine_opened", "sent"]);
    assert_eq!(bench.get(id).await.state, State::Accepted);
}
