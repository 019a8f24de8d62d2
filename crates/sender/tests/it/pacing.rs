//! Nothing goes without a live lease, and not faster than it says.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use paceline_domain::lane::Lane;
use paceline_domain::reason::Reason;
use paceline_domain::record::{Record, State};
use paceline_testkit::eventually;
use tokio::sync::Semaphore;

use crate::support::{Answer, Granting, SOON, Scripted, Sender, World, accepted, limits, parts, wish};

#[tokio::test(flavor = "multi_thread")]
async fn a_lapsed_lease_sends_nothing_and_holds_nothing() {
    let world = World::start().await;
    let provider = Scripted::accepting();
    let leases = Granting::rate(1_000.0).lasting(Duration::from_millis(400));
    let parts = parts(world.store.clone(), provider.clone(), limits("sender-1"));
    let sender = Sender::start(parts, leases.clone());
    let first = world.ready(10, wish()).await;
    world.until(&first, State::Accepted).await;

    leases.answers.store(false, Ordering::SeqCst);
    eventually("the sender says that it can't send", SOON, || async {
        sender
            .pipeline
            .problem()
            .ok_or("no problem")
            .map_err(str::to_owned)
            .and_then(|problem| {
                if sender.pipeline.tokens("main") > 0.0 {
                    Err(problem.to_owned())
                } else {
                    Ok(())
                }
            })
    })
    .await;
    let waiting = world.ready(10, wish()).await;
    until_pending(&world, 0).await;
    assert_eq!(provider.calls().len(), 10);

    leases.answers.store(true, Ordering::SeqCst);
    world.until(&waiting, State::Accepted).await;
    assert_eq!(sender.pipeline.problem(), None);
    sender.drain().await;
    assert_eq!(provider.calls().len(), 20);
}

/// A sender with one request open, the rest read ahead, and the semaphore that answers.
async fn one_open(world: &World, ttl: Duration) -> (Sender<Scripted>, Scripted, Granting, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let open = Arc::clone(&gate);
    let provider = Scripted::new(move |call| Answer::After(Arc::clone(&gate), accepted(call.id)));
    let mut limits = limits("sender-1");
    limits.in_flight_per_identity_max = 1;
    limits.read_ahead.reclaim_idle = Duration::from_secs(600);
    let leases = Granting::rate(1_000.0).lasting(ttl);
    let store = world.patient_store(Duration::from_secs(10)).await;
    let sender = Sender::start(parts(store, provider.clone(), limits), leases.clone());
    provider.until_called(1).await;
    (sender, provider, leases, open)
}

async fn until_pending(world: &World, expected: u64) {
    eventually("so many are read and not claimed", SOON, || async {
        let depths = world.store.depths().await.map_err(|error| error.to_string())?;
        let pending: u64 = depths.streams.iter().map(|stream| stream.pending).sum();
        if pending == expected {
            Ok(())
        } else {
            Err(format!("{pending} pending"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_goes_back_when_the_lease_lapses() {
    let world = World::start().await;
    world.ready(20, wish()).await;
    let (sender, provider, leases, open) = one_open(&world, Duration::from_millis(400)).await;
    until_pending(&world, 19).await;
    leases.answers.store(false, Ordering::SeqCst);
    until_pending(&world, 0).await;
    open.add_permits(1);
    sender.drain().await;
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_lapses_during_the_claim_leaves_the_message_unwritten() {
    let world = World::start().await;
    let ids = world.ready(3, wish()).await;
    let (sender, provider, leases, open) = one_open(&world, Duration::from_secs(3)).await;
    until_pending(&world, 2).await;
    // The next claim is answered when the lease is over; the request before it ends now and makes room for it.
    leases.answers.store(false, Ordering::SeqCst);
    world.redis.command(&["CLIENT", "PAUSE", "3200", "WRITE"]).await;
    open.add_permits(10);
    let claimed = eventually("the claim is given up", SOON, || async {
        let records = world
            .store
            .get_many(0, &ids)
            .await
            .map_err(|error| error.to_string())?;
        let deferred = records
            .into_iter()
            .flatten()
            .find(|record| record.state == State::Deferred);
        deferred.ok_or_else(|| "none is deferred".to_owned())
    })
    .await;
    assert_eq!((claimed.reason, claimed.tries), (Reason::NotWritten, 0));
    sender.drain().await;
    assert_eq!(provider.calls().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_is_kept_and_transactional_mail_passes_a_flood_of_bulk() {
    let world = World::start().await;
    let provider = Scripted::accepting();
    let bulk = Record {
        lane: Lane::Bulk,
        ..wish()
    };
    let flood = world.ready(2_000, bulk).await;
    let began = tokio::time::Instant::now();
    let parts = parts(world.store.clone(), provider.clone(), limits("sender-1"));
    let sender = Sender::start(parts, Granting::rate(100.0));
    provider.until_called(30).await;
    let urgent = world.ready(5, wish()).await;
    let before = provider.calls().len();
    world.until(&urgent, State::Accepted).await;
    let calls = provider.calls();
    let elapsed = began.elapsed().as_secs_f64();
    sender.drain().await;
    // The bucket starts empty and holds a tenth of a second.
    assert!(
        calls.len() as f64 <= 100.0 * elapsed + 10.0,
        "{} in {elapsed} s",
        calls.len()
    );
    let last = calls
        .iter()
        .rposition(|call| urgent.contains(&call.id))
        .expect("they were sent");
    assert!(
        last < before + 30,
        "urgent mail was number {last}, it came after {before}"
    );
    assert!(calls.len() < flood.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_pause_is_felt_without_any_coordinator_and_garbage_is_not() {
    let world = World::start().await;
    let leases = Granting::rate(1_000.0).lasting(Duration::from_secs(60));
    let parts = parts(world.store.clone(), Scripted::accepting(), limits("sender-1"));
    let sender = Sender::start(parts, leases.clone());
    eventually("the bucket is full", SOON, || async {
        let tokens = sender.pipeline.tokens("main");
        if tokens >= 99.0 { Ok(()) } else { Err(tokens) }
    })
    .await;
    leases.answers.store(false, Ordering::SeqCst);
    let publish = async |message: &str| {
        world.redis.command(&["PUBLISH", "pl1:thr:adj", message]).await;
    };
    for message in [
        "",
        "garbage",
        "1 ses/main 1 1 0 0",
        "1 ses/main 1 2 9000 9",
        "1 ses/other 1 9 0 0",
    ] {
        publish(message).await;
    }
    assert!(sender.pipeline.tokens("main") >= 99.0);
    // An answer that was under way may come last; it is of version 1, and so does not count after the pause.
    eventually("nothing may go", SOON, || async {
        publish("1 ses/main 1 2 0 0").await;
        let tokens = sender.pipeline.tokens("main");
        if tokens <= 1.0 { Ok(()) } else { Err(tokens) }
    })
    .await;
    sender.drain().await;
}
