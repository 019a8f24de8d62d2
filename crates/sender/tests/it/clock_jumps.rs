//! Redis's clock jumps by an hour, either way: no claim is taken from its sender, by workers that saw the jump or came after it,
//! and other mail goes on.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use paceline_domain::record::{Record, State};
use paceline_testkit::eventually;
use tokio::sync::Semaphore;

use crate::support::{Answer, Granting, SOON, Scripted, Sender, World, accepted, limits, parts, wish};

const HOUR_MS: u64 = 3_600_000;

#[derive(Clone, Copy, Debug)]
enum Jump {
    Ahead,
    Back,
}

/// Waits until so many looks at a sorted set were made from now on, as Redis counts them.
async fn looks(world: &World, looks: u64) {
    let made = async || {
        let stats = world.redis.command(&["INFO", "commandstats"]).await.bytes();
        let stats = String::from_utf8_lossy(&stats).into_owned();
        let calls = stats.split("cmdstat_zrange:calls=").nth(1);
        calls
            .and_then(|calls| calls.split(',').next()?.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let before = made().await;
    eventually("looks of the sweepers", SOON, async || {
        let now = made().await;
        if now >= before + looks { Ok(()) } else { Err(now) }
    })
    .await;
}

async fn check(jump: Jump) {
    let world = World::start().await;
    let gate = Arc::new(Semaphore::new(0));
    let open = Arc::clone(&gate);
    let provider = Scripted::new(move |call| match call.number {
        0 => Answer::After(Arc::clone(&gate), accepted(call.id)),
        _ => Answer::Now(accepted(call.id)),
    });
    let mut limits_before = limits("sender-before");
    limits_before.attempt_timeout = Duration::from_secs(8);
    limits_before.claim_lease = Duration::from_secs(40);
    let mut limits_after = limits_before.clone();
    limits_after.name = "sender-after".to_owned();
    let parts_before = parts(world.store.clone(), provider.clone(), limits_before);
    let before = Sender::start(parts_before, Granting::rate(2_000.0));
    let wish = Record {
        doubt_window_s: 900,
        ..wish()
    };
    let held = world.ready(1, wish.clone()).await;
    provider.until_called(1).await;
    // Its sender has seen the claim before the jump.
    looks(&world, 2).await;

    match jump {
        Jump::Ahead => world.time().fetch_add(HOUR_MS, Ordering::SeqCst),
        Jump::Back => world.time().fetch_sub(HOUR_MS, Ordering::SeqCst),
    };
    let parts_after = parts(
        world.another_store(world.redis.url()).await,
        provider.clone(),
        limits_after,
    );
    let after = Sender::start(parts_after, Granting::rate(2_000.0));
    let others = world.ready(20, wish).await;
    world.until(&others, State::Accepted).await;
    // Two rounds of both at least.
    looks(&world, 8).await;
    assert_eq!(world.get(held[0]).await.state, State::Sending, "{jump:?}");

    open.add_permits(1);
    world.until(&held, State::Accepted).await;
    before.drain().await;
    after.drain().await;
    for id in held.iter().chain(&others) {
        assert_eq!(provider.calls_of(*id), 1, "{jump:?}: {id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jump_of_an_hour_ahead_takes_no_claim_from_its_sender() {
    Box::pin(check(Jump::Ahead)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_jump_of_an_hour_back_mail_goes_on_and_each_goes_once() {
    Box::pin(check(Jump::Back)).await;
}
