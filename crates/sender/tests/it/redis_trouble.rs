//! Redis breaks at the worst moments: nothing is sent twice, no result is lost.

use std::sync::Arc;
use std::time::Duration;

use paceline_domain::reason::Reason;
use paceline_domain::record::{Record, State};
use paceline_store::Stage;
use paceline_testkit::eventually;
use paceline_testkit::proxy::{Moment, Proxy};
use tokio::sync::Semaphore;

use crate::support::{Answer, Granting, SOON, Scripted, Sender, World, accepted, limits, parts, wish};

async fn check(command: &str, skip: usize, moment: Moment) {
    let world = World::start().await;
    let proxy = Proxy::start(world.redis.server().address().clone()).await;
    let provider = Scripted::accepting();
    let store = world.another_store(&proxy.url()).await;
    let mut limits = limits("sender-1");
    limits.read_ahead.reclaim_idle = Duration::from_secs(1);
    let sender = Sender::start(parts(store, provider.clone(), limits), Granting::rate(2_000.0));
    // Warm: scripts are loaded, the lease is there.
    let first = world.ready(1, wish()).await;
    world.until(&first, State::Accepted).await;
    proxy.cut(command, skip, moment);
    let ids = world
        .ready(
            40,
            Record {
                doubt_window_s: 900,
                ..wish()
            },
        )
        .await;
    world.until(&ids, State::Accepted).await;
    assert!(proxy.has_cut(), "{command} {skip} {moment:?} was never reached");
    sender.drain().await;
    for &id in &ids {
        assert_eq!(provider.calls_of(id), 1, "{command} {skip} {moment:?}: {id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_before_or_after_any_script_loses_and_doubles_nothing() {
    for moment in [Moment::Before, Moment::After] {
        for skip in 0..4 {
            check("EVALSHA", skip, moment).await;
        }
        check("XREADGROUP", 0, moment).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_can_t_be_written_is_kept_and_nothing_is_claimed_meanwhile() {
    let world = World::start().await;
    let gate = Arc::new(Semaphore::new(0));
    let open = Arc::clone(&gate);
    let provider = Scripted::new(move |call| Answer::After(Arc::clone(&gate), accepted(call.id)));
    let mut limits = limits("sender-1");
    limits.in_flight_per_identity_max = 1;
    let parts = parts(world.store.clone(), provider.clone(), limits);
    let sender = Sender::start(parts, Granting::rate(2_000.0));
    let ids = world.ready(5, wish()).await;
    provider.until_called(1).await;

    world.redis.configure("min-replicas-to-write", "1").await;
    open.add_permits(5);
    eventually("the sender says so", SOON, || async {
        match sender.pipeline.problem() {
            Some("results can't be written") => Ok(()),
            other => Err(other),
        }
    })
    .await;
    assert_eq!(provider.calls().len(), 1, "no claim, no call");
    let first = provider.calls()[0].id;
    assert_eq!(world.get(first).await.state, State::Sending);

    world.redis.configure("min-replicas-to-write", "0").await;
    world.until(&ids, State::Accepted).await;
    sender.drain().await;
    assert!(ids.iter().all(|&id| provider.calls_of(id) == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_sender_read_and_left_is_taken_over() {
    let world = World::start().await;
    let ids = world.ready(5, wish()).await;
    let streams = world.store.active(0).await.expect("redis is there");
    let left = world.store.read(0, Stage::Ready, "gone", &streams, 100).await;
    assert_eq!(left.expect("redis is there").len(), 5);
    let provider = Scripted::accepting();
    let mut limits = limits("sender-1");
    limits.read_ahead.reclaim_idle = Duration::from_secs(1);
    let parts = parts(world.store.clone(), provider.clone(), limits);
    let sender = Sender::start(parts, Granting::rate(2_000.0));
    world.until(&ids, State::Accepted).await;
    sender.drain().await;
    assert_eq!(provider.calls().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_too_short_for_the_call_is_given_up_unsent() {
    let world = World::start().await;
    let provider = Scripted::accepting();
    let mut limits = limits("sender-1");
    limits.claim_lease = limits.attempt_timeout;
    let parts = parts(world.store.clone(), provider.clone(), limits);
    let sender = Sender::start(parts, Granting::rate(2_000.0));
    let ids = world.ready(1, wish()).await;
    world.until(&ids, State::Deferred).await;
    sender.drain().await;
    let record = world.get(ids[0]).await;
    assert_eq!((record.reason, record.tries), (Reason::NotWritten, 0));
    assert!(provider.calls().is_empty());
}
