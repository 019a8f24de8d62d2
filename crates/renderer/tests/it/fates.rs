//! What becomes of a queued message: rendered, buried with a reason, put off, or dropped.

use std::time::Duration;

use paceline_domain::reason::Reason;
use paceline_domain::record::State;
use paceline_domain::time::Millis;
use paceline_store::{Claimed, EntryBody, HandOff, Stage};
use paceline_testkit::eventually;
use paceline_testkit::resp::Reply;

use crate::support::{Bench, PATIENCE, message, rendered};

const ADA: &str = "{\"name\": \"Ada\"}";

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_rendered_with_its_template_s_sender_and_handed_off_once() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let sent = message(1, ADA);
    bench.accept(sent.clone()).await;
    let renderer = bench.renderer("");
    let entries = bench.ready(1).await;
    let parts = rendered(&entries[0]);
    assert_eq!(
        (parts.subject.as_str(), parts.html.as_str()),
        ("Hello Ada", "<p>Hello Ada</p>")
    );
    assert_eq!(parts.from.expect("a From").address, "a@example.com");
    assert_eq!(parts.recipient.expect("a recipient").address, "user1@example.com");
    assert!(parts.text.contains("Hello Ada"), "{:?}", parts.text);
    assert_eq!(
        parts.tracking,
        Some(false),
        "transactional mail is not tracked unless it says so"
    );
    let EntryBody::Message { rendered_at, .. } = entries[0].body else {
        panic!("a message expected, not {:?}", entries[0])
    };
    assert_ne!(rendered_at, Millis(0), "when it was rendered");
    renderer.stop().await;
    assert_eq!(
        (
            bench.backlog(Stage::Queued).await,
            bench.backlog(Stage::Ready).await
        ),
        (0, 1)
    );
    assert!(matches!(bench.claim(&entries).await[..], [Claimed::Sending(_)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_renderer_handed_on_without_an_acknowledgement_is_claimed_once() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let sent = message(1, ADA);
    let record = bench.accept(sent.clone()).await;
    // A renderer read the entry, and died between the two flights of its hand-off: the first copy is ready.
    let streams = bench.store.active(0).await.expect("redis is there");
    let read = bench
        .store
        .read(0, Stage::Queued, "dead", &streams, 10)
        .await
        .expect("redis is there");
    let copy = HandOff {
        stream: read[0].stream.clone(),
        entry_id: "0-1".to_owned(),
        id: sent.id,
        ticket: record.ticket(),
        rendered: bytes::Bytes::from_static(b"the first copy"),
        to: None,
        kept: bytes::Bytes::new(),
        act: bytes::Bytes::new(),
        rendered_at: Millis(0),
    };
    bench
        .store
        .hand_off(0, vec![copy])
        .await
        .expect("redis is there")
        .remove(0)
        .expect("added");

    let renderer = bench.renderer("[work]\nreclaim_idle = \"4s\"\n");
    let entries = bench.ready(2).await;
    let claimed = bench.claim(&entries).await;
    assert!(
        matches!(claimed[..], [Claimed::Sending(_), Claimed::Dropped]),
        "{claimed:?}"
    );
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_t_be_rendered_is_dead_with_the_reason_and_its_neighbours_go_on() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let (broken, good) = (message(1, "{}"), message(2, ADA));
    let mut garbled = message(3, ADA);
    garbled.request = bytes::Bytes::from_static(b"\xff no request");
    for message in [&broken, &good, &garbled] {
        bench.accept(message.clone()).await;
    }
    let renderer = bench.renderer("");
    assert_eq!(
        bench.becomes(broken.id, State::Dead).await.reason,
        Reason::RenderFailed
    );
    assert_eq!(
        bench.becomes(garbled.id, State::Dead).await.reason,
        Reason::RecordCorrupt
    );
    assert_eq!(rendered(&bench.ready(1).await[0]).subject, "Hello Ada");
    renderer.stop().await;
    assert_eq!(bench.backlog(Stage::Queued).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_message_is_dropped() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let (cancelled, good) = (message(1, ADA), message(2, ADA));
    bench.accept(cancelled.clone()).await;
    bench.store.cancel(cancelled.id).await.expect("redis is there");
    bench.accept(good).await;
    let renderer = bench.renderer("");
    let entries = bench.ready(1).await;
    assert_eq!(
        rendered(&entries[0]).recipient.expect("a recipient").address,
        "user2@example.com"
    );
    eventually("both entries are gone", PATIENCE, async || {
        let backlog = bench.backlog(Stage::Queued).await;
        if backlog == 0 { Ok(()) } else { Err(backlog) }
    })
    .await;
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_waits_for_its_bundle() {
    let bench = Bench::start().await;
    let sent = message(1, ADA);
    bench.accept(sent.clone()).await;
    let renderer = bench.renderer("");
    let waiting = bench.becomes(sent.id, State::Deferred).await;
    assert_eq!((waiting.reason, waiting.tries), (Reason::BundleMissing, 0));
    bench.put_bundle().await;
    let entries = bench.ready(1).await;
    assert!(matches!(bench.claim(&entries).await[..], [Claimed::Sending(_)]));
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_message_goes_when_its_time_has_come() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let mut sent = message(1, ADA);
    let earlier = bench.accept(message(2, ADA)).await;
    sent.record.send_at = earlier.accepted_at + Duration::from_millis(1_500);
    let at = sent.record.send_at;
    assert_eq!(bench.accept(sent.clone()).await.state, State::Scheduled);
    let renderer = bench.renderer("");
    let queued = bench.becomes(sent.id, State::Queued).await;
    assert!(
        queued.changed_at >= at,
        "queued {:?} early",
        at.since(queued.changed_at)
    );
    bench.ready(2).await;
    renderer.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_message_without_its_request_is_shown_and_not_dropped() {
    let bench = Bench::start().await;
    bench.put_bundle().await;
    let sent = message(1, ADA);
    bench.accept(sent.clone()).await;
    let Reply::Array(requests) = bench.redis.command(&["KEYS", "*:q:*"]).await else {
        panic!("keys expected")
    };
    let [Reply::Bytes(request)] = &requests[..] else {
        panic!("one request expected, not {requests:?}")
    };
    bench.redis.command(&[b"DEL".as_slice(), request]).await;
    let renderer = bench.renderer("");
    assert_eq!(
        bench.becomes(sent.id, State::Dead).await.reason,
        Reason::RequestMissing
    );
    renderer.stop().await;
}
