//! `MessagesService`: a tenant's own messages, and no others.

use std::time::Duration;

use bytes::Bytes;
use paceline_domain::id::MessageId;
use paceline_domain::machine::Outcome;
use paceline_domain::record::{Fence, Nonce, Provider};
use paceline_domain::time::Millis;
use paceline_store::{
    ClaimItem, Claimant, Claimed, Entry, EntryBody, HandOff, Report, Stage, Store, Verdict,
};
use paceline_testkit::eventually;
use paceline_wire::status::{RpcError, reason};
use paceline_wire::v1;
use paceline_wire::v1::MessageState;
use tonic::{Code, Status, Streaming};

use crate::running::{PATIENCE, Running, order};

async fn get(service: &Running, tenant: &str, id: &str) -> Result<v1::Message, Status> {
    let (tenant, message_id) = (tenant.to_owned(), id.to_owned());
    let response = service
        .messages
        .clone()
        .get(v1::GetRequest { tenant, message_id })
        .await?;
    Ok(response.into_inner().message.expect("a message"))
}

async fn cancel(service: &Running, tenant: &str, id: &str) -> Result<v1::CancelResponse, Status> {
    let (tenant, message_id) = (tenant.to_owned(), id.to_owned());
    let response = service
        .messages
        .clone()
        .cancel(v1::CancelRequest { tenant, message_id })
        .await?;
    Ok(response.into_inner())
}

async fn watch(service: &Running, tenant: &str, id: &str) -> Result<Streaming<v1::WatchResponse>, Status> {
    let (tenant, message_id) = (tenant.to_owned(), id.to_owned());
    let response = service
        .messages
        .clone()
        .watch(v1::WatchRequest { tenant, message_id })
        .await?;
    Ok(response.into_inner())
}

async fn next(stream: &mut Streaming<v1::WatchResponse>) -> Option<v1::Message> {
    let answer = tokio::time::timeout(PATIENCE, stream.message());
    let answer = answer.await.expect("in time").expect("a good stream")?;
    Some(answer.message.expect("a message"))
}

/// Renders and claims a queued message, as the other services would.
pub(crate) async fn claim(store: &Store, id: MessageId) -> Fence {
    let entry = read(store, Stage::Queued).await;
    let EntryBody::Message { ticket, .. } = entry.body else {
        panic!("{entry:?}")
    };
    let rendered = Bytes::from_static(b"rendered");
    let (stream, entry_id) = (entry.stream, entry.entry_id);
    let hand_off = HandOff {
        stream,
        entry_id,
        id,
        ticket,
        rendered,
        to: None,
        kept: Bytes::new(),
        act: Bytes::new(),
        rendered_at: Millis(0),
    };
    store
        .hand_off(0, vec![hand_off])
        .await
        .expect("redis is there")
        .remove(0)
        .expect("handed off");
    let Entry { stream, entry_id, .. } = read(store, Stage::Ready).await;
    let item = ClaimItem {
        stream,
        entry_id,
        id,
        ticket,
        verdict: Verdict::Send,
        rendered_at: Millis(0),
    };
    let claimant = Claimant {
        nonce: Nonce([7; 8]),
        lease: Duration::from_secs(60),
        provider: Provider::Ses,
        run: None,
    };
    match store
        .claim(0, claimant, vec![item])
        .await
        .expect("redis is there")
        .made()
        .expect("no hold")
        .remove(0)
    {
        Claimed::Sending(record) => record.fence(),
        other => panic!("{other:?}"),
    }
}

pub(crate) async fn read(store: &Store, stage: Stage) -> Entry {
    let streams = store.active(0).await.expect("redis is there");
    let mut entries = store
        .read(0, stage, "test", &streams, 1)
        .await
        .expect("redis is there");
    entries.remove(0)
}

async fn accept(store: &Store, id: MessageId, fence: Fence) {
    let outcome = Outcome::Accepted {
        provider_id: "0100018f-ses".to_owned(),
    };
    store
        .finish(0, vec![Report { id, fence, outcome }])
        .await
        .expect("redis is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sees_its_own_messages_only() {
    let service = Running::start().await;
    let id = service.enqueue(order(1)).await.expect("stored").message_id;
    let message = get(&service, "shop", &id).await.expect("its own");
    assert_eq!(
        (message.message_id.as_str(), message.state()),
        (id.as_str(), MessageState::Queued)
    );
    assert_eq!(
        (message.tenant.as_str(), message.identity.as_str()),
        ("shop", "main")
    );
    let absent = "0".repeat(26);
    for (tenant, id) in [("other", id.as_str()), ("shop", absent.as_str())] {
        for status in [
            get(&service, tenant, id).await.expect_err("not there"),
            cancel(&service, tenant, id).await.expect_err("not there"),
            watch(&service, tenant, id).await.expect_err("not there"),
        ] {
            assert_eq!(status.code(), Code::NotFound, "{status}");
        }
    }
    let untouched = get(&service, "shop", &id).await.expect("its own");
    assert_eq!(untouched.state(), MessageState::Queued);
    let status = get(&service, "A/b", "nonsense").await.expect_err("two faults");
    let fields: Vec<_> = RpcError::from(&status)
        .violations
        .into_iter()
        .map(|v| v.field)
        .collect();
    assert_eq!(fields, ["tenant", "message_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_sender_has_can_be_cancelled_once() {
    let service = Running::start().await;
    let id = service.enqueue(order(1)).await.expect("stored").message_id;
    let first = cancel(&service, "shop", &id).await.expect("cancelled");
    assert!(first.cancelled_now);
    assert_eq!(first.message.expect("a message").state(), MessageState::Cancelled);
    assert!(
        !cancel(&service, "shop", &id)
            .await
            .expect("cancelled before")
            .cancelled_now
    );

    let id = service.enqueue(order(2)).await.expect("stored").message_id;
    let parsed = id.parse().expect("an id");
    // The cancelled message's entry stands before it.
    read(&service.store, Stage::Queued).await;
    let fence = claim(&service.store, parsed).await;
    for state in ["sending", "accepted"] {
        let status = cancel(&service, "shop", &id).await.expect_err("too late");
        let error = RpcError::from(&status);
        assert_eq!(
            (error.code, error.reason.as_ref()),
            (Code::FailedPrecondition, reason::NOT_CANCELLABLE)
        );
        assert_eq!(error.metadata, [("state".to_owned(), state.to_owned())]);
        accept(&service.store, parsed, fence).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_sees_each_transition_until_rest() {
    let service = Running::start().await;
    let id = service.enqueue(order(1)).await.expect("stored").message_id;
    let parsed = id.parse().expect("an id");
    let mut first = watch(&service, "shop", &id).await.expect("open");
    let mut second = watch(&service, "shop", &id).await.expect("open");
    let snapshot = next(&mut first).await.expect("as it stands");
    assert_eq!((snapshot.state(), snapshot.revision), (MessageState::Queued, 1));
    next(&mut second).await.expect("as it stands");
    // Another message's transitions are not theirs.
    service.enqueue(order(2)).await.expect("stored");
    let fence = claim(&service.store, parsed).await;
    accept(&service.store, parsed, fence).await;
    for stream in [&mut first, &mut second] {
        let sending = next(stream).await.expect("claimed");
        assert_eq!(
            (sending.state(), sending.revision, sending.attempt),
            (MessageState::Sending, 2, 1)
        );
        let accepted = next(stream).await.expect("accepted");
        assert_eq!((accepted.state(), accepted.revision), (MessageState::Accepted, 3));
        assert_eq!(accepted.provider_message_id, "0100018f-ses");
        assert!(next(stream).await.is_none(), "at rest");
    }
    let mut late = watch(&service, "shop", &id).await.expect("open");
    assert_eq!(
        next(&mut late).await.expect("as it stands").state(),
        MessageState::Accepted
    );
    assert!(next(&mut late).await.is_none(), "at rest already");
    eventually("no watcher", PATIENCE, async || {
        (service.metric("ingest_watchers").await == 0.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_reads_the_record_where_the_log_says_nothing() {
    let service = Running::with("watch.reread = \"100ms\"").await;
    let id = service.enqueue(order(1)).await.expect("stored").message_id;
    let mut stream = watch(&service, "shop", &id).await.expect("open");
    next(&mut stream).await.expect("as it stands");
    // The log is lost before anyone reads it: renamed away, as a trim would.
    let log = "{pl1:0}:log";
    let script = "redis.call('DEL', KEYS[1]) redis.call('SET', KEYS[1], 'no stream') return 1";
    service.redis.command(&["EVAL", script, "1", log]).await;
    let record = service
        .redis
        .command(&["GET", &format!("{{pl1:0}}:m:{id}")])
        .await
        .bytes();
    let mut moved = record.to_vec();
    // Revision 2, dead: see `packed` in the store.
    moved[1] = b'd';
    moved[7] = 2;
    let key = format!("{{pl1:0}}:m:{id}").into_bytes();
    service.redis.command(&[b"SET".as_slice(), &key, &moved]).await;
    let dead = next(&mut stream).await.expect("read again");
    assert_eq!((dead.state(), dead.revision), (MessageState::Dead, 2));
    assert!(next(&mut stream).await.is_none(), "at rest");
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_are_bounded_and_a_gone_one_makes_room() {
    let service = Running::with("watch.watchers_max = 1").await;
    let id = service.enqueue(order(1)).await.expect("stored").message_id;
    let only = watch(&service, "shop", &id).await.expect("open");
    let status = watch(&service, "shop", &id).await.expect_err("full");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    drop(only);
    eventually("room", PATIENCE, async || {
        watch(&service, "shop", &id).await.map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_told_by_stage() {
    let service = Running::start().await;
    for number in 1..=3 {
        service.enqueue(order(number)).await.expect("stored");
    }
    let far = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
    assert!(
        service
            .enqueue(v1::EnqueueRequest {
                send_at: far,
                ..order(4)
            })
            .await
            .is_err()
    );
    read(&service.store, Stage::Queued).await;
    let queue = service
        .messages
        .clone()
        .queue(v1::QueueRequest {})
        .await
        .expect("told")
        .into_inner();
    let [depth] = queue.depths.as_slice() else {
        panic!("{queue:?}")
    };
    assert_eq!(
        (depth.stage.as_str(), depth.lane()),
        ("queued", v1::Lane::Transactional)
    );
    assert_eq!((depth.identity.as_str(), depth.tenant.as_str()), ("main", "shop"));
    assert_eq!((depth.backlog, depth.pending, depth.undelivered), (3, 1, 2));
    assert!(depth.oldest_at.is_some());
    assert_eq!((queue.sending, queue.in_doubt, queue.dead), (0, 0, 0));
}
