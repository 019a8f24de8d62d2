//! At level `local` Redis forgets claims whose emails are on their way: each is sent once all the same, by senders that live
//! through it.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use paceline_domain::id::MessageId;
use paceline_domain::record::{Record, State};
use paceline_domain::time::Millis;
use paceline_local::Lookalike;
use paceline_local::private_redis::{Endpoint, PrivateRedis, RedisOptions};
use paceline_local::ses::fault::{Action, Fault};
use paceline_sender::provider::Providers;
use paceline_store::{Change, Durability, Enqueued, NewMessage, Store};
use paceline_testkit::{Proxy, TestRedis, eventually};
use tokio::time::Instant;

use crate::look_alike::{lookalike, regions};
use crate::support::{
    Granting, SOON, Scripted, Sender, World, connect_local, connect_replicated, info, limits, parts,
    stood_on, wish,
};

/// Longer than the hold: whoever claims again after it would find nothing of the first claim.
const SLOW: Duration = Store::HOLD.saturating_add(Duration::from_secs(3));

fn message(id: MessageId, record: Record) -> NewMessage {
    NewMessage {
        id,
        record,
        ttl: Duration::from_secs(3_600),
        request: "request".into(),
        resubmit: false,
        logged: bytes::Bytes::new(),
        durability: Durability::Local,
    }
}

async fn entries(redis: &TestRedis) -> i64 {
    let stream = "{pl1:0}:ready:transactional:main:acme";
    redis.command(&["XLEN", stream]).await.integer()
}

/// A sender whose claims outlast slow requests.
fn patient(name: &str, store: Store, ses: Providers, rates: Granting) -> Sender<Providers> {
    let mut limits = limits(name);
    limits.attempt_timeout = SLOW * 2;
    limits.claim_lease = SLOW * 5;
    Sender::start(parts(store, ses, limits), rates)
}

/// Each message was taken once.
async fn each_once(world: &World, ids: &[MessageId], lookalike: &Lookalike) {
    for &id in ids {
        assert_eq!(world.get(id).await.state, State::Accepted);
    }
    let stats = lookalike.stats();
    let sent = ids.len() as u64;
    assert_eq!(
        (stats.accepted, stats.distinct_ids, stats.duplicates),
        (sent, sent, 0)
    );
}

/// A new message passes: claims are made again.
async fn claims_again(world: &World) -> MessageId {
    let new = world.ready(1, wish()).await;
    world.until(&new, State::Accepted).await;
    new[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_open_at_a_failover_are_sent_once() {
    let (primary, next) = (
        TestRedis::on_loopback(&[]).await,
        TestRedis::on_loopback(&[]).await,
    );
    next.replicate(&primary).await;
    stood_on(&primary).await;
    let proxy = Proxy::start(primary.server().address().clone()).await;
    let next_address = next.server().address().clone();
    let mut world = World::local(next, &proxy.url()).await;
    let (lookalike, ses) = lookalike().await;
    let slow = u64::try_from(SLOW.as_millis()).expect("short");
    lookalike.add_fault(Fault {
        delay_ms: slow,
        ..Fault::always(Action::Accept)
    });
    let rates = Granting::rate(2_000.0);
    rates.answers.store(false, Ordering::SeqCst);
    let mut senders = Vec::new();
    for (name, ses) in [("sender-1", ses), ("sender-2", regions(&lookalike).await)] {
        let store = connect_local(&proxy.url()).await;
        senders.push(patient(name, store, ses, rates.clone()));
    }

    let mut ids = world.ready(20, wish()).await;
    eventually("the replica has them", SOON, || async {
        let entries = entries(&world.redis).await;
        if entries == 20 { Ok(()) } else { Err(entries) }
    })
    .await;
    // It has nothing of what is written from here on: these messages, and all claims.
    world.redis.promote().await;
    ids.extend(world.ready(20, wish()).await);
    rates.answers.store(true, Ordering::SeqCst);
    eventually("all are on the wire", SOON, || async {
        let requests = lookalike.stats().requests;
        if requests == 40 { Ok(()) } else { Err(requests) }
    })
    .await;
    assert_eq!(entries(&world.redis).await, 20, "waiting to be claimed again");
    proxy.redirect(next_address);
    primary.kill().await;
    world.store = connect_local(&proxy.url()).await;

    lookalike.clear_faults();
    // A caller tries again what was acknowledged: a duplicate once its sender has spoken.
    let retried = message(ids[39], wish());
    eventually("the retry is a duplicate", SOON, || async {
        match world.store.get(ids[39]).await {
            Ok(Some(record)) if matches!(record.state, State::Sending | State::Accepted) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let again = world.store.enqueue(0, vec![retried]).await.expect("there");
    assert!(matches!(again[0], Enqueued::Duplicate(_)), "{again:?}");
    world.until(&ids, State::Accepted).await;
    ids.push(claims_again(&world).await);
    each_once(&world, &ids, &lookalike).await;
    for sender in senders {
        sender.drain().await;
    }
    lookalike.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_claims_are_kept_a_failover_sends_nothing_twice_and_loses_nothing() {
    let synced = || TestRedis::on_loopback(&[("appendfsync", "always")]);
    let (primary, next, its_own) = (synced().await, synced().await, synced().await);
    next.replicate(&primary).await;
    its_own.replicate(&next).await;
    let proxy = Proxy::start(primary.server().address().clone()).await;
    let next_address = next.server().address().clone();
    let mut world = World::local(next, &proxy.url()).await;
    world.store = connect_replicated(&proxy.url()).await;
    let (lookalike, ses) = lookalike().await;
    lookalike.add_fault(Fault {
        delay_ms: 2_000,
        ..Fault::always(Action::Accept)
    });
    let mut senders = Vec::new();
    for (name, ses) in [("sender-1", ses), ("sender-2", regions(&lookalike).await)] {
        let store = connect_replicated(&proxy.url()).await;
        senders.push(patient(name, store, ses, Granting::rate(2_000.0)));
    }
    let ids = world.ready(40, wish()).await;
    eventually("many are on the wire", SOON, || async {
        let requests = lookalike.stats().requests;
        if requests >= 20 { Ok(()) } else { Err(requests) }
    })
    .await;
    primary.kill().await;
    world.redis.promote().await;
    proxy.redirect(next_address);
    lookalike.clear_faults();
    world.store = connect_replicated(&proxy.url()).await;
    world.until(&ids, State::Accepted).await;
    each_once(&world, &ids, &lookalike).await;
    for sender in senders {
        sender.drain().await;
    }
    lookalike.stop().await;
}

/// A copy of what a server has written so far, to start another one from.
async fn copy(redis: &TestRedis) -> tempfile::TempDir {
    let found = redis.command(&["CONFIG", "GET", "dir"]).await;
    let dir = String::from_utf8(found.array()[1].bytes().to_vec()).expect("a path");
    let copy = tempfile::tempdir().expect("a temporary directory");
    let (from, to) = (
        Path::new(&dir).join("appendonlydir"),
        copy.path().join("appendonlydir"),
    );
    std::fs::create_dir(&to).expect("writable");
    for file in std::fs::read_dir(from).expect("an append-only file") {
        let file = file.expect("readable");
        std::fs::copy(file.path(), to.join(file.file_name())).expect("writable");
    }
    copy
}

async fn start_from(copy: &tempfile::TempDir) -> PrivateRedis {
    let options = RedisOptions {
        endpoint: Endpoint::Loopback(0),
        append_fsync: "no".to_owned(),
        ..RedisOptions::default()
    };
    let redis = PrivateRedis::start(copy.path(), &options).await;
    redis.expect("it starts from the copy")
}

async fn in_ten_minutes(redis: &TestRedis) -> Record {
    let now = info(redis, "server", "server_time_usec").await;
    let now = Millis(now.parse::<u64>().expect("a number") / 1_000);
    Record {
        send_at: now + Duration::from_secs(600),
        ..wish()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn results_of_before_a_kill_are_written_again_and_what_else_was_lost_is_lost() {
    let redis = TestRedis::on_loopback(&[]).await;
    stood_on(&redis).await;
    let proxy = Proxy::start(redis.server().address().clone()).await;
    let mut world = World::local(TestRedis::start().await, &proxy.url()).await;
    let provider = Scripted::accepting();
    let sender = Sender::start(
        parts(
            connect_local(&proxy.url()).await,
            provider.clone(),
            limits("sender-1"),
        ),
        Granting::rate(2_000.0),
    );
    let kept = world.ready(5, wish()).await;
    world.until(&kept, State::Accepted).await;
    let later = in_ten_minutes(&redis).await;
    let (cancelled, scheduled) = (MessageId([1; 16]), MessageId([2; 16]));
    world
        .store
        .enqueue(0, vec![message(cancelled, later.clone())])
        .await
        .expect("there");
    let copy = copy(&redis).await;

    let forgotten = world.ready(20, wish()).await;
    world.until(&forgotten, State::Accepted).await;
    world
        .store
        .enqueue(0, vec![message(scheduled, later)])
        .await
        .expect("there");
    let change = world.store.cancel(cancelled).await.expect("there");
    assert!(matches!(change, Change::Moved(_)), "{change:?}");
    redis.kill().await;
    let restarted = start_from(&copy).await;
    proxy.redirect(restarted.address().clone());
    world.store = connect_local(&proxy.url()).await;

    eventually("what was sent is known again", SOON, || async {
        let records = world
            .store
            .get_many(0, &forgotten)
            .await
            .map_err(|error| error.to_string())?;
        let known = records
            .iter()
            .flatten()
            .filter(|record| record.state == State::Accepted);
        let known = known.count();
        if known == forgotten.len() {
            Ok(())
        } else {
            Err(known.to_string())
        }
    })
    .await;
    claims_again(&world).await;
    sender.drain().await;
    for id in kept.into_iter().chain(forgotten) {
        assert_eq!(provider.calls_of(id), 1);
    }
    // Nobody knows of these: neither the acceptance nor the cancellation was kept.
    assert_eq!(world.store.get(scheduled).await.expect("there"), None);
    assert_eq!(world.get(cancelled).await.state, State::Scheduled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_sender_waits_for_those_that_were_there_before() {
    let redis = TestRedis::on_loopback(&[]).await;
    let world = World::local(TestRedis::start().await, redis.url()).await;
    let provider = Scripted::accepting();
    let started = Instant::now();
    let sender = Sender::start(
        parts(
            connect_local(redis.url()).await,
            provider.clone(),
            limits("sender-1"),
        ),
        Granting::rate(2_000.0),
    );
    let first = world.ready(1, wish()).await;
    assert!(sender.pipeline.problem().is_some());
    world.until(&first, State::Accepted).await;
    assert!(started.elapsed() >= Store::HOLD, "{:?}", started.elapsed());
    // The next one finds that somebody has waited.
    let started = Instant::now();
    let next = Sender::start(
        parts(connect_local(redis.url()).await, provider, limits("sender-2")),
        Granting::rate(2_000.0),
    );
    eventually("it is ready", SOON, || async {
        next.pipeline.problem().map_or(Ok(()), Err)
    })
    .await;
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );
    sender.drain().await;
    next.drain().await;
}
