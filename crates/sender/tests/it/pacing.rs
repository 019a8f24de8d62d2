//! Nothing goes without a live lease, and not faster than it says.

use std::sync::atomic::Ordering;
use std::time::Duration;

use paceline_domain::lane::Lane;
use paceline_domain::record::{Record, State};
use paceline_testkit::eventually;

use crate::support::{Granting, SOON, Scripted, Sender, World, limits, parts, wish};

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
    eventually("nothing of it is read", SOON, || async {
        let depths = world.store.depths().await.map_err(|error| error.to_string())?;
        let pending: u64 = depths.streams.iter().map(|stream| stream.pending).sum();
        if pending == 0 {
            Ok(())
        } else {
            Err(format!("{pending} pending"))
        }
    })
    .await;
    assert_eq!(provider.calls().len(), 10);

    leases.answers.store(true, Ordering::SeqCst);
    world.until(&waiting, State::Accepted).await;
    assert_eq!(sender.pipeline.problem(), None);
    sender.drain().await;
    assert_eq!(provider.calls().len(), 20);
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
