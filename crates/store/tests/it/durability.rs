//! When a write counts as kept: on single servers with replicas of their own, and on a Cluster of one primary and a replica.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::keyed::AddressHash;
use paceline_domain::record::{Fence, Provider, State};
use paceline_domain::suppression::SuppressionReason;
use paceline_domain::time::Millis;
use paceline_store::{
    Change, ClaimItem, Claimed, Durability, Enqueued, ErrorClass, Evidence, Finding, Report, Stage, Store,
    StoreConfig, StoreError, StreamKey, Suppression, Verdict,
};
use paceline_testkit::resp::Reply;
use paceline_testkit::{Proxy, TestRedis, eventually};

use crate::support::{accepted, claimant, config, id, message, record_key};
use crate::{SHARD, SHARDS};

const PATIENCE: Duration = Duration::from_secs(20);

fn at(url: &str, durability: Durability, replicas: u32) -> StoreConfig {
    StoreConfig {
        durability,
        replicas,
        ..config(url, SHARDS)
    }
}

async fn synced() -> TestRedis {
    TestRedis::on_loopback(&[("appendfsync", "always")]).await
}

async fn has(redis: &TestRedis, id: MessageId) -> bool {
    redis.command(&["EXISTS", &record_key(id)]).await == Reply::Integer(1)
}

fn setting(error: &StoreError) -> &'static str {
    match error {
        StoreError::Misconfigured { setting, .. } => setting,
        other => panic!("a setting expected, not {other}"),
    }
}

#[tokio::test]
async fn what_is_answered_stands_on_the_replica() {
    let (primary, replica) = (synced().await, synced().await);
    replica.replicate(&primary).await;
    let store = Store::connect(&at(primary.url(), Durability::Replicated, 1))
        .await
        .expect("safe");
    for number in 0..50 {
        let answer = store.enqueue(SHARD, vec![message(number)]).await.expect("kept");
        assert!(matches!(answer[0], Enqueued::New(_)));
        assert!(has(&replica, id(number)).await, "{number}");
    }
}

#[tokio::test]
async fn a_suppression_is_answered_once_the_replica_has_it() {
    let (primary, replica) = (synced().await, synced().await);
    replica.replicate(&primary).await;
    let store = Store::connect(&at(primary.url(), Durability::Replicated, 1))
        .await
        .expect("safe");
    let row = |bucket: u8| Suppression {
        tenant: "acme".to_owned(),
        address: AddressHash([bucket; 16]),
        category: String::new(),
        revision: 1,
        reason: Some(SuppressionReason::HardBounce),
        at: Millis(1),
    };
    store.suppress(&[row(1), row(2)]).await.expect("kept");
    for bucket in [1, 2] {
        let key = format!("{{pl1:sup:{bucket}}}");
        assert_eq!(replica.command(&["HLEN", &key]).await, Reply::Integer(1));
    }
    replica.promote().await;
    let error = store.suppress(&[row(3)]).await.expect_err("alone");
    assert!(matches!(error, StoreError::NotDurable { .. }), "{error}");
}

#[tokio::test]
async fn without_the_replica_nothing_is_acknowledged_and_the_retry_is_a_duplicate() {
    let (primary, replica) = (synced().await, synced().await);
    replica.replicate(&primary).await;
    let store = Store::connect(&at(primary.url(), Durability::Replicated, 1))
        .await
        .expect("safe");
    replica.promote().await;
    for _ in 0..2 {
        // A duplicate waits as well: the first call was not told that it is kept.
        let error = store.enqueue(SHARD, vec![message(1)]).await.expect_err("alone");
        assert!(
            matches!(
                error,
                StoreError::NotDurable {
                    replicas: 0,
                    wanted: 1
                }
            ),
            "{error}"
        );
        assert_eq!(error.class(), ErrorClass::Unavailable);
    }
    replica.replicate(&primary).await;
    let answer = eventually("the level is reached again", PATIENCE, || async {
        store.enqueue(SHARD, vec![message(1)]).await
    })
    .await;
    assert!(matches!(answer[0], Enqueued::Duplicate(_)), "{answer:?}");
    assert!(has(&replica, id(1)).await);
}

#[tokio::test]
async fn copiers_are_given_what_the_replica_has() {
    let (primary, replica) = (synced().await, synced().await);
    replica.replicate(&primary).await;
    let store = Store::connect(&at(primary.url(), Durability::Replicated, 1))
        .await
        .expect("safe");
    store.enqueue(SHARD, vec![message(1)]).await.expect("kept");
    let first = store.read_log(SHARD, "copier", 10).await.expect("kept");
    assert_eq!(first.len(), 1);
    replica.promote().await;
    store.enqueue(SHARD, vec![message(2)]).await.expect_err("alone");
    // A failover would take it back.
    let error = store.read_log(SHARD, "copier", 10).await.expect_err("alone");
    assert!(matches!(error, StoreError::NotDurable { .. }), "{error}");
    let reclaim = || store.reclaim_log(SHARD, "other", Duration::ZERO, "0-0", 10);
    reclaim().await.expect_err("alone");
    replica.replicate(&primary).await;
    let reclaimed = eventually("the replica has it", PATIENCE, reclaim).await;
    assert_eq!(reclaimed.entries.len(), 2);
}

#[tokio::test]
async fn a_write_that_its_primary_took_along_is_made_again_on_the_next_one() {
    let (primary, next, its_own) = (synced().await, synced().await, synced().await);
    next.replicate(&primary).await;
    its_own.replicate(&next).await;
    let proxy = Proxy::start(primary.server().address().clone()).await;
    let store = Store::connect(&at(&proxy.url(), Durability::Replicated, 1))
        .await
        .expect("safe");
    // The next primary has nothing of what is written from here on, and a replica that answers every wait.
    next.promote().await;
    proxy.redirect(next.server().address().clone());
    let call = tokio::spawn(async move {
        eventually("the message is kept", PATIENCE, || async {
            store.enqueue(SHARD, vec![message(1)]).await
        })
        .await
    });
    eventually("the first primary has it", PATIENCE, || async {
        has(&primary, id(1)).await.then_some(()).ok_or("not yet")
    })
    .await;
    assert!(!has(&next, id(1)).await);
    assert!(!call.is_finished(), "nothing may be acknowledged yet");
    primary.kill().await;
    let answer = call.await.expect("no panic");
    assert!(!answer.is_empty());
    assert!(has(&next, id(1)).await && has(&its_own, id(1)).await);
}

#[tokio::test]
async fn a_replica_that_came_later_is_waited_for_too() {
    let (primary, replica, later) = (synced().await, synced().await, synced().await);
    replica.replicate(&primary).await;
    let store = Store::connect(&at(primary.url(), Durability::Replicated, 1))
        .await
        .expect("safe");
    store.enqueue(SHARD, vec![message(1)]).await.expect("kept");
    // None of the store's connections notices.
    later.replicate(&primary).await;
    let error = store.enqueue(SHARD, vec![message(2)]).await.expect_err("two");
    assert_eq!(setting(&error), "redis.replicas");
    later.promote().await;
    eventually("it is gone again", PATIENCE, || async {
        store.enqueue(SHARD, vec![message(2)]).await
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_says_nothing_is_no_reason_where_it_is_not_needed() {
    let (primary, replica) = (synced().await, synced().await);
    replica.replicate(&primary).await;
    replica.freeze();
    let hasty = |durability, replicas| StoreConfig {
        command_timeout: Duration::from_millis(300),
        ..at(primary.url(), durability, replicas)
    };
    let local = Store::connect(&hasty(Durability::Local, 0)).await;
    let replicated = Store::connect(&hasty(Durability::Replicated, 1)).await;
    replica.thaw();
    let local = local.expect("only the primary matters");
    assert!(local.reaches(Durability::Fsync) && !local.reaches(Durability::Replicated));
    let error = replicated.expect_err("its settings are not known");
    assert_eq!(error.class(), ErrorClass::Unavailable);
}

/// One message after the other on its way to the provider, until Redis fails; each state that was answered is noted.
async fn send_until_it_fails(store: Store, first: u8, answered: Arc<Mutex<Vec<(MessageId, State)>>>) {
    let note = |id, state| answered.lock().expect("nobody panics under it").push((id, state));
    for number in first..first + 100 {
        let (id, message) = (id(number), message(number));
        if store.enqueue(SHARD, vec![message]).await.is_err() {
            return;
        }
        note(id, State::Queued);
        if number.is_multiple_of(5) {
            match store.cancel(id).await {
                Ok(Change::Moved(record)) => note(id, record.state),
                _ => return,
            }
            continue;
        }
        let finding = Finding::Sent {
            provider: Provider::Ses,
            provider_id: "event".to_owned(),
        };
        if number.is_multiple_of(4) {
            match store
                .evidence(SHARD, vec![Evidence { id, finding }])
                .await
                .as_deref()
            {
                Ok([Change::Moved(record)]) => note(id, record.state),
                _ => return,
            }
            continue;
        }
        let Some(fence) = claimed(&store, number, 1).await else {
            return;
        };
        note(id, State::Sending);
        let outcome = accepted();
        match store
            .finish(SHARD, vec![Report { id, fence, outcome }])
            .await
            .as_deref()
        {
            Ok([Change::Moved(record)]) => note(id, record.state),
            _ => return,
        }
    }
}

/// Claims the message by an entry of its own making: what others read does not matter here.
async fn claimed(store: &Store, number: u8, nonce: u8) -> Option<Fence> {
    let record = store.get(id(number)).await.ok()??;
    let item = ClaimItem {
        stream: StreamKey::of(&record, Stage::Ready),
        entry_id: "1-1".to_owned(),
        id: id(number),
        ticket: record.ticket(),
        verdict: Verdict::Send,
        rendered_at: Millis(0),
    };
    let claims = store.claim(SHARD, claimant(nonce, None), vec![item]).await;
    match claims.ok()?.made()?.as_slice() {
        [Claimed::Sending(record)] => Some(record.fence()),
        _ => None,
    }
}

#[tokio::test]
async fn whatever_was_answered_stands_on_the_next_primary() {
    let (primary, next, its_own) = (synced().await, synced().await, synced().await);
    next.replicate(&primary).await;
    its_own.replicate(&next).await;
    let answered = Arc::new(Mutex::new(Vec::new()));
    let mut senders = Vec::new();
    for first in [0, 100] {
        let store = Store::connect(&at(primary.url(), Durability::Replicated, 1)).await;
        let sender = send_until_it_fails(store.expect("safe"), first, Arc::clone(&answered));
        senders.push(tokio::spawn(sender));
    }
    eventually("all is under way", PATIENCE, || async {
        let answers = answered.lock().expect("nobody panics under it").len();
        if answers >= 60 { Ok(()) } else { Err(answers) }
    })
    .await;
    // What the primary does from here on dies with it.
    next.promote().await;
    for sender in senders {
        sender.await.expect("no panic");
    }
    primary.kill().await;
    let store = Store::connect(&at(next.url(), Durability::Replicated, 1)).await;
    let store = store.expect("safe");
    let answered = std::mem::take(&mut *answered.lock().expect("nobody panics under it"));
    let last: HashMap<MessageId, State> = answered.into_iter().collect();
    assert!(last.values().any(|&state| state == State::Cancelled) && last.len() < 200);
    for (id, state) in last {
        let record = store.get(id).await.expect("there").expect("not lost");
        // The step after the last answer may have been made or not.
        let next = match state {
            State::Queued => [State::Sending, State::Cancelled, State::Accepted].contains(&record.state),
            State::Sending => record.state == State::Accepted,
            _ => false,
        };
        assert!(
            record.state == state || next,
            "{state} was answered, not {}",
            record.state
        );
        // Nobody claims a second time what was claimed.
        if record.state != State::Queued {
            assert_eq!(claimed(&store, id.0[15], 2).await, None);
        }
    }
}

/// A Valkey with all slots of a Cluster, and a replica of it.
async fn valkey_cluster() -> (TestRedis, TestRedis) {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let (first, second) = (free(), free());
    let ports = [&first, &second].map(|free| free.local_addr().expect("bound").port().to_string());
    drop((first, second));
    let node = |bus: &str| {
        let settings = [
            ("appendfsync", "everysec"),
            ("cluster-enabled", "yes"),
            ("cluster-port", bus),
        ];
        let settings = settings.map(|(name, value)| (name, value.to_owned()));
        async move {
            let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
            TestRedis::valkey(&settings).await
        }
    };
    let (primary, replica) = (node(&ports[0]).await, node(&ports[1]).await);
    primary
        .on_every_node(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])
        .await;
    let port = primary.url().rsplit(':').next().expect("a port");
    replica
        .on_every_node(&["CLUSTER", "MEET", "127.0.0.1", port, &ports[0]])
        .await;
    let id = primary.command(&["CLUSTER", "MYID"]).await.bytes();
    eventually("the replica follows", PATIENCE, || async {
        replica.command(&[&b"CLUSTER"[..], b"REPLICATE", &id]).await;
        let info = primary.command(&["INFO", "replication"]).await.bytes();
        let info = String::from_utf8_lossy(&info).into_owned();
        let state = primary.command(&["CLUSTER", "INFO"]).await.bytes();
        let agreed = String::from_utf8_lossy(&state).contains("cluster_state:ok");
        (info.contains("state=online") && agreed)
            .then_some(())
            .ok_or(info)
    })
    .await;
    (primary, replica)
}

#[tokio::test]
async fn a_cluster_of_valkeys_does_not_say_yes_before_its_replica_has() {
    let (primary, replica) = valkey_cluster().await;
    let url = primary.url().replace("redis://", "redis-cluster://");
    let store = Store::connect(&at(&url, Durability::Replicated, 1))
        .await
        .expect("safe");
    eventually("the replica's disk has it", PATIENCE, || async {
        store.enqueue(SHARD, vec![message(1)]).await
    })
    .await;
    replica.freeze();
    let waited = store.enqueue(SHARD, vec![message(2)]).await;
    replica.thaw();
    let error = waited.expect_err("the replica did nothing");
    assert!(matches!(error, StoreError::NotDurable { .. }), "{error}");
}

#[tokio::test]
async fn a_disk_is_waited_for_where_the_server_can_be_asked() {
    let redis = TestRedis::valkey(&[("appendfsync", "everysec")]).await;
    let store = Store::connect(&at(redis.url(), Durability::Fsync, 0))
        .await
        .expect("safe");
    let answer = store.enqueue(SHARD, vec![message(1)]).await.expect("kept");
    assert!(matches!(answer[0], Enqueued::New(_)));
    let stats = redis.command(&["INFO", "commandstats"]).await.bytes();
    let stats = String::from_utf8_lossy(&stats).into_owned();
    assert!(stats.contains("cmdstat_waitaof:calls=1,"), "{stats}");

    let replica = TestRedis::valkey(&[("appendfsync", "everysec")]).await;
    replica.replicate(&redis).await;
    let store = Store::connect(&at(redis.url(), Durability::Replicated, 1))
        .await
        .expect("safe");
    // A replica that is new rewrites its file first.
    eventually("the replica's disk has it", PATIENCE, || async {
        store.enqueue(SHARD, vec![message(2)]).await
    })
    .await;
    assert!(has(&replica, id(2)).await);
}

#[tokio::test]
async fn a_level_that_the_servers_do_not_reach_is_refused_by_the_settings_name() {
    let redis = TestRedis::on_loopback(&[("appendfsync", "everysec")]).await;
    let refusal = |durability, replicas| {
        let config = at(redis.url(), durability, replicas);
        async move { Store::connect(&config).await.expect_err("refused") }
    };
    let alone = refusal(Durability::Fsync, 0).await;
    assert_eq!(setting(&alone), "appendfsync");
    assert_eq!(
        setting(&refusal(Durability::Replicated, 0).await),
        "redis.replicas"
    );

    let store = Store::connect(&config(redis.url(), SHARDS)).await.expect("safe");
    assert!(store.reaches(Durability::Local) && !store.reaches(Durability::Fsync));
    let mut asked = message(1);
    asked.durability = Durability::Fsync;
    let error = store.enqueue(SHARD, vec![asked]).await.expect_err("refused");
    assert_eq!(setting(&error), "appendfsync");
    assert!(!has(&redis, id(1)).await);

    let unsafe_replica = TestRedis::on_loopback(&[("maxmemory-policy", "allkeys-lru")]).await;
    unsafe_replica.replicate(&redis).await;
    let error = refusal(Durability::Local, 0).await;
    assert_eq!(setting(&error), "maxmemory-policy");
}
