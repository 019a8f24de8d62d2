//! Redis forgets, or is away.

use paceline_kit::clock::{Clock as _, SystemClock};
use paceline_testkit::{TestRedis, eventually};
use paceline_wire::v1;
use tokio::sync::Mutex;
use tonic::Code;

use crate::support::{Coordinator, PATIENCE, Sender, key, settle, store};

#[tokio::test]
async fn after_a_flush_it_learns_anew_at_the_rate_it_knows() {
    let redis = TestRedis::start().await;
    let coordinator = Coordinator::start(&redis, "[rates]\nstart = 200.0").await;
    let epoch = coordinator.leads().await;
    let mut senders = [
        Sender::new(1, 900.0, &coordinator),
        Sender::new(2, 900.0, &coordinator),
    ];
    settle(&mut senders, &[100.0, 100.0], 200.0).await;
    let store = store(&redis).await;
    eventually("the rate is in redis", PATIENCE, async || {
        store.granted_rate(&key()).await.expect("an answer")
    })
    .await;

    redis.command(&["FLUSHALL"]).await;
    eventually("it leads in a new epoch", PATIENCE, async || {
        let answer = coordinator.describe().await.ok()?;
        (answer.leader && answer.epoch > epoch).then_some(())
    })
    .await;
    settle(&mut senders, &[100.0, 100.0], 200.0).await;
    eventually("the rate is in redis again", PATIENCE, async || {
        let rate = store.granted_rate(&key()).await.expect("an answer")?;
        ((rate - 200.0).abs() < 1e-6).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_warm_up_that_redis_lost_goes_on_by_what_senders_were_told() {
    let settings = "[[key]]\nprovider = \"ses\"\nidentity = \"main\"\nwarm_up = \"2020-01-01\"";
    let today = SystemClock.wall().0 / 86_400_000;
    // Of five days two were no step; and one that had ended.
    for (level, cap) in [(Some(3), Some(800)), (None, None)] {
        let redis = TestRedis::start().await;
        let before = Coordinator::start(&redis, settings).await;
        before.leads().await;
        let mut sender = Sender::new(1, 100.0, &before);
        let asking = Mutex::new(&mut sender);
        let began = eventually("the settings' warm-up begins", PATIENCE, async || {
            asking.lock().await.refresh().await.ok()?.leases[0]
                .warm_up
                .clone()
        })
        .await;
        assert_eq!((began.first_day, began.level), (today, Some(0)));
        before.process.kill().expect("it runs");
        redis.command(&["FLUSHALL"]).await;
        sender.warm_up = Some(v1::WarmUpWord {
            first_day: today - 5,
            level,
            overflow_to: String::new(),
        });
        let next = Coordinator::start(&redis, settings).await;
        next.leads().await;
        sender.turn_to(&next);
        sender.refresh().await.expect("it leads");
        let answer = next.describe().await.expect("it answers");
        assert_eq!(answer.keys[0].warm_up.as_ref().map(|it| it.cap), cap, "{level:?}");
    }
}

#[tokio::test]
async fn without_redis_the_lead_runs_out_and_nothing_is_granted() {
    let redis = TestRedis::start().await;
    let coordinator = Coordinator::start(&redis, "").await;
    coordinator.leads().await;
    let mut sender = Sender::new(1, 900.0, &coordinator);
    settle(std::slice::from_mut(&mut sender), &[300.0], 300.0).await;
    // Answers nobody for longer than a lead lasts.
    redis.command(&["CLIENT", "PAUSE", "6000", "ALL"]).await;
    let asking = Mutex::new(&mut sender);
    let error = eventually("its grants can't be written", PATIENCE, async || {
        asking.lock().await.refresh().await.err()
    })
    .await;
    assert_eq!(
        (error.code, error.reason.as_ref()),
        (Code::Unavailable, "store_unavailable")
    );
    eventually("the lead runs out", PATIENCE, async || {
        let error = asking.lock().await.refresh().await.err()?;
        (error.reason == "not_leader").then_some(())
    })
    .await;
    coordinator.leads().await;
    settle(std::slice::from_mut(&mut sender), &[300.0], 300.0).await;
}
