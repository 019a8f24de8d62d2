//! What callers and operators want: cancel, redrive, discard; and what the renderer can't do.

use std::time::Duration;

use bytes::Bytes;
use paceline_domain::machine::Outcome;
use paceline_domain::reason::Reason;
use paceline_domain::record::State;
use paceline_store::{Change, Claimed, Entry, Stage, Unrendered};

use crate::SHARD;
use crate::support::{Bench, id, message, moved, ticket_of};

fn unrendered(entry: &Entry, reason: Reason) -> Unrendered {
    let (id, ticket) = ticket_of(entry);
    Unrendered {
        stream: entry.stream.clone(),
        entry_id: entry.entry_id.clone(),
        id,
        ticket,
        reason,
    }
}

#[tokio::test]
async fn a_cancelled_message_is_not_claimed() {
    let bench = Bench::start().await;
    bench.accept(&message(1)).await;
    bench.render_all().await;
    let cancelled = moved(bench.store.cancel(id(1)).await.expect("there"));
    assert_eq!(
        (cancelled.state, cancelled.reason),
        (State::Cancelled, Reason::CancelledByCaller)
    );
    assert_eq!(
        bench.store.cancel(id(1)).await.expect("there"),
        Change::Unchanged(cancelled)
    );
    assert_eq!(bench.claim_all(1).await, [Claimed::Dropped]);
    assert_eq!(bench.store.cancel(id(2)).await.expect("there"), Change::Missing);
}

#[tokio::test]
async fn what_is_claimed_can_not_be_cancelled() {
    let bench = Bench::start().await;
    let sending = bench.sending(&message(1)).await;
    assert_eq!(
        bench.store.cancel(id(1)).await.expect("there"),
        Change::Unchanged(sending)
    );
}

#[tokio::test]
async fn a_scheduled_message_that_is_cancelled_waits_no_more() {
    let bench = Bench::start().await;
    let mut later = message(1);
    later.record.send_at = bench.now() + Duration::from_secs(60);
    bench.accept(&later).await;
    moved(bench.store.cancel(id(1)).await.expect("there"));
    assert_eq!(bench.waiting("later").await, []);
}

#[tokio::test]
async fn a_buried_message_is_redriven_with_all_its_tries_or_discarded() {
    let bench = Bench::start().await;
    bench.accept(&message(1)).await;
    let entry = bench.read(Stage::Queued, "r").await.remove(0);
    let bury = vec![unrendered(&entry, Reason::RenderFailed)];
    let dead = moved(
        bench
            .store
            .bury(SHARD, bury.clone())
            .await
            .expect("there")
            .remove(0),
    );
    assert_eq!((dead.state, dead.reason), (State::Dead, Reason::RenderFailed));
    assert_eq!(bench.backlog(Stage::Queued).await, 0);
    assert_eq!(
        bench.store.bury(SHARD, bury).await.expect("there"),
        [Change::Unchanged(dead)]
    );

    let queued = moved(bench.store.redrive(id(1)).await.expect("there"));
    assert_eq!(
        (queued.state, queued.generation, queued.tries),
        (State::Queued, 2, 0)
    );
    assert_eq!(bench.waiting("dead").await, []);
    assert!(matches!(
        bench.store.redrive(id(1)).await.expect("there"),
        Change::Unchanged(_)
    ));
    let sending = bench.send_queued().await;
    let refused = Outcome::Refused {
        reason: Reason::MessageRefused,
    };
    moved(bench.report(id(1), sending.fence(), refused).await);
    let discarded = moved(bench.store.discard(id(1)).await.expect("there"));
    assert_eq!(discarded.state, State::Discarded);
    assert!(!bench.has_request(id(1)).await);
    assert!(bench.ttl(id(1)).await > 0);
    assert_eq!(bench.store.redrive(id(2)).await.expect("there"), Change::Missing);
}

#[tokio::test]
async fn what_is_erased_ends_with_its_request_but_for_what_is_on_its_way() {
    let bench = Bench::start().await;
    let sending = bench.sending(&message(1)).await;
    bench.sending(&message(2)).await;
    let doubted = bench.get(id(2)).await;
    let unknown = Outcome::Unknown {
        reason: Reason::Timeout,
    };
    moved(bench.report(id(2), doubted.fence(), unknown).await);
    bench.accept(&message(3)).await;
    let ids: Vec<_> = (1..=4).map(id).collect();
    let changes = bench
        .store
        .erase_all(SHARD, &ids, Bytes::from_static(b"who and why"))
        .await;
    let changes = changes.expect("there");
    let [
        Change::Unchanged(first),
        Change::Moved(second),
        Change::Moved(third),
        Change::Missing,
    ] = changes.as_slice()
    else {
        panic!("{changes:?}")
    };
    assert_eq!(first, &sending);
    assert_eq!(
        (second.state, second.reason, second.maybe_sent),
        (State::Discarded, Reason::Erased, true)
    );
    assert_eq!((third.state, third.reason), (State::Cancelled, Reason::Erased));
    assert_eq!(bench.waiting("doubt").await, []);
    for (number, kept) in [(1, true), (2, false), (3, false)] {
        assert_eq!(bench.has_request(id(number)).await, kept);
        assert_eq!(bench.ttl(id(number)).await > 0, !kept);
    }
    let again = bench
        .store
        .erase_all(SHARD, &ids, Bytes::new())
        .await
        .expect("there");
    assert!(
        !again.iter().any(|change| matches!(change, Change::Moved(_))),
        "{again:?}"
    );
}

#[tokio::test]
async fn what_can_not_be_rendered_now_waits() {
    let bench = Bench::start().await;
    bench.accept(&message(1)).await;
    let entry = bench.read(Stage::Queued, "r").await.remove(0);
    let delay = Duration::from_secs(60);
    let items = vec![unrendered(&entry, Reason::BundleMissing)];
    let deferred = moved(
        bench
            .store
            .postpone(SHARD, delay, items)
            .await
            .expect("there")
            .remove(0),
    );
    assert_eq!(
        (deferred.state, deferred.due_at),
        (State::Deferred, bench.now() + delay)
    );
    assert_eq!(bench.backlog(Stage::Queued).await, 0);
    assert_eq!(bench.waiting("later").await, [(id(1), deferred.due_at.0)]);
    bench.advance(delay);
    assert_eq!(moved(bench.promote(id(1)).await).generation, 2);
}

#[tokio::test]
async fn promotion_ends_what_is_past_its_time() {
    let bench = Bench::start().await;
    let mut short = message(1);
    short.ttl = Duration::from_secs(30);
    bench.accept(&short).await;
    let entry = bench.read(Stage::Queued, "r").await.remove(0);
    let items = vec![unrendered(&entry, Reason::StoreFull)];
    let delay = Duration::from_secs(60);
    bench.store.postpone(SHARD, delay, items).await.expect("there");
    bench.advance(delay);
    let expired = moved(bench.promote(id(1)).await);
    assert_eq!(
        (expired.state, expired.reason),
        (State::Expired, Reason::PastExpiry)
    );
    assert_eq!(bench.backlog(Stage::Queued).await, 0);
}
