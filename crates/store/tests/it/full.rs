//! A full Redis, and one without its replicas: intake stops, results are written.

use paceline_store::{Claimed, ErrorClass, Stage, StoreError};

use crate::SHARD;
use crate::support::{Bench, accepted, id, message, moved};

#[tokio::test]
async fn at_oom_results_are_recordable_and_enqueue_is_refused_whole() {
    let bench = Bench::start().await;
    bench.enqueue((1..=3).map(message).collect()).await;
    bench.render_all().await;
    bench.redis.configure("maxmemory", "1").await;

    let refused = bench.store.enqueue(SHARD, vec![message(4), message(5)]).await;
    assert!(matches!(refused, Err(StoreError::OutOfMemory)), "{refused:?}");
    assert_eq!(
        bench.store.get_many(SHARD, &[id(4), id(5)]).await.expect("there"),
        [None, None]
    );

    let claims = bench.claim_all(1).await;
    assert_eq!(claims.len(), 3);
    assert!(
        claims.iter().all(|claim| matches!(claim, Claimed::Sending(_))),
        "{claims:?}"
    );
    for number in 1..=3 {
        let sending = bench.get(id(number)).await;
        moved(bench.report(id(number), sending.fence(), accepted()).await);
    }
    let moves = bench.store.log_since(SHARD, "0", 100).await.expect("there");
    assert_eq!(moves.iter().map(|(_, moves)| moves.len()).sum::<usize>(), 9);
}

#[tokio::test]
async fn at_oom_what_is_due_is_promoted_and_what_was_read_is_given_back() {
    let bench = Bench::start().await;
    let mut later = message(1);
    later.record.send_at = bench.now() + std::time::Duration::from_secs(1);
    bench.enqueue(vec![later, message(2)]).await;
    bench.advance(std::time::Duration::from_secs(1));
    bench.redis.configure("maxmemory", "1").await;
    let fresh = bench.another_store(bench.redis.url()).await;
    let stream = paceline_store::StreamKey::of(&crate::support::wish(), Stage::Queued);
    let promoted = fresh
        .promote(SHARD, &[(id(1), stream.clone())])
        .await
        .expect("there")
        .remove(0);
    moved(promoted);
    let entries = bench.read(Stage::Queued, "r").await;
    let ids: Vec<_> = entries.iter().map(|entry| entry.entry_id.clone()).collect();
    bench.store.give_back(SHARD, &stream, &ids).await.expect("there");
    assert_eq!(bench.read(Stage::Queued, "other").await.len(), 2);
}

#[tokio::test]
async fn without_replicas_nothing_is_written_and_the_error_says_so() {
    let bench = Bench::start().await;
    let sending = bench.sending(&message(1)).await;
    bench.redis.configure("min-replicas-to-write", "1").await;
    let report = paceline_store::Report {
        id: id(1),
        fence: sending.fence(),
        outcome: accepted(),
    };
    let refused = bench
        .store
        .finish(SHARD, vec![report])
        .await
        .expect_err("refused");
    assert!(matches!(refused, StoreError::TooFewReplicas), "{refused:?}");
    assert_eq!(refused.class(), ErrorClass::Refused);
    assert_eq!(bench.get(id(1)).await, sending);
    bench.redis.configure("min-replicas-to-write", "0").await;
    moved(bench.report(id(1), sending.fence(), accepted()).await);
}

#[tokio::test]
async fn at_oom_a_stream_that_lost_its_group_does_not_hold_up_the_others() {
    let bench = Bench::start().await;
    let mut other = message(2);
    other.record.tenant = "another".to_owned();
    bench.enqueue(vec![message(1), other]).await;
    let key = crate::support::stream_key(Stage::Queued);
    bench
        .redis
        .command(&["XGROUP", "DESTROY", &key, Stage::Queued.group()])
        .await;
    bench.redis.configure("maxmemory", "1").await;
    let read = bench.read(Stage::Queued, "r").await;
    let tenants: Vec<_> = read.iter().map(|entry| entry.stream.tenant.as_str()).collect();
    assert_eq!(tenants, ["another"]);
    bench.redis.configure("maxmemory", "0").await;
    let read = bench.read(Stage::Queued, "r").await;
    assert_eq!(read.len(), 1, "its group is made once there is room: {read:?}");
    assert_eq!(read[0].stream.tenant, crate::support::wish().tenant);
}
