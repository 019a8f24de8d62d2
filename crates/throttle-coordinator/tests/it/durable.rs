//! What outlives a leader, and what of it is not believed.

use paceline_domain::controller::journal::{Entry, Replay, Replayed};
use paceline_testkit::{TestRedis, eventually};
use paceline_wire::v1;
use paceline_wire::v1::journal_response::Body;
use tokio::sync::Mutex;

use crate::support::{Coordinator, PATIENCE, Sender, key, now, settle, store};

const STATE: &str = "{pl1:thr:ses/main}:state";

/// A leader with one sender that holds two thirds of 300/s, and what it left after it was killed.
async fn killed(redis: &TestRedis) -> Sender {
    let leader = Coordinator::start(redis, "").await;
    leader.leads().await;
    let mut sender = Sender::new(1, 100.0, &leader);
    settle(std::slice::from_mut(&mut sender), &[200.0], 300.0).await;
    leader.process.kill().expect("it runs");
    sender
}

/// What a new sender is granted by its first call.
async fn first_grant(coordinator: &Coordinator) -> f64 {
    let mut joining = Sender::new(2, 900.0, coordinator);
    joining.refresh().await.expect("it leads").leases[0].rate
}

#[tokio::test]
async fn a_successor_knows_the_leases_and_need_not_learn() {
    let redis = TestRedis::start().await;
    let mut sender = killed(&redis).await;
    let next = Coordinator::start(&redis, "").await;
    next.leads().await;
    let granted = first_grant(&next).await;
    assert!((granted - 100.0).abs() < 1e-6, "200 of 300 are out: {granted}");
    sender.turn_to(&next);
    sender.refresh().await.expect("it leads");
}

#[tokio::test]
async fn a_table_that_may_lack_leases_is_learned_anew() {
    for spoil in [
        vec!["DEL", "{pl1:thr:ses/main}:lease"],
        vec!["HSET", STATE, "run", "another:run"],
        vec!["HSET", STATE, "rev", "2"],
    ] {
        let redis = TestRedis::start().await;
        killed(&redis).await;
        redis.command(&spoil).await;
        let next = Coordinator::start(&redis, "").await;
        next.leads().await;
        let granted = first_grant(&next).await;
        assert!(granted <= 0.0, "{spoil:?}: {granted}");
    }
}

#[tokio::test]
async fn a_leader_that_is_fenced_says_nothing_and_steps_down() {
    let redis = TestRedis::start().await;
    let leader = Coordinator::start(&redis, "").await;
    let epoch = leader.leads().await;
    let mut sender = Sender::new(1, 100.0, &leader);
    settle(std::slice::from_mut(&mut sender), &[200.0], 300.0).await;
    // As after a restore: its own last write is gone.
    redis.command(&["HSET", STATE, "rev", "1"]).await;
    let error = sender.refresh().await.expect_err("fenced");
    assert_eq!(error.reason, "not_leader");
    let next = leader.leads().await;
    assert!(next > epoch);
    let granted = first_grant(&leader).await;
    assert!(granted <= 0.0, "redis went backwards: {granted}");
}

#[tokio::test]
async fn an_open_breaker_stays_open() {
    let redis = TestRedis::start().await;
    let settings = "[rates]\nstart = 100.0\nceiling = 200.0\nbreaker = true";
    let leader = Coordinator::start(&redis, settings).await;
    leader.leads().await;
    let mut sender = Sender::new(1, 500.0, &leader);
    settle(std::slice::from_mut(&mut sender), &[100.0], 100.0).await;
    sender.counts.sent(100);
    sender.counts.error(60);
    sender.refresh().await.expect("it leads");
    let limited_by = async |coordinator: &Coordinator| {
        let described = coordinator.describe().await.ok()?;
        Some(described.keys.first()?.limited_by.clone())
    };
    eventually("the breaker opens", PATIENCE, async || {
        let by = limited_by(&leader).await?;
        (by == "breaker").then_some(())
    })
    .await;
    sender
        .refresh()
        .await
        .expect("it leads: all that happened is written");
    leader.process.kill().expect("it runs");
    let next = Coordinator::start(&redis, settings).await;
    next.leads().await;
    sender.turn_to(&next);
    let answer = sender.refresh().await.expect("it leads");
    assert!(answer.leases[0].rate <= 0.0);
    assert_eq!(limited_by(&next).await.as_deref(), Some("breaker"));
}

#[tokio::test]
async fn what_senders_count_while_nobody_leads_is_counted_by_the_successor() {
    let redis = TestRedis::start().await;
    let settings = "[rates]\nstart = 100.0\nbreaker = true";
    let leader = Coordinator::start(&redis, settings).await;
    leader.leads().await;
    let mut sender = Sender::new(1, 500.0, &leader);
    settle(std::slice::from_mut(&mut sender), &[100.0], 100.0).await;
    leader.process.kill().expect("it runs");
    sender.counts.sent(100);
    sender.counts.error(60);
    let next = Coordinator::start(&redis, settings).await;
    next.leads().await;
    sender.turn_to(&next);
    sender.refresh().await.expect("it leads");
    eventually("its first word opens the breaker", PATIENCE, async || {
        let described = next.describe().await.ok()?;
        (described.keys.first()?.limited_by == "breaker").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_state_of_before_journals_is_gone_on_from() {
    let redis = TestRedis::start().await;
    redis.command(&["SET", "{pl1:thr}:epoch", "1"]).await;
    redis
        .command(&[
            "HSET",
            STATE,
            "epoch",
            "1",
            "nonce",
            "n",
            "rev",
            "8",
            "rate",
            "120.000000",
            "version",
            "6",
        ])
        .await;
    let settings = "[rates]\nstart = 100.0\nceiling = 200.0";
    let leader = Coordinator::start(&redis, settings).await;
    leader.leads().await;
    let mut sender = Sender::new(1, 500.0, &leader);
    let answer = sender.refresh().await.expect("it leads");
    assert_eq!(answer.leases[0].version, 6);
    let rate = leader.rate().await.expect("the key is known");
    assert!((rate - 120.0).abs() < 1e-6, "{rate}");
}

#[tokio::test]
async fn a_state_that_can_t_be_read_is_left_alone_and_named() {
    for spoil in [
        vec!["HSET", STATE, "format", "2"],
        vec![
            "XADD",
            "{pl1:thr:ses/main}:journal",
            "999999999-1",
            "f",
            "1",
            "e",
            "1",
            "events",
            "[{}]",
        ],
        // What Redis answers to no purpose, it would answer again.
        vec!["SET", "{pl1:thr:ses/main}:journal", "no stream"],
    ] {
        let redis = TestRedis::start().await;
        killed(&redis).await;
        redis.command(&spoil).await;
        if spoil[0] == "XADD" {
            for field in ["rev", "kept"] {
                redis.command(&["HSET", STATE, field, "999999999"]).await;
            }
        }
        let look = if spoil[0] == "SET" { "GET" } else { "XLEN" };
        let journal = [look, "{pl1:thr:ses/main}:journal"];
        let before = format!("{:?}", redis.command(&journal).await);
        let next = Coordinator::start(&redis, "").await;
        next.leads().await;
        let request = v1::RefreshRequest {
            sender_id: "sender-2".to_owned(),
            incarnation: vec![2; 16].into(),
            sequence: 1,
            items: vec![v1::RefreshItem {
                key: Some(v1::ThrottleKey {
                    provider: "ses".to_owned(),
                    identity: "main".to_owned(),
                }),
                wants: 10.0,
                ..v1::RefreshItem::default()
            }],
            ..v1::RefreshRequest::default()
        };
        let answer = next
            .client
            .clone()
            .refresh(request)
            .await
            .expect("others have leases");
        assert!(answer.into_inner().leases.is_empty(), "{spoil:?}");
        let next = Mutex::new(next);
        eventually("health names it", PATIENCE, async || {
            let ready = next.lock().await.readiness().await;
            let is_said = ready.contains("can't be read");
            (is_said && ready.starts_with("HTTP/1.1 200"))
                .then_some(())
                .ok_or(ready)
        })
        .await;
        let after = format!("{:?}", redis.command(&journal).await);
        assert_eq!(after, before, "{spoil:?}");
    }
}

/// The journal of the key, replayed: how many leaders took it over, how many states differ, and what came of the last entry.
async fn replayed(coordinator: &Coordinator) -> (usize, usize, Replayed) {
    let request = v1::JournalRequest {
        key: Some(v1::ThrottleKey {
            provider: "ses".to_owned(),
            identity: "main".to_owned(),
        }),
    };
    let journal = coordinator.client.clone().journal(request).await;
    let mut journal = journal.expect("it leads").into_inner();
    let (mut replay, mut taken_over, mut differing) = (Replay::default(), 0, 0);
    let mut last = Replayed::Differs;
    while let Some(part) = journal.message().await.expect("an answer") {
        let entries: Vec<Entry> = match part.body.expect("a body") {
            Body::Events(text) => serde_json::from_str(&text).expect("events"),
            Body::Opened(text) => vec![serde_json::from_str(&text).expect("a state")],
        };
        for entry in entries {
            last = replay.take(&entry).expect("it begins with a state");
            taken_over += usize::from(last == Replayed::TakenOver);
            differing += usize::from(last == Replayed::Differs);
        }
    }
    (taken_over, differing, last)
}

#[tokio::test]
async fn a_journal_replays_to_the_very_state_over_leaders() {
    let redis = TestRedis::start().await;
    let settings = "[rates]\nstart = 100.0\nceiling = 200.0\nbreaker = true";
    let leader = Coordinator::start(&redis, settings).await;
    leader.leads().await;
    let mut sender = Sender::new(1, 500.0, &leader);
    settle(std::slice::from_mut(&mut sender), &[100.0], 100.0).await;
    let version = sender.lease.version();
    let sending = Mutex::new(&mut sender);
    eventually("the rate is cut", PATIENCE, async || {
        let mut sender = sending.lock().await;
        sender.counts.sent(3);
        sender.counts.throttled(version, 1);
        sender.refresh().await.expect("it leads");
        leader.rate().await.filter(|rate| *rate < 100.0)
    })
    .await;
    assert_eq!(replayed(&leader).await, (0, 0, Replayed::Same));
    leader.process.kill().expect("it runs");
    let next = Coordinator::start(&redis, settings).await;
    next.leads().await;
    assert_eq!(replayed(&next).await, (1, 0, Replayed::Same));
}

#[tokio::test]
async fn a_cut_is_broadcast_once_it_is_written() {
    let redis = TestRedis::start().await;
    let leader = Coordinator::start(&redis, "[rates]\nstart = 100.0\nceiling = 200.0").await;
    let epoch = leader.leads().await;
    let store = store(&redis).await;
    let (mut cuts, listening) = store.cuts().await;
    listening.expect("it listens");
    let mut sender = Sender::new(1, 500.0, &leader);
    settle(std::slice::from_mut(&mut sender), &[100.0], 100.0).await;
    let version = sender.lease.version();
    // All at once, so that they are of one window, and that is the only cut.
    sender.counts.sent(100);
    sender.counts.throttled(version, 50);
    sender.refresh().await.expect("it leads");
    let cut = tokio::time::timeout(PATIENCE, cuts.next())
        .await
        .expect("in time");
    let cut = cut.expect("a cut");
    assert_eq!((&cut.key, cut.epoch, cut.version), (&key(), epoch, version + 1));
    assert!(
        cut.rate < 100.0 && (cut.ratio - cut.rate / 100.0).abs() < 1e-9,
        "{cut:?}"
    );
    let before = sender.rate();
    assert!(sender.lease.cut(cut.epoch, cut.version, cut.ratio, now()));
    assert!((sender.rate() - before * cut.ratio).abs() < 1e-6);
}
