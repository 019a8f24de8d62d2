//! One coordinator leads; the others say who, and take its place.

use std::time::Duration;

use paceline_testkit::{TestRedis, eventually};
use tokio::sync::Mutex;
use tonic::Code;

use crate::support::{Coordinator, PATIENCE, Sender, now, settle};

#[tokio::test]
async fn a_standby_names_the_leader_and_grants_nothing() {
    let redis = TestRedis::start().await;
    let leader = Coordinator::start(&redis, "").await;
    leader.leads().await;
    let standby = Coordinator::start(&redis, "").await;
    let sender = Mutex::new(Sender::new(1, 100.0, &standby));
    let error = eventually("the standby knows the leader", PATIENCE, async || {
        let error = sender.lock().await.refresh().await.expect_err("no leader");
        let named = error.metadata.iter().any(|(_, leader)| !leader.is_empty());
        named.then_some(error)
    })
    .await;
    assert_eq!(
        (error.code, error.reason.as_ref()),
        (Code::FailedPrecondition, "not_leader")
    );
    assert_eq!(error.metadata, [("leader".to_owned(), leader.address())]);
    assert!(!standby.describe().await.expect("an answer").leader);
}

#[tokio::test]
async fn a_standby_leads_once_a_killed_leader_s_time_is_over() {
    let redis = TestRedis::start().await;
    let leader = Coordinator::start(&redis, "").await;
    let epoch = leader.leads().await;
    let standby = Coordinator::start(&redis, "").await;
    let mut senders = [Sender::new(1, 400.0, &leader), Sender::new(2, 400.0, &leader)];
    settle(&mut senders, &[150.0, 150.0], 300.0).await;

    let killed_at = now();
    leader.process.kill().expect("it runs");
    let next = standby.leads().await;
    assert!(next > epoch);
    // The lead, a try, and a slow machine.
    let vacancy = now() - killed_at;
    assert!(vacancy < Duration::from_millis(5_500), "{vacancy:?}");
    senders.iter_mut().for_each(|sender| sender.turn_to(&standby));
    settle(&mut senders, &[150.0, 150.0], 300.0).await;
}

#[tokio::test]
async fn a_leader_that_drains_hands_over_at_once() {
    let redis = TestRedis::start().await;
    let mut leader = Coordinator::start(&redis, "").await;
    leader.leads().await;
    let standby = Coordinator::start(&redis, "").await;
    leader.process.term().expect("it runs");
    let left = leader.process.wait(PATIENCE).await.expect("it leaves");
    assert!(left.success(), "{left}");
    let free_at = now();
    standby.leads().await;
    let vacancy = now() - free_at;
    assert!(
        vacancy < Duration::from_secs(2),
        "less than the lead lasts: {vacancy:?}"
    );
}

#[tokio::test]
async fn a_frozen_leader_grants_nothing_when_it_thaws() {
    let redis = TestRedis::start().await;
    let leader = Coordinator::start(&redis, "").await;
    leader.leads().await;
    let standby = Coordinator::start(&redis, "").await;
    let mut sender = Sender::new(1, 100.0, &leader);
    sender.refresh().await.expect("it leads");
    leader.process.freeze().expect("it runs");
    standby.leads().await;
    leader.process.thaw().expect("it is there");
    let error = sender.refresh().await.expect_err("its lead is over");
    assert_eq!(error.reason, "not_leader");
    eventually("it knows its successor", PATIENCE, async || {
        let answer = leader.describe().await.ok()?;
        (answer.leader_address == standby.address()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_leader_gives_way_to_an_epoch_that_a_sender_has_seen() {
    let redis = TestRedis::start().await;
    let leader = Coordinator::start(&redis, "").await;
    let epoch = leader.leads().await;
    let mut sender = Sender::new(1, 100.0, &leader);
    sender.epoch_seen = epoch + 40;
    let error = sender.refresh().await.expect_err("somebody newer led");
    assert_eq!(error.reason, "not_leader");
    let next = leader.leads().await;
    assert_eq!(next, epoch + 41);
    sender.refresh().await.expect("it is the newest now");
}
