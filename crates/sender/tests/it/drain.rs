//! On the way out: nothing new, what was read goes back, what is open is finished, the leases are released.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use paceline_domain::record::State;
use paceline_kit::supervisor::TaskError;
use paceline_kit::telemetry::{Telemetry, TelemetrySettings};
use paceline_sender::leases::LeaseError;
use paceline_sender::{LeaseSource, Parts};
use paceline_testkit::eventually;
use paceline_wire::v1;
use tokio::sync::Semaphore;

use crate::support::{Answer, Granting, SOON, Scripted, Sender, World, accepted, limits, parts, wish};

async fn pending(world: &World) -> u64 {
    let depths = world.store.depths().await.expect("redis is there");
    depths.streams.iter().map(|stream| stream.pending).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_gives_back_what_was_read_and_waits_for_what_is_open() {
    let world = World::start().await;
    let gate = Arc::new(Semaphore::new(0));
    let open = Arc::clone(&gate);
    let provider = Scripted::new(move |call| Answer::After(Arc::clone(&gate), accepted(call.id)));
    let mut limits = limits("sender-1");
    limits.in_flight_max = 4;
    limits.in_flight_per_identity_max = 4;
    let leases = Granting::rate(100.0);
    let ids = world.ready(50, wish()).await;
    let sender = Sender::start(
        parts(world.store.clone(), provider.clone(), limits),
        leases.clone(),
    );
    provider.until_called(4).await;
    eventually("the rest is read ahead", SOON, || async {
        let pending = pending(&world).await;
        if pending == 46 { Ok(()) } else { Err(pending) }
    })
    .await;

    let drained = tokio::spawn(sender.drain());
    eventually("what was read goes back", SOON, || async {
        let pending = pending(&world).await;
        if pending == 0 { Ok(()) } else { Err(pending) }
    })
    .await;
    assert!(!drained.is_finished(), "requests are open");
    assert_eq!(leases.released.load(Ordering::SeqCst), 0);
    open.add_permits(4);
    drained.await.expect("no panic");
    assert_eq!(leases.released.load(Ordering::SeqCst), 2, "both keys");
    assert_eq!(provider.calls().len(), 4);
    let mut states = Vec::new();
    for id in &ids {
        states.push(world.get(*id).await.state);
    }
    assert_eq!(
        states.iter().filter(|state| **state == State::Accepted).count(),
        4
    );
    assert_eq!(states.iter().filter(|state| **state == State::Queued).count(), 46);

    // Another sender finds all of it at once.
    let next = crate::support::sender(&world, Scripted::accepting());
    world.until(&ids, State::Accepted).await;
    next.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_does_not_wait_for_ever() {
    let world = World::start().await;
    let provider = Scripted::new(|_| Answer::Hang);
    let mut limits = limits("sender-1");
    limits.drain_max = Duration::from_millis(200);
    let ids = world.ready(1, wish()).await;
    let sender = Sender::start(
        parts(world.store.clone(), provider.clone(), limits),
        Granting::rate(100.0),
    );
    provider.until_called(1).await;
    sender.drain().await;
    assert_eq!(
        world.get(ids[0]).await.state,
        State::Sending,
        "left to the lapse of its claim"
    );
}

/// Grants, until it meets a bug.
struct Broken {
    granting: Granting,
    broken: Arc<AtomicBool>,
}

impl LeaseSource for Broken {
    async fn refresh(&mut self, request: v1::RefreshRequest) -> Result<v1::RefreshResponse, LeaseError> {
        assert!(!self.broken.load(Ordering::SeqCst), "as the test wishes");
        self.granting.refresh(request).await
    }

    async fn release(&mut self, request: v1::ReleaseRequest) -> Result<(), LeaseError> {
        self.granting.release(request).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_panics_stops_the_sender_with_an_error_and_what_is_open_is_recorded() {
    let world = World::start().await;
    let gate = Arc::new(Semaphore::new(0));
    let answers = Arc::clone(&gate);
    let provider = Scripted::new(move |call| Answer::After(Arc::clone(&gate), accepted(call.id)));
    let broken = Arc::new(AtomicBool::new(false));
    let source = Broken {
        granting: Granting::rate(100.0),
        broken: Arc::clone(&broken),
    };
    let ids = world.ready(1, wish()).await;
    let sender = Sender::start(
        parts(world.store.clone(), provider.clone(), limits("sender-1")),
        source,
    );
    provider.until_called(1).await;
    broken.store(true, Ordering::SeqCst);
    let stops = tokio::time::timeout(SOON, sender.stop.requested()).await;
    stops.expect("the sender stops by itself");
    answers.add_permits(1);
    assert_eq!(sender.pipeline.drain().await, Err(TaskError::Panicked("leases")));
    assert_eq!(world.get(ids[0]).await.state, State::Accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_panics_harms_its_own_message_only() {
    let world = World::start().await;
    let provider = Scripted::new(|call| {
        assert_ne!(call.number, 0, "as the test wishes");
        Answer::Now(accepted(call.id))
    });
    let telemetry = Telemetry::new("sender", &TelemetrySettings::default()).expect("no endpoint to fail");
    let parts = Parts {
        meter: telemetry.meter("test"),
        ..parts(world.store.clone(), provider.clone(), limits("sender-1"))
    };
    let sender = Sender::start(parts, Granting::rate(100.0));
    let harmed = world.ready(1, wish()).await;
    provider.until_called(1).await;
    let others = world.ready(10, wish()).await;
    world.until(&others, State::Accepted).await;
    eventually("no request is open", SOON, || async {
        let text = telemetry.scrape();
        let open = text.lines().find(|line| line.starts_with("sender_requests_open"));
        let open = open.ok_or_else(|| "no such gauge".to_owned())?;
        if open.ends_with(" 0") {
            Ok(())
        } else {
            Err(open.to_owned())
        }
    })
    .await;
    sender.drain().await;
    let state = world.get(harmed[0]).await.state;
    assert_eq!(state, State::Sending, "left to the lapse of its claim");
}
