//! What is not known is not repeated.

use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::reason::Reason;
use paceline_domain::record::{DoubtPolicy, Record, State};
use paceline_providers::SendOutcome;
use paceline_testkit::eventually;

use crate::support::{
    Answer, Granting, SOON, Scripted, Sender, World, accepted, limits, parts, sender, wish,
};

/// The first attempt's outcome is unknown, every later one is taken.
fn unknown_at_first() -> Scripted {
    let reason = Reason::Timeout;
    Scripted::new(move |call| match call.attempt {
        1 => Answer::Now(SendOutcome::Unknown { reason }),
        _ => Answer::Now(accepted(call.id)),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_stays_in_doubt_through_its_window() {
    let world = World::start().await;
    let provider = unknown_at_first();
    let sender = sender(&world, provider.clone());
    let doubted = world
        .ready(
            1,
            Record {
                doubt_window_s: 900,
                policy: DoubtPolicy::Resend,
                ..wish()
            },
        )
        .await;
    world.until(&doubted, State::InDoubt).await;
    let record = world.get(doubted[0]).await;
    assert_eq!((record.reason, record.maybe_sent), (Reason::Timeout, true));
    // Redis's clock jumps past the window: this worker has not seen it pass, so nothing moves while others are sent.
    world.advance(Duration::from_secs(3_600));
    let others = world
        .ready(
            50,
            Record {
                doubt_window_s: 1,
                ..wish()
            },
        )
        .await;
    world.until(&others, State::InDoubt).await;
    world.advance(Duration::from_secs(2));
    world.until(&others, State::Dead).await;
    assert_eq!(world.get(doubted[0]).await.state, State::InDoubt);
    assert_eq!(provider.calls_of(doubted[0]), 1);
    sender.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_window_hold_is_dead_and_resend_is_sent_exactly_once_more() {
    let world = World::start().await;
    let provider = unknown_at_first();
    let sender = sender(&world, provider.clone());
    let held = world.ready(5, wish()).await;
    let resent = world
        .ready(
            5,
            Record {
                policy: DoubtPolicy::Resend,
                ..wish()
            },
        )
        .await;
    let all = [held.clone(), resent.clone()].concat();
    world.until(&all, State::InDoubt).await;
    world.advance(Duration::from_secs(2));
    world.until(&held, State::Dead).await;
    world.until(&resent, State::Accepted).await;
    sender.drain().await;
    assert_eq!(world.get(held[0]).await.reason, Reason::DoubtUnsettled);
    assert!(held.iter().all(|&id| provider.calls_of(id) == 1));
    assert!(resent.iter().all(|&id| provider.calls_of(id) == 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_sender_had_open_is_in_doubt_and_not_sent_again() {
    let world = World::start().await;
    let hanging = Scripted::new(|_| Answer::Hang);
    let ids = world
        .ready(
            3,
            Record {
                doubt_window_s: 900,
                ..wish()
            },
        )
        .await;
    let (url, time) = (world.redis.url().to_owned(), world.time());
    let short = |name| {
        let mut limits = limits(name);
        limits.attempt_timeout = Duration::from_secs(5);
        limits.claim_lease = Duration::from_secs(6);
        limits
    };
    // A runtime of its own, so that all of it can die at once.
    let doomed = tokio::runtime::Runtime::new().expect("a runtime");
    let (provider, doomed_limits) = (hanging.clone(), short("doomed"));
    let alive = doomed.spawn(async move {
        let store = crate::support::connect(&url, &time).await;
        let sender = Sender::start(parts(store, provider, doomed_limits), Granting::rate(1_000.0));
        std::future::pending::<()>().await;
        drop(sender);
    });
    hanging.until_called(3).await;
    doomed.shutdown_background();
    assert!(alive.await.is_err(), "killed");

    let heir = Scripted::accepting();
    let store = world.another_store(world.redis.url()).await;
    let sender = Sender::start(parts(store, heir.clone(), short("heir")), Granting::rate(1_000.0));
    world.advance(Duration::from_secs(7));
    world.until(&ids, State::InDoubt).await;
    assert_eq!(world.get(ids[0]).await.reason, Reason::ClaimLapsed);
    let next = world.ready(1, wish()).await;
    world.until(&next, State::Accepted).await;
    sender.drain().await;
    assert!(ids.iter().all(|&id| heir.calls_of(id) == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_settles_the_doubt_of_its_own_claim() {
    let world = World::start().await;
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let open = std::sync::Arc::clone(&gate);
    let provider = Scripted::new(move |call| Answer::After(std::sync::Arc::clone(&gate), accepted(call.id)));
    let slow = sender(&world, provider.clone());
    let ids = world
        .ready(
            1,
            Record {
                doubt_window_s: 900,
                ..wish()
            },
        )
        .await;
    provider.until_called(1).await;
    let record = world.get(ids[0]).await;
    world.advance(Duration::from_secs(11));
    world
        .store
        .lapse(0, &[(ids[0], record.fence())])
        .await
        .expect("redis is there");
    assert_eq!(world.get(ids[0]).await.state, State::InDoubt);
    open.add_permits(1);
    eventually("the late result is taken", SOON, || async {
        let record = world.get(ids[0]).await;
        if record.state == State::Accepted {
            Ok(())
        } else {
            Err(record.state)
        }
    })
    .await;
    slow.drain().await;
}

/// Puts `count` ids into a set that have no record, before all that may stand there.
async fn put_strays(world: &World, set: &str, count: usize) {
    let mut command = vec!["ZADD".to_owned(), set.to_owned()];
    for number in 0..count {
        command.extend(["1".to_owned(), format!("stray-{number:010}")]);
    }
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    world.redis.command(&command).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_without_a_record_leave_the_sets_and_stand_before_nobody() {
    let world = World::start().await;
    for set in ["{pl1:0}:open", "{pl1:0}:doubt"] {
        put_strays(&world, set, 2_500).await;
    }
    for set in ["{pl1:0}:open", "{pl1:0}:doubt"] {
        world.redis.command(&["ZADD", set, "1", "no id"]).await;
    }
    let unreadable = MessageId(*b"stray-0000000007");
    let record = format!("{{pl1:0}}:m:{unreadable}");
    world.redis.command(&["SET", &record, "\u{1}broken"]).await;

    let sender = sender(&world, unknown_at_first());
    let ids = world.ready(1, wish()).await;
    world.until(&ids, State::InDoubt).await;
    world.advance(Duration::from_secs(2));
    world.until(&ids, State::Dead).await;
    eventually("the strays are gone", SOON, || async {
        let depths = world.store.depths().await.map_err(|error| error.to_string())?;
        let left = (depths.open, depths.doubt);
        // What is no id stays, and stands before nobody.
        if left == (1, 1) {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    })
    .await;
    let dead = world.store.dead(0, 10).await.expect("redis is there");
    assert!(dead.iter().any(|(id, _)| *id == unreadable), "a person sees it");
    sender.drain().await;
}
