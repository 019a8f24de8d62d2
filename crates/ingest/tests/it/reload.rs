//! Templates that change while ingest runs.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_testkit::eventually;
use paceline_wire::v1::StoredRequest;
use prost::Message as _;

use crate::running::{PATIENCE, Running, order};

const OFTEN: &str = "templates.look_every = \"20ms\"";

/// Enqueues order `number`; the bundle that it has pinned, which stands in Redis.
async fn pinned(service: &Running, number: u32) -> (MessageId, Bytes) {
    let answer = service.enqueue(order(number)).await.expect("taken");
    let id: MessageId = answer.message_id.parse().expect("an id");
    let hash = pin_of(service, id).await;
    let bundle = service
        .store
        .get_bundle(hash.as_ref().try_into().expect("32 bytes"));
    assert!(bundle.await.expect("redis is there").is_some());
    (id, hash)
}

async fn pin_of(service: &Running, id: MessageId) -> Bytes {
    let requests = service.store.requests(0, &[id]).await.expect("redis is there");
    StoredRequest::decode(requests[0].clone().expect("a request"))
        .expect("readable")
        .bundle_hash
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_is_pinned_by_new_messages_alone_and_a_broken_one_by_none() {
    let service = Running::with(OFTEN).await;
    let (first, old) = pinned(&service, 1).await;
    service.replace_template("receipt", 2, "{{order}} again");
    let number = AtomicU32::new(2);
    let new = eventually("the new version is used", PATIENCE, async || {
        let (_, hash) = pinned(&service, number.fetch_add(1, Ordering::Relaxed)).await;
        if hash == old { Err("the old one") } else { Ok(hash) }
    })
    .await;
    assert_eq!(
        pin_of(&service, first).await,
        old,
        "what was accepted before stays"
    );

    service.replace_template("receipt", 3, "{{#if}}");
    eventually("it is told", PATIENCE, async || {
        let told = service.readiness().await;
        if told.contains("receipt") {
            Ok(())
        } else {
            Err(told)
        }
    })
    .await;
    assert!(
        service
            .readiness()
            .await
            .contains("ready\nnote: 1 templates can't be used: receipt")
    );
    assert!((service.metric("paceline_templates_broken ").await - 1.0).abs() < f64::EPSILON);
    assert_eq!(pinned(&service, 1_000).await.1, new, "the last good one");

    service.replace_template("receipt", 4, "{{order}} once more");
    eventually("all is well again", PATIENCE, async || {
        let told = service.readiness().await;
        if told.contains("note") { Err(told) } else { Ok(()) }
    })
    .await;
    assert!(![old, new].contains(&pinned(&service, 2_000).await.1));
}
